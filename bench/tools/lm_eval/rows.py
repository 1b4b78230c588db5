"""What becomes of the answers: a row each, and the numbers of a benchmark."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from tasks.lm_eval.utils import MARK, grade

# Which metric is a row's `correct`, and which its `strict`: the first pair that a benchmark has.
METRICS = (
    ("accuracy", "strict"),
    ("math_verify", "exact_match"),
    ("exact_match", "exact_match"),
    ("acc_norm", "acc_norm"),
    ("acc", "acc"),
    ("prompt_level_strict_acc", "prompt_level_strict_acc"),
)
Reading = tuple[str, str]  # metric, filter
CORRECT_FILTERS, STRICT_FILTERS = ("flexible-extract", "none"), ("strict-match", "none")


def measure(
    name: str, samples: list[dict[str, Any]], found: Any, model: Any
) -> tuple[pd.DataFrame | None, dict[str, Any]]:
    """The rows of one benchmark and its part of the report. The rows are None where the headline
    metric is not right or wrong per question."""
    by_filter: dict[str, list[dict[str, Any]]] = {}
    for sample in samples:
        by_filter.setdefault(sample["filter"], []).append(sample)
    numbers, first = finite(found["results"][name]), next(iter(by_filter.values()))
    report: dict[str, Any] = dict.fromkeys(("accuracy", "in_loop_accuracy", "headline"))
    report |= {
        "questions": len(first),
        "few_shot": found["n-shot"].get(name),
        "cut": _cut(first, found["configs"][name], model),
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
    again = frame.groupby("question_id").cumcount()  # some benchmarks ask a question twice
    twice = frame["question_id"] + "-" + again.astype(str)
    frame["question_id"] = frame["question_id"].where(again == 0, twice)
    frame["status"] = [
        row["status"] or ("ok" if right else "wrong")
        for row, right in zip(rows, frame["correct"], strict=True)
    ]
    return frame, report


def _cut(samples: list[dict[str, Any]], config: dict[str, Any], model: Any) -> int:
    """How many prompts lose their beginning because they do not fit into the model beside the
    answer. lm-eval only logs this."""
    room = getattr(model, "max_length", None)
    if not room or config.get("output_type") != "generate_until":
        return 0
    room -= (config.get("generation_kwargs") or {}).get("max_gen_toks") or model.max_gen_toks
    return sum(_length(model, sample["arguments"][0][0]) > room for sample in samples)


def finite(metrics: dict[str, Any]) -> dict[str, float]:
    # lm-eval writes "N/A" for an error that it cannot estimate
    return {k: v for k, v in metrics.items() if isinstance(v, int | float) and math.isfinite(v)}


def _readings(by_filter: dict[str, list[dict[str, Any]]]) -> tuple[Reading, Reading] | None:
    """Of `correct` and of `strict`."""

    def choose(metric: str, preferred: Sequence[str]) -> Reading | None:
        there = [f for f, rows in by_filter.items() if metric in rows[0]]
        return (metric, next((f for f in preferred if f in there), there[0])) if there else None

    for correct, strict in METRICS:
        one, other = choose(correct, CORRECT_FILTERS), choose(strict, STRICT_FILTERS)
        if one and other:
            return one, other
    return None


def _row(sample: dict[str, Any], limits: dict[str, Any], model: Any) -> dict[str, Any]:
    """A question with its answer; what lm-eval does not report is None."""
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
        "meta": None,  # the run's own rows hold it
    }


def _length(model: Any, response: str | None) -> int:
    """Tokens of a response's text, without special ones; 0 where the model has no tokenizer."""
    tokenizer = getattr(model, "tokenizer", None)
    if response is None or not callable(tokenizer):
        return 0
    ids: Any = tokenizer(response, add_special_tokens=False)
    return len(ids["input_ids"])
