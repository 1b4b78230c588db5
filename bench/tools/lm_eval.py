"""`evenbench eval`: lm-eval's benchmarks on a run or a model.

Every answer becomes a row in the form of a run's own evaluations (EVAL_COLUMNS of results.records)
whose question_id is the document's hash, so the paired statistics of a suite apply: a run's rows
join its evals.parquet under the benchmark's name as their split, a model's rows make a folder that
`results.load` reads like a run.

On a run's own task (`evenbench_arithmetic` on a run of `arithmetic`) the model, the questions, the
options of the task and the limit of tokens are those of the run's last evaluation, so that its
greedy accuracy and lm-eval's must be equal to the last digit.
"""

from __future__ import annotations

import difflib
import json
import logging
import math
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import torch
from pydantic import ValidationError

import tasks
from bench.config import Backend, ConfigError, Run
from bench.core.files import write_atomic
from bench.model import start
from bench.record import store
from bench.record.provenance import hardware, packages
from results.records import (
    EVAL_COLUMNS,
    Base,
    DoneRecord,
    Grader,
    RunRecord,
    StateRecord,
)
from tasks import content_id
from tasks.files import data_dir_from_environment
from tasks.lm_eval.utils import MARK, grade

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
    """What is evaluated: a run's last model, or any model."""

    given: str  # as the user named it
    where: str  # folder or hub id
    revision: str | None = None
    run: Run | None = None
    folder: store.RunFolder | None = None
    step: int = 0  # updates done

    @property
    def own(self) -> str | None:
        """The benchmark that asks the run's own task."""
        return f"evenbench_{self.run.task['name']}" if self.run else None

    def in_loop(self) -> pd.Series:
        """By question of the test split: was the greedy answer right, in the run's own evaluation
        of this very model?"""
        assert self.folder is not None
        rows: Any = pd.read_parquet(self.folder.path / "evals.parquet")
        last = (rows["step"] == self.step) & (rows["decoding"] == "greedy")
        return rows[last & (rows["split"] == "test")].set_index("question_id")["correct"]


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
    chat: bool = False,
    model_args: dict[str, Any] | None = None,
    out: Path = Path("runs/eval"),
) -> dict[str, Any]:
    """Evaluate a run's folder, a model's folder or a hub id on benchmarks of lm-eval, by name.

    `limit`: only the first questions of each. `url`: the completions address of
    local-completions, e.g. http://localhost:8000/v1/completions. `chat`: with the model's chat
    template (a run is asked as it was trained). `model_args` are added to those of lm-eval's
    backend. What is returned is written to `json_file`: for each benchmark the headline `accuracy`,
    `in_loop_accuracy` (of the run's own evaluation of the same questions, else null) and every
    metric that lm-eval reports.

    Raises ConfigError: lm-eval is not installed, no such benchmark or no data for it, a run that
    diverged or kept no model, no address.
    """
    if backend not in get_args(Backend):
        raise ConfigError(f"--backend {backend!r}; allowed: {', '.join(get_args(Backend))}")
    if backend == "local-completions" and not url:
        raise ConfigError(
            "--backend local-completions needs --url, the address of an OpenAI-compatible server, "
            "e.g. http://localhost:8000/v1/completions"
        )
    if not names:
        raise ConfigError("--tasks: at least one benchmark, e.g. gsm8k,evenbench_math500")
    api = _import_lm_eval()
    started = time.perf_counter()
    names = [*dict.fromkeys(names)]
    about = subject(given, revision)
    files, manager = _find(names)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    extra = dict(model_args or {})
    with ExitStack() as stack:
        specs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        benchmarks = _load(names, files, manager, about, specs)  # before the model: it takes longer
        model, how = _model(
            api, about, backend, url, place, batch_size or BATCH[backend], chat, extra
        )
        seen = about.in_loop() if about.own in names else pd.Series(dtype=bool)
        asked = {} if limit or not len(seen) else _questions(about, seen)
        try:
            found = api.simple_evaluate(
                model=model,
                tasks=benchmarks,
                task_manager=manager,
                limit=limit,
                samples=asked or None,
                log_samples=True,
                bootstrap_iters=1000,
                **how,
            )
        except (AssertionError, ValueError) as error:  # how lm-eval refuses a model for a task
            raise ConfigError(f"{given}: lm-eval: {error}") from error
    if found is None:  # another rank of a distributed evaluation reports
        return {}
    frames, report = [], {}
    for name, samples in found["samples"].items():
        frame, report[name] = _measure(name, samples, found, model)
        if frame is not None:
            asked_for = frame["question_id"].tolist()
            if name == about.own and set(asked_for) <= set(seen.index):
                report[name]["in_loop_accuracy"] = float(seen.loc[asked_for].mean())
            frames.append(frame.assign(step=about.step)[list(EVAL_COLUMNS)])
    stored = _store(about, pd.concat(frames, ignore_index=True), out, backend) if frames else None
    result = {
        "model": {"given": given, "where": about.where, "revision": about.revision},
        "run": None if about.run is None else {"id": about.run.name, "step": about.step},
        "backend": backend,
        "chat_template": how["apply_chat_template"],
        "limit": limit,
        "tasks": report,
        "groups": {name: _numbers(metrics) for name, metrics in found.get("groups", {}).items()},
        "rows": None if stored is None else str(stored),
        "packages": {**packages(), "lm_eval": version("lm_eval")},
        "hardware": hardware(place),
        "seconds": time.perf_counter() - started,
    }
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(json_file, json.dumps(result, indent=1))
    return result


def _import_lm_eval() -> Any:
    try:
        import lm_eval
        import lm_eval.api.registry
        import lm_eval.models  # registers the backends
        import lm_eval.tasks
    except ImportError as error:
        raise ConfigError(
            f"evenbench eval needs lm-eval ({error}): pip install 'evenbench[eval]'"
        ) from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return lm_eval


def subject(given: str, revision: str | None = None) -> Subject:
    """A run's folder, a model's folder or a hub id."""
    path = Path(given)
    if not (path / "run.json").is_file():
        if path.is_dir() and not any(path.glob("*config.json")):
            what = "a suite; name one of its runs" if (path / "suite.json").is_file() else ""
            raise ConfigError(f"{given}: {what or 'neither a run (run.json) nor a model'}")
        if not path.is_dir() and (given.count("/") > 1 or given.startswith((".", "~", "/"))):
            raise ConfigError(f"{given}: no such folder")
        return Subject(given, given, revision)
    folder = store.RunFolder(path)
    done, checkpoint = folder.done, folder.checkpoint
    try:
        run = Run.model_validate(folder.record.config)
    except ValidationError:
        raise ConfigError(f"{given}: holds evaluations only; name the model itself") from None
    instead = f"; the model of its last evaluation can be named itself: {checkpoint}"
    if done is None:
        raise ConfigError(
            f"{given}: not finished (evenbench resume){instead if checkpoint else ''}"
        )
    if done.status != "finished":
        raise ConfigError(f"{given}: {done.status}: {done.reason}{instead}")
    if checkpoint is None:
        raise ConfigError(f"{given}: no model was kept (the recipe's checkpoint = 'none')")
    step = StateRecord.read(checkpoint / StateRecord.file).ledger.updates
    return Subject(given, str(checkpoint), None, run, folder, step)


def _model(
    api: Any,
    about: Subject,
    backend: str,
    url: str | None,
    device: torch.device,
    batch_size: int | str,
    chat: bool,
    extra: dict[str, Any],
) -> tuple[Any, dict[str, Any]]:
    """lm-eval's model, and how it is asked: template, system prompt."""
    section = about.run.model if about.run else None
    how: dict[str, Any] = {
        "apply_chat_template": chat or (section is not None and section.chat != "none"),
        "system_instruction": section.system if section else None,
    }
    arguments: dict[str, Any] = {
        "pretrained": about.where,
        "dtype": section.dtype if section else "auto",
        "revision": about.revision or "main",
        "chat_template_args": section.chat_options if section else {},
    }
    adapter = section.lora if section else None  # then checkpoints hold what is added to the start
    if about.run and adapter:
        arguments["pretrained"] = str(start.ensure(about.run.model, about.run.build_task()))
    if backend == "local-completions":
        arguments = {"model": about.where, "base_url": url, "tokenized_requests": False,
                     "tokenizer_backend": "huggingface", "num_concurrent": 8}  # fmt: skip
    elif backend == "vllm" and adapter:
        rank = {"max_lora_rank": adapter.r, "lora_local_path": about.where}
        arguments |= {"tokenizer": about.where, **rank}
    elif backend == "hf" and section:
        # the harness's own reading of the folder, so that lm-eval asks the very same policy
        own = {"lora": None} if adapter else {"path": about.where, "revision": None}
        config = section.model_copy(update=own)
        policy = start.load(arguments["pretrained"], config, str(device))
        network: Any = policy.model
        if adapter:
            from peft import PeftModel

            network = PeftModel.from_pretrained(network, about.where)
        network.generation_config.update(eos_token_id=policy.stop_ids, pad_token_id=policy.pad_id)
        arguments |= {"pretrained": network, "tokenizer": policy.tokenizer}
    common = {"batch_size": batch_size, "device": str(device)}
    try:
        made = api.api.registry.get_model(backend).create_from_arg_obj(
            {**arguments, **extra}, common
        )
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise ConfigError(f"{about.given}: backend {backend}: {error}") from error
    return made, how


def _find(names: Sequence[str]) -> tuple[dict[str, Path], Any]:
    """The YAML files of single benchmarks, and lm-eval's manager, which knows the others. (Indexing
    all 13,000 files of lm-eval takes long and is left for groups and tags.)"""
    import lm_eval.tasks

    files = {name: file for name in names if (file := _file(name))}
    rest = [name for name in names if name not in files]
    ours = [f"evenbench_{task}" for task in tasks.names()]
    ours += [file.stem for file in OURS.glob("evenbench_*.yaml")]
    for name in rest:
        if name.startswith("evenbench_") and name not in ours:
            raise ConfigError(f"--tasks: no benchmark {name!r}{_nearest(name, ours)}")
    manager = lm_eval.tasks.TaskManager(include_path=str(OURS), include_defaults=bool(rest))
    for name in rest:
        if name not in manager.task_index:
            near = _nearest(name, [*manager.all_tasks, *ours])
            raise ConfigError(f"--tasks: lm-eval has no benchmark {name!r}{near}")
    return files, manager


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, [*dict.fromkeys(known)], n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _file(name: str) -> Path | None:
    """Where a single benchmark is described, if the file's name tells."""
    import lm_eval.tasks
    import yaml

    if _ours(name):
        return OURS / "_common.yaml"
    theirs = Path(lm_eval.tasks.__file__).parent
    for file in sorted(theirs.rglob(f"{name.replace('_', '[_-]')}.yaml")):
        lines = [line for line in file.read_text().splitlines() if line.startswith("task:")]
        if any(yaml.safe_load(line) == {"task": name} for line in lines):
            return file
    return None


def _ours(name: str) -> str | None:
    """The task behind `evenbench_gsm8k`; every task of the project is such a benchmark."""
    task = name.removeprefix("evenbench_")
    return task if task != name and task in tasks.names() else None


def _load(
    names: Sequence[str],
    files: dict[str, Path],
    manager: Any,
    about: Subject,
    folder: Path,
) -> list[Any]:
    """lm-eval's tasks and groups, with their data."""
    loaded: list[Any] = []
    for name in names:
        spec = name
        if name in files:  # a file that includes the true one and may change it
            content = {"include": str(files[name]), "task": name, **_changes(name, about)}
            (folder / f"{name}.yaml").write_text(json.dumps(content))
            spec = str(folder / f"{name}.yaml")
        try:
            found = manager.load([spec])
        except Exception as error:  # a benchmark's own code and every kind of hub trouble
            raise ConfigError(
                f"--tasks {name}: could not be loaded: {error}{_wanted(name, manager)}"
            ) from error
        group = found.get("groups", {}).get(name)
        loaded += [group] if group is not None else found["tasks"].values()
    return loaded


def _wanted(name: str, manager: Any) -> str:
    """Which data a benchmark or group needs, as the end of an error message."""
    if name in LOCAL:
        files = ", ".join(LOCAL[name].values())
        return f"; its files are looked for in EVENBENCH_DATA (or --data-dir): {files}"
    sets = sorted(_data_sets(name, manager)) if name in manager.task_index else []
    return f"\nIt needs from the hub, or the hub's cache: {', '.join(sets)}" if sets else ""


def _data_sets(name: str, manager: Any) -> set[str]:
    """Data sets on the hub of a benchmark, or of a group's members."""
    from lm_eval.tasks._yaml_loader import load_yaml

    entry = manager.task_index[name]
    content = load_yaml(entry.yaml_path, resolve_func=False) if entry.yaml_path else entry.cfg or {}
    members = content.get("task") if "group" in content else None
    if entry.kind.name == "TAG":
        members = list(entry.tags)
    if isinstance(members, list):
        names = [m if isinstance(m, str) else m.get("task") for m in members]
        return set().union(*(_data_sets(n, manager) for n in names if n in manager.task_index))
    return {content["dataset_path"]} if content.get("dataset_path") else set()


def _changes(name: str, about: Subject) -> dict[str, Any]:
    task = _ours(name)
    if task:
        stop = start.stop_strings(about.run.model) if about.run else ()
        fields, limit = {"name": task}, tasks.entry(task).cls.max_tokens
        if about.run and name == about.own:
            fields, limit = about.run.task, about.run.max_tokens
        until = [*tasks.entry(task).cls.stop, *stop]
        limits = {"until": until, "do_sample": False, "max_gen_toks": limit}
        return {"dataset_kwargs": {"evenbench_task": fields}, "generation_kwargs": limits}
    data = data_dir_from_environment()
    local = {split: str(data / file) for split, file in LOCAL.get(name, {}).items()} if data else {}
    if local and all(Path(file).is_file() for file in local.values()):
        kwargs = {"data_files": local}
        return {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": kwargs}
    return {}


def _questions(about: Subject, seen: pd.Series) -> dict[str, list[int]]:
    """Where the questions of the run's last evaluation stand in its test split."""
    assert about.run is not None and about.own is not None
    examples = about.run.build_task().examples("test")
    return {about.own: [i for i, e in enumerate(examples) if e.id in seen.index]}


def _measure(
    name: str, samples: list[dict[str, Any]], found: Any, model: Any
) -> tuple[pd.DataFrame | None, dict[str, Any]]:
    """The rows of one benchmark, None where its headline is no verdict a question, and its part of
    the report."""
    by_filter: dict[str, list[dict[str, Any]]] = {}
    for sample in samples:
        by_filter.setdefault(sample["filter"], []).append(sample)
    numbers = _numbers(found["results"][name])
    report: dict[str, Any] = {
        "accuracy": None,
        "in_loop_accuracy": None,
        "headline": None,
        "questions": len(next(iter(by_filter.values()))),
        "few_shot": found["n-shot"].get(name),
        "cut": _cut(next(iter(by_filter.values())), found["configs"][name], model),
        "version": found["versions"].get(name),
        "metrics": numbers,
    }
    readings = _readings(by_filter)
    if readings is None:
        return None, report
    (metric, which), (strict, official) = readings
    report |= {"accuracy": numbers[f"{metric},{which}"], "headline": f"{metric},{which}"}
    verdicts = [s[metric] for s in by_filter[which]], [s[strict] for s in by_filter[official]]
    if not all(value in (0, 1) for column in verdicts for value in column):
        return None, report
    limits = found["configs"][name].get("generation_kwargs") or {}
    rows = [_row(sample, limits, model) for sample in by_filter[which]]
    frame = pd.DataFrame(rows).assign(
        correct=[bool(v) for v in verdicts[0]],
        strict=[bool(v) for v in verdicts[1]],
        split=name,
        decoding="sampled" if limits.get("do_sample") else "greedy",
        sample=0,
    )
    again = frame.groupby("question_id").cumcount()  # a benchmark may ask a question twice
    twice = frame["question_id"] + "-" + again.astype(str)
    frame["question_id"] = frame["question_id"].where(again == 0, twice)
    frame["status"] = [
        status or ("ok" if right else "wrong")
        for status, right in zip((row["status"] for row in rows), verdicts[0], strict=True)
    ]
    return frame, report


def _cut(samples: list[dict[str, Any]], config: dict[str, Any], model: Any) -> int:
    """Prompts that lose their beginning because model and answer leave no room for them, of which
    lm-eval says nothing but a line in a log."""
    room = getattr(model, "max_length", None)
    if not room or config.get("output_type") != "generate_until":
        return 0
    room -= (config.get("generation_kwargs") or {}).get("max_gen_toks") or model.max_gen_toks
    return sum(_length(model, sample["arguments"][0][0]) > room for sample in samples)


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    return {
        k: v for k, v in metrics.items() if isinstance(v, int | float) and math.isfinite(v)
    }  # lm-eval says "N/A" of an error that it cannot estimate


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


def _row(sample: dict[str, Any], limits: dict[str, Any], model: Any) -> dict[str, Any]:
    """A question with its answer; what lm-eval does not say is None."""
    doc, said, kept = sample["doc"], sample["resps"][0][0], sample["filtered_resps"][0]
    response = said if isinstance(said, str) else None  # else log-probs of the choices
    verdict = grade(doc, response) if MARK in doc and response is not None else None
    nothing = kept == "[invalid]"  # lm-eval's filters found no answer
    found = isinstance(kept, str) and not nothing
    tokens = _length(model, response)
    limit = limits.get("max_gen_toks") or getattr(model, "max_gen_toks", None)
    finished = response is None or limit is None or tokens < limit
    return {
        "question_id": doc["id"] if MARK in doc else sample["doc_hash"][:16],
        "status": verdict.status if verdict else "unparsable_answer" if nothing else None,
        "format_ok": verdict.format_ok if verdict else True,
        "finished": finished,
        "tokens": tokens + (finished and response is not None),  # the end token counts
        "response": response,
        "extracted": verdict.extracted if verdict else kept if found else None,
        "prompt": doc["prompt"] if MARK in doc else sample["arguments"][0][0],
        "gold": str(sample["target"]),
    }


def _length(model: Any, response: str | None) -> int:
    """Tokens of a response's text, hence without special ones; 0 where nobody can tell."""
    tokenizer = getattr(model, "tokenizer", None)
    if response is None or not callable(tokenizer):
        return 0
    ids: Any = tokenizer(response, add_special_tokens=False)
    return len(ids["input_ids"])


def _store(about: Subject, frame: pd.DataFrame, out: Path, backend: str) -> Path:
    """Add the rows to the run's evaluations, or to the folder of a model's; rows of the same
    benchmark are replaced. Returns the file."""
    folder = about.folder or _model_folder(about, out, backend)
    path = folder.path / "evals.parquet"
    with folder.claimed() as mine:
        if not mine:
            raise ConfigError(f"{folder.path}: another process is at work on this run; try later")
        if path.is_file():
            old: Any = pd.read_parquet(path)
            replaced = (old["step"] == about.step) & old["split"].isin(frame["split"].unique())
            texts = dict.fromkeys(("split", "decoding", "status"), "str")
            frame = pd.concat([old[~replaced].astype(texts), frame], ignore_index=True)
        folder.replace_evals(frame)
    return path


def _model_folder(about: Subject, out: Path, backend: str) -> store.RunFolder:
    """A folder for a model's rows that reads like a finished run of no updates."""
    name = about.given.strip("/") + (f"@{about.revision}" if about.revision else "")
    digest = content_id(str(Path(about.where).resolve()), str(about.revision), backend)[:8]
    folder = store.RunFolder(out / f"{name.replace('/', '--')[-80:]}-{digest}")
    folder.path.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    config = {"model": about.where, "revision": about.revision, "backend": backend}
    record = RunRecord(
        id=folder.path.name, suite=out.name, method=name, objective="none", task="lm-eval", seed=0,
        config=config, packages={**packages(), "lm_eval": version("lm_eval")},
        grader=Grader(version="lm-eval"), base=Base(id=about.where), started=now,
    )  # fmt: skip
    folder.write(record)
    (folder.path / "steps.jsonl").touch()
    folder.write(DoneRecord(status="finished", step=0, seconds=0.0, ended=now))
    return folder


def show(result: dict[str, Any]) -> Any:
    """The report as a table for the terminal."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(result["model"]["given"]), title_justify="left")
    for column in ("benchmark", "accuracy", "in loop", "questions", "shots", "reading"):
        table.add_column(column, justify="left" if column in ("benchmark", "reading") else "right")
    for name, task in result["tasks"].items():
        both = (task["accuracy"], task["in_loop_accuracy"])
        numbers = ["" if value is None else f"{value:.4f}" for value in both]
        rest = (str(task["questions"]), str(task["few_shot"]), task["headline"] or "")
        table.add_row(name, *numbers, *rest)
    cut = [f"{n}: {t['cut']} of {t['questions']}" for n, t in result["tasks"].items() if t["cut"]]
    if cut:
        table.caption = f"Prompts that the model has no room for were cut: {'; '.join(cut)}"
    return table
