"""lm-eval's logs: `results_TIME.json` beside a `samples_BENCHMARK_TIME.jsonl` for each benchmark,
as `lm_eval --log_samples --output_path DIR` writes them.

Each model of the folder becomes a run with a split per benchmark, as `evenbench eval` makes them.
The ids of the questions are lm-eval's hashes of the documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.tools.lm_eval.rows import measure
from results.records import Imported

from .rows import NOTHING, Asked, Foreign, LogError, digest, parsed

NEEDED = ("doc", "doc_hash", "resps", "filtered_resps", "arguments", "filter", "target")


@dataclass(frozen=True)
class _Log:
    """One evaluation: what stands in its results file, and its files of samples."""

    path: Path
    content: dict[str, Any]

    @property
    def model(self) -> str:
        """Its name; of a path the last two parts."""
        name = self.content.get("model_name") or self.content["config"].get("model", "model")
        return "/".join(str(name).strip("/").split("/")[-2:])

    @property
    def arguments(self) -> str:
        return str(self.content["config"].get("model_args"))

    def samples(self) -> dict[str, Path]:
        """Benchmark -> file."""
        time = self.path.stem.rpartition("_")[2]
        return {
            name: file for name in self.content["results"]
            if (file := self.path.with_name(f"samples_{name}_{time}.jsonl")).is_file()
        }  # fmt: skip


def lm_eval_runs(folder: Path, asked: Asked = NOTHING) -> list[Foreign]:
    """A run per model in the folder; of a benchmark's evaluations the newest counts.

    Raises:
        LogError: no log with samples, a broken line, two models of one name, or several models
            where `asked` names one method or seed.
    """
    logs = sorted(_logs(folder), key=lambda log: (log.content.get("date") or 0, log.path.name))
    if not logs:
        raise LogError(f"{folder}: no results_*.json of lm-eval in it or in its folders")
    models = {log.model: log for log in logs}
    for log in logs:
        if log.arguments != (other := models[log.model]).arguments:
            raise LogError(
                f"{log.path}: model {log.model} with other arguments than in {other.path}; import "
                "the two one by one, each with a --method of its own"
            )
    if len(models) > 1 and (asked.method or asked.seed is not None):
        raise LogError(
            f"{folder}: holds {len(models)} models ({', '.join(models)}); --method and --seed name "
            "a single one: give its own folder"
        )
    return [_run([log for log in logs if log.model == model], asked) for model in models]


def _logs(folder: Path) -> Iterator[_Log]:
    files = sorted(folder.rglob("*.json")) if folder.is_dir() else [folder]
    for path in files:
        try:
            content = parsed(path.read_bytes(), str(path))
        except OSError as error:
            raise LogError(f"{path}: {error.strerror or error}") from None
        if {"results", "configs", "config"} <= content.keys():
            yield _Log(path, content)
        elif path == folder:
            raise LogError(f"{path}: not lm-eval's: no results, configs and config in it")


def _run(logs: list[_Log], asked: Asked) -> Foreign:
    newest = {name: (log, file) for log in logs for name, file in log.samples().items()}
    if not newest:
        raise LogError(
            f"{logs[-1].path}: no samples_*.jsonl beside it; run lm_eval with --log_samples"
        )
    frames, left_out, how = [], [], {}
    for name, (log, file) in newest.items():
        try:
            frame, _ = measure(name, _samples(file), log.content, None)
        except (KeyError, TypeError, IndexError) as error:
            raise LogError(f"{file}: not as lm-eval 0.4 writes it ({error!r})") from None
        if frame is None:
            left_out.append(f"{name}: no verdict of right or wrong for each question: left out")
        else:
            frames.append(frame)
            how[name] = _how(name, log.content)
    files = {str(f): digest(f) for log, file in newest.values() for f in (log.path, file)}
    if not frames:
        raise LogError(f"{logs[-1].path}: {'; '.join(left_out)}")
    last = logs[-1]
    version = str(last.content.get("lm_eval_version") or "")
    return Foreign(
        method=asked.method or last.model, seed=asked.seed, task=asked.task or "lm-eval",
        grader="lm-eval", asked=how, left_out=tuple(left_out),
        # lengths are unknown without the model's tokenizer
        rows=pd.concat(frames, ignore_index=True).drop(columns=["tokens", "finished"]),
        origin=Imported(tool="lm-eval", version=version, model=last.arguments, files=files),
    )  # fmt: skip


def _how(name: str, content: dict[str, Any]) -> dict[str, Any]:
    """What of the evaluation may differ between two models, though the questions are the same."""
    return {
        "version": content.get("versions", {}).get(name),
        "few_shot": content.get("n-shot", {}).get(name),
        "chat_template": bool(content.get("chat_template")),
        "generation": content["configs"][name].get("generation_kwargs"),
    }


def _samples(path: Path) -> list[dict[str, Any]]:
    """lm-eval's samples as they were before it wrote them."""
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        sample = parsed(line, f"{path}:{number}")
        if missing := [k for k in NEEDED if k not in sample]:
            raise LogError(f"{path}:{number}: no {', '.join(missing)}; needed: {', '.join(NEEDED)}")
        arguments = sample["arguments"]
        if isinstance(arguments, dict):
            sample["arguments"] = [[*one.values()] for one in arguments.values()]
        found.append(sample)
    if not found:
        raise LogError(f"{path}: no sample in it")
    return found
