"""Which method is better: the main table, the comparisons, and the notes that both need."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from .. import (
    compare,
    curves,
    failures,
    foreign,
    information,
    neighbours,
    scores,
    sequential,
    stats,
)
from ..neighbours import Choice
from ..render import Column, Table
from ..stats import ALPHA
from .parts import COSTS, axis_word, label_columns, last_costs, machine_note, of, task_column, tasks

if TYPE_CHECKING:
    from ..runs import Results


def main_table(
    results: Results,
    split: str | None = None,
    control: str | None = None,
    delta: float | None = None,
    alpha: float = ALPHA,
) -> Table:
    """A row per task and method, best first: accuracy under the declared decoding and under the
    others, area under the curve, cost, what failed, and the difference to the control with its
    minimum detectable effect, verdict, and how far that holds."""
    control = control or results.control
    delta = results.margin if delta is None else delta
    choice = neighbours.primary(results, split=split)
    split, every = choice.split, neighbours.matrices(results, replace(choice, axis="end"))
    others = _other_decodings(results, choice)
    area = curves.efficiency(results, split=split, decoding=choice.decoding)
    costs, cards = last_costs(results), information.cards(results)
    flagged = failures.flags(results).set_index(["task", "method"])["flags"].to_dict()
    pairs = compare.against(results.methods, control) if control else []
    made = compare.family(results, pairs, choice=choice, delta=delta, alpha=alpha)
    versus = {(c.task, c.a): c for c in made}
    rows, best = [], {}
    for task in tasks(results):
        best[task] = compare.best_group(results, choice, task, alpha=alpha)
        for method in results.methods:
            x = every.get((task, method), neighbours.EMPTY)
            runs = results.runs[(results.runs["task"] == task) & (results.runs["method"] == method)]
            if runs.empty:
                continue
            accuracy = stats.seed_interval(x.mean(axis=1), alpha)
            wide = stats.two_way_interval(x.dropna(axis=1).to_numpy(), alpha)
            seen = x.notna().sum(axis=1)
            auc = stats.seed_interval(of(area, task, method)["auc"], alpha)
            spent = of(costs, task, method)[[*COSTS]].mean()
            card = cards.get((task, method))
            row = {
                "task": task, "method": method, "accuracy": accuracy.mean, "half": accuracy.half,
                "low": accuracy.low, "high": accuracy.high, "wide_low": wide.low,
                "wide_high": wide.high, "best": method in best[task][1], "auc": auc.mean,
                "auc_half": auc.half, **spent, "seeds": len(x),
                "questions": int(seen.max()) if len(x) else 0,
                "questions_least": int(seen.min()) if len(x) else 0,
                "diverged": int((runs["status"] == "diverged").sum()),
                "unfinished": int((runs["status"] == "unfinished").sum()),
                "track": card.track if card else None,
                "flags": flagged.get((task, method)) or None,
            }  # fmt: skip
            for name, by_seed in others.items():
                one = stats.seed_interval(of(by_seed, task, method)["score"], alpha)
                row |= {name: one.mean, f"{name}_half": one.half}
            found = versus[task, method].row() if (task, method) in versus else {}
            row |= {name: found.get(key) for name, key in _VERSUS.items()}
            row["verdict"] = found.get("verdict", "control" if method == control else None)
            rows.append(row)
    frame = pd.DataFrame(rows, columns=None if rows else ["task", "method", *_MAIN])
    frame = frame.sort_values(["task", "accuracy"], ascending=[True, False], ignore_index=True)
    k = _samples(results, choice)
    several = len(others) > 1  # sampled answers at more than one temperature
    about = f"of answers {neighbours.words(results, choice)}"
    header = _header(results, choice, k=k, several=several)
    first = Column("accuracy", f"{header} %", "percent", "half", bold="best", about=about)
    columns = (
        *label_columns(results),
        first,
        *(Column(name, f"{name} %", "percent", f"{name}_half",
                 about=f"of answers {neighbours.decoding_words(results, name)}")
          for name in others if name != choice.decoding),
        Column("auc", "AUC %", "percent", "auc_half", about="mean accuracy over the common budget",
               wide=True),
        *(Column(c, axis_word(c), kind, about=about, wide=True)
          for c, (kind, about) in COSTS.items()),
        Column("difference", f"vs {control or 'control'}", "points", "difference_half",
               about="points"),
        Column("mde_adjusted", "MDE", "percent",
               about="smallest difference found with power 0.8 after the correction, points"),
        Column("verdict", "verdict"),
        Column("robust", "holds in", about="other ways to measure with the same verdict"),
        *((Column("flags", "beware", about="runs that failed or hardly trained"),)
          if frame["flags"].notna().any() else ()),
    )  # fmt: skip
    notes = [
        *_footnote(results, frame, choice, k=k, alpha=alpha),
        *_bold_note(best),
        *_verdict_note(results, control, made, delta),
        *_start_note(results, choice),
        *_sequential_note(results),
        *foreign.notes(results),
        *run_notes(results),
        *machine_note(results),
    ]
    return Table("main", f"Accuracy on {split}", frame, columns, notes=tuple(notes))


def _other_decodings(results: Results, choice: Choice) -> dict[str, pd.DataFrame]:
    """Decoding -> mean over questions of each run, of those that the primary does not take. Greedy
    is always among them, so that tables of all runs have the same columns."""
    there = {c.decoding for c in results.tally.counts if c.split == choice.split}
    names = sorted((there | {"greedy"}) - {choice.decoding} | {"greedy"}, key=lambda n: (
        n == "greedy", n
    ))  # fmt: skip
    reading = neighbours.READINGS[choice.reading]
    return {
        name: scores.seed_scores(
            scores.metric_scores(
                results, "greedy" if name == "greedy" else "avg", choice.split, reading,
                sampled=name,
            )
        )
        for name in names
    }  # fmt: skip


def _header(results: Results, choice: Choice, k: int | str, several: bool) -> str:
    if choice.decoding == "greedy":
        return "greedy"
    name = f"{choice.metric}@{k}" if choice.metric in ("avg", "maj") else choice.metric
    at = neighbours.temperature(results, choice.decoding)
    return f"{name}, T={at}" if several and at else name


_VERSUS = {  # the control: column -> key of Comparison.row
    "difference": "difference", "difference_half": "half", "p": "p", "p_adjusted": "p_adjusted",
    "p_equivalent_adjusted": "p_equivalent_adjusted", "mde": "mde", "mde_adjusted": "mde_adjusted",
    "robust": "robust", "depends_on": "depends_on",
}  # fmt: skip
_TESTS = {
    "paired": "paired t across seeds", "welch": "Welch's t across seeds",
    "questions": "flipped signs across questions (single models)",
}  # fmt: skip
_MAIN = (
    "accuracy", "half", "low", "high", "wide_low", "wide_high", "best", "auc", "auc_half", *COSTS,
    "seeds", "questions", "questions_least", "diverged", "unfinished", "track", "flags", "greedy",
    "greedy_half", *_VERSUS, "verdict",
)  # fmt: skip


def comparison_table(
    results: Results, split: str | None = None, metric: str | None = None,
    control: str | None = None, pairs: list[tuple[str, str]] | None = None,
    delta: float | None = None,
) -> Table:  # fmt: skip
    """Both intervals, raw and adjusted p and MDE, the verdict and how far it holds; by default of
    the declared family."""
    if pairs is None and control:
        pairs = compare.against(results.methods, control)
    delta = results.margin if delta is None else delta
    choice = neighbours.primary(results, metric, split)
    made = compare.family(results, pairs, choice=choice, delta=delta)
    columns = (
        *task_column(results),
        Column("a", "a"),
        Column("b", "b"),
        Column("difference", "a − b", "points", "half", about="over seeds, these questions"),
        Column("wide_half", "±, new questions", "percent", about="over seeds and questions"),
        Column("p", "p", "p"),
        Column("p_adjusted", "p (Holm)", "p"),
        Column("p_equivalent_adjusted", "p equivalent", "p", about="TOST, Holm", wide=True),
        Column("mde", "MDE", "percent"),
        Column("mde_adjusted", "MDE (adjusted)", "percent"),
        Column("verdict", "verdict"),
        Column("robust", "holds in"),
        Column("depends_on", "depends on", wide=True),
        Column("track_a", "a learned from", wide=True),
        Column("track_b", "b learned from", wide=True),
        Column("design", "t test", wide=True),
        Column("seeds_a", "S", "count", wide=True),
    )
    notes = _verdict_note(results, None, made, delta)
    for note in dict.fromkeys(c.note for c in made if c.note):
        which = [f"{c.a} vs {c.b}" for c in made if c.note == note]
        notes.append(f"{', '.join(which)}: {note}.")
    notes += [f"{_start(c.failures)}." for c in made if c.failures]
    title = f"Differences in {choice.name}, {neighbours.words(results, choice)}, points"
    return Table("comparisons", title, compare.table(made), columns, notes=tuple(notes))


def specification_table(results: Results, control: str | None = None) -> Table:
    """Every comparison of the family under the primary specification and each of its neighbours: a
    row each, p adjusted inside its dimension. The figure `specifications` draws it."""
    pairs = compare.against(results.methods, control) if control else None
    rows = []
    for c in compare.family(results, pairs):
        same = {"task": c.task, "a": c.a, "b": c.b}
        rows.append(same | {
            "dimension": "primary", "choice": neighbours.words(results, c.choice),
            "difference": c.difference, "low": c.interval.low, "high": c.interval.high,
            "p": c.p, "p_adjusted": c.p_adjusted, "verdict": c.primary, **vars(c.choice),
        })  # fmt: skip
        rows += [
            same | {
                "dimension": n.dimension, "choice": n.words, "difference": n.difference,
                "low": n.interval.low, "high": n.interval.high, "p": n.p,
                "p_adjusted": n.p_adjusted, "verdict": n.verdict, **vars(n.choice),
            }
            for n in c.neighbours
        ]  # fmt: skip
    keys = ["task", "a", "b", "dimension", "choice", "difference", "low", "high", "p",
            "p_adjusted", "verdict"]  # fmt: skip
    frame = pd.DataFrame(rows, columns=None if rows else keys)
    frame["half"] = (frame["high"] - frame["low"]) / 2
    columns = (
        *task_column(results),
        Column("a", "a"),
        Column("b", "b"),
        Column("dimension", "what differs"),
        Column("choice", "how it is measured"),
        Column("difference", "a − b", "points", "half"),
        Column("p_adjusted", "p (Holm)", "p"),
        Column("verdict", "verdict"),
    )
    note = (
        "p of the primary is adjusted over the family, that of a neighbour inside its dimension."
        " A verdict becomes `depends` where a neighbour is significant with the opposite sign, or"
        " lies significantly outside the margin although the primary is equivalent."
    )
    title = "Each comparison under every specification, points"
    return Table("specifications", title, frame, columns, notes=(note,) if rows else ())


def _start(text: str) -> str:
    return text[:1].upper() + text[1:]


def _samples(results: Results, choice: Choice) -> int | str:
    drawn = [int(c.samples_SQ[-1].max(initial=0)) for c in results.tally.counts
             if (c.split, c.decoding) == (choice.split, choice.decoding)]  # fmt: skip
    return max(drawn, default=0) or "K"


def _footnote(
    results: Results, frame: pd.DataFrame, choice: Choice, k: int | str, alpha: float
) -> list[str]:
    """S, n, K, kind of interval, decoding, checker version, data hash."""
    runs = scores.counted(results)
    if runs.empty:
        return ["No finished run yet: nothing can be said about accuracy."]
    level, there = f"{100 * (1 - alpha):g} %", frame[frame["seeds"] > 0]
    seeds = _range(there["seeds"])
    questions = _range(pd.concat([there["questions_least"], there["questions"]]))
    single = choice.decoding == "greedy"
    answers = "one greedy answer each" if single else f"K = {k} samples each"
    size = f"S = {seeds} seeds, n = {questions} questions of {choice.split}, {answers}"
    notes = [f"{size}."]
    if (frame["seeds"] > 1).any():
        notes = [
            f"± is the {level} confidence half-width (Student-t) across seeds on these questions"
            f" ({size}). The CSV also holds the interval for new questions."
        ]
    one = (frame["seeds"] == 1) & ~frame["method"].isin(foreign.checkpoints(results))
    alone = frame.loc[one, ["task", "method"]]
    if len(alone):
        halves = [
            _checkpoint_half(results, choice.split, *pair) for pair in alone.itertuples(index=False)
        ]
        known = [half for half in halves if half == half]
        notes.append(
            f"One seed of {', '.join(dict.fromkeys(alone['method']))}: how much another seed would"
            " differ is unknown, so there is no interval, test or verdict."
            + (
                f" For these checkpoints the questions alone leave up to ±{100 * max(known):.1f}"
                " points."
                if known
                else ""
            )
        )
    checker = ", ".join(sorted({str(g) for g in runs["grader"].dropna()})) or "unknown"
    data = ", ".join(sorted({str(d) for d in runs["data"].dropna()} - {""})) or "unknown"
    told = neighbours.words(results, choice)
    notes.append(f"Verdicts are of answers {told}. Checker version {checker}; data {data}.")
    return notes


def _checkpoint_half(results: Results, split: str, task: str, method: str) -> float:
    cube = scores.sample_cube(results, method, split, task)
    return stats.question_interval(cube[0]).half if cube.size else float("nan")


def _range(values: pd.Series) -> str:
    if values.empty:
        return "0"
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"


def _bold_note(best: dict[str, tuple[str | None, set[str]]]) -> list[str]:
    if any(group for _, group in best.values()):
        return [
            "Bold: may be the best (95 % confidence set: no other row is significantly above it,"
            " one-sided paired t at level 5 % / (methods − 1))."
        ]
    return ["Nothing is bold: no method can be tested against the best."] if best else []


def _verdict_note(
    results: Results, control: str | None, made: list[compare.Comparison], delta: float
) -> list[str]:
    if not made:
        named = [s for s in results.planned_controls if s not in results.methods]
        missing = f"The declared control, {', '.join(named)}, was not run: no verdicts."
        return [missing] if named else []
    tested = [c for c in made if c.p == c.p]
    if not tested:
        return ["No comparison could be tested."]
    with_t = [c for c in tested if c.test.low == c.test.low]
    kinds = sorted({_TESTS[c.test.design] for c in with_t})
    kinds = kinds or ["no test, since scores are identical"]
    against, size = f" with {control}" if control else "", tested[0].family
    family = f"Holm over {size} comparisons" if size > 1 else "one comparison"
    return [
        f"Verdicts: {' or '.join(kinds)}, {family}{against}. Equivalent means within"
        f" ±{100 * delta:g} points (TOST). MDE: smallest true difference detectable with 80 %"
        " power after this correction."
        + " Depends: significant with the opposite sign when measured in another way;"
        " “holds in” counts these ways (table specifications)." * any(c.of for c in made)
    ]


def _sequential_note(results: Results) -> list[str]:
    if not (design := sequential.stored(results)):
        return []
    return [
        f"Seeds were added until verdicts were settled, {design.max_seeds} at most: verdicts are"
        " those of the sequential test (table sequential), also where p and ±, which take the"
        " number of seeds as given, say otherwise."
    ]


def _start_note(results: Results, choice: Choice) -> list[str]:
    """Accuracy before any update, under every decoding that was evaluated there."""
    there = {c.decoding for c in results.tally.counts if c.split == choice.split}
    trained = set(results.runs.loc[results.runs["last_step"] > 0, "run"])
    told = []
    for decoding in sorted(there, key=lambda name: (name != choice.decoding, name)):
        by_run = scores.run_scores(results, choice.split, decoding)
        by_run = by_run[by_run["run"].isin(trained)]
        means = by_run[by_run["step"] == 0].groupby("task", observed=True)["score"].mean()
        values = [f"{100 * v:.1f} %" + f" ({t})" * (len(means) > 1) for t, v in means.items()]
        how = neighbours.decoding_words(results, decoding)
        told += [f"{', '.join(values)} {how}"] if values else []
    return [f"The starting model: {'; '.join(told)}."] if told else []


def run_notes(results: Results) -> list[str]:
    """Diverged, unfinished and unequal runs in words."""
    runs, notes = results.runs, []
    several = len(tasks(results)) > 1

    def label(task: object, method: object) -> str:
        return f"{task} {method}" if several else str(method)

    both = " (a verdict must also hold with the start in its place)"
    for status, what, more in (
        ("diverged", "Diverged, counted with the last evaluation", both),
        ("unfinished", "Unfinished, not counted", ""),
    ):
        these = runs[runs["status"] == status].itertuples()
        listed = [f"{label(r.task, r.method)} s{r.seed}" for r in these]
        notes += [f"{what}: {', '.join(listed)}{more}."] if listed else []
    counts = scores.counted(results).groupby(["task", "method"], observed=True).size()
    if counts.nunique() > 1:
        each = [f"{label(*key)} {n}" for key, n in counts.items()]
        notes.append(f"Unequal numbers of seeds: {', '.join(each)}.")
    return notes
