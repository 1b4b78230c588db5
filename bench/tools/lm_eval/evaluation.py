"""The evaluation itself: lm-eval's model, its questions, and where the answers are kept."""

import json
import logging
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pandas as pd
import torch
from rich.markup import escape
from rich.table import Table

from bench.config import Backend, ConfigError
from bench.core.files import write_atomic
from bench.model import start
from bench.record import store
from bench.record.provenance import hardware, packages
from results.records import EVAL_COLUMNS, Base, DoneRecord, Grader, RunRecord
from tasks import content_id

from .benchmarks import find, load, questions
from .rows import finite, measure
from .subject import Subject, subject

BATCH = {"hf": 32, "vllm": "auto", "local-completions": 1}


def evaluate(
    given: str,
    names: Sequence[str],
    backend: str = "hf",
    *,
    limit: int | None = None,
    json_file: Path | None = None,
    revision: str | None = None,
    url: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    chat: bool = False,
    model_args: dict[str, Any] | None = None,
    out: Path = Path("runs/eval"),
) -> dict[str, Any]:
    """Evaluate a run's folder, a model's folder or a hub id on benchmarks of lm-eval, by name.

    `backend`: hf, vllm or local-completions; `url` is the address of the latter, e.g.
    http://localhost:8000/v1/completions. `limit`: only the first questions of each benchmark.
    `chat`: use the model's chat template (a run is asked as it was trained). `model_args` are
    further arguments of lm-eval's backend. The result, also written to `json_file`, holds for each
    benchmark the headline `accuracy`, `in_loop_accuracy` (from the run's own evaluation of the same
    questions, else null) and every metric that lm-eval reports.

    Raises ConfigError: lm-eval is not installed, a benchmark or its data is missing, the run
    diverged or kept no model, or `url` is missing.
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
    api, started = _import_lm_eval(), time.perf_counter()
    names, about = [*dict.fromkeys(names)], subject(given, revision)
    files, manager = find(names)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with ExitStack() as stack:
        specs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        benchmarks = load(names, files, manager, about=about, folder=specs)  # errors come soonest
        size = batch_size or BATCH[backend]
        model, how = _model(
            api, about, backend=backend, url=url, device=place, batch_size=size, chat=chat,
            extra=dict(model_args or {}),
        )  # fmt: skip
        seen = about.in_loop() if about.own in names else pd.Series(dtype=bool)
        asked = questions(about, seen) if len(seen) and not limit else None
        how |= {"log_samples": True, "bootstrap_iters": 1000, "samples": asked or None}
        try:
            found = api.simple_evaluate(
                model=model, tasks=benchmarks, task_manager=manager, limit=limit, **how
            )
        except (AssertionError, ValueError) as error:  # lm-eval refuses the model for a task
            raise ConfigError(f"{given}: lm-eval: {error}") from error
    if found is None:  # in a distributed evaluation another rank reports
        return {}
    frames, report = [], {}
    for name, samples in found["samples"].items():
        frame, report[name] = measure(name, samples, found, model)
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
        "groups": {name: finite(metrics) for name, metrics in found.get("groups", {}).items()},
        "rows": None if stored is None else str(stored),
        "packages": {**packages(), "lm_eval": version("lm_eval")},
        "hardware": hardware(place),
        "seconds": time.perf_counter() - started,
    }
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(json_file, json.dumps(result, indent=1))
    return result


def _import_lm_eval() -> ModuleType:
    try:
        import lm_eval
        import lm_eval.api.registry
        import lm_eval.models  # registers the backends
        import lm_eval.tasks
    except ImportError as error:
        install = "pip install 'evenbench[eval]'"
        raise ConfigError(f"evenbench eval needs lm-eval ({error}): {install}") from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return lm_eval


def _model(
    api: ModuleType,
    about: Subject,
    *,
    backend: str,
    url: str | None,
    device: torch.device,
    batch_size: int | str,
    chat: bool,
    extra: dict[str, Any],
) -> tuple[Any, dict[str, Any]]:
    """lm-eval's model, and how it is asked: chat template and system prompt."""
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
    adapter = section.lora if section else None  # then a checkpoint holds the adapter alone
    if about.run and adapter:
        arguments["pretrained"] = str(start.ensure(about.run.model, about.run.build_task()))
    if backend == "local-completions":
        arguments = {"model": about.where, "base_url": url, "tokenized_requests": False,
                     "tokenizer_backend": "huggingface", "num_concurrent": 8}  # fmt: skip
    elif backend == "vllm" and adapter:
        rank = {"max_lora_rank": adapter.r, "lora_local_path": about.where}
        arguments |= {"tokenizer": about.where, **rank}
    elif backend == "hf" and section:
        # loaded as the harness loads it, so that lm-eval asks exactly the same policy
        own = {"lora": None} if adapter else {"path": about.where, "revision": None}
        config = section.model_copy(update=own)
        policy = start.load(arguments["pretrained"], config, str(device))
        network: Any = policy.model
        if adapter:
            from peft import PeftModel

            network = PeftModel.from_pretrained(network, about.where)
        network.generation_config.update(eos_token_id=policy.stop_ids, pad_token_id=policy.pad_id)
        arguments |= {"pretrained": network, "tokenizer": policy.tokenizer}
    arguments, common = arguments | extra, {"batch_size": batch_size, "device": str(device)}
    try:
        made = api.api.registry.get_model(backend).create_from_arg_obj(arguments, common)
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise ConfigError(f"{about.given}: backend {backend}: {error}") from error
    return made, how


def _store(about: Subject, frame: pd.DataFrame, out: Path, backend: str) -> Path:
    """Add the rows to the run's evaluations, or to those in the folder of the model; they replace
    rows of the same benchmark. Returns the file."""
    folder = about.folder or _model_folder(about, out, backend)
    path = folder.path / "evals.parquet"
    with folder.claimed() as mine:
        if not mine:
            raise ConfigError(f"{folder.path}: another process is using this run; try later")
        if path.is_file():
            old: Any = pd.read_parquet(path)
            replaced = (old["step"] == about.step) & old["split"].isin(frame["split"].unique())
            texts = dict.fromkeys(("split", "decoding", "status"), "str")
            frame = pd.concat([old[~replaced].astype(texts), frame], ignore_index=True)
        folder.replace_evals(frame)
    return path


def _model_folder(about: Subject, out: Path, backend: str) -> store.RunFolder:
    """A folder for a model's rows, which reads like a finished run without updates."""
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


def show(result: dict[str, Any]) -> Table:
    """The report as a table for the terminal."""
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
        table.caption = f"Prompts cut because they do not fit into the model: {'; '.join(cut)}"
    return table
