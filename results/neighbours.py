"""What a comparison measures, and the neighbours of that choice: each differs in one decision that
an analyst could as well have taken otherwise, and is computed from what is stored.

    choice = neighbours.primary(results)
    for dimension, other in neighbours.around(results, choice): ...

Seconds, pass@k and other splits than the declared one are shown elsewhere and are no neighbours:
they are other questions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import pandas as pd

from . import curves, scores
from .memoise import remembered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .runs import Results
    from .tally import Counts

Dimension = Literal["decoding", "metric", "checker reading", "checkpoint", "equal cost"]
READINGS: dict[str, scores.Reading] = {"headline": "correct", "strict": "strict"}
COST_AXES = ("samples", "tokens", "flops")
Matrices = dict[tuple[str, str], pd.DataFrame]  # (task, method) -> seeds x questions


@dataclass(frozen=True)
class Choice:
    """One way to measure: a specification with nothing left open."""

    metric: str  # avg, maj, maj@k, pass@k
    decoding: str  # greedy, sampled, T=0.6
    split: str
    reading: str = "headline"  # or strict
    checkpoint: scores.At = "last"
    axis: str = "end"  # or a cost that all have in common

    @property
    def name(self) -> str:
        """Of the metric, as tables have it: avg, greedy, maj@4."""
        return "greedy" if self.decoding == "greedy" else self.metric


def primary(results: Results, metric: str | None = None, split: str | None = None) -> Choice:
    """The declared specification, or another metric or split of it. What was not evaluated falls
    back to what was: sampled answers, else greedy ones."""
    declared, there = results.primary, results.tally.decodings
    sampled = [d for d in ("sampled", *sorted(there)) if d in there and d != "greedy"]
    decoding = declared.decoding if declared.decoding in there else next(iter(sampled), "greedy")
    if metric == "greedy":
        decoding = "greedy"
    elif metric and decoding == "greedy" and sampled:
        decoding = sampled[0]
    return Choice(
        metric="avg" if metric == "greedy" else metric or declared.metric,
        decoding=decoding,
        split=split or scores.headline_split(results),
        reading=declared.reading,
        checkpoint=declared.checkpoint,
        axis=declared.axis,
    )


def around(results: Results, choice: Choice) -> list[tuple[Dimension, Choice]]:
    """The neighbours that the stored evaluations can give, by the dimension in which they differ.
    None of what is never judged (pass@k, maj@k, other splits than the declared one)."""
    if choice.metric not in ("avg", "maj") or choice.split != scores.headline_split(results):
        return []
    counts = [c for c in results.tally.counts if c.split == choice.split]
    decodings = sorted({c.decoding for c in counts})
    samples = max((int(c.samples_SQ.max(initial=0)) for c in counts
                   if c.decoding == choice.decoding), default=0)  # fmt: skip
    strict = any(c.strict_SQ is not None for c in counts)
    found: list[tuple[Dimension, Choice]] = [
        ("decoding", replace(choice, decoding=d, metric="avg" if d == "greedy" else choice.metric))
        for d in decodings if d != choice.decoding
    ]  # fmt: skip
    if samples > 2 and choice.axis == "end" and "extracted" in results.tally.columns:
        other = "maj" if choice.metric == "avg" else "avg"
        found.append(("metric", replace(choice, metric=other)))
    if strict:
        other = "strict" if choice.reading == "headline" else "headline"
        found.append(("checker reading", replace(choice, reading=other)))
    chosen = any(c.split == "validation" and c.decoding == choice.decoding and len(c.steps_S) > 2
                 for c in results.tally.counts)  # fmt: skip
    if chosen and choice.axis == "end":
        at: scores.At = "selected" if choice.checkpoint == "last" else "last"
        found.append(("checkpoint", replace(choice, checkpoint=at)))
    if choice.metric == "avg" and choice.checkpoint == "last":
        axes = [a for a in (*COST_AXES, "end") if a != choice.axis and _has_curve(counts, choice)]
        for axis in axes:
            found.append(("equal cost", replace(choice, axis=axis)))
    return found


def _has_curve(counts: Sequence[Counts], choice: Choice) -> bool:
    return any(c.decoding == choice.decoding and len(c.steps_S) > 2 for c in counts)


@remembered
def matrices(results: Results, choice: Choice) -> Matrices:
    """Scores of every method: seeds x questions. For a choice that is not at equal cost."""
    frame = scores.metric_scores(
        results, choice.name, choice.split, READINGS[choice.reading], at=choice.checkpoint,
        sampled=choice.decoding,
    )  # fmt: skip
    found = {
        (str(task), str(method)): own.pivot_table(
            index="seed", columns="question_id", values="score", observed=True
        )
        for (task, method), own in frame.groupby(["task", "method"], observed=True)
    }
    return found


def scored(
    results: Results, choice: Choice, task: str, pair: tuple[str, str]
) -> list[pd.DataFrame]:
    """Seeds x questions of the two methods of a pair. At equal cost it is one column, the score at
    the largest cost that both reached: other methods do not shift it."""
    if choice.axis == "end":
        every = matrices(results, choice)
        return [every.get((task, method), EMPTY) for method in pair]
    points = curves.points(results, choice.split, choice.decoding, READINGS[choice.reading])
    both = points[(points["task"] == task) & points["method"].isin(pair)]
    at = curves.at_common(both, choice.axis)
    return [
        at[at["method"] == method].dropna(subset="score").set_index("seed")[["score"]]
        for method in pair
    ]


EMPTY = pd.DataFrame(index=pd.Index([], name="seed"))


def temperature(results: Results, decoding: str) -> str:
    """`1` of sampled answers whose runs name it; "" where they do not."""
    if decoding.startswith("T="):
        return decoding.removeprefix("T=")
    found = set()
    for config in results.runs["config"]:
        given = (config.get("eval") or {}).get("temperature")
        found.add(given[0] if isinstance(given, list | tuple) and given else given)
    found -= {None}
    return f"{found.pop():g}" if len(found) == 1 else ""


def decoding_words(results: Results, decoding: str) -> str:
    """greedily; sampled at T = 1."""
    if decoding == "greedy":
        return "decoded greedily"
    known = temperature(results, decoding)
    return f"sampled at T = {known}" if known else "sampled"


def words(results: Results, choice: Choice, of: Dimension | Literal["all"] = "all") -> str:
    """What a choice is, in words; of one dimension, or of all that differ from a plain reading."""
    told = {
        "decoding": decoding_words(results, choice.decoding),
        "metric": "by majority vote" if choice.metric.startswith("maj") else
                  "by mean accuracy" if choice.metric == "avg" else f"by {choice.metric}",
        "checker reading": "by the checker's headline reading" if choice.reading == "headline"
                           else "by the task's official protocol",
        "checkpoint": "at the last evaluation" if choice.checkpoint == "last"
                      else "at the checkpoint chosen on validation",
        "equal cost": "at the end of the runs" if choice.axis == "end" else
                      f"at equal {'FLOPs' if choice.axis == 'flops' else choice.axis}",
    }  # fmt: skip
    if of != "all":
        return told[of]
    plain = Choice("avg", choice.decoding, choice.split)
    changed = {"metric": choice.metric != plain.metric,
               "checker reading": choice.reading != plain.reading,
               "checkpoint": choice.checkpoint != plain.checkpoint,
               "equal cost": choice.axis != plain.axis}  # fmt: skip
    return ", ".join([told["decoding"], *(told[d] for d, is_so in changed.items() if is_so)])
