"""What tuning changed, and how much of a verdict hangs on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import scores, trials
from ..render import Column, Table

if TYPE_CHECKING:
    from ..runs import Results


def tuning_table(results: Results, control: str | None = None) -> Table:
    """A row per method, best first: validation score with the recipe's own settings and with the
    best of its random trials, the best setting, what stands near the end of its range, and how
    often the difference to the control survives other settings that are nearly as good."""
    log = trials.trials(results)
    made, own = trials.settings(log), trials.own_settings(log)
    expected = trials.expected_best(log)
    control = control or results.control
    final = scores.seed_scores(scores.metric_scores(results)).groupby("method", observed=True)
    means: Any = final["score"].mean()
    rows = []
    for method, tried in made.groupby("method"):
        best: Any = tried.loc[tried["score"].idxmax()]
        curve = expected[expected["method"] == method]["value"]
        kept = None
        if control and method != control and {method, control} <= set(means.index):
            kept = trials.survival(made, str(method), control, means[method] - means[control])
        rows.append({
            "method": method, "trials": len(tried), "seeds": int(tried["seeds"].min()),
            "own": own.get(method, float("nan")), "best": best["score"],
            "gain": best["score"] - own.get(method, float("nan")), "error": best["error"],
            "half_trials": curve.iloc[(len(curve) - 1) // 2],
            "setting": ", ".join(f"{k} {_short(v)}" for k, v in best["setting"].items()),
            "edges": ", ".join(f"{k} ({end})" for k, end in best["edges"].items()),
            "survives": str(kept) if kept else None,
        })  # fmt: skip
    names = [
        "method", "trials", "seeds", "own", "best", "gain", "error", "half_trials", "setting",
        "edges", "survives",
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=names).sort_values("best", ascending=False)
    columns = (
        Column("method", "Method"),
        Column("own", "own %", "percent", about="with the recipe's own settings, before tuning"),
        Column("best", "best %", "percent", "error", about="of the random trials; ± one SE"),
        Column("gain", "gain", "points"),
        Column("half_trials", "half %", "percent", about="expected best of half the trials"),
        Column("setting", "best setting"),
        Column("edges", "near an end of its range"),
        Column("survives", f"sign vs {control}" if control else "sign"),
    )
    notes = tuple(_notes(made, frame, control))
    return Table("tuning", "What tuning changed", frame, columns, notes=notes)


def _notes(made: pd.DataFrame, frame: pd.DataFrame, control: str | None) -> list[str]:
    if made.empty:
        return ["No log of trials: nothing is known of how these settings were chosen."]
    numbers, seeds = made.groupby("method").size(), made["seeds"]
    equal = numbers.nunique() == 1 and seeds.nunique() == 1
    size = f"{numbers.max()} random trials of {seeds.max()} seed(s) for every method"
    notes = [
        f"Validation questions, sampled answers. {size}."
        if equal
        else "Methods had unequal numbers of trials or seeds: compare at equal numbers alone."
    ]
    lost = [str(row.method) for row in frame.itertuples() if row.gain < 0]
    if lost:
        notes.append(
            f"{', '.join(lost)}: the recipe's own setting scored higher than the best random trial."
            " It is no candidate, so that all methods are chosen from equally many."
        )
    if control:
        notes.append(
            f"Sign vs {control}: in how many pairs of settings, each within one standard error of"
            " its method's best, the difference has the sign that it has on the test questions."
        )
    return notes


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)
