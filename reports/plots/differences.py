"""Which method is better: the differences to the control, and how often one beats another."""

import math
from collections.abc import Hashable

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter

from .look import DASHED, DIVERGING, FAINT, INK, SHADE, Look, looks
from .parts import is_narrow, matrix_axes, panel, percent, signed
from .plot import Plot


def forest(
    differences: pd.DataFrame,
    control: str,
    *,
    delta: float | None = None,
    name: str = "forest",
    metric: str = "accuracy",
) -> Plot:
    """Paired differences against the control, the main figure.

    Args:
        differences: a row per method: method, effect, low, high, mde (shares; NaN where they cannot
            be computed), verdict, n (seeds).
        delta: margin of equivalence, drawn as two dashed lines.
    """
    rows = differences.reset_index(drop=True)
    look = looks([*rows["method"], control])

    def draw(width: float) -> Figure:
        narrow = is_narrow(width)
        height = 0.95 + 0.32 * len(rows) * (1.45 if narrow else 1) + (0.3 if narrow else 0)
        figure, ax = panel(width, height)
        place = np.arange(len(rows))[::-1].astype(float)
        for y, row in zip(place, rows.to_dict("records"), strict=True):
            words = _difference(ax, y, row, look[row["method"]])
            at, size = ((0, y + 0.38), 7.5) if narrow else ((1, y), 8)
            ax.annotate(
                f"{row['method']}  {words} {row['verdict']}" if narrow
                else f"{words}  {row['verdict']}",
                at, xytext=(2 if narrow else 8, 0), fontsize=size, textcoords="offset points",
                xycoords=("axes fraction", "data"), va="bottom" if narrow else "center",
            )  # fmt: skip
        ax.axvline(0, color=INK, lw=0.8)
        if delta:
            for side in (-delta, delta):
                ax.axvline(100 * side, color=FAINT, lw=0.8, ls=DASHED)
        mdes = rows["mde"].to_numpy(float)
        ends = np.array([*rows[["effect", "low", "high"]].to_numpy(float).ravel(), *mdes, *-mdes])
        ends = 100 * np.array([0.0, *ends[np.isfinite(ends)]])
        margin = 0.05 * max(np.ptp(ends), 1.0)
        ax.set_xlim(ends.min() - margin, ends.max() + margin)
        ax.set_ylim(-0.6, len(rows) - 0.4 + (0.35 if narrow else 0))
        ax.set_yticks(place, [] if narrow else list(rows["method"]))
        ax.tick_params(axis="y", length=0, labelcolor=INK, labelsize=8.5)
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: signed(f"{x:+g}") if x else "0"))
        ax.set_xlabel(f"{metric}: difference to {control} (percentage points)")
        keys: list[Artist] = [Patch(color=SHADE, label="too small to detect (MDE)")]
        if delta:
            margins = f"equivalent: ±{100 * delta:g} points"
            keys.append(Line2D([], [], color=FAINT, lw=0.8, ls=DASHED, label=margins))
        figure.legend(handles=keys, loc="outside lower left", ncols=2, handlelength=1.6)
        return figure

    said = (f"{r.method} {percent(r.effect):+.1f} points, {r.verdict}" for r in rows.itertuples())
    alt = "; ".join(said)
    title = f"{metric[:1].upper()}{metric[1:]}: difference to {control}"
    return Plot(name=name, title=title, alt=alt, data=rows, draw=draw)


def _difference(ax: Axes, y: float, row: dict[Hashable, float], look: Look) -> str:
    """Draw one difference over the band of undetectable ones, and return it in words."""
    colour = look.colour
    effect, low, high, mde = (percent(row[key]) for key in ("effect", "low", "high", "mde"))
    if math.isfinite(mde):
        ax.add_patch(Rectangle((-mde, y - 0.36), 2 * mde, 0.72, color=SHADE, lw=0, zorder=0.5))
    sure = math.isfinite(low) and math.isfinite(high)
    if sure:
        ax.plot([low, high], [y, y], color=colour, lw=2, solid_capstyle="butt")
        for end in (low, high):
            ax.plot([end, end], [y - 0.13, y + 0.13], color=colour, lw=1.2)
    face = colour if sure else "white"
    ax.plot([effect], [y], look.marker, color=colour, ms=6.5, mfc=face, mew=1.2)
    if not math.isfinite(effect):
        return "not measured"
    return signed(f"{effect:+.1f}" + (f" [{low:+.1f}, {high:+.1f}]" if sure else " (no interval)"))


def wins(frame: pd.DataFrame) -> Plot:
    """Probability that a run of the row's method beats a run of the column's.

    frame: method, then a column per method (shares; NaN on the diagonal).
    """
    methods = [str(m) for m in frame["method"]]
    chance = frame[methods].to_numpy(float)

    def draw(width: float) -> Figure:
        narrow = is_narrow(width)
        side = len(methods) * (0.3 if narrow else 0.42)
        slanted = 0.05 * max(map(len, methods)) if narrow else 0  # inches, of the longest name
        figure, ax = panel(width, side + 0.75 + slanted)
        ax.pcolormesh(chance, cmap=DIVERGING, vmin=0, vmax=1, edgecolors="white", lw=0.8)
        for i, j in zip(*np.nonzero(np.isfinite(chance)), strict=True):
            strong = abs(chance[i, j] - 0.5) > 0.37
            text = {0.0: "0", 1.0: "1"}.get(float(chance[i, j]), f"{chance[i, j]:.2f}".lstrip("0"))
            ax.annotate(
                text, (j + 0.5, i + 0.5), ha="center", va="center", fontsize=6.5 if narrow else 8,
                color="#ffffff" if strong else "#1a1a1a",
            )  # fmt: skip
        place = matrix_axes(ax, len(methods))
        turned = {"rotation": 40, "ha": "right"} if narrow else {}
        ax.set_xticks(place, methods, **turned)
        ax.set_yticks(place, methods)
        ax.set_xlabel("opponent")
        return figure

    means = zip(methods, np.nanmean(chance, axis=1), strict=True)
    alt = "; ".join(f"{m} beats another method's run with probability {b:.2f}" for m, b in means)
    title = "Probability that a run of the row beats a run of the column"
    return Plot(name="wins", title=title, alt=alt, data=frame, draw=draw)
