"""`evenbench eval`: lm-eval's benchmarks on a run or a model.

Every answer becomes a row in the form of a run's own evaluations (EVAL_COLUMNS of results.schema)
whose question_id is the question's hash, so the paired statistics of a suite apply: a run's rows
join its evals.parquet under the benchmark's name as their split, a model's rows make a folder that
`results.load` reads like a run.

On a run's own task (`evenbench_arithmetic` on a run of `arithmetic`) the questions, the options of
the task and the limit of tokens are those of the run's last evaluation, so its greedy accuracy and
lm-eval's must be equal to the last digit.
"""

from __future__ import annotations

import difflib
import json
import logging
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pandas as pd

import tasks
from results.schema import EVAL_COLUMNS, SCHEMA_VERSION
from tasks import content_id
from tasks.files import data_dir_from_environment
from tasks.lm_eval.utils import grade

from . import store
from .config import ConfigError, Run
from .provenance import hardware, packages

Backend = Literal["hf", "vllm", "local-completions"]

OURS = Path(tasks.__file__).parent / "lm_eval"
BATCH = {"hf": 32, "vllm": "auto", "local-completions": 1}

# Benchmarks of lm-eval that local files of this project's tasks can serve without a hub.
_GSM8K = {"train": "gsm8k/train.jsonl", "test": "gsm8k/test.jsonl"}
_MATH500 = {"test": "math/math500.jsonl"}
LOCAL = {
    "gsm8k": _GSM8K,
    "gsm8k_cot": _GSM8K,
    "gsm8k_cot_zeroshot": _GSM8K,
    "gsm8k_cot_llama": _GSM8K,
    "hendrycks_math500": _MATH500,
    "minerva_math500": _MATH500,
}

# Which metric is a row's `correct`, and which its `strict`: the first pair that a benchmark has.
METRICS = (
    ("accuracy", "strict"),
    ("math_verify", "exact_match"),
    ("exact_match", "exact_match"),
    ("acc_norm", "acc_norm"),
    ("acc", "acc"),
    ("prompt_level_strict_acc", "prompt_level_strict_acc"),
)
CORRECT_FILTERS, STRICT_FILTERS = ("flexible-extract", "none"), ("strict-match", "none")


@dataclass(frozen=True)
class Subject:
    """What is evaluated: a run's checkpoint, or any model."""

    given: str  # as the user named it
    where: str  # folder or hub id
    revision: str | None = None
    run: Run | None = None
    folder: store.RunFolder | None = None
    step: int = 0  # updates done

    @property
    def seen(self) -> pd.DataFrame | None:
        """Greedy rows of the run's evaluation of this very checkpoint, if it has any."""
        if self.folder is None:
            return None
        frame = pd.read_parquet(self.folder.path / "evals.parquet")
        rows = frame[(frame["step"] == self.step) & (frame["decoding"] == "greedy")]
        return rows if len(rows) else None


def evaluate(
    given: str,
    names: Sequence[str],
    backend: Backend = "hf",
    limit: int | None = None,
    json_file: Path | None = None,
    *,
    revision: str | None = None,
    url: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    model_args: dict[str, Any] | None = None,
    out: Path = Path("runs/eval"),
) -> dict[str, Any]:
    """Evaluate a run's folder, a model's folder or a hub id on benchmarks of lm-eval, by name.

    `limit`: only the first questions of each. `url`: the completions address of
    local-completions, e.g. http://localhost:8000/v1/completions. `model_args` are added to those
    of lm-eval's backend. What is returned is written to `json_file`: for each benchmark the
    headline `accuracy`, `in_loop_accuracy` (of the run's own evaluation of the same questions, else
    null) and every metric that lm-eval reports.

    Raises ConfigError: lm-eval is not installed, no such benchmark, no checkpoint, no address.
    """
    if backend not in BATCH:
        raise ConfigError(f"--backend {backend!r}; allowed: {', '.join(BATCH)}")
    if backend == "local-completions" and not url:
        raise ConfigError(
            "--backend local-completions needs --url, the address of an OpenAI-compatible server, "
            "e.g. http://localhost:8000/v1/completions"
        )
    if not names:
        raise ConfigError("--tasks: at least one benchmark, e.g. gsm8k,evenbench_math500")
    api = _import_lm_eval()
    started = time.perf_counter()
    about = subject(given, revision)
    with ExitStack() as stack:
        specs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        chosen, manager = _benchmarks(list(names), about, specs)
        arguments = {**_arguments(about, backend, url), **(model_args or {})}
        model = api.api.registry.get_model(backend).create_from_arg_obj(
            arguments, {"batch_size": batch_size or BATCH[backend], "device": _device(device)}
        )
        questions = {} if limit else _questions_of(about, names)
        found = api.simple_evaluate(
            model=model,
            tasks=chosen,
            task_manager=manager,
            limit=limit,
            samples=questions or None,
            log_samples=True,
            bootstrap_iters=1000,
        )
    if found is None:  # another rank of a distributed evaluation reports
        return {}
    frames, report = [], {}
    for name, samples in found["samples"].items():
        frame, report[name] = _measure(name, samples, found, about, model)
        frames += [frame] if frame is not None else []
    stored = _store(about, pd.concat(frames, ignore_index=True), out, backend) if frames else None
    result = {
        "model": {"given": given, "where": about.where, "revision": about.revision},
        "run": None if about.run is None else {"id": about.run.name, "step": about.step},
        "backend": backend,
        "limit": limit,
        "tasks": report,
        "groups": found.get("groups", {}),
        "rows": None if stored is None else str(stored),
        "packages": {**packages(), "lm_eval": version("lm_eval")},
        "hardware": hardware(),
        "seconds": time.perf_counter() - started,
    }
    result = json.loads(json.dumps(result, default=str))
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        store.write_atomic(json_file, json.dumps(result, indent=1))
    return result


def _import_lm_eval() -> Any:
    try:
        import lm_eval
        import lm_eval.api.registry
        import lm_eval.models  # registers the backends
    except ImportError as error:
        raise ConfigError(
            f"evenbench eval needs lm-eval ({error}): pip install 'evenbench[eval]'"
        ) from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return lm_eval


def subject(given: str, revision: str | None = None) -> Subject:
    """A run's folder (its newest checkpoint), a model's folder, or a hub id."""
    path = Path(given)
    if not (path / "run.json").is_file():
        if path.exists() and not (path / "config.json").is_file():
            raise ConfigError(f"{given}: neither a run (run.json) nor a model (config.json)")
        return Subject(given, given, revision)
    folder = store.RunFolder(path)
    checkpoint = folder.checkpoint
    if checkpoint is None:
        raise ConfigError(
            f"{given}: no checkpoint was kept (the run's checkpoint = 'none', or it has not "
            "evaluated yet)"
        )
    run = Run.model_validate(json.loads((path / "run.json").read_text())["config"])
    state = json.loads((checkpoint / "state.json").read_text())
    return Subject(given, str(checkpoint), None, run, folder, state["ledger"]["updates"])


def _arguments(about: Subject, backend: str, url: str | None) -> dict[str, Any]:
    dtype = about.run.model.dtype if about.run else "auto"
    if backend == "local-completions":
        return {"model": about.where, "base_url": url, "tokenized_requests": False,
                "tokenizer_backend": "huggingface", "num_concurrent": 8}  # fmt: skip
    return {"pretrained": about.where, "dtype": dtype, "revision": about.revision or "main"}


def _device(device: str | None) -> str:
    import torch

    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def _benchmarks(names: list[str], about: Subject, folder: Path) -> tuple[list[str], Any]:
    """What lm-eval is to load, and its manager. A single benchmark becomes a YAML file in `folder`
    that includes the true one and may change it. (Indexing all 13,000 files of lm-eval takes long
    and is left for groups and tags.)"""
    import lm_eval.tasks

    theirs = Path(lm_eval.tasks.__file__).parent
    chosen, rest = [], []
    for name in names:
        file = _file(name, theirs)
        if file is None:
            rest.append(name)
            chosen.append(name)
        else:
            content = {"include": str(file), "task": name, **_changes(name, about)}
            (folder / f"{name}.yaml").write_text(json.dumps(content))
            chosen.append(str(folder / f"{name}.yaml"))
    manager = lm_eval.tasks.TaskManager(include_path=str(OURS), include_defaults=bool(rest))
    for name in rest:
        if name not in manager.task_index:
            near = difflib.get_close_matches(name, manager.all_tasks, n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise ConfigError(f"--tasks: lm-eval knows no {name!r}{hint}")
    return chosen, manager


def _file(name: str, theirs: Path) -> Path | None:
    """The YAML file of a single benchmark, if the file's name tells."""
    import yaml

    for file in (OURS / f"{name}.yaml", *sorted(theirs.rglob(f"{name.replace('_', '[_-]')}.yaml"))):
        lines = file.read_text().splitlines() if file.is_file() else []
        if any(yaml.safe_load(line) == {"task": name} for line in lines if line.startswith("task:")):
            return file
    return None


def _changes(name: str, about: Subject) -> dict[str, Any]:
    if about.run and name == f"evenbench_{about.run.task['name']}":
        stop = list(about.run.build_task().stop)
        limits = {"until": stop, "do_sample": False, "max_gen_toks": about.run.max_tokens}
        return {"dataset_kwargs": {"evenbench_task": about.run.task}, "generation_kwargs": limits}
    data = data_dir_from_environment()
    files = {split: str(data / file) for split, file in LOCAL.get(name, {}).items()} if data else {}
    if files and all(Path(file).is_file() for file in files.values()):
        kwargs = {"data_files": files}
        return {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": kwargs}
    return {}


def _questions_of(about: Subject, names: Sequence[str]) -> dict[str, list[int]]:
    """Of the run's own task: where the questions of its last evaluation stand in the test split."""
    own = f"evenbench_{about.run.task['name']}" if about.run else ""
    if own not in names or about.run is None or about.seen is None:
        return {}
    seen = set(about.seen.loc[about.seen["split"] == "test", "question_id"])
    examples = about.run.build_task().examples("test")
    return {own: [i for i, e in enumerate(examples) if e.id in seen]} if seen else {}


def _measure(
    name: str, samples: list[dict[str, Any]], found: Any, about: Subject, model: Any
) -> tuple[pd.DataFrame | None, dict[str, Any]]:
    """The rows of one benchmark, None where its headline is no verdict a question, and its part of
    the report."""
    config, metrics = found["configs"][name], found["results"][name]
    by_filter: dict[str, list[dict[str, Any]]] = {}
    for sample in samples:
        by_filter.setdefault(sample["filter"], []).append(sample)
    headline = _readings(by_filter)
    numbers = {k: v for k, v in metrics.items() if isinstance(v, int | float)}
    report: dict[str, Any] = {
        "accuracy": None,
        "in_loop_accuracy": None,
        "headline": None,
        "questions": len(next(iter(by_filter.values()))),
        "few_shot": found["n-shot"].get(name),
        "version": found["versions"].get(name),
        "metrics": numbers,
    }
    if headline is None:
        return None, report
    (metric, which), strict = headline
    report |= {"accuracy": numbers[f"{metric},{which}"], "headline": f"{metric},{which}"}
    values = [[s[m] for s in by_filter[f]] for m, f in (headline[0], strict)]
    if not all(value in (0, 1) for column in values for value in column):
        return None, report
    limits = config.get("generation_kwargs") or {}
    greedy = not limits.get("do_sample")
    rows = [
        _row(sample, bool(sample[metric]), bool(official[strict[0]]), limits, model)
        for sample, official in zip(by_filter[which], by_filter[strict[1]], strict=True)
    ]
    frame = pd.DataFrame(rows)
    again = frame.groupby("question_id").cumcount()
    frame["question_id"] = frame["question_id"].where(
        again == 0, frame["question_id"] + "-" + again.astype(str)
    )
    frame = frame.assign(
        step=about.step, split=name, decoding="greedy" if greedy else "sampled", sample=0
    )
    report["in_loop_accuracy"] = _in_loop(name, frame, about)
    return frame[list(EVAL_COLUMNS)], report


def _readings(
    by_filter: dict[str, list[dict[str, Any]]],
) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """(metric, filter) of `correct` and of `strict`."""

    def choose(metric: str, preferred: Sequence[str]) -> tuple[str, str] | None:
        there = [f for f, rows in by_filter.items() if metric in rows[0]]
        return (metric, next((f for f in preferred if f in there), there[0])) if there else None

    for correct, strict in METRICS:
        one, other = choose(correct, CORRECT_FILTERS), choose(strict, STRICT_FILTERS)
        if one and other:
            return one, other
    return None


def _row(
    sample: dict[str, Any], correct: bool, strict: bool, limits: dict[str, Any], model: Any
) -> dict[str, Any]:
    said, kept = sample["resps"][0][0], sample["filtered_resps"][0]
    response = said if isinstance(said, str) else None  # else log-probs of the choices
    tokens = _length(model, response)
    ours = "task" in sample["doc"] and "id" in sample["doc"] and response is not None
    verdict = grade(sample["doc"], response) if ours else None  # type: ignore[arg-type]
    return {
        "question_id": sample["doc"]["id"] if ours else sample["doc_hash"][:16],
        "correct": correct,
        "strict": strict,
        "status": verdict.status if verdict else "ok" if correct else "wrong",
        "format_ok": verdict.format_ok if verdict else True,
        "finished": response is None or tokens < limits.get("max_gen_toks", tokens + 1),
        "tokens": tokens,
        "response": response,
        "extracted": verdict.extracted if verdict else kept if isinstance(kept, str) else None,
        "prompt": sample["doc"]["prompt"] if ours else sample["arguments"][0][0],
        "gold": str(sample["target"]),
    }


def _length(model: Any, response: str | None) -> int:
    """Tokens of a response, without an end token; 0 where nobody can tell."""
    tokenizer = getattr(model, "tokenizer", None)
    if response is None or not hasattr(tokenizer, "batch_decode"):
        return 0
    return len(tokenizer(response, add_special_tokens=False)["input_ids"])  # type: ignore[misc]


def _in_loop(name: str, frame: pd.DataFrame, about: Subject) -> float | None:
    """The greedy accuracy that the run itself measured on the same questions; None if it has not
    seen all of them."""
    if about.run is None or name != f"evenbench_{about.run.task['name']}" or about.seen is None:
        return None
    seen = about.seen[about.seen["split"] == "test"].set_index("question_id")["correct"]
    asked = frame["question_id"]
    return float(seen.loc[asked].mean()) if asked.isin(seen.index).all() else None


def _store(about: Subject, frame: pd.DataFrame, out: Path, backend: str) -> Path:
    """Add the rows to the run's evaluations, or to the folder of a model's; rows of the same
    benchmark are replaced. Returns the file."""
    folder = about.folder
    if folder is None:
        folder = _model_folder(about, out, backend)
    path = folder.path / "evals.parquet"
    with folder.claimed() as mine:
        if not mine:
            raise ConfigError(f"{folder.path}: another process is at work on this run; try later")
        if path.is_file():
            old: Any = pd.read_parquet(path)
            old["split"] = old["split"].astype("str")
            replaced = (old["step"] == about.step) & old["split"].isin(frame["split"].unique())
            frame = pd.concat([old[~replaced], frame], ignore_index=True)
        folder.replace_evals(
            frame.astype({"step": "int32", "sample": "int16", "tokens": "int32"})
        )
    return path


def _model_folder(about: Subject, out: Path, backend: str) -> store.RunFolder:
    """A folder for a model's rows that reads like a finished run of no updates."""
    name = f"{about.where.strip('/').replace('/', '--')}@{about.revision}".removesuffix("@None")
    digest = content_id(str(Path(about.where).resolve()), str(about.revision), backend)[:8]
    folder = store.RunFolder(out / f"{Path(name).name[-80:]}-{digest}")
    folder.path.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    folder.write_json(
        "run.json",
        {
            "schema_version": SCHEMA_VERSION,
            "id": folder.path.name,
            "suite": out.name,
            "method": name,
            "objective": "none",
            "fields": {},
            "task": "lm-eval",
            "seed": 0,
            "source": None,
            "config": {"model": about.where, "revision": about.revision, "backend": backend},
            "budget": {},
            "packages": {**packages(), "lm_eval": version("lm_eval")},
            "hardware": hardware(),
            "git": None,
            "data": {},
            "grader": {"version": "lm-eval", "options": {}},
            "base": {"id": about.where, "cost": {}},
            "warnings": [],
            "started": now,
        },
    )
    (folder.path / "steps.jsonl").touch()
    folder.write_json(
        "DONE", {"status": "finished", "reason": None, "step": 0, "seconds": 0.0, "ended": now}
    )
    return folder


def show(result: dict[str, Any]) -> Any:
    """The report as a table for the terminal."""
    from rich.table import Table

    table = Table(title=result["model"]["given"], title_justify="left")
    for column in ("benchmark", "accuracy", "in loop", "questions", "shots", "reading"):
        table.add_column(column, justify="left" if column in ("benchmark", "reading") else "right")
    for name, task in result["tasks"].items():
        numbers = ["" if task[k] is None else f"{task[k]:.4f}" for k in ("accuracy", "in_loop_accuracy")]
        table.add_row(
            name, *numbers, str(task["questions"]), str(task["few_shot"]), task["headline"] or ""
        )
    return table
