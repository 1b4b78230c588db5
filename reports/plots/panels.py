"""Lines with their names at their ends: one panel for a few methods, one panel each for more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from scipy.optimize import isotonic_regression

from .look import FAINT, Look, css_class
from .parts import is_narrow, panel

MOST = 5  # lines in one panel; more cannot be told apart where they cross
LINE = 0.135  # inches between the names of two lines
NEAR = 0.2  # of the panel's width: as long as a name, about
LEGEND = 0.25  # inches below the figure


@dataclass(frozen=True)
class Line:
    """What is drawn of one method, and what stands at its end; y in the panel's unit."""

    x: np.ndarray
    y: np.ndarray
    words: str  # its name, and the number at its end

    @property
    def end(self) -> tuple[float, float]:
        return float(self.x[-1]), float(self.y[-1])


def line_figure(
    width: float,
    lines: Mapping[str, Line],
    look: Mapping[str, Look],
    draw: Callable[[Axes, str], None],
    *,
    finish: Callable[[Axes], None],
    labels: tuple[str, str],
    step: bool = False,
    more: float = 0.0,
) -> Figure:
    """A figure of `width` inches. `draw` draws a method into a panel, `finish` sets its axes,
    `labels` are those of x and y. With more than MOST methods each has a panel of its own, the
    others in grey behind it. `more` is for a legend: inches below."""
    names = list(lines)
    if len(names) <= MOST:
        figure, ax = panel(width, 3.1 + more, narrow=2.45 + more)
        for name in names:
            draw(ax, name)
        finish(ax)
        ax.set(xlabel=labels[0], ylabel=labels[1])
        height = (2.45 if is_narrow(width) else 3.1) - 0.6
        _name_ends(ax, {name: lines[name] for name in names}, look, height)
        return figure
    across = 2 if is_narrow(width) else 3
    down = -(-len(names) // across)
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03)
    figure = Figure(figsize=(width, 0.55 + 1.4 * down + more), layout=layout)
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for ax, name in zip(grid, names, strict=False):
        _grey(ax, (line for other, line in lines.items() if other != name), step)
        draw(ax, name)
        finish(ax)
        paint = {"color": look[name].colour, "gid": css_class(name)}
        ax.set_title(lines[name].words, loc="left", pad=3, fontsize=8.5, **paint)
    for ax in grid[len(names) :]:
        ax.set_visible(False)
    for ax in grid[len(names) - across : len(names)]:
        ax.tick_params(labelbottom=True)
    figure.supxlabel(labels[0], fontsize=8.5)
    figure.supylabel(labels[1], fontsize=8.5)
    return figure


def _grey(ax: Axes, lines: Iterable[Line], step: bool) -> None:
    for line in lines:
        style = "steps-post" if step else "default"
        ax.plot(line.x, line.y, color=FAINT, alpha=0.4, lw=0.6, zorder=1, drawstyle=style)


def _name_ends(
    ax: Axes, lines: Mapping[str, Line], look: Mapping[str, Look], height: float
) -> None:
    """Write each name beside the end of its line; names that would overlap move apart, up and
    down, as little as possible. `height` is that of the panel in inches, about."""
    (low, high), (left, right) = ax.get_ylim(), ax.get_xlim()
    inch = (high - low) / height
    for group in _near(lines, NEAR * (right - left)):
        gaps = LINE * inch * np.arange(len(group))
        ends = np.array([lines[name].end[1] for name in group])
        # least squares with every two neighbours at least a line apart
        places = isotonic_regression(ends - gaps).x + gaps
        for name, end, place in zip(group, ends, places, strict=True):
            moved, paint = (place - end) / inch, look[name].colour
            away = {"arrowstyle": "-", "color": paint, "lw": 0.5, "alpha": 0.6}
            ax.annotate(
                lines[name].words, lines[name].end, (9, 72 * moved), textcoords="offset points",
                va="center", color=paint, fontsize=8, gid=css_class(name), annotation_clip=False,
                arrowprops=away if abs(moved) > 0.3 * LINE else None,
            )  # fmt: skip


def _near(lines: Mapping[str, Line], reach: float) -> list[list[str]]:
    """Names whose lines end within `reach` of the next one's end, from the lowest end up."""
    groups: list[list[str]] = []
    for name in sorted(lines, key=lambda name: lines[name].end[0]):
        if groups and lines[name].end[0] - lines[groups[-1][-1]].end[0] < reach:
            groups[-1].append(name)
        else:
            groups.append([name])
    return [sorted(group, key=lambda name: lines[name].end[1]) for group in groups]
