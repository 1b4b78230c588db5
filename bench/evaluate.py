"""Evaluation on fixed questions with fixed decoding seeds: a row per question and sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tasks import Example, Task

from . import rng
from .config import Run
from .ledger import Flops, Ledger
from .policy import Policy
from .sampling.hf import Sampler

ROWS = 1024  # sampled at once


def evaluate(
    policy: Policy,
    task: Task,
    splits: Mapping[str, int],
    run: Run,
    ledger: Ledger,
    keep_text: bool,
    draw: Sampler | None = None,
) -> pd.DataFrame:
    """EVAL_COLUMNS of results.schema. The decoding seeds depend on seed, question and sample only,
    so that all methods, and all steps of a curve, are compared on common random numbers.

    `splits` maps a split to its number of questions (0: all). Prompts and gold answers are kept on
    greedy (else first) rows with `keep_text`.
    """
    flops = Flops.of(policy.model)
    draw = draw or Sampler()
    with ledger.phase("evaluate"):
        draw.sync()
        rows: list[dict[str, Any]] = []
        for split, count in splits.items():
            examples = task.examples(split)
            examples = examples[:count] if count else examples
            decodings = [("greedy", 1)] * run.eval.greedy + [("sampled", run.eval.samples)]
            for decoding, group in decodings:
                if group:
                    rows += _decode(
                        policy, task, examples, split, decoding, group, run, ledger, flops, draw
                    )
        frame = pd.DataFrame(rows)
        frame.insert(0, "step", ledger.updates)
        if not keep_text:
            frame[["prompt", "gold", "response"]] = None
        return frame.astype({"step": "int32", "sample": "int16", "tokens": "int32"})


def _decode(
    policy: Policy,
    task: Task,
    examples: Sequence[Example],
    split: str,
    decoding: str,
    group: int,
    run: Run,
    ledger: Ledger,
    flops: Flops,
    draw: Sampler,
) -> list[dict[str, Any]]:
    """`group` rows a question, in the order of questions."""
    prompts = [policy.encode_prompt(e.prompt) for e in examples]
    # by length, so that a batch holds little padding
    order = sorted(range(len(examples)), key=lambda i: len(prompts[i]))
    per = max(1, ROWS // group)
    found: dict[int, list[dict[str, Any]]] = {}
    tells = decoding == "greedy" or not run.eval.greedy  # which rows hold the question's texts
    for block in (order[i : i + per] for i in range(0, len(order), per)):
        keys = None
        if decoding == "sampled":
            purpose = (run.seed, "evaluate", split)
            keys = [rng.key(*purpose, examples[i].id, k) for i in block for k in range(group)]
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
            example, first = examples[i], b * group
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
    return [row for i in range(len(examples)) for row in found[i]]
