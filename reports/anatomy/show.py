"""Token weights as a table and figures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.typing import LineStyleType
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from results.render import Column, Table

from ..plots import Plot
from ..plots.look import DIVERGING, FAINT, INK
from ..plots.parts import headed, is_narrow, matrix_axes, signed

FAMILY = 0.8  # mean cosine above which methods stand in one box
REFERENCE = "reference answer"

HEAT = "How similar objectives are: cosine of their token weights on the same rollouts"
WHITE = "A cosine is the mean over batches on which both have weight; white: no such batch."
PROFILE = "What objectives do to a token, by its probability and the answer's reward"
UNIT = (
    "Weight: -dL/dlogp, divided by the mean absolute value of the non-zero weights; above 0 it"
    " makes the token more likely."
)


@dataclass(frozen=True)
class Anatomy:
    """Means over batches. Methods stand in the order of their families."""

    cosine: pd.DataFrame  # methods x methods, of their weights on the same tokens
    shares: pd.DataFrame  # method, right, wrong, reference, lowered: shares of |weight|
    profile: pd.DataFrame  # method, answer, low, high (probability), probability, weight, tokens
    notes: list[str]  # which batches; what differs from training

    def table(self) -> Table:
        """The shares of each method's weight on right, wrong and reference answers."""
        columns = (
            Column("method", "method"),
            Column("right", "right samples", "percent"),
            Column("wrong", "wrong samples", "percent"),
            Column("reference", "reference answers", "percent"),
            Column("lowered", "makes less likely", "percent"),
        )
        title = "Where the weight lies (%)"
        return Table("weight-shares", title, self.shares, columns, notes=tuple(self.notes))

    def plots(self) -> list[Plot]:
        return [_heat(self), _profiles(self)]


def _tree(cosine: pd.DataFrame) -> np.ndarray:
    distance = 1 - np.nan_to_num(cosine.to_numpy(copy=True))
    np.fill_diagonal(distance, 0)
    condensed = squareform(((distance + distance.T) / 2).clip(min=0), checks=False)
    return hierarchy.linkage(condensed, "average", optimal_ordering=True)


def families(cosine: pd.DataFrame) -> list[str]:
    """Labels in the order of an average-linkage tree, so that similar methods are neighbours."""
    if len(cosine) < 2:
        return [*cosine.index]
    return [cosine.index[i] for i in hierarchy.leaves_list(_tree(cosine))]


def _heat(found: Anatomy) -> Plot:
    labels, value = [*found.cosine.index], found.cosine.to_numpy()
    count = len(labels)
    said = " ".join(note for note in found.notes if note in (found.notes[0], WHITE))

    def draw(width: float) -> Figure:
        narrow = is_narrow(width)
        size = min(8.0, 58 * width / 7 / max(count, 1) + (2.5 if narrow else 3.2))
        longest = 0.0075 * size * max(map(len, labels))  # inches
        height = min(width * 0.84 - 0.75 * longest + 0.2, 0.55 * count + longest)
        figure = headed(width, height, HEAT, said)
        ax = figure.subplots()
        mesh = ax.pcolormesh(value, cmap=DIVERGING, vmin=-1, vmax=1, edgecolors="white", lw=0.4)
        place = matrix_axes(ax, count)
        if count <= (8 if narrow else 14):
            for i, j in np.ndindex(value.shape):
                text = signed(f"{value[i, j]:.2f}".replace("0.", "."))
                ax.annotate(
                    text, (j + 0.5, i + 0.5), ha="center", va="center", fontsize=size * 0.85,
                    color="white" if abs(value[i, j]) > 0.75 else "#1a1a1a",
                )  # fmt: skip
        for first, last in _boxes(found.cosine):
            side = last - first
            ax.add_patch(Rectangle((first, first), side, side, fill=False, lw=1.1, ec=INK))
        ax.set_xticks(place, labels, rotation=90, fontsize=size)
        ax.set_yticks(place, labels, fontsize=size)
        ax.set_aspect("equal", anchor="N")
        bar = figure.colorbar(mesh, ax=ax, shrink=0.5, aspect=18, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label(f"cosine (boxes: mean above {FAMILY:g})", fontsize=7.5)
        bar.ax.tick_params(labelsize=7, length=2)
        return figure

    above = [(i, j) for i in range(count) for j in range(i)]
    far = sorted((value[i, j], labels[i], labels[j]) for i, j in above)
    alt = "; ".join(f"{a} and {b}: {c:+.2f}" for c, a, b in [*far[:3], *far[-3:]])
    data = found.cosine.reset_index(names="method")
    alt = f"{said} {alt}"
    return Plot(name="weight-cosine", title=HEAT, alt=alt, data=data, draw=draw)


def _boxes(cosine: pd.DataFrame) -> list[tuple[int, int]]:
    """[first, last) of each family of two or more neighbours."""
    if len(cosine) < 2:
        return []
    family = hierarchy.fcluster(_tree(cosine), 1 - FAMILY, "distance")
    edges = [0, *(np.nonzero(np.diff(family))[0] + 1).tolist(), len(family)]
    return [(a, b) for a, b in pairwise(edges) if b - a > 1]


def _profiles(found: Anatomy) -> Plot:
    rows, said = found.profile, f"{found.notes[0]} {UNIT}"
    labels = [*dict.fromkeys(rows["method"])]
    answers = [a for a in dict.fromkeys(rows["answer"]) if a != REFERENCE]
    shades = ("#d55e00", "#56b4e9", "#0072b2", "#009e73")
    colours = shades if len(answers) > 2 else shades[::2]
    style: dict[str, tuple[str, LineStyleType]] = {
        answer: (colour, "-") for answer, colour in zip(answers, colours, strict=False)
    }
    style |= {REFERENCE: ("#0a0a0a", (0, (2, 1.5)))} if REFERENCE in set(rows["answer"]) else {}

    def draw(width: float) -> Figure:
        narrow = is_narrow(width)
        across = min(len(labels), 3 if narrow else 5)
        down = math.ceil(len(labels) / across)
        figure = headed(width, down * 1.15 + 0.75, PROFILE, said)
        axes = np.atleast_1d(figure.subplots(down, across, sharex=True)).ravel()
        for ax, label in zip(axes, labels, strict=False):
            _profile(ax, rows.loc[rows["method"] == label], style)
            ax.set_title(label, fontsize=7.5, pad=2)
        for ax in axes[max(len(labels) - across, 0) : len(labels)]:  # the lowest of each column
            ax.set_xlabel("probability", fontsize=7, labelpad=1)
            ax.tick_params(labelbottom=True)
        for ax in axes[len(labels) :]:
            ax.axis("off")
        figure.supylabel("weight", fontsize=8)
        keys = [Line2D([], [], color=c, ls=d, lw=1.5, label=a) for a, (c, d) in style.items()]
        figure.legend(handles=keys, loc="outside lower center", ncols=2 if narrow else 5)
        return figure

    return Plot(name="weight-profile", title=PROFILE, alt=said, data=rows, draw=draw)


def _profile(ax: Axes, rows: pd.DataFrame, style: Mapping[str, tuple[str, LineStyleType]]) -> None:
    ax.axhline(0, color=FAINT, lw=0.6)
    for answer, (colour, dashes) in style.items():
        own: pd.DataFrame = rows.loc[rows["answer"] == answer].sort_values("low")
        if own["weight"].to_numpy().any():
            ax.plot(own["probability"], own["weight"], color=colour, ls=dashes, lw=1.3)
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, -0.5), max(high, 0.5))
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    ax.tick_params(labelsize=6.5, length=2, pad=1)
