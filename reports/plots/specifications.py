"""The specification curve: one comparison, measured in every way that the stored runs allow."""

import re

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .look import COLOURS, DASHED, FAINT, INK, RULE
from .parts import is_narrow, percent, signed
from .plot import Plot

TONES = {"better": COLOURS[2], "worse": COLOURS[4]}  # others are grey
SHAPES = {"better": "^", "worse": "v", "equivalent": "s"}


def specifications(
    rows: pd.DataFrame, pair: tuple[str, str], *, delta: float, name: str, verdict: str
) -> Plot:
    """Differences sorted by size, with their intervals; below each the choices that it makes.

    Args:
        rows: a row per specification: difference, low, high (shares), verdict, dimension ("primary"
            for the declared one), and a column per choice, named as a reader knows it.
        pair: the methods; the difference is the first minus the second.
        delta: margin of equivalence, drawn as two dashed lines.
        verdict: of the comparison, for the title.
    """
    a, b = pair
    primary = rows[rows["dimension"] == "primary"].iloc[0]
    rows = rows.sort_values("difference", ascending=False, ignore_index=True)
    fixed = ("difference", "low", "high", "p_adjusted", "verdict", "dimension")
    lines = [
        (choice, value)
        for choice in rows if choice not in fixed and rows[choice].nunique() > 1
        for value in dict.fromkeys([primary[choice], *sorted(rows[choice])])
    ]  # fmt: skip

    def draw(width: float) -> Figure:
        below = 0.17 * len(lines) + 0.1
        # the layout stops short of long labels by some pixels: more room for them
        pad = 0.03 if is_narrow(width) else 0.12
        layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=0.03, hspace=0)
        figure = Figure(figsize=(width, 2.3 + below), layout=layout)
        top, matrix = figure.subplots(2, 1, sharex=True, height_ratios=[1.9, below])
        _effects(top, rows, delta)
        top.set_ylabel(f"{a} − {b} (points)")
        _choices(matrix, rows, lines, narrow=is_narrow(width))
        figure.legend(handles=_keys(delta), loc="outside lower center",
                      ncols=2 if is_narrow(width) else 3, handlelength=1.4)  # fmt: skip
        return figure

    said = (
        f"{r['dimension']}: {', '.join(str(r[c]) for c in dict(lines))}"
        f" {percent(r['difference']):+.1f} points, {r['verdict']}"
        for r in rows.to_dict("records")
    )
    title = f"{a} against {b}, measured in {len(rows)} ways: {verdict}"
    return Plot(name=name, title=title, alt="; ".join(said), data=rows, draw=draw)


def _effects(ax: Axes, rows: pd.DataFrame, delta: float) -> None:
    ax.axhline(0, color=INK, lw=0.8)
    for side in (-delta, delta):
        ax.axhline(100 * side, color=FAINT, lw=0.8, ls=DASHED)
    _mark_primary(ax, rows)
    for verdict, own in rows.groupby("verdict"):
        colour, shape = TONES.get(str(verdict), FAINT), SHAPES.get(str(verdict), "o")
        ax.vlines(own.index, 100 * own["low"], 100 * own["high"], color=colour, lw=1.6)
        ax.plot(own.index, 100 * own["difference"], shape, color=colour, ms=6.5)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: signed(f"{y:+g}") if y else "0"))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.tick_params(axis="x", length=0, labelbottom=False)
    ax.grid(axis="x", visible=False)


def _mark_primary(ax: Axes, rows: pd.DataFrame) -> None:
    for x in np.flatnonzero(rows["dimension"] == "primary"):
        ax.axvspan(x - 0.45, x + 0.45, color=RULE, alpha=0.6, lw=0)


def _choices(ax: Axes, rows: pd.DataFrame, lines: list[tuple[str, str]], *, narrow: bool) -> None:
    """A line per choice, with a dot below each specification that makes it."""
    made = np.array([rows[choice] == value for choice, value in lines])
    for there, colour, size in ((~made, RULE, 3), (made, INK, 4.5)):
        y, x = np.nonzero(there)
        ax.plot(x, y, "o", color=colour, ms=size)
    for y in range(1, len(lines)):
        if lines[y - 1][0] != lines[y][0]:
            ax.axhline(y - 0.5, color=RULE, lw=0.6)
    _mark_primary(ax, rows)
    names = [re.sub("^(at the|by the|at|by) ", "", value) for _, value in lines]
    ax.set_yticks(np.arange(len(lines)), names, fontsize=6.5 if narrow else 7.5)
    ax.set_ylim(len(lines) - 0.4, -0.6)
    ax.set_xlim(-0.6, len(rows) - 0.4)
    ax.tick_params(length=0, labelbottom=False, labelcolor=INK)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _keys(delta: float) -> list[Artist]:
    drawn = [("better", "significantly better"), ("worse", "significantly worse"),
             ("equivalent", "equivalent"), ("", "undetermined")]  # fmt: skip
    keys: list[Artist] = [
        Line2D([], [], color=TONES.get(v, FAINT), marker=SHAPES.get(v, "o"), ls="", label=label)
        for v, label in drawn
    ]
    margin = f"margin, ±{100 * delta:g} points"
    keys.append(Line2D([], [], color=FAINT, lw=0.8, ls=DASHED, label=margin))
    return [*keys, Patch(color=RULE, alpha=0.6, label="declared before the runs")]
