"""How time and memory of a step grow with what makes it larger."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from .look import COLOURS, FAINT, MARKERS
from .parts import is_narrow, short
from .plot import Plot

QUANTITIES = {"seconds": "seconds a step", "memory": "peak memory (MiB)"}


def growth(points: pd.DataFrame) -> Plot:
    """Seconds (logarithmic) and memory (from zero) of a step against what makes it larger; the thin
    line is linear growth from the first point.

    points: a row a measurement: axis, value, who, seconds, memory (bytes above the start).
    """
    axes = list(dict.fromkeys(points["axis"]))
    who = list(dict.fromkeys(points["who"]))
    style = dict(zip(who, zip(COLOURS[2:], MARKERS, strict=False), strict=False))

    def draw(width: float) -> Figure:
        columns = 2 if is_narrow(width) else len(axes)
        bands = -(-len(axes) // columns)
        figure = Figure(figsize=(width, 1.75 * 2 * bands + 0.3), layout="constrained")
        grid = figure.subplots(2 * bands, columns, squeeze=False)
        for k in range(bands * columns):
            place = k % columns
            for ax, quantity in zip(grid[2 * (k // columns) :, place], QUANTITIES, strict=False):
                if k >= len(axes):
                    ax.set_visible(False)
                    continue
                _panel(ax, points[points["axis"] == axes[k]], quantity, style)
                _scales(ax, axes[k], quantity)
                if place == 0:
                    ax.set_ylabel(QUANTITIES[quantity])
                if quantity == "memory":
                    ax.set_xlabel(axes[k])
        handles = [
            Line2D([], [], color=c, marker=m, ms=3.5, lw=1.2, label=w)
            for w, (c, m) in style.items()
        ]
        thin = Line2D([], [], color=FAINT, lw=0.6, label="linear growth")
        figure.legend(handles=[*handles, thin], loc="outside upper left", ncols=3, frameon=False)
        return figure

    alt = "; ".join(
        f"{r.axis} {r.value:g}, {r.who}: {r.seconds:.3g} s, {r.memory / 2**20:.3g} MiB"
        for r in points.itertuples()
    )
    title = "Time and memory of one training step"
    return Plot(name="growth", title=title, alt=alt, data=points, draw=draw)


def _panel(
    ax: Axes, points: pd.DataFrame, quantity: str, style: dict[str, tuple[str, str]]
) -> None:
    """One line for each implementation that was measured."""
    for one, (colour, marker) in style.items():
        here = points[points["who"] == one].sort_values("value")
        if here.empty:
            continue
        y = here[quantity] / (2**20 if quantity == "memory" else 1.0)
        ax.plot(here["value"], y, marker=marker, ms=3.5, lw=1.2, color=colour)
        if quantity == "seconds":
            linear = y.iloc[0] * here["value"] / here["value"].iloc[0]
            ax.plot(here["value"], linear, lw=0.6, color=colour, alpha=0.6)


def _scales(ax: Axes, axis: str, quantity: str) -> None:
    ax.set_xscale("log", base=10 if axis == "parameters" else 2)
    ax.xaxis.set_major_formatter(FuncFormatter(short))
    if quantity == "seconds":
        ax.set_yscale("log")
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(FuncFormatter(short))
    ax.minorticks_off()
