"""Replay sets: what the starting model sampled once for every offline method.

A set belongs to a task, a model, a seed and a budget. It is stored under the hash of what it
depends on and shared by all methods. Each run is charged as if it had drawn the samples itself.
"""

import json
from collections.abc import Hashable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.core import rng
from bench.core.cache import cache_root, locked
from bench.record.ledger import Ledger
from tasks import Grade, content_id

from .batch import Group, Response
from .sources import Drawer, Drawn

PHASES = ("sample", "grade")  # whose seconds are kept with the set


class ReplaySource:
    """The starting model's samples, in the order in which a policy run would have drawn them."""

    def __init__(self, drawer: Drawer, start_id: str):
        """`drawer` draws with the starting model, whose hash is `start_id`."""
        self.drawer = drawer
        self.by_id = {e.id: e for e in drawer.task.examples("train")}
        self.path = self._ensure(start_id)
        frame = pd.read_parquet(self.path)
        self.rollouts = [part.to_dict("records") for _, part in frame.groupby("rollout")]
        self.seconds: dict[str, float] = json.loads(self.path.with_suffix(".json").read_text())

    def _ensure(self, start_id: str) -> Path:
        """The set's file, drawn first where it is not there."""
        folder = cache_root() / "replay"
        path = folder / f"{content_id(json.dumps(self._content(start_id), sort_keys=True))}.parquet"
        with locked(path.with_suffix(".lock")):
            if not (path.is_file() and path.with_suffix(".json").is_file()):
                self._fill(path)
        return path

    def _content(self, start_id: str) -> list[Any]:
        """All that the set depends on."""
        run, task, shape = self.drawer.run, self.drawer.task, self.drawer.run.rollout
        asked = {"revision", "dtype", "chat", "chat_options", "system", "stop"}
        return [
            start_id,
            run.model.model_dump(mode="json", include=asked),
            run.task,
            task.fingerprint(),
            task.grader_version,
            run.seed,
            shape.prompts,
            shape.group,
            shape.temperature,
            run.max_tokens,
            run.rollouts,
        ]

    def _fill(self, path: Path) -> None:
        run, ledger = self.drawer.run, Ledger()
        assert run.rollouts is not None  # checked with the config
        examples, Q = self.drawer.task.examples("train"), run.rollout.prompts
        rows = []
        for i in range(run.rollouts):
            at = rng.prompt_order(run.seed, len(examples), i * Q, Q)
            for group in self.drawer.groups([examples[j] for j in at], i, ledger):
                rows += [_row(i, group, sample) for sample in range(len(group.responses))]
        partial = path.with_suffix(".partial")
        pd.DataFrame(rows).to_parquet(partial, index=False, compression="zstd")
        seconds = {name: ledger.spent(f"seconds_{name}") / run.rollouts for name in PHASES}
        path.with_suffix(".json").write_text(json.dumps(seconds))
        partial.replace(path)

    def draw(self, rollout: int, cursor: int, ledger: Ledger, refill: bool) -> Drawn:
        """The stored batch, from the first again when the set is used up; charged as if drawn
        now. A second pass over the set costs no sampling."""
        rows, G = self.rollouts[rollout % len(self.rollouts)], self.drawer.run.rollout.group
        blocks = [rows[first : first + G] for first in range(0, len(rows), G)]
        drawn = [Group(self.by_id[b[0]["question_id"]], [_response(r) for r in b]) for b in blocks]
        length_N = [len(response.ids) for group in drawn for response in group.responses]
        if rollout < len(self.rollouts):
            prompts = [self.drawer.policy.encode_prompt(group.example.prompt) for group in drawn]
            self.drawer.charge(ledger, [len(prompt) for prompt in prompts], length_N)
            ledger.seconds_sample += self.seconds["sample"]
            ledger.seconds_grade += self.seconds["grade"]
        else:
            ledger.samples += len(length_N)
        return Drawn(drawn, cursor + len(drawn))


def _row(rollout: int, group: Group, sample: int) -> dict[str, Any]:
    response = group.responses[sample]
    return {
        "rollout": rollout,
        "question_id": group.example.id,
        "sample": sample,
        "tokens": response.ids,
        "logp": response.logp,
        "response": response.text,
        "finished": response.finished,
        **asdict(response.grade),
    }


def _response(row: dict[Hashable, Any]) -> Response:
    grade = Grade(**{name: row[name] for name in Grade.__dataclass_fields__})
    if grade.reward is not None and grade.reward != grade.reward:  # parquet has NaN for None
        grade = replace(grade, reward=None)
    ids, logp = row["tokens"].tolist(), row["logp"].tolist()
    return Response(ids, row["response"], grade, bool(row["finished"]), logp=logp)
