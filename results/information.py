"""What each method was allowed to see: its information card, and the track in which it competes.

Methods are compared inside a track. Across tracks a verdict says what the other one saw, since the
difference may be one of information and not of objectives.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from . import scores, trials
from .memoise import remembered

if TYPE_CHECKING:
    from .runs import Results

LearnsFrom = Literal["verifier", "verifier + demonstrations", "demonstrations", "preferences", ""]


@dataclass(frozen=True)
class Card:
    """Of one method, means over its runs. None: the runs do not say."""

    track: LearnsFrom
    reference_rows: float | None  # reference answers trained on, repeats counted
    reference_distinct: float | None
    verifier_calls: float | None
    samples_policy: float | None  # drawn from the policy as it was trained
    prompts_distinct: float | None
    gold_share: float | None  # of the prompts that it trained on, those with a reference answer
    reference_model: bool | None  # log-probabilities of the frozen start were used
    critic: bool | None
    trials: int | None  # random trials that tuned this method
    tuned: str | None  # the fields that these searched

    def row(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def words(self) -> str:
        """What it learned from, as a clause: "3,840 reference answers (128 distinct)"."""
        told = []
        if self.reference_rows:
            distinct = self.reference_distinct
            inside = f" ({distinct:,.0f} distinct)" if distinct else ""
            told.append(f"{self.reference_rows:,.0f} reference answers{inside}")
        elif "demonstrations" in self.track:
            told.append("reference answers (how many was not recorded)")
        else:
            told.append("no reference answer")
        judge = "preference scores" if self.track == "preferences" else "verifier calls"
        told.append(f"{self.verifier_calls:,.0f} {judge}" if self.verifier_calls else f"no {judge}")
        return " and ".join(told)


@remembered
def cards(results: Results) -> dict[tuple[str, str], Card]:
    """(task, method) -> its card, of the runs that count."""
    ledger, runs = results.ledger.sort_values("step"), scores.counted(results)
    last = ledger.drop_duplicates("run", keep="last").set_index(ledger["run"].name)
    last.index = last.index.astype("str")
    first = ledger.drop_duplicates("run").set_index("run")
    first.index = first.index.astype("str")
    imitating = _imitating(results)
    tried = trials.settings(trials.trials(results))
    found = {}
    for (task, method), own in runs.groupby(["task", "method"], observed=True):
        counts = pd.DataFrame([_counts(r, last, first) for r in own.itertuples()])
        config = own["config"].iloc[0]
        preferences = (config.get("task") or {}).get("name") == "hh"
        mean = {c: None if counts[c].isna().any() else float(counts[c].mean()) for c in counts}
        imitates = bool({str(r) for r in own["run"]} & imitating)
        mine = tried[tried["method"] == str(method)]
        found[str(task), str(method)] = Card(
            track=_track(mean, imitates, preferences),
            reference_rows=None if imitates and not mean["references"] else mean["references"],
            reference_distinct=mean["references_distinct"],
            verifier_calls=mean["verifier_calls"],
            samples_policy=mean["samples_policy"],
            prompts_distinct=mean["prompts_distinct"],
            gold_share=_share(mean["references"], mean["prompts"]),
            reference_model=_used(mean["tokens_reference"]),
            critic=_used(mean["tokens_critic"]),
            trials=len(mine) or None,
            tuned=_searched(mine),
        )
    return found


def _counts(run: Any, last: pd.DataFrame, first: pd.DataFrame) -> dict[str, float | None]:
    """One run's counts at its end. What older runs did not record follows from their source where
    it can, and is None where it cannot."""
    name, parts = str(run.run), str(run.source or "").split(" then ")

    def spent(column: str) -> float | None:
        there = name in last.index and column in last and pd.notna(first.at[name, column])
        return float(last.at[name, column]) if there else None

    known = ("prompts", "references", "references_distinct", "prompts_distinct", "samples_policy",
             "verifier_calls", "tokens_reference", "tokens_critic")  # fmt: skip
    counts = {column: spent(column) for column in known}
    if len(parts) == 1 and counts["samples_policy"] is None:
        counts["samples_policy"] = spent("samples") if parts == ["policy"] else 0.0
    if parts == ["demonstrations"] and counts["references"] is None:
        counts["references"] = spent("samples")
    return counts


def _track(mean: dict[str, float | None], imitates: bool, preferences: bool) -> LearnsFrom:
    if mean["verifier_calls"] is None and mean["references"] is None:
        return ""
    shown, judged = bool(mean["references"]) or imitates, bool(mean["verifier_calls"])
    if shown and not judged:
        return "demonstrations"
    if preferences:
        return "preferences"
    return "verifier + demonstrations" if shown else "verifier"


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else min(part / whole, 1.0)


def _used(tokens: float | None) -> bool | None:
    return None if tokens is None else tokens > 0


def _imitating(results: Results) -> set[str]:
    """Runs that log an imitation term: they train on reference answers, also where an older ledger
    does not count these."""
    steps = results.steps
    if "share_imitation" not in steps:
        return set()
    return {str(run) for run in steps.loc[steps["share_imitation"] > 0, "run"].unique()}


def _searched(made: pd.DataFrame) -> str | None:
    """The fields that a method's trials set."""
    return ", ".join(dict.fromkeys(name for one in made["setting"] for name in one)) or None


def across(results: Results, task: str, a: str, b: str) -> str:
    """What each of two methods saw, where that differs; "" where both are of one track."""
    known = cards(results)
    left, right = known.get((task, a)), known.get((task, b))
    if not left or not right or left.track == right.track or "" in (left.track, right.track):
        return ""
    return f"{a} saw {left.words}; {b} saw {right.words}"
