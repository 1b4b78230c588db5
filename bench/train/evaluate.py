"""Evaluation on fixed questions with fixed decoding seeds: a row per question and sample."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.config import Decoding, RunConfig
from bench.core import rng
from bench.model.policy import Policy
from bench.record.ledger import Flops, Ledger
from bench.sampling.hf import Sampler
from results.records import EVAL_COLUMNS
from tasks import Example, Task

from .sources import trained_on

GRADED = ("correct", "strict", "status", "format_ok", "extracted")  # of tasks.Grade
ROWS = 1024  # sampled at once
CPU_ROWS, CPU_CACHE = 256, 1 << 28  # or fewer on a CPU, where their keys take more than these bytes


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

    def __call__(self, splits: Mapping[str, int], ledger: Ledger, final: bool) -> pd.DataFrame:
        """EVAL_COLUMNS of results.records. The decoding seeds depend on seed, question and sample
        only, so that all methods, all temperatures and all steps of a curve are compared on common
        random numbers.

        `splits` maps a split to its number of questions (0: all); of `train` only prompts that the
        run has trained on. At the start of a run and with `final` the headline's split, which is
        judged, is answered in all decodings; everything else in those of curves. With `final` texts
        are kept, prompts, gold answers and meta on greedy (else first) rows.
        """
        asked = self.run.eval
        every = asked.decodings if final or ledger.updates == 0 else asked.curve_decodings
        groups: dict[tuple[Decoding, ...], dict[str, int]] = {}
        for split, count in splits.items():
            judged = split == self.task.headline
            groups.setdefault(every if judged else asked.curve_decodings, {})[split] = count
        frames = [
            self.answers(part, decodings, ledger, keep_texts=final)
            for decodings, part in groups.items()
        ]
        return pd.concat(frames, ignore_index=True) if frames else self.answers({}, every, ledger)

    def answers(
        self,
        splits: Mapping[str, int],
        decodings: Sequence[Decoding],
        ledger: Ledger,
        *,
        keep_texts: bool = False,
    ) -> pd.DataFrame:
        """The same for given decodings, by split, decoding, question and sample."""
        with ledger.phase("evaluate"):
            self.sampler.sync()
            questions = [
                AskedQuestion(split, example, self.policy.encode_prompt(example.prompt))
                for split, count in splits.items()
                for example in self._examples(split, ledger)[: count or None]
            ]
            # by length, so that a batch holds little padding
            order = sorted(range(len(questions)), key=lambda i: len(questions[i].prompt))
            per = max(1, self._rows(questions) // sum(d.samples for d in decodings))
            found: dict[int, list[dict[str, Any]]] = {}
            for block in (order[i : i + per] for i in range(0, len(order), per)):
                graded = self._block([questions[i] for i in block], decodings, ledger)
                found |= dict(zip(block, graded, strict=True))
            rows = [row for i in range(len(questions)) for row in found[i]]
            by_split = {split: i for i, split in enumerate(splits)}
            by_label = {decoding.label: i for i, decoding in enumerate(decodings)}
            rows.sort(key=lambda row: (by_split[row["split"]], by_label[row["decoding"]]))
            frame = pd.DataFrame(rows, columns=[*EVAL_COLUMNS]).assign(step=ledger.updates)
            if not keep_texts:
                frame[["prompt", "gold", "meta", "response"]] = None
            return frame

    def _examples(self, split: str, ledger: Ledger) -> Sequence[Example]:
        """Accuracy on the train split is of prompts that this run has trained on."""
        if split == "train":
            return trained_on(self.run, self.task, ledger.prompts_distinct)
        return self.task.examples(split)

    def _rows(self, questions: Sequence[AskedQuestion]) -> int:
        """How many are sampled at once."""
        if self.policy.device.type != "cpu":
            return ROWS
        tokens = max((len(q.prompt) for q in questions), default=0) + self.run.max_tokens
        return min(ROWS, max(CPU_ROWS, self.policy.cached_rows(CPU_CACHE, tokens)))

    def _block(
        self, questions: list[AskedQuestion], decodings: Sequence[Decoding], ledger: Ledger
    ) -> list[list[dict[str, Any]]]:
        """The rows of each question of one batch: a question's prompt is read once."""
        run = self.run
        drawn_G = [(d, k) for d in decodings for k in range(d.samples)]
        keys = [
            rng.key(run.seed, "evaluate", q.split, q.example.id, k)
            for q in questions
            for _, k in drawn_G
        ]
        drawn = self.sampler(
            self.policy,
            [q.prompt for q in questions],
            len(drawn_G),
            keys,
            max_tokens=run.max_tokens,
            temperature=[d.temperature for d, _ in drawn_G],
            stop=self.task.stop,
        )
        ledger.flops_evaluate += self.flops.forward(drawn.rows)
        ids_N, finished_N = drawn.response_ids(), drawn.finished_N.tolist()
        texts_N = self.policy.decode_many(ids_N)
        blocks = []
        for b, question in enumerate(questions):
            example, first = question.example, b * len(drawn_G)
            grades = self.task.grade(example, texts_N[first : first + len(drawn_G)])
            blocks.append(
                [
                    {
                        "split": question.split,
                        "question_id": example.id,
                        "decoding": decoding.label,
                        "sample": k,
                        **{name: getattr(grade, name) for name in GRADED},
                        "finished": finished_N[first + g],
                        "tokens": len(ids_N[first + g]),
                        "response": texts_N[first + g],
                        "prompt": example.prompt if g == 0 else None,
                        "gold": example.gold if g == 0 else None,
                        "meta": json.dumps(example.meta) if g == 0 and example.meta else None,
                    }
                    for g, ((decoding, k), grade) in enumerate(zip(drawn_G, grades, strict=True))
                ]
            )
        return blocks
