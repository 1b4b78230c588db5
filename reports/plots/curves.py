"""Line plots: one line with a band for each method, or for each term of a loss."""

import textwrap
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .look import AXES, COLOURS, DASHED, DASHES, FAINT, INK, Look, looks
from .panels import LEGEND, MOST, Line, line_figure
from .parts import band, mark, panel, percent, rows_of, short_ticks, within_percent
from .plot import Plot


def convergence(
    curves: pd.DataFrame,
    seeds: pd.DataFrame,
    axis: str,
    *,
    start: float | None = None,
    thresholds: Sequence[float] = (),
    diverged: pd.DataFrame | None = None,
    finals: pd.DataFrame | None = None,
    why: str = "",
    name: str | None = None,
    metric: str = "accuracy",
) -> Plot:
    """Accuracy against an axis of the budget: mean line, band, one thin line a seed up to 5 seeds,
    and at its end the method's name with its final accuracy.

    Args:
        curves: method, x, mean, low, high (low and high NaN where one seed gives no interval).
        seeds: method, seed, x, value: every evaluation as measured.
        start: accuracy of the model that all methods start from.
        thresholds: declared levels, drawn as faint lines.
        diverged: method, x, value of the last evaluation of each diverged run, with a cross.
        finals: method, value: the accuracy of the tables, a hollow mark, where the curve ends
            elsewhere.
        why: why it does, a line below.
    """
    look = looks(curves["method"])
    crosses = [] if diverged is None else [*diverged.itertuples()]
    last = curves.sort_values("x").groupby("method", observed=True).tail(1).set_index("method")
    ends = last["mean"] if finals is None else finals.set_index("method")["value"]
    lines = _lines(curves, "x", "mean", look, ends=ends)

    def draw_one(ax: Axes, method: str) -> None:
        paint, own = mark(method, look[method]), rows_of(seeds, method, "x")
        if 1 < own["seed"].nunique() <= 5:
            for _, one in own.groupby("seed"):
                ax.plot(one["x"], 100 * one["value"], lw=0.5, alpha=0.35, **paint)
        mean, line = rows_of(curves, method, "x"), lines[method]
        band(ax, mean["x"], mean, 0.12, **paint)
        ax.plot(line.x, line.y, ls=look[method].dashes, **paint)
        ax.plot(*line.end, look[method].marker, **paint)
        if finals is not None and method in ends.index:
            place = (line.end[0], percent(ends[method]))
            ax.plot(*place, look[method].marker, mfc="white", ms=4, clip_on=False, **paint)
        for row in (row for row in crosses if row.method == method):
            ax.plot(row.x, percent(row.value), "x", ms=7, mew=1.6, **paint)

    def draw(width: float) -> Figure:
        def finish(ax: Axes) -> None:
            for level in thresholds:
                ax.axhline(100 * level, color=FAINT, lw=0.6, ls=(0, (1, 2)))
            if start is not None:
                ax.axhline(100 * start, color=FAINT, lw=0.8, ls=DASHED)
                ax.annotate(
                    "start", (1, 100 * start), xycoords=("axes fraction", "data"), xytext=(-2, 2),
                    textcoords="offset points", ha="right", va="bottom", fontsize=7, color=FAINT,
                )  # fmt: skip
            short_ticks(ax, width, several=len(look) > MOST)
            within_percent(ax)

        below = textwrap.wrap(why, int(width * 16))
        figure = line_figure(
            width, lines, look, draw_one, finish=finish, more=LEGEND * bool(crosses),
            labels=("\n".join([AXES.get(axis, axis), *below]), f"{metric} (%)"),
        )  # fmt: skip
        if crosses:
            key = Line2D([], [], color=INK, marker="x", ls="", ms=6, mew=1.6, label="diverged")
            figure.legend(handles=[key], loc="outside lower right")
        return figure

    said = "; ".join(f"{m} ends at {100 * ends[m]:.1f} %" for m in look if m in ends.index)
    parts = [curves.assign(seed="mean"), seeds.rename(columns={"value": "mean"})]
    if finals is not None:
        at_end = last["x"].reindex(finals["method"]).to_numpy()
        parts.append(finals.rename(columns={"value": "mean"}).assign(seed="final", x=at_end))
    data = pd.concat(parts, ignore_index=True).rename(columns={"x": axis, "mean": "value"})
    title = f"{metric.capitalize()} against {AXES.get(axis, axis)}"
    return Plot(name=name or f"convergence-{axis}", title=title, alt=said, data=data, draw=draw)


def _lines(
    points: pd.DataFrame, x: str, y: str, look: dict[str, Look], ends: pd.Series | None = None
) -> dict[str, Line]:
    """A line for each method, its name with the accuracy of `ends` in percent."""
    lines = {}
    for method in look:
        rows = rows_of(points, method, x)
        shown = "" if ends is None or method not in ends.index else f"  {100 * ends[method]:.1f}"
        lines[method] = Line(rows[x].to_numpy(), 100 * rows[y].to_numpy(), f"{method}{shown}")
    return lines


def pass_curves(points: pd.DataFrame, *, name: str = "passk") -> Plot:
    """pass@k against k, with its interval over seeds.

    points: method, k, value, low, high (shares).
    """
    look = looks(points["method"])
    most = points["k"].max()
    ends = points[points["k"] == most].set_index("method")["value"]
    lines = _lines(points, "k", "value", look, ends=ends)

    def draw_one(ax: Axes, method: str) -> None:
        own, paint = rows_of(points, method, "k"), mark(method, look[method])
        band(ax, own["k"], own, 0.1, **paint)
        style = look[method]
        ax.plot(own["k"], 100 * own["value"], marker=style.marker, ls=style.dashes, **paint)

    def finish(ax: Axes) -> None:
        ks = sorted(points["k"].unique())
        ax.set_xscale("log", base=2)
        ax.set_xticks(ks, [str(int(k)) for k in ks])
        ax.minorticks_off()
        within_percent(ax)

    def draw(width: float) -> Figure:
        labels = ("k (answers drawn without replacement)", "pass@k (%)")
        return line_figure(width, lines, look, draw_one, finish=finish, labels=labels)

    alt = "; ".join(f"{m} reaches {100 * ends[m]:.1f} % at k = {most:g}" for m in look)
    return Plot(name=name, title="pass@k against k", alt=alt, data=points, draw=draw)


def profile(points: pd.DataFrame) -> Plot:
    """Share of task x seed cells above each accuracy, with its pointwise band.

    points: method, accuracy, value, low, high (shares).
    """
    look = looks(points["method"])
    percents = points.assign(accuracy=100 * points["accuracy"])
    lines = _lines(percents, "accuracy", "value", look)

    def draw_one(ax: Axes, method: str) -> None:
        own, paint = rows_of(percents, method, "accuracy"), mark(method, look[method])
        band(ax, own["accuracy"], own, 0.1, step="post", **paint)
        x, y = own["accuracy"], 100 * own["value"]
        ax.step(x, y, where="post", ls=look[method].dashes, **paint)

    def draw(width: float) -> Figure:
        labels = ("accuracy (%)", "runs above that accuracy (%)")
        return line_figure(
            width, lines, look, draw_one, finish=within_percent, labels=labels, step=True
        )

    half = points[points["value"] >= 0.5].groupby("method", observed=True)["accuracy"].max()
    alt = "; ".join(f"half of {m}'s runs are above {percent(half.get(m, 0)):.0f} %" for m in look)
    title = "Share of runs above each accuracy"
    return Plot(name="profile", title=title, alt=alt, data=points, draw=draw)


def tuning(points: pd.DataFrame) -> Plot:
    """Expected best validation score against the number of tuning trials.

    points: method, trials, value (share).
    """
    look = looks(points["method"])
    last = points.sort_values("trials").groupby("method").tail(1).set_index("method").loc[[*look]]
    lines = _lines(points, "trials", "value", look, ends=last["value"])

    def draw_one(ax: Axes, method: str) -> None:
        line, style = lines[method], look[method]
        ax.plot(line.x, line.y, marker=style.marker, ls=style.dashes, **mark(method, style))

    def finish(ax: Axes) -> None:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))

    def draw(width: float) -> Figure:
        labels = ("tuning trials", "expected best validation score (%)")
        return line_figure(width, lines, look, draw_one, finish=finish, labels=labels)

    alt = "; ".join(
        f"{e.Index} {100 * e.value:.1f} % after {e.trials:g}" for e in last.itertuples()
    )
    title = "Expected best score against tuning trials"
    return Plot(name="tuning", title=title, alt=alt, data=points, draw=draw)


def shares(points: pd.DataFrame, method: str, *, name: str) -> Plot:
    """The share of each term in the absolute loss over the updates: mean and range over seeds.

    points: term, step, value, low, high (shares of 1; low and high are the extreme seeds).
    """
    terms = list(dict.fromkeys(points["term"]))

    def draw(width: float) -> Figure:
        figure, ax = panel(width, 2.8, narrow=2.5)
        for i, term in enumerate(terms):
            own = points[points["term"] == term].sort_values("step")
            colour, dashes = COLOURS[(2 * i + 2) % 7], DASHES[i % len(DASHES)]
            band(ax, own["step"], own, 0.15, color=colour)
            ax.plot(own["step"], 100 * own["value"], color=colour, ls=dashes, label=term)
        ax.set_xlim(left=0)
        within_percent(ax)
        ax.set(xlabel=AXES["updates"], ylabel="share of the loss (%)")
        figure.legend(loc="outside lower center", ncols=len(terms), handlelength=2.8)
        return figure

    ends = points.sort_values("step").groupby("term").tail(1).set_index("term")["value"]
    alt = "; ".join(f"{term} ends at {100 * ends[term]:.0f} %" for term in terms)
    title = f"{method}: share of each term in the absolute loss"
    return Plot(name=name, title=title, alt=alt, data=points, draw=draw)
