"""Two numbers of each method against each other, with the interval of both."""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .look import AXES, DASHED, FAINT, Look, looks
from .parts import legend, mark, panel, percent, short, short_ticks, within_percent
from .plot import Plot


def cost(
    points: pd.DataFrame, axis: str, *, name: str | None = None, metric: str = "accuracy"
) -> Plot:
    """Accuracy against what it cost, with the interval of both.

    points: a row per method: method, x, x_low, x_high, value, low, high.
    """
    look = looks(points["method"])
    rows = points.set_index("method").loc[list(look)].reset_index()
    shift = _side_by_side(rows["x"].to_numpy(float))

    def draw(width: float) -> Figure:
        figure, ax = panel(width, 3.3, narrow=2.9)
        for row, aside in zip(rows.itertuples(), shift, strict=True):
            y = map(percent, (row.value, row.low, row.high))
            x = (value + aside for value in (row.x, row.x_low, row.x_high))
            _cross(ax, x, y, row.method, look=look[row.method])
        reach = rows["x"].max() / max(rows["x"].min(), 1e-12) if len(rows) else 1
        if reach > 20 and rows["x"].min() > 0:
            ax.set_xscale("log")
        else:
            short_ticks(ax, width)
        within_percent(ax)
        beside = " (equal costs side by side)" if shift.any() else ""
        ax.set(xlabel=f"cost: {AXES.get(axis, axis)}{beside}", ylabel=f"final {metric} (%)")
        legend(figure, look, lines=False)
        return figure

    said = (f"{r.method} {percent(r.value):.1f} % for {short(r.x)}" for r in rows.itertuples())
    alt = "; ".join(said)
    title = f"Final {metric} against {AXES.get(axis, axis)}"
    return Plot(name=name or f"cost-{axis}", title=title, alt=alt, data=rows, draw=draw)


def _side_by_side(x_N: np.ndarray) -> np.ndarray:
    """How far to move each point so that those of one cost, to 1 % of the largest, do not hide each
    other."""
    step = 0.018 * x_N.max(initial=0)
    shift = np.zeros(len(x_N))
    for i in range(len(x_N)):
        alike = np.flatnonzero(np.abs(x_N - x_N[i]) < 0.01 * x_N.max())
        shift[i] = step * (np.searchsorted(alike, i) - (len(alike) - 1) / 2)
    return shift


def against(points: pd.DataFrame, x: str, y: str, *, name: str) -> Plot:
    """Accuracy on one split against another, with both intervals and the line where they are equal.

    points: method, x, x_low, x_high, y, y_low, y_high (shares).
    """
    look = looks(points["method"])
    rows = points.set_index("method").loc[list(look)].reset_index()

    def draw(width: float) -> Figure:
        figure, ax = panel(width, 3.6, narrow=3.2)
        for row in rows.itertuples():
            across = map(percent, (row.x, row.x_low, row.x_high))
            up = map(percent, (row.y, row.y_low, row.y_high))
            _cross(ax, across, up, row.method, look=look[row.method])
        values = 100 * rows[[c for c in rows if c != "method"]].to_numpy(float)
        low, high = np.nanmin(values) - 2, np.nanmax(values) + 2
        ax.axline((low, low), slope=1, color=FAINT, lw=0.8, ls=DASHED)
        inside = (max(low, 0), min(high, 100))
        ax.set(xlim=inside, ylim=inside)
        ax.set(xlabel=f"accuracy on {x} (%)", ylabel=f"accuracy on {y} (%)")
        legend(figure, look, lines=False)
        return figure

    alt = "; ".join(
        f"{r.method} {percent(r.y):.1f} % on {y}, {percent(r.x):.1f} % on {x}"
        for r in rows.itertuples()
    )
    return Plot(name=name, title=f"Accuracy on {y} against {x}", alt=alt, data=rows, draw=draw)


def _cross(ax: Axes, across: Iterable[float], up: Iterable[float], method: str, look: Look) -> None:
    """A marker with a bar along each axis whose interval is known. Along each axis, in its unit:
    the value and the bounds of its interval, NaN where it has none."""
    (x, left, right), (y, low, high), paint = across, up, mark(method, look)
    if math.isfinite(left) and math.isfinite(right):
        ax.plot([left, right], [y, y], lw=1.1, **paint)
    if math.isfinite(low) and math.isfinite(high):
        ax.plot([x, x], [low, high], lw=1.1, **paint)
    ax.plot([x], [y], look.marker, ms=6, **paint)
