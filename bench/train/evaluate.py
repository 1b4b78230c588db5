"""Evaluation on fixed questions with fixed decoding seeds: a row per question and sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.config import RunConfig
from bench.core import rng
from bench.model.policy import Policy
from bench.record.ledger import Flops, Ledger
from bench.sampling.hf import Sampler
from results.records import EVAL_COLUMNS
from tasks import Example, Task

GRADED = ("correct", "strict", "status", "format_ok", "extracted")  # of tasks.Grade
CPU_ROWS, ROWS = 256, 1024  # sampled at once: on a CPU as many as its caches bear


@dataclass(frozen=True)
class AskedQuestion:
    split: str
    example: Example
    prompt: list[int]  # token ids


@dataclass(frozen=True)
class Evaluator:
    run: RunConfig
    task: Task
    policy: Policy
    flops: Flops
    sampler: Sampler

    def __call__(self, splits: Mapping[str, int], ledger: Ledger, keep_texts: bool) -> pd.DataFrame:
        """EVAL_COLUMNS of results.records. The decoding seeds depend on seed, question and sample
        only, so that all methods, and all steps of a curve, are compared on common random numbers.

        `splits` maps a split to its number of questions (0: all). Prompts and gold answers are kept
        on greedy (else first) rows with `keep_texts`.
        """
        run = self.run
        with ledger.phase("evaluate"):
            self.sampler.sync()
            questions = [
                AskedQuestion(split, example, self.policy.encode_prompt(example.prompt))
                for split, count in splits.items()
                for example in self.task.examples(split)[: count or None]
            ]
            rows: list[dict[str, Any]] = []
            asked = {"greedy": int(run.eval.greedy), "sampled": run.eval.samples}
            for decoding, group in asked.items():
                if group:
                    rows += self._decoded(questions, decoding, group, ledger)
            order = {split: i for i, split in enumerate(splits)}
            rows.sort(key=lambda row: order[row["split"]])
            frame = pd.DataFrame(rows, columns=[*EVAL_COLUMNS]).assign(step=ledger.updates)
            if not keep_texts:
                frame[["prompt", "gold", "response"]] = None
            return frame

    def _decoded(
        self, questions: Sequence[AskedQuestion], decoding: str, group: int, ledger: Ledger
    ) -> list[dict[str, Any]]:
        """`group` rows a question, in the order of questions."""
        # by length, so that a batch holds little padding
        order = sorted(range(len(questions)), key=lambda i: len(questions[i].prompt))
        per = max(1, (CPU_ROWS if self.policy.device.type == "cpu" else ROWS) // group)
        found: dict[int, list[dict[str, Any]]] = {}
        for block in (order[i : i + per] for i in range(0, len(order), per)):
            graded = self._block([questions[i] for i in block], decoding, group, ledger)
            found |= dict(zip(block, graded, strict=True))
        return [row for i in range(len(questions)) for row in found[i]]

    def _block(
        self, questions: list[AskedQuestion], decoding: str, group: int, ledger: Ledger
    ) -> list[list[dict[str, Any]]]:
        """The rows of each question of one batch."""
        run, keys = self.run, None
        if decoding == "sampled":
            keys = [
                rng.key(run.seed, "evaluate", q.split, q.example.id, k)
                for q in questions
                for k in range(group)
            ]
        drawn = self.sampler(
            self.policy,
            [q.prompt for q in questions],
            group,
            keys,
            max_tokens=run.max_tokens,
            temperature=run.eval.temperature,
            stop=self.task.stop,
        )
        ledger.flops_evaluate += self.flops.forward(drawn.rows)
        ids_N, finished_N = drawn.response_ids(), drawn.finished_N.tolist()
        texts_N = self.policy.decode_many(ids_N)
        tells = decoding == "greedy" or not run.eval.greedy  # these rows hold the question's texts
        blocks = []
        for b, question in enumerate(questions):
            example, first = question.example, b * group
            grades = self.task.grade(example, texts_N[first : first + group])
            blocks.append(
                [
                    {
                        "split": question.split,
                        "question_id": example.id,
                        "decoding": decoding,
                        "sample": k,
                        **{name: getattr(grade, name) for name in GRADED},
                        "finished": finished_N[first + k],
                        "tokens": len(ids_N[first + k]),
                        "response": texts_N[first + k],
                        "prompt": example.prompt if tells and k == 0 else None,
                        "gold": example.gold if tells and k == 0 else None,
                    }
                    for k, grade in enumerate(grades)
                ]
            )
        return blocks
