"""Which method is better: the main table, the comparisons, and the notes that both need."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from .. import compare, curves, foreign, scores, sequential, stats
from ..render import Column, Table
from ..stats import ALPHA
from .parts import COSTS, axis_word, label_columns, last_costs, of, task_column, tasks

if TYPE_CHECKING:
    from ..runs import Results


def main_table(
    results: Results,
    split: str | None = None,
    control: str | None = None,
    delta: float | None = None,
    alpha: float = ALPHA,
) -> Table:
    """A row per task and method, best first: avg@K, greedy, area under the curve, cost, and the
    difference to the control with its minimum detectable effect and verdict."""
    split = split or scores.headline_split(results)
    control = control or results.control
    delta = results.margin if delta is None else delta
    metric = scores.headline_metric(results)
    main = scores.metric_scores(results, metric, split)
    greedy = scores.seed_scores(scores.metric_scores(results, "greedy", split))
    area = curves.efficiency(results, split=split)
    costs = last_costs(results)
    pairs = compare.against(results.methods, control) if control else []
    made = compare.family(results, pairs, metric, split, delta=delta, alpha=alpha)
    versus = {(c.task, c.a): c for c in made}
    rows, best = [], {}
    for task in tasks(results):
        best[task] = compare.best_group(results, metric, split, task, alpha=alpha)
        for method in results.methods:
            x = scores.matrix(main, method, task)
            runs = results.runs[(results.runs["task"] == task) & (results.runs["method"] == method)]
            if runs.empty:
                continue
            accuracy = stats.seed_interval(x.mean(axis=1), alpha)
            wide = stats.two_way_interval(x.dropna(axis=1).to_numpy(), alpha)
            seen = x.notna().sum(axis=1)
            plain = stats.seed_interval(of(greedy, task, method)["score"], alpha)
            auc = stats.seed_interval(of(area, task, method)["auc"], alpha)
            spent = of(costs, task, method)[[*COSTS]].mean()
            row = {
                "task": task, "method": method, "accuracy": accuracy.mean, "half": accuracy.half,
                "low": accuracy.low, "high": accuracy.high, "wide_low": wide.low,
                "wide_high": wide.high, "best": method in best[task][1],
                "greedy": plain.mean, "greedy_half": plain.half, "auc": auc.mean,
                "auc_half": auc.half, **spent, "seeds": len(x),
                "questions": int(seen.max()) if len(x) else 0,
                "questions_least": int(seen.min()) if len(x) else 0,
                "diverged": int((runs["status"] == "diverged").sum()),
                "unfinished": int((runs["status"] == "unfinished").sum()),
            }  # fmt: skip
            found = versus[task, method].row() if (task, method) in versus else {}
            row |= {name: found.get(key) for name, key in _VERSUS.items()}
            row["verdict"] = found.get("verdict", "control" if method == control else None)
            rows.append(row)
    frame = pd.DataFrame(rows, columns=None if rows else ["task", "method", *_MAIN])
    frame = frame.sort_values(["task", "accuracy"], ascending=[True, False], ignore_index=True)
    k = _samples(main)
    about = "mean over sampled answers"
    sampled = Column("accuracy", f"avg@{k} %", "percent", "half", bold="best", about=about)
    about = "one greedy answer a question"
    one = Column("greedy", "greedy %", "percent", "greedy_half", about=about)
    accuracies = (sampled, one) if metric == "avg" else (replace(one, bold="best"),)
    columns = (
        *label_columns(results),
        *accuracies,
        Column("auc", "AUC %", "percent", "auc_half", about="mean accuracy over the common budget",
               wide=True),
        *(Column(c, axis_word(c), kind, about=about, wide=True)
          for c, (kind, about) in COSTS.items()),
        Column("difference", f"vs {control}", "points", "difference_half", about="points"),
        Column("mde", "MDE", "percent", about="smallest difference found with power 0.8, points"),
        Column("verdict", "verdict"),
    )  # fmt: skip
    notes = [
        *_footnote(results, frame, split, metric, k=k, alpha=alpha),
        *_bold_note(best),
        *_verdict_note(control, made, delta),
        *_start_note(results, split),
        *_sequential_note(results),
        *foreign.notes(results),
        *run_notes(results),
    ]
    return Table("main", f"Accuracy on {split}", frame, columns, notes=tuple(notes))


_VERSUS = {  # the control: column -> key of Comparison.row
    "difference": "difference", "difference_half": "half", "p": "p", "p_holm": "p_holm",
    "p_equivalent_holm": "p_equivalent_holm", "mde": "mde",
}  # fmt: skip
_TESTS = {
    "paired": "paired t across seeds", "welch": "Welch's t across seeds",
    "questions": "flipped signs across questions (single models)",
}  # fmt: skip
_MAIN = (
    "accuracy", "half", "low", "high", "wide_low", "wide_high", "best", "greedy", "greedy_half",
    "auc", "auc_half", *COSTS, "seeds", "questions", "questions_least", "diverged", "unfinished",
    *_VERSUS, "verdict",
)  # fmt: skip


def comparison_table(
    results: Results, split: str | None = None, metric: str | None = None,
    control: str | None = None, pairs: list[tuple[str, str]] | None = None,
    delta: float | None = None,
) -> Table:  # fmt: skip
    """Both intervals, raw and adjusted p, MDE and verdict; by default of all with the control."""
    control = control or results.control
    if pairs is None:
        pairs = compare.against(results.methods, control) if control else []
    delta = results.margin if delta is None else delta
    metric = metric or scores.headline_metric(results)
    made = compare.family(results, pairs, metric, split, delta=delta)
    columns = (
        *task_column(results),
        Column("a", "a"),
        Column("b", "b"),
        Column("difference", "a − b", "points", "half", about="over seeds, these questions"),
        Column("wide_half", "±, new questions", "percent", about="over seeds and questions"),
        Column("p", "p", "p", wide=True),
        Column("p_holm", "p (Holm)", "p"),
        Column("p_equivalent_holm", "p equivalent", "p", about="TOST, Holm", wide=True),
        Column("mde", "MDE", "percent"),
        Column("verdict", "verdict"),
        Column("design", "t test", wide=True),
        Column("seeds_a", "S", "count", wide=True),
    )
    notes = _verdict_note(None, made, delta)
    for note in dict.fromkeys(c.note for c in made if c.note):
        which = [f"{c.a} vs {c.b}" for c in made if c.note == note]
        notes.append(f"{', '.join(which)}: {note}.")
    title = f"Differences in {metric}, points"
    return Table("comparisons", title, compare.table(made), columns, notes=tuple(notes))


def _samples(frame: pd.DataFrame) -> int | str:
    return int(frame["samples"].max()) if len(frame) else "K"


def _footnote(
    results: Results, frame: pd.DataFrame, split: str, metric: str, k: int | str, alpha: float
) -> list[str]:
    """S, n, K, kind of interval, decoding, checker version, data hash."""
    runs = scores.counted(results)
    if runs.empty:
        return ["No finished run yet: nothing can be said about accuracy."]
    level, there = f"{100 * (1 - alpha):g} %", frame[frame["seeds"] > 0]
    seeds = _range(there["seeds"])
    questions = _range(pd.concat([there["questions_least"], there["questions"]]))
    answers = f"K = {k} samples each" if metric == "avg" else "one greedy answer each"
    size = f"S = {seeds} seeds, n = {questions} questions of {split}, {answers}"
    notes = [f"{size}."]
    if (frame["seeds"] > 1).any():
        notes = [
            f"± is the {level} confidence half-width (Student-t) across seeds on these questions"
            f" ({size}). The CSV also holds the interval for new questions."
        ]
    one = (frame["seeds"] == 1) & ~frame["method"].isin(foreign.checkpoints(results))
    alone = frame.loc[one, ["task", "method"]]
    if len(alone):
        halves = [_checkpoint_half(results, split, *pair) for pair in alone.itertuples(index=False)]
        notes.append(
            f"One seed of {', '.join(dict.fromkeys(alone['method']))}: how much another seed would"
            " differ is unknown, so there is no interval, test or verdict. For these checkpoints"
            f" the questions alone leave up to ±{100 * max(halves):.1f} points."
        )
    checker = ", ".join(sorted({str(g) for g in runs["grader"].dropna()})) or "unknown"
    data = ", ".join(sorted({str(d) for d in runs["data"].dropna()}))
    notes.append(f"Decoding: {_decoding(runs)}. Checker version {checker}; data {data}.")
    return notes


def _checkpoint_half(results: Results, split: str, task: str, method: str) -> float:
    cube = scores.sample_cube(results, method, split, task)
    return stats.question_interval(cube[0]).half if cube.size else float("nan")


def _range(values: pd.Series) -> str:
    if values.empty:
        return "0"
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"


def _decoding(runs: pd.DataFrame) -> str:
    """Sampling temperature and top-p of the evaluation, where the runs' configs give them."""
    keys, evals = ("temperature", "top_p", "top_k"), (c.get("eval") or {} for c in runs["config"])
    found = {", ".join(f"{k} {one[k]}" for k in keys if k in one) for one in evals}
    settings = "; ".join(sorted(found - {""}))
    return f"sampled ({settings}) and greedy, apart" if settings else "sampled and greedy, apart"


def _bold_note(best: dict[str, tuple[str | None, set[str]]]) -> list[str]:
    if any(group for _, group in best.values()):
        return ["Bold: not significantly below the best (t test against the best, Holm)."]
    return ["Nothing is bold: no method can be tested against the best."] if best else []


def _verdict_note(control: str | None, made: list[compare.Comparison], delta: float) -> list[str]:
    tested = [c for c in made if c.difference.p == c.difference.p]
    if not tested:
        return ["No comparison could be tested."] if made else []
    with_t = [c for c in tested if c.difference.low == c.difference.low]
    kinds = sorted({_TESTS[c.difference.design] for c in with_t})
    kinds = kinds or ["no test, since scores are identical"]
    against = f" with {control}" if control else ""
    family = f"Holm over {len(tested)} comparisons" if len(tested) > 1 else "one comparison"
    return [
        f"Verdicts: {' or '.join(kinds)}, {family}{against}. Equivalent means within"
        f" ±{100 * delta:g} points (TOST). MDE: smallest true difference detectable with 80 %"
        " power, before multiple-comparison correction."
    ]


def _sequential_note(results: Results) -> list[str]:
    if not (design := sequential.stored(results)):
        return []
    return [
        f"Seeds were added until verdicts were settled, {design.max_seeds} at most: verdicts are"
        " those of the sequential test (table sequential), also where p and ±, which take the"
        " number of seeds as given, say otherwise."
    ]


def _start_note(results: Results, split: str) -> list[str]:
    by_run = scores.run_scores(results, split, scores.decoding_of(scores.headline_metric(results)))
    trained = results.runs.loc[results.runs["last_step"] > 0, "run"]
    start = by_run[(by_run["step"] == 0) & by_run["run"].isin(set(trained))]
    if start.empty:
        return []
    means = start.groupby("task", observed=True)["score"].mean()
    values = [f"{100 * v:.1f} %" + f" ({t})" * (len(means) > 1) for t, v in means.items()]
    return [f"The starting model: {', '.join(values)}."]


def run_notes(results: Results) -> list[str]:
    """Diverged, unfinished and unequal runs in words."""
    runs, notes = results.runs, []
    several = len(tasks(results)) > 1

    def label(task: object, method: object) -> str:
        return f"{task} {method}" if several else str(method)

    for status, what in (
        ("diverged", "Diverged, counted with the last evaluation"),
        ("unfinished", "Unfinished, not counted"),
    ):
        these = runs[runs["status"] == status].itertuples()
        listed = [f"{label(r.task, r.method)} s{r.seed}" for r in these]
        notes += [f"{what}: {', '.join(listed)}."] if listed else []
    counts = scores.counted(results).groupby(["task", "method"], observed=True).size()
    if counts.nunique() > 1:
        each = [f"{label(*key)} {n}" for key, n in counts.items()]
        notes.append(f"Unequal numbers of seeds: {', '.join(each)}.")
    return notes
