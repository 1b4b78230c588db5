"""Evaluation on fixed questions with fixed decoding seeds: a row per question and sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bench.config import Run
from bench.core import rng
from bench.model.policy import Policy
from bench.record.ledger import Flops, Ledger
from bench.sampling.hf import Sampler
from tasks import Example, Task

CPU_ROWS, ROWS = 256, 1024  # sampled at once: on a CPU as many as its caches bear


def evaluate(
    policy: Policy,
    task: Task,
    splits: Mapping[str, int],
    run: Run,
    ledger: Ledger,
    keep_text: bool,
    draw: Sampler | None = None,
) -> pd.DataFrame:
    """Rows of results.records.EvalRow. The decoding seeds depend on seed, question and sample only,
    so that all methods, and all steps of a curve, are compared on common random numbers.

    `splits` maps a split to its number of questions (0: all). Prompts and gold answers are kept on
    greedy (else first) rows with `keep_text`.
    """
    flops = Flops.of(policy.model)
    draw = draw or Sampler()
    with ledger.phase("evaluate"):
        draw.sync()
        asked = [(s, e) for s, count in splits.items() for e in task.examples(s)[: count or None]]
        prompts = [policy.encode_prompt(example.prompt) for _, example in asked]
        rows: list[dict[str, Any]] = []
        for decoding, group in (("greedy", int(run.eval.greedy)), ("sampled", run.eval.samples)):
            if group:
                rows += _decode(
                    policy, task, asked, prompts, decoding, group, run, ledger, flops, draw
                )
        order = {split: i for i, split in enumerate(splits)}
        frame = pd.DataFrame(sorted(rows, key=lambda row: order[row["split"]]))
        frame.insert(0, "step", ledger.updates)
        if not keep_text:
            frame[["prompt", "gold", "response"]] = None
        return frame


def _decode(
    policy: Policy,
    task: Task,
    asked: Sequence[tuple[str, Example]],
    prompts: Sequence[list[int]],
    decoding: str,
    group: int,
    run: Run,
    ledger: Ledger,
    flops: Flops,
    draw: Sampler,
) -> list[dict[str, Any]]:
    """`group` rows a question, in the order of questions."""
    # by length, so that a batch holds little padding
    order = sorted(range(len(asked)), key=lambda i: len(prompts[i]))
    per = max(1, (CPU_ROWS if policy.device.type == "cpu" else ROWS) // group)
    found: dict[int, list[dict[str, Any]]] = {}
    tells = decoding == "greedy" or not run.eval.greedy  # which rows hold the question's texts
    for block in (order[i : i + per] for i in range(0, len(order), per)):
        keys = None
        if decoding == "sampled":
            which = [(split, example.id) for split, example in (asked[i] for i in block)]
            keys = [rng.key(run.seed, "evaluate", *w, k) for w in which for k in range(group)]
        drawn = draw(
            policy,
            [prompts[i] for i in block],
            group,
            keys,
            run.max_tokens,
            run.eval.temperature,
            stop=task.stop,
        )
        ledger.flops_evaluate += flops.forward(drawn.rows)
        ids_N, finished_N = drawn.response_ids(), drawn.finished_N.tolist()
        texts_N = policy.decode_many(ids_N)
        for b, i in enumerate(block):
            (split, example), first = asked[i], b * group
            grades = task.grade(example, texts_N[first : first + group])
            found[i] = [
                {
                    "split": split,
                    "question_id": example.id,
                    "decoding": decoding,
                    "sample": k,
                    "correct": grade.correct,
                    "strict": grade.strict,
                    "status": grade.status,
                    "format_ok": grade.format_ok,
                    "finished": finished_N[first + k],
                    "tokens": len(ids_N[first + k]),
                    "response": texts_N[first + k],
                    "extracted": grade.extracted,
                    "prompt": example.prompt if tells and k == 0 else None,
                    "gold": example.gold if tells and k == 0 else None,
                }
                for k, grade in enumerate(grades)
            ]
    return [row for i in range(len(asked)) for row in found[i]]
