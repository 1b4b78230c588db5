"""Line plots: one line with a band for each method, or for each term of a loss."""

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .look import AXES, COLOURS, DASHED, DASHES, FAINT, INK, looks
from .parts import (
    band,
    by_method,
    legend,
    legend_columns,
    mark,
    panel,
    percent,
    short_ticks,
    within_percent,
)  # fmt: skip
from .plot import Plot


def convergence(
    curves: pd.DataFrame,
    seeds: pd.DataFrame,
    axis: str,
    *,
    start: float | None = None,
    thresholds: Sequence[float] = (),
    diverged: pd.DataFrame | None = None,
    name: str | None = None,
    metric: str = "accuracy",
) -> Plot:
    """Accuracy against an axis of the budget: mean line, band, one thin line a seed up to 5 seeds.

    Args:
        curves: method, x, mean, low, high (low and high NaN where one seed gives no interval).
        seeds: method, seed, x, value: every evaluation as measured.
        start: accuracy of the model that all methods start from.
        thresholds: declared levels, drawn as faint lines.
        diverged: method, x, value of the last evaluation of each diverged run, marked with a cross.
    """
    look = looks(curves["method"])
    crosses = [] if diverged is None else [*diverged.itertuples()]

    def draw(width: float) -> Figure:
        below = 0.19 * math.ceil(len(look) / legend_columns(look, width))  # rows of the legend
        figure, ax = panel(width, 3.3 + below, narrow=2.45 + below)
        for level in thresholds:
            ax.axhline(100 * level, color=FAINT, lw=0.6, ls=(0, (1, 2)))
        if start is not None:
            ax.axhline(100 * start, color=FAINT, lw=0.8, ls=DASHED)
            ax.annotate(
                "start", (1, 100 * start), xycoords=("axes fraction", "data"), xytext=(-2, 2),
                textcoords="offset points", ha="right", va="bottom", fontsize=7.5, color=FAINT,
            )  # fmt: skip
        both = zip(by_method(curves, "x", look), by_method(seeds, "x", look), strict=True)
        for (mean, style, paint), (own, *_) in both:
            if 1 < own["seed"].nunique() <= 5:
                for _, one in own.groupby("seed"):
                    ax.plot(one["x"], 100 * one["value"], lw=0.5, alpha=0.35, **paint)
            x, y = mean["x"], 100 * mean["mean"]
            band(ax, x, mean, 0.12, **paint)
            ax.plot(x, y, ls=style.dashes, **paint)
            ax.plot(x.iloc[-1:], y.iloc[-1:], style.marker, **paint)
        for row in crosses:
            paint = mark(row.method, look[row.method])
            ax.plot(row.x, percent(row.value), "x", ms=7, mew=1.6, **paint)
        ax.set(xlabel=AXES.get(axis, axis), ylabel=f"{metric} (%)")
        short_ticks(ax, width)
        within_percent(ax)
        cross = Line2D([], [], color=INK, marker="x", ls="", ms=6, mew=1.6, label="diverged")
        legend(figure, look, more=[cross] if crosses else [])
        return figure

    by_x = curves.sort_values("x").groupby("method", observed=True)
    last = by_x.tail(1).set_index("method")["mean"]
    alt = "; ".join(f"{m} ends at {100 * last[m]:.1f} %" for m in look if m in last.index)
    parts = [curves.assign(seed="mean"), seeds.rename(columns={"value": "mean"})]
    data = pd.concat(parts, ignore_index=True).rename(columns={"x": axis, "mean": "value"})
    title = f"{metric.capitalize()} against {AXES.get(axis, axis)}"
    return Plot(name=name or f"convergence-{axis}", title=title, alt=alt, data=data, draw=draw)


def pass_curves(points: pd.DataFrame, *, name: str = "passk") -> Plot:
    """pass@k against k, with its interval over seeds.

    points: method, k, value, low, high (shares).
    """
    look = looks(points["method"])

    def draw(width: float) -> Figure:
        figure, ax = panel(width, 3.2, narrow=2.8)
        for own, style, paint in by_method(points, "k", look):
            band(ax, own["k"], own, 0.1, **paint)
            ax.plot(own["k"], 100 * own["value"], marker=style.marker, ls=style.dashes, **paint)
        ks = sorted(points["k"].unique())
        ax.set_xscale("log", base=2)
        ax.set_xticks(ks, [str(int(k)) for k in ks])
        ax.minorticks_off()
        within_percent(ax)
        ax.set(xlabel="k (answers drawn without replacement)", ylabel="pass@k (%)")
        legend(figure, look)
        return figure

    most = points["k"].max()
    ends = points[points["k"] == most].set_index("method")["value"]
    alt = "; ".join(f"{m} reaches {100 * ends[m]:.1f} % at k = {most:g}" for m in look)
    return Plot(name=name, title="pass@k against k", alt=alt, data=points, draw=draw)


def profile(points: pd.DataFrame) -> Plot:
    """Share of task x seed cells above each accuracy, with its pointwise band.

    points: method, accuracy, value, low, high (shares).
    """
    look = looks(points["method"])

    def draw(width: float) -> Figure:
        figure, ax = panel(width, 3.2, narrow=2.8)
        for own, style, paint in by_method(points, "accuracy", look):
            x = 100 * own["accuracy"]
            band(ax, x, own, 0.1, step="post", **paint)
            ax.step(x, 100 * own["value"], where="post", ls=style.dashes, **paint)
        ax.set(xlabel="accuracy (%)", ylabel="runs above that accuracy (%)")
        legend(figure, look)
        return figure

    half = points[points["value"] >= 0.5].groupby("method", observed=True)["accuracy"].max()
    alt = "; ".join(f"half of {m}'s runs are above {percent(half.get(m, 0)):.0f} %" for m in look)
    title = "Share of runs above each accuracy"
    return Plot(name="profile", title=title, alt=alt, data=points, draw=draw)


def tuning(points: pd.DataFrame) -> Plot:
    """Expected best validation score against the number of tuning trials.

    points: method, trials, value (share).
    """
    look = looks(points["method"])

    def draw(width: float) -> Figure:
        figure, ax = panel(width, 3.2, narrow=2.8)
        for own, style, paint in by_method(points, "trials", look):
            y = 100 * own["value"]
            ax.plot(own["trials"], y, marker=style.marker, ls=style.dashes, **paint)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(xlabel="tuning trials", ylabel="expected best validation score (%)")
        legend(figure, look)
        return figure

    ends = points.sort_values("trials").groupby("method").tail(1).set_index("method").loc[[*look]]
    alt = "; ".join(
        f"{e.Index} {100 * e.value:.1f} % after {e.trials:g}" for e in ends.itertuples()
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
            colour, dashes = COLOURS[(2 * i + 2) % len(COLOURS)], DASHES[i % len(DASHES)]
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
