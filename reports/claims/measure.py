"""The metric of a claim: whether the runs can give it, and its value for each of them."""

from typing import Any

import pandas as pd

from results import Results, curves, scores, tables

from .read import COSTS, Claim

STEPWISE = ("first", "last", "fall", "lead")  # of a metric that the runs log


def missing_metric(results: Results, claim: Claim) -> str:
    """Why the runs cannot give the claim's metric; "" where they can."""
    name, what = claim.metric_name, claim.metric_of
    if claim.split and claim.split not in results.tally.splits:
        return f"the split {claim.split} was not evaluated"
    if name == "gap" and not splits(results, what):
        return f"no split {what} was evaluated"
    if name in STEPWISE and what not in results.steps:
        return f"the runs log no {what}"
    if name.startswith(("pass@", "maj@")):
        most = results.tally.most_samples
        if most < (2 if name.endswith("K") else int(name.partition("@")[2])):
            return f"{most} samples a question are too few for {name}"
    return ""


def per_run(results: Results, claim: Claim) -> pd.DataFrame:
    """task, method, seed, value and censored (never reached the threshold) of each run that
    counts, for metrics other than the accuracy of the last evaluation."""
    name, what = claim.metric_name, claim.metric_of
    split = claim.split or scores.headline_split(results)
    if name in ("avg", "greedy"):
        frame = scores.seed_scores(scores.metric_scores(results, name, split))
        frame = frame.rename(columns={"score": "value"})
    elif name == "gain":
        decoding = scores.decoding_of(scores.headline_metric(results))
        by_run = scores.run_scores(results, split, decoding).groupby(scores.GROUP, observed=True)
        frame = (by_run["score"].last() - by_run["score"].first()).rename("value").reset_index()
    elif name in ("auc", "cost_50", "cost_90"):
        frame = curves.efficiency(results, what, split).rename(columns={name: "value"})
        if name != "auc":
            frame["value"] = frame["value"].where(frame[name.replace("cost", "threshold")].notna())
            frame["censored"] = ~frame[name.replace("cost", "reached")].astype(bool)
    elif name == "at":
        frame = curves.at_common(curves.points(results, split), what)
        frame = frame.rename(columns={"score": "value"})
    elif name == "total":
        frame = tables.last_costs(results).rename(columns={what: "value"})
    elif name == "gap":
        frame = _gap(results, splits(results, what), split)
    elif name == "unsolved":
        frame = _unsolved(results, split)
    else:
        frame = _fifths(results, what, name)
    if "censored" not in frame:
        frame["censored"] = False
    return frame[["task", "method", "seed", "value", "censored"]]


def _gap(results: Results, others: list[str], split: str) -> pd.DataFrame:
    base = scores.seed_scores(scores.metric_scores(results, None, split))
    parts = [scores.seed_scores(scores.metric_scores(results, None, other)) for other in others]
    mean = pd.concat(parts).groupby(scores.GROUP, observed=True)["score"].mean().reset_index()
    both = mean.merge(base, on=scores.GROUP, suffixes=("", "_base"))
    return both.assign(value=both["score"] - both["score_base"])


def _unsolved(results: Results, split: str) -> pd.DataFrame:
    """Last accuracy on the questions to which no run gave a single right answer at step 0: the same
    questions for all methods, chosen before any of them was trained."""
    decoding = scores.decoding_of(scores.headline_metric(results))
    start = scores.question_scores(results, split, decoding, at="start")
    solved = start.groupby(["task", "question_id"], observed=True)["correct"].sum().reset_index()
    hard = solved.loc[solved["correct"] == 0, ["task", "question_id"]].astype("str")
    last = scores.question_scores(results, split, decoding)
    last = last.astype({"task": "str", "question_id": "str"}).merge(hard)
    return scores.seed_scores(last).rename(columns={"score": "value"})


def _fifths(results: Results, metric: str, which: str) -> pd.DataFrame:
    """Mean of a logged metric over the first or last fifth of the updates, first minus last, or
    first minus the largest of its siblings (share_a among all share_*)."""
    if which == "lead":
        others = [c for c in results.steps if c.startswith("share_") and c != metric]
        own = _fifths(results, metric, "first")
        for other in others:
            own = own.merge(_fifths(results, other, "first"), on=scores.GROUP, how="left",
                            suffixes=("", f" {other}"))  # fmt: skip
        largest = own[[f"value {other}" for other in others]].max(axis=1) if others else 0.0
        return own.assign(value=own["value"] - largest)[[*scores.GROUP, "value"]]
    steps = results.steps[[*scores.GROUP, "step", metric]].dropna(subset=[metric])
    steps = steps[steps["run"].isin(scores.counted(results)["run"])]
    part = steps["step"] / steps.groupby("run", observed=True)["step"].transform("max")
    late: Any = steps[part > 0.8].groupby(scores.GROUP, observed=True)[metric].mean()
    early: Any = steps[part <= 0.2].groupby(scores.GROUP, observed=True)[metric].mean()
    value = {"first": early, "last": late, "fall": early - late}[which]
    return value.rename("value").reset_index()


def splits(results: Results, name: str) -> list[str]:
    """The splits that a name means: itself, or all that begin with it (ood: ood-4, ood-5)."""
    return [s for s in sorted(results.tally.splits) if s == name or s.startswith(f"{name}-")]


def unit(claim: Claim) -> str:
    """The unit in which the metric is shown; points are percentage points of a share of 1."""
    if claim.metric_name in COSTS:
        return tables.axis_word(claim.metric_of)
    return claim.metric_of if claim.metric_name in STEPWISE else "points"


def margin(results: Results, claim: Claim, baseline: float) -> float | None:
    """In the metric's unit; None: there is no margin."""
    if claim.metric_name in COSTS:
        return None if claim.margin is None else claim.margin * baseline
    return results.margin if claim.margin is None and unit(claim) == "points" else claim.margin
