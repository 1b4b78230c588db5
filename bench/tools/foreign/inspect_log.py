"""Inspect's logs (UK AI Security Institute): `.json`, or `.eval`, a zip of JSON files.

The format is documented at https://inspect.aisi.org.uk/eval-logs.html: `eval` says what was asked
of which model, `samples` (in a `.eval`: samples/ID_epoch_N.json each) hold `id`, `epoch`, `input`,
`target`, `output` and `scores`. The package itself is not needed. The ids of the questions are
hashes of input and target, so that logs pair however their samples are numbered.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from results.records import Imported
from tasks import content_id

from .rows import NOTHING, Asked, Foreign, LogError, digest, parsed

# Inspect's letters: correct, incorrect, no answer. A partial answer (P) is neither right nor wrong.
LETTERS = {"C": True, "I": False, "N": False}
Sample = tuple[str, dict[str, Any]]  # where it stands, what it holds


def inspect_runs(path: Path, asked: Asked = NOTHING, scorer: str | None = None) -> list[Foreign]:
    """The run of one log; each epoch is a sample of the question.

    `scorer` chooses among several; with one it may be None.

    Raises:
        LogError: not a log of Inspect, not finished, no such scorer, or a score that is neither
            right nor wrong.
    """
    header, samples = _read(path)
    about = header.get("eval")
    if not isinstance(about, dict) or not {"task", "model"} <= about.keys():
        raise LogError(f"{path}: not a log of Inspect: no eval with task and model in it")
    if (status := header.get("status")) != "success":
        raise LogError(f"{path}: status is {status!r}; allowed: 'success', a whole evaluation")
    if not samples:
        raise LogError(f"{path}: no samples; Inspect must log them (log_samples)")
    scored = [(where, s) for where, s in samples if s.get("scores") and not s.get("error")]
    if not scored:
        raise LogError(f"{path}: none of its {len(samples)} samples has a score")
    name = _scorer(path, scored[0][1]["scores"], scorer)
    temperature = _temperature(header)
    rows = pd.DataFrame([_row(where, sample, name) for where, sample in scored])
    rows["question_id"] = _distinct(rows)
    rows = rows.drop(columns=["id"]).assign(
        split="test", decoding="greedy" if temperature == 0 else "sampled"
    )
    failed = len(samples) - len(scored)
    left_out = (f"{path}: {failed} samples ended in an error and have no score: left out",)
    packages = about.get("packages") or {}
    return [
        Foreign(
            method=asked.method or str(about["model"]), seed=asked.seed, rows=rows,
            task=asked.task or str(about["task"]), grader=f"inspect {name}",
            asked={"temperature": temperature, "version": about.get("task_version"),
                   "arguments": about.get("task_args") or {}},
            left_out=left_out if failed else (),
            origin=Imported(
                tool="inspect", version=str(packages.get("inspect_ai", "")),
                model=str(about["model"]), files={str(path): digest(path)},
            ),
        )
    ]  # fmt: skip


def _read(path: Path) -> tuple[dict[str, Any], list[Sample]]:
    """The log without its samples, and these."""
    try:
        if not zipfile.is_zipfile(path):
            header = parsed(path.read_bytes(), str(path))
            listed = header.pop("samples", None) or []
            return header, [(f"{path}: sample {i}", s) for i, s in enumerate(listed, 1)]
        with zipfile.ZipFile(path) as log:
            names = log.namelist()
            if "header.json" not in names:
                raise LogError(f"{path}: no header.json in it: not a log of Inspect, or cut short")
            header = parsed(log.read("header.json"), f"{path}: header.json")
            inside = [n for n in names if n.startswith("samples/") and n.endswith(".json")]
            places = ((f"{path}: {name}", log.read(name)) for name in inside)
            return header, [(where, parsed(text, where)) for where, text in places]
    except OSError as error:
        raise LogError(f"{path}: {error.strerror or error}") from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise LogError(
            f"{path}: cannot be unpacked ({error}); allowed: a .json of it, which "
            "`inspect log convert --to json` writes"
        ) from None


def _scorer(path: Path, scores: dict[str, Any], wanted: str | None) -> str:
    if wanted is None and len(scores) == 1:
        return next(iter(scores))
    if wanted in scores:
        return str(wanted)
    what = "several scorers" if wanted is None else f"no scorer {wanted!r}"
    raise LogError(f"{path}: {what}; --scorer allows: {', '.join(scores)}")


def _temperature(header: dict[str, Any]) -> float | None:
    """Of the sampling; None where the log does not say it: then it is the server's default."""
    places = ((header.get("plan") or {}).get("config"),
              (header.get("eval") or {}).get("model_generate_config"))  # fmt: skip
    return next((c["temperature"] for c in places if c and c.get("temperature") is not None), None)


def _row(where: str, sample: dict[str, Any], scorer: str) -> dict[str, Any]:
    missing = [k for k in ("id", "epoch", "input", "target") if k not in sample]
    if missing:
        raise LogError(f"{where}: no {', '.join(missing)} in it")
    if scorer not in sample["scores"]:
        there = ", ".join(sample["scores"])
        raise LogError(f"{where}: no score of {scorer!r}; found: {there}")
    score = sample["scores"][scorer]
    value = score.get("value")
    correct = LETTERS.get(value) if isinstance(value, str) else value
    if isinstance(correct, list | dict) or correct not in (0, 1):
        raise LogError(
            f"{where}: {scorer} gives {value!r}; allowed: C, I, N, 0, 1, true, false (a graded "
            "score is neither right nor wrong)"
        )
    answer, response = score.get("answer"), "".join(_texts(sample))
    status = "ok" if correct else "unparsable_answer" if value == "N" else "wrong"
    content = [json.dumps(sample[k], sort_keys=True) for k in ("input", "target")]
    return {
        "id": str(sample["id"]), "question_id": content_id(*content),
        "sample": int(sample["epoch"]) - 1, "correct": bool(correct), "status": status,
        "extracted": None if answer is None else str(answer), "response": response or None,
        "prompt": sample["input"] if isinstance(sample["input"], str) else content[0],
        "gold": sample["target"] if isinstance(sample["target"], str) else content[1],
    }  # fmt: skip


def _texts(sample: dict[str, Any]) -> Iterator[str]:
    """The text of the first choice, reasoning and images left out."""
    for choice in ((sample.get("output") or {}).get("choices") or ())[:1]:
        content = (choice.get("message") or {}).get("content") or ""
        parts = [content] if isinstance(content, str) else content
        for part in parts:
            if isinstance(part, str):
                yield part
            elif part.get("type") == "text":
                yield str(part.get("text", ""))


def _distinct(rows: pd.DataFrame) -> pd.Series:
    """The questions' ids, told apart where a log asks one question under two ids."""
    order = rows.groupby("question_id")["id"].transform(lambda ids: pd.factorize(ids)[0])
    ids: Any = rows["question_id"]
    again = ids + "-" + order.astype(str)
    return ids.where(order == 0, again)
