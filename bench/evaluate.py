"""Evaluation on fixed questions with fixed decoding seeds: a row per question and sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from tasks import Example, Task

from . import rng
from .config import Evaluation
from .ledger import Flops, Ledger
from .policy import Policy
from .sampling.hf import sample

ROWS = 1024  # sampled at once


def evaluate(
    policy: Policy,
    task: Task,
    splits: dict[str, int],
    plan: Evaluation,
    seed: int,
    step: int,
    max_tokens: int,
    ledger: Ledger,
    keep_text: bool,
) -> pd.DataFrame:
    """EVAL_COLUMNS of results.schema. The decoding seeds depend on seed, question and sample only,
    so that all methods, and all steps of a curve, are compared on common random numbers.

    `splits` maps a split to its number of questions (0: all). Prompts and gold answers are kept on
    greedy (else first) rows with `keep_text`.
    """
    flops = Flops.of(policy.model)
    with ledger.phase("evaluate"):
        frames = []
        for split, count in splits.items():
            examples = task.examples(split)
            examples = examples[:count] if count else examples
            if plan.greedy:
                frames.append(
                    _decode(policy, task, examples, 1, None, plan, split, max_tokens, ledger, flops)
                )
            if plan.samples:
                frames.append(
                    _decode(
                        policy,
                        task,
                        examples,
                        plan.samples,
                        seed,
                        plan,
                        split,
                        max_tokens,
                        ledger,
                        flops,
                    )
                )
        frame = pd.concat(frames, ignore_index=True)
        frame.insert(0, "step", step)
        if not keep_text:
            frame[["prompt", "gold", "response"]] = None
        return frame.astype({"step": "int32", "sample": "int16", "tokens": "int32"})


def _decode(
    policy: Policy,
    task: Task,
    examples: Sequence[Example],
    group: int,
    seed: int | None,
    plan: Evaluation,
    split: str,
    max_tokens: int,
    ledger: Ledger,
    flops: Flops,
) -> pd.DataFrame:
    decoding = "greedy" if seed is None else "sampled"
    out: list[dict[str, Any]] = []
    prompts = [policy.encode_prompt(e.prompt) for e in examples]
    # by length, so that a batch holds little padding; the rows go back to the order of questions
    order = sorted(range(len(examples)), key=lambda i: len(prompts[i]))
    per = max(1, ROWS // group)
    for block in (order[i : i + per] for i in range(0, len(order), per)):
        keys = None
        if seed is not None:
            keys = [
                rng.key(seed, "evaluate", split, examples[i].id, k)
                for i in block
                for k in range(group)
            ]
        drawn = sample(
            policy,
            [prompts[i] for i in block],
            group,
            keys,
            max_tokens,
            plan.temperature,
            stop=task.stop,
        )
        ledger.flops_evaluate += flops.forward(drawn.rows)
        ids_N, finished_N = drawn.response_ids(), drawn.finished_N.tolist()
        texts_N = policy.decode_many(ids_N)
        for b, i in enumerate(block):
            at = range(b * group, (b + 1) * group)
            for k, (n, grade) in enumerate(
                zip(at, task.grade(examples[i], [texts_N[n] for n in at]), strict=True)
            ):
                told = k == 0 and (seed is None or not plan.greedy)
                out.append(
                    {
                        "split": split,
                        "question_id": examples[i].id,
                        "decoding": decoding,
                        "sample": k,
                        "correct": grade.correct,
                        "strict": grade.strict,
                        "status": grade.status,
                        "format_ok": grade.format_ok,
                        "finished": finished_N[n],
                        "tokens": len(ids_N[n]),
                        "response": texts_N[n],
                        "extracted": grade.extracted,
                        "prompt": examples[i].prompt if told else None,
                        "gold": examples[i].gold if told else None,
                        "_order": i,
                    }
                )
    frame = pd.DataFrame(out).sort_values(["_order", "sample"], kind="stable")
    return frame.drop(columns="_order")
