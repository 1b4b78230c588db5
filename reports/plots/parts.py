"""What several figures share: panels, colours of marks, legends, numbers on axes."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .look import FAINT, INK, MINUS, Look, css_class


def is_narrow(width: float) -> bool:
    """Whether a figure of `width` inches is for one column of a paper or for a phone."""
    return width < 5


def panel(width: float, height: float, narrow: float | None = None) -> tuple[Figure, Axes]:
    """A figure with one panel, in inches; `narrow` is the height of a narrow one, if it differs."""
    height = narrow if narrow and is_narrow(width) else height
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03)
    figure = Figure(figsize=(width, height), layout=layout)
    return figure, figure.subplots()


def headed(width: float, height: float, title: str, more: str) -> Figure:
    """A figure for many panels of `height` inches, below its title and a line that explains it."""
    said, told = textwrap.wrap(title, int(width * 11)), textwrap.wrap(more, int(width * 15.5))
    top = 0.15 * (len(said) + len(told)) + 0.1
    tall = height + top
    box = (0, 0.08 / tall, 1, 1 - (top + 0.08) / tall)
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.03, hspace=0, wspace=0, rect=box)
    figure = Figure(figsize=(width, tall), layout=layout)
    first, below = 1 - 0.03 / tall, 1 - (0.06 + 0.15 * len(said)) / tall
    figure.text(0.01, first, "\n".join(said), va="top", fontsize=8.5, fontweight="bold")
    figure.text(0.01, below, "\n".join(told), va="top", fontsize=7.5, color=FAINT)
    return figure


def mark(method: str, look: Look) -> dict[str, str]:
    """The colour of a method's marks, and the class by which a page finds them."""
    return {"color": look.colour, "gid": css_class(method)}


def rows_of(points: pd.DataFrame, method: str, x: str) -> pd.DataFrame:
    """A method's rows along x."""
    own: pd.DataFrame = points.loc[points["method"] == method]
    return own.sort_values(x)


def band(ax: Axes, x: pd.Series, rows: pd.DataFrame, alpha: float, **paint: Any) -> None:
    """A band from `low` to `high` of the rows, which are shares of 1."""
    ax.fill_between(x, 100 * rows["low"], 100 * rows["high"], alpha=alpha, lw=0, **paint)


def legend(
    figure: Figure, look: dict[str, Look], *, lines: bool = True, more: Sequence[Artist] = ()
) -> None:
    """Below the figure, as many columns as the longest name allows."""
    handles: list[Artist] = [
        Line2D([], [], color=s.colour, ls=s.dashes if lines else "", marker=s.marker, label=m)
        for m, s in look.items()
    ]
    handles += more
    columns = legend_columns(look, figure.get_figwidth(), lines)
    figure.legend(
        handles=handles, loc="outside lower center", columnspacing=1.4,
        ncols=min(len(handles), columns), handlelength=2.8 if lines else 1,
    )  # fmt: skip


def legend_columns(names: Iterable[str], width: float, lines: bool = True) -> int:
    """How many columns the longest name allows in a figure of `width` inches."""
    longest = max(len(name) for name in [*names, "diverged"])
    return max(1, (50 if is_narrow(width) else 100) // (longest + (9 if lines else 6)))


def short_ticks(ax: Axes, width: float, several: bool = False) -> None:
    """For a cost: from 0 on, in short numbers, with as many ticks as the width allows; fewer where
    the panel is one of several."""
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter(FuncFormatter(short))
    ticks = (5, 3) if is_narrow(width) else (8, 4)
    ax.xaxis.set_major_locator(MaxNLocator(ticks[several]))


def within_percent(ax: Axes) -> None:
    """A t interval may reach below 0 or above 100 %; accuracy cannot."""
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, 0), min(high, 100))


def matrix_axes(ax: Axes, count: int) -> np.ndarray:
    """Make room for a matrix: its first row on top, no grid or frame. Returns the ticks' places."""
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.tick_params(length=0, labelcolor=INK)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return np.arange(count) + 0.5


def percent(share: float | None) -> float:
    """A share of 1 in percent; NaN where it is missing."""
    return math.nan if share is None or pd.isna(share) else 100 * float(share)


def signed(text: str) -> str:
    """With a true minus sign."""
    return text.replace("-", MINUS)


def short(value: float, _: int | None = None) -> str:
    """1500 -> 1.5k, 2.5e6 -> 2.5M; powers of ten from 10^15 on."""
    size = abs(value)
    if size >= 1e15:
        exponent = math.floor(math.log10(size))
        return f"{value / 10**exponent:.3g}e{exponent}"
    for unit, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= scale:
            return f"{value / scale:.3g}{unit}"
    return f"{value:.3g}"
