"""What a method has learnt: accuracy by group of questions, at the start and at the end."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .look import DASHED, FAINT, INK, Look, looks
from .parts import headed, is_narrow, mark, percent
from .plot import Plot

ACROSS, NARROW_ACROSS = 4, 3  # panels in a row
SEEN = "start: at least one of {} samples right"


def lift(
    points: pd.DataFrame,
    field: str,
    *,
    group: int | None = None,
    name: str = "lift",
    metric: str = "accuracy",
) -> Plot:
    """A panel for each method with the start's and the end's accuracy in each group of questions.

    Args:
        points: a row per method and group, the groups in the order in which they are shown: method,
            group, start, start_low, start_high, value, low, high, seen (shares; NaN: unknown).
            seen: share of prompts on which at least one of G samples of the start was right.
        field: what the groups are, e.g. "rung" or "level".
        group: G, for the legend; None: it differs between the methods.
    """
    look = looks(points["method"])
    places = {value: i for i, value in enumerate(points["group"].drop_duplicates())}
    title = f"{metric.capitalize()} by {field}, at the start and at the end"
    sampled = points["seen"].notna().any()
    bars = " Bars: 95 % confidence intervals across seeds." * bool(points["low"].notna().any())

    def draw(width: float) -> Figure:
        narrow = is_narrow(width)
        across = min(NARROW_ACROSS if narrow else ACROSS, len(look))
        down = math.ceil(len(look) / across)
        words = [str(value) for value in places]
        turned = max(map(len, words)) * len(words) * 0.055 > width / across - 0.35
        below = (0.055 * max(map(len, words)) if turned else 0.12) + (0.75 if narrow else 0.4)
        tall = down * (1.0 if narrow else 1.2) + below
        figure = headed(width, tall, title, f"Horizontal: {field}.{bars}")
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for ax, (method, style) in zip(grid.ravel(), look.items(), strict=False):
            own = points[points["method"] == method]
            _panel(ax, own, places, method, look=style)
        for ax in grid.ravel()[len(look) :]:
            ax.set_visible(False)
        for column in range(across):  # the lowest panel of each column names the groups
            ax = grid[(len(look) - 1 - column) // across, column]
            turn = {"rotation": 90} if turned else {}
            ax.set_xticks([*places.values()], words, fontsize=6.5, **turn)
            ax.tick_params(labelbottom=True)
            for label in ax.get_xticklabels():  # below it is nothing that they could cover
                label.set_in_layout(ax in grid[-1])
        grid[0, 0].set(ylim=(-3, 103), xlim=(-0.4, len(places) - 0.6), yticks=[0, 50, 100])
        figure.supylabel(f"{metric} (%)", fontsize=8)
        figure.legend(
            handles=_keys(group, sampled), loc="outside lower center", handlelength=2.2,
            ncols=1 if narrow else 3,
        )  # fmt: skip
        return figure

    best = points.assign(gain=points["value"] - points["start"]).sort_values("gain")
    said = (
        f"{r.method} gains most in {r.group}: {percent(r.start):.0f} to {percent(r.value):.0f} %"
        for r in best[best["gain"].notna()].groupby("method").tail(1).itertuples()
    )
    alt = "; ".join(sorted(said))
    return Plot(name=name, title=title, alt=alt, data=points, draw=draw)


def _panel(
    ax: Axes, own: pd.DataFrame, places: dict[object, int], method: str, *, look: Look
) -> None:
    x = own["group"].map(places).to_numpy(float)
    ax.plot(x, 100 * own["seen"], color=FAINT, lw=0.9, ls=DASHED, zorder=1.5)
    grey = {"color": FAINT, "lw": 0.9, "zorder": 2}
    _curve(
        ax, x, own[["start", "start_low", "start_high"]].to_numpy(float), "o", mfc="white", **grey
    )
    end = own[["value", "low", "high"]].to_numpy(float)
    _curve(ax, x, end, look.marker, ls=look.dashes, lw=1.4, zorder=3, **mark(method, look))
    ax.set_title(method, loc="left", fontsize=7.5, fontweight="bold", pad=2.5)
    ax.tick_params(labelsize=7, length=2)


def _curve(ax: Axes, x: np.ndarray, shares_N3: np.ndarray, marker: str, **paint: object) -> None:
    """Values with their intervals, which accuracy keeps within 0 and 100 %."""
    value, low, high = 100 * shares_N3.T
    there = np.isfinite(value)
    paint = {"marker": marker, "ms": 3, **paint}
    ax.plot(x[there], value[there], **paint)  # pyright: ignore[reportArgumentType]
    for at, bottom, top in zip(x, np.maximum(low, 0), np.minimum(high, 100), strict=True):
        if math.isfinite(bottom):
            plain = {"color": paint["color"], "lw": 0.9, "zorder": paint["zorder"]}
            ax.plot([at, at], [bottom, top], **plain)  # pyright: ignore[reportArgumentType]


def _keys(group: int | None, sampled: bool) -> list[Line2D]:
    keys = [
        Line2D([], [], color=INK, marker="o", ms=3.5, lw=1.4, label="end"),
        Line2D([], [], color=FAINT, marker="o", mfc="white", ms=3.5, lw=0.9, label="start"),
    ]
    words = SEEN.format(group or "G")
    dashed = Line2D([], [], color=FAINT, lw=0.9, ls=DASHED, label=words)
    return [*keys, dashed] if sampled else keys
