"""Figures. Each function takes tidy DataFrames and returns a `Plot`: drawing, words and data.

    plots.forest(differences, control="grpo").save("figures")   # forest.svg .pdf .png .csv

Shares (accuracy) come in as 0..1 and are drawn in percent. A method has the same colour, dashes
and marker in every figure of every report. Nothing is smoothed.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

WIDE, COLUMN = 7.0, 3.5  # inches: a page's text and a column of a two-column paper (or a phone)

MINUS = "−"
INK, FAINT, RULE, SHADE = "#1b1b1f", "#62626b", "#d4d4da", "#e9e9ee"

# Okabe & Ito (2008) without yellow, which has too little contrast on white. Seven colours and four
# dash patterns have no common factor, so 28 methods get 28 distinct pairs. Black is not quite
# black: SVG leaves out a fill that is its default, and then a dark page could not change it.
COLOURS = ("#0a0a0a", "#e69f00", "#0072b2", "#009e73", "#d55e00", "#56b4e9", "#cc79a7")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (5, 1.6, 1.2, 1.6)), (0, (1.4, 1.2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
ORDER = (
    "sft", "rift", "grpo", "grao", "gift", "dpo", "ppo", "rft", "dft", "gift-author-code",
    "naive", "unlikelihood", "kto", "una", "ipo", "simpo", "orpo", "reinforce", "rloo",
    "reinforce++", "dr-grpo", "dapo", "gspo", "cispo", "nft", "psr", "nsr", "topr",
)  # fmt: skip

AXES = {
    "updates": "optimiser updates",
    "samples": "samples",
    "tokens": "tokens (generated + trained)",
    "flops": "FLOPs",
    "seconds": "seconds",
}
DIVERGING = LinearSegmentedColormap.from_list("loses-wins", ["#a53e00", "#f4f1ee", "#005b8f"])

RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "svg.fonttype": "none",
    "svg.hashsalt": "evenbench",
    "pdf.fonttype": 42,
    "path.simplify_threshold": 0.2,
}


@dataclass(frozen=True)
class Look:
    """How a method is drawn, everywhere."""

    colour: str
    dashes: Any
    marker: str


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """Name -> Look, in the fixed order: the known methods first, others by name on free places."""
    given = set(methods)
    known = [name for name in ORDER if name in given]
    others = sorted(given - set(known))
    taken = {ORDER.index(name) for name in known}
    free = (i for i in range(len(ORDER) + len(others)) if i not in taken)
    place = {name: ORDER.index(name) for name in known} | dict(zip(others, free, strict=False))
    return {
        name: Look(COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)], MARKERS[i % len(MARKERS)])
        for name, i in place.items()
    }


@dataclass(frozen=True)
class Plot:
    """A figure that can be drawn at any width, with its words and the data behind it."""

    name: str  # stem of its files
    title: str
    alt: str  # what it shows, for those who cannot see it
    data: pd.DataFrame
    draw: Callable[[float], Figure]  # width in inches -> figure

    def save(self, folder: str | Path, width: float = WIDE) -> list[Path]:
        """Write NAME.svg, .pdf, .png and .csv; byte for byte the same for the same data."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        stem = folder / self.name
        with matplotlib.rc_context(RC):
            figure = self._wide if width == WIDE else self._laid_out(width)
            figure.savefig(f"{stem}.svg", metadata={"Date": None, "Title": self.title})
            figure.savefig(f"{stem}.pdf", metadata={"CreationDate": None, "Title": self.title})
            figure.savefig(f"{stem}.png", metadata={"Title": self.title})
        self.data.to_csv(f"{stem}.csv", index=False)
        return [Path(f"{stem}.{kind}") for kind in ("svg", "pdf", "png", "csv")]

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        buffer = io.BytesIO()
        with matplotlib.rc_context(RC):
            self._wide.savefig(buffer, format="png")
        return buffer.getvalue()

    def svg(self, width: float = WIDE) -> str:
        """An <svg> element to stand inside a page.

        Ids are unique per figure and width, what belongs to a method has the class
        `css_class(method)`, and the colours are CSS variables (--ink, --c-0072b2, ...), so that a
        dark page can change them.
        """
        buffer = io.StringIO()
        with matplotlib.rc_context(RC):
            figure = self._wide if width == WIDE else self._laid_out(width)
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        text = buffer.getvalue()
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
        text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.S)  # would rule the page
        text = re.sub(r'<g id="(m-[0-9a-f]*)"', r'<g class="\1"', text)
        unique = f"{self.name}-{'wide' if width > COLUMN else 'column'}-"
        text = re.sub(r'\bid="', f'id="{unique}', text)
        text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{unique}", text)
        text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
        text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
        for colour, variable in CSS.items():
            text = text.replace(colour, f"var({variable}, {colour})")
        text = re.sub(
            r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*", r"font: \1var(--font, sans-serif)", text
        )
        return text.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)

    @cached_property
    def _wide(self) -> Figure:
        """The layout is the slow part, so it is done once for the page and all files."""
        return self._laid_out(WIDE)

    def _laid_out(self, width: float) -> Figure:
        figure = self.draw(width)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        return figure


def css_class(method: str) -> str:
    """The class of a method's marks in an SVG of a page, whatever characters its name has."""
    return f"m-{method.encode().hex()}"


CSS = {INK: "--ink", FAINT: "--faint", RULE: "--rule", SHADE: "--shade"} | {
    colour: f"--c-{colour[1:]}" for colour in COLOURS
}


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
        narrow = width < 5
        height = 0.95 + 0.32 * len(rows) * (1.45 if narrow else 1) + (0.3 if narrow else 0)
        figure, ax = _figure(width, height)
        place = np.arange(len(rows))[::-1].astype(float)
        for y, row in zip(place, rows.itertuples(), strict=True):
            style, effect = look[str(row.method)], 100 * _number(row.effect)
            if math.isfinite(mde := 100 * _number(row.mde)):
                ax.add_patch(
                    Rectangle((-mde, y - 0.36), 2 * mde, 0.72, color=SHADE, lw=0, zorder=0.5)
                )
            low, high = 100 * _number(row.low), 100 * _number(row.high)
            sure = math.isfinite(low) and math.isfinite(high)
            if sure:
                ax.plot([low, high], [y, y], color=style.colour, lw=2, solid_capstyle="butt")
                for end in (low, high):
                    ax.plot([end, end], [y - 0.13, y + 0.13], color=style.colour, lw=1.2)
            ax.plot(
                [effect], [y], style.marker, color=style.colour, ms=6.5,
                mfc=style.colour if sure else "white", mew=1.2,
            )  # fmt: skip
            words = f"{effect:+.1f}" + (f" [{low:+.1f}, {high:+.1f}]" if sure else " (no interval)")
            words = words.replace("-", MINUS)
            if not math.isfinite(effect):
                words = "no shared seed"
            if narrow:
                ax.annotate(
                    f"{row.method}  {words} {row.verdict}", (0, y + 0.38), xytext=(2, 0),
                    xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=7.5,
                    va="bottom",
                )  # fmt: skip
            else:
                ax.annotate(
                    f"{words}  {row.verdict}", (1, y), xytext=(8, 0), fontsize=8, va="center",
                    xycoords=("axes fraction", "data"), textcoords="offset points",
                )  # fmt: skip
        ax.axvline(0, color=INK, lw=0.8)
        if delta:
            for side in (-delta, delta):
                ax.axvline(100 * side, color=FAINT, lw=0.8, ls=(0, (4, 3)))
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
        ax.xaxis.set_major_formatter(
            FuncFormatter(lambda x, _: f"{x:+g}".replace("-", MINUS) if x else "0")
        )
        ax.set_xlabel(f"{metric}: difference to {control} (percentage points)")
        keys: list[Any] = [Patch(color=SHADE, label="too small to detect (MDE)")]
        if delta:
            dashed: dict[str, Any] = {"color": FAINT, "lw": 0.8, "ls": (0, (4, 3))}
            keys.append(Line2D([], [], **dashed, label=f"equivalent: ±{100 * delta:g} points"))
        figure.legend(handles=keys, loc="outside lower left", ncols=2, handlelength=1.6)
        return figure

    words = "; ".join(
        f"{r.method} {100 * _number(r.effect):+.1f} points, {r.verdict}" for r in rows.itertuples()
    )
    return Plot(name, f"{metric.capitalize()}: difference to {control}", words, rows, draw)


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

    def draw(width: float) -> Figure:
        narrow = width < 5
        rows_of_legend = math.ceil(len(look) / _columns(look, narrow))
        figure, ax = _figure(width, (2.45 if narrow else 3.3) + 0.19 * rows_of_legend)
        for level in thresholds:
            ax.axhline(100 * level, color=FAINT, lw=0.6, ls=(0, (1, 2)))
        if start is not None:
            ax.axhline(100 * start, color=FAINT, lw=0.8, ls=(0, (4, 3)))
            ax.annotate(
                "start", (1, 100 * start), xycoords=("axes fraction", "data"), xytext=(-2, 2),
                textcoords="offset points", ha="right", va="bottom", fontsize=7.5, color=FAINT,
            )  # fmt: skip
        for method, style in look.items():
            mean = curves[curves["method"] == method].sort_values("x")
            own = seeds[seeds["method"] == method].sort_values("x")
            own_class = css_class(method)
            many = own["seed"].nunique()
            if 1 < many <= 5:
                for _, one in own.groupby("seed"):
                    thin: dict[str, Any] = {
                        "color": style.colour,
                        "lw": 0.5,
                        "alpha": 0.35,
                        "gid": own_class,
                    }
                    ax.plot(one["x"], 100 * one["value"], **thin)
            x, y = mean["x"], 100 * mean["mean"]
            ax.fill_between(
                x, 100 * mean["low"], 100 * mean["high"], color=style.colour, alpha=0.12, lw=0,
                gid=own_class,
            )  # fmt: skip
            ax.plot(x, y, color=style.colour, ls=style.dashes, gid=own_class)
            ax.plot(x.iloc[-1:], y.iloc[-1:], style.marker, color=style.colour, gid=own_class)
        if diverged is not None and len(diverged):
            for row in diverged.itertuples():
                ax.plot(
                    row.x, 100 * _number(row.value), "x", ms=7, mew=1.6,
                    color=look[str(row.method)].colour, gid=css_class(str(row.method)),
                )  # fmt: skip
        ax.set_ylabel(f"{metric} (%)")
        ax.set_xlabel(AXES.get(axis, axis))
        ax.set_xlim(left=0)
        _within_percent(ax)
        ax.xaxis.set_major_formatter(FuncFormatter(_short))
        ax.xaxis.set_major_locator(MaxNLocator(5 if narrow else 8))
        cross = Line2D([], [], color=INK, marker="x", ls="", ms=6, mew=1.6, label="diverged")
        _legend(
            figure, look, narrow, more=[cross] if diverged is not None and len(diverged) else []
        )
        return figure

    last = (
        curves.sort_values("x").groupby("method", observed=True).tail(1).set_index("method")["mean"]
    )
    words = "; ".join(f"{m} ends at {100 * last[m]:.1f} %" for m in look if m in last.index)
    data = pd.concat(
        [curves.assign(seed="mean"), seeds.rename(columns={"value": "mean"})], ignore_index=True
    ).rename(columns={"x": axis, "mean": "value"})
    title = f"{metric.capitalize()} against {AXES.get(axis, axis)}"
    return Plot(name or f"convergence-{axis}", title, words, data, draw)


def cost(
    points: pd.DataFrame, axis: str, *, name: str | None = None, metric: str = "accuracy"
) -> Plot:
    """Accuracy against what it cost, with the interval of both.

    Args:
        points: a row per method: method, x, x_low, x_high, value, low, high.
    """
    look = looks(points["method"])
    rows = points.set_index("method").loc[list(look)].reset_index()

    def draw(width: float) -> Figure:
        narrow = width < 5
        figure, ax = _figure(width, 2.9 if narrow else 3.3)
        for row in rows.itertuples():
            style = look[str(row.method)]
            x, y = _number(row.x), 100 * _number(row.value)
            ends = [_number(v) for v in (row.x_low, row.x_high)]
            own: dict[str, Any] = {"color": style.colour, "gid": css_class(str(row.method))}
            if all(map(math.isfinite, ends)):
                ax.plot(ends, [y, y], lw=1.1, **own)
            ends = [100 * _number(v) for v in (row.low, row.high)]
            if all(map(math.isfinite, ends)):
                ax.plot([x, x], ends, lw=1.1, **own)
            ax.plot([x], [y], style.marker, ms=6, **own)
        reach = rows["x"].max() / max(rows["x"].min(), 1e-12) if len(rows) else 1
        if reach > 20 and rows["x"].min() > 0:
            ax.set_xscale("log")
        else:
            ax.set_xlim(left=0)
            ax.xaxis.set_major_locator(MaxNLocator(5 if narrow else 8))
            ax.xaxis.set_major_formatter(FuncFormatter(_short))
        _within_percent(ax)
        ax.set_xlabel(f"cost: {AXES.get(axis, axis)}")
        ax.set_ylabel(f"final {metric} (%)")
        _legend(figure, look, narrow, lines=False)
        return figure

    words = "; ".join(
        f"{r.method} {100 * _number(r.value):.1f} % for {_short(_number(r.x))}"
        for r in rows.itertuples()
    )
    title = f"Final {metric} against {AXES.get(axis, axis)}"
    return Plot(name or f"cost-{axis}", title, words, rows, draw)


def pass_curves(points: pd.DataFrame, *, name: str = "passk", metric: str = "pass@k") -> Plot:
    """pass@k against k, with its interval over seeds.

    Args:
        points: method, k, value, low, high (shares).
    """
    look = looks(points["method"])

    def draw(width: float) -> Figure:
        narrow = width < 5
        figure, ax = _figure(width, 2.8 if narrow else 3.2)
        for method, style in look.items():
            own = points[points["method"] == method].sort_values("k")
            mark: dict[str, Any] = {"color": style.colour, "gid": css_class(method)}
            ax.fill_between(own["k"], 100 * own["low"], 100 * own["high"], alpha=0.1, lw=0, **mark)
            ax.plot(own["k"], 100 * own["value"], marker=style.marker, ls=style.dashes, **mark)
        ks = sorted(points["k"].unique())
        ax.set_xscale("log", base=2)
        ax.set_xticks(ks, [str(int(k)) for k in ks])
        ax.minorticks_off()
        _within_percent(ax)
        ax.set_xlabel("k, answers drawn without replacement")
        ax.set_ylabel(f"{metric} (%)")
        _legend(figure, look, narrow)
        return figure

    most = points["k"].max()
    ends = points[points["k"] == most].set_index("method")["value"]
    words = "; ".join(f"{m} reaches {100 * ends[m]:.1f} % at k = {most:g}" for m in look)
    return Plot(name, f"{metric} against k", words, points, draw)


def profile(points: pd.DataFrame, *, name: str = "profile") -> Plot:
    """Share of task x seed cells above each accuracy, with its pointwise band.

    Args:
        points: method, accuracy, value, low, high (shares).
    """
    look = looks(points["method"])

    def draw(width: float) -> Figure:
        narrow = width < 5
        figure, ax = _figure(width, 2.8 if narrow else 3.2)
        for method, style in look.items():
            own = points[points["method"] == method]
            mark: dict[str, Any] = {"color": style.colour, "gid": css_class(method)}
            x, low, high = (100 * own[c] for c in ("accuracy", "low", "high"))
            ax.fill_between(x, low, high, alpha=0.1, lw=0, step="post", **mark)
            ax.step(x, 100 * own["value"], where="post", ls=style.dashes, **mark)
        ax.set_xlabel("accuracy (%)")
        ax.set_ylabel("runs above it (%)")
        _legend(figure, look, narrow)
        return figure

    half = points[points["value"] >= 0.5].groupby("method", observed=True)["accuracy"].max()
    words = "; ".join(
        f"half of {m}'s runs are above {100 * _number(half.get(m, 0)):.0f} %" for m in look
    )
    return Plot(name, "Share of runs above an accuracy", words, points, draw)


def tuning(points: pd.DataFrame, *, name: str = "tuning") -> Plot:
    """Expected best validation score against the number of tuning trials.

    Args:
        points: method, trials, value (share).
    """
    look = looks(points["method"])

    def draw(width: float) -> Figure:
        narrow = width < 5
        figure, ax = _figure(width, 2.8 if narrow else 3.2)
        for method, style in look.items():
            own = points[points["method"] == method].sort_values("trials")
            mark: dict[str, Any] = {"color": style.colour, "gid": css_class(method)}
            ax.plot(own["trials"], 100 * own["value"], marker=style.marker, ls=style.dashes, **mark)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel("tuning trials")
        ax.set_ylabel("expected best on validation (%)")
        _legend(figure, look, narrow)
        return figure

    ends = points.sort_values("trials").groupby("method").tail(1).set_index("method")
    words = "; ".join(
        f"{m} {100 * ends.loc[m, 'value']:.1f} % after {ends.loc[m, 'trials']:g}" for m in look
    )
    return Plot(name, "Expected best score against tuning trials", words, points, draw)


def wins(frame: pd.DataFrame, *, name: str = "wins") -> Plot:
    """Probability that a run of the row's method beats a run of the column's.

    Args:
        frame: method, then a column per method (shares; NaN on the diagonal).
    """
    methods = [str(m) for m in frame["method"]]
    chance = frame[methods].to_numpy(float)

    def draw(width: float) -> Figure:
        narrow = width < 5
        side = len(methods) * (0.3 if narrow else 0.42)
        slanted = 0.05 * max(map(len, methods)) if narrow else 0  # inches, of the longest name
        figure, ax = _figure(width, side + 0.75 + slanted)
        ax.pcolormesh(chance, cmap=DIVERGING, vmin=0, vmax=1, edgecolors="white", lw=0.8)
        ax.invert_yaxis()
        for i, j in zip(*np.nonzero(np.isfinite(chance)), strict=True):
            strong = abs(chance[i, j] - 0.5) > 0.37
            text = {0.0: "0", 1.0: "1"}.get(chance[i, j], f"{chance[i, j]:.2f}".lstrip("0"))
            ax.annotate(
                text, (j + 0.5, i + 0.5), ha="center", va="center", fontsize=6.5 if narrow else 8,
                color="#ffffff" if strong else "#1a1a1a",
            )  # fmt: skip
        place = np.arange(len(methods)) + 0.5
        ax.set_xticks(
            place, methods, rotation=40 if narrow else 0, ha="right" if narrow else "center"
        )
        ax.set_yticks(place, methods)
        ax.grid(visible=False)
        ax.tick_params(length=0, labelcolor=INK)
        ax.set_xlabel("loses to the row")
        for spine in ax.spines.values():
            spine.set_visible(False)
        return figure

    best = np.nanmean(chance, axis=1)
    words = "; ".join(
        f"{m} beats another method's run with {b:.2f}" for m, b in zip(methods, best, strict=True)
    )
    return Plot(
        name, "Probability that a run of the row beats a run of the column", words, frame, draw
    )


def against(points: pd.DataFrame, x: str, y: str, *, name: str) -> Plot:
    """Accuracy on one split against another, with both intervals and the line where they are equal.

    Args:
        points: method, x, x_low, x_high, y, y_low, y_high (shares).
    """
    look = looks(points["method"])
    rows = points.set_index("method").loc[list(look)].reset_index()

    def draw(width: float) -> Figure:
        narrow = width < 5
        figure, ax = _figure(width, 3.2 if narrow else 3.6)
        for row in rows.itertuples():
            style = look[str(row.method)]
            mark: dict[str, Any] = {"color": style.colour, "gid": css_class(str(row.method))}
            at, up = 100 * _number(row.x), 100 * _number(row.y)
            for ends, across in (((row.x_low, row.x_high), True), ((row.y_low, row.y_high), False)):
                low, high = (100 * _number(end) for end in ends)
                if math.isfinite(low) and math.isfinite(high):
                    line = ([low, high], [up, up]) if across else ([at, at], [low, high])
                    ax.plot(*line, lw=1.1, **mark)
            ax.plot([at], [up], style.marker, ms=6, **mark)
        values = 100 * rows[[c for c in rows if c != "method"]].to_numpy(float)
        low, high = np.nanmin(values) - 2, np.nanmax(values) + 2
        ax.axline((low, low), slope=1, color=FAINT, lw=0.8, ls=(0, (4, 3)))
        ax.set_xlim(max(low, 0), min(high, 100))
        ax.set_ylim(max(low, 0), min(high, 100))
        ax.set_xlabel(f"accuracy on {x} (%)")
        ax.set_ylabel(f"accuracy on {y} (%)")
        _legend(figure, look, narrow, lines=False)
        return figure

    words = "; ".join(
        f"{r.method} {100 * _number(r.y):.1f} % on {y}, {100 * _number(r.x):.1f} % on {x}"
        for r in rows.itertuples()
    )
    return Plot(name, f"Accuracy on {y} against {x}", words, rows, draw)


def shares(points: pd.DataFrame, method: str, *, name: str) -> Plot:
    """The share of each term in the absolute loss over the updates: mean and range over seeds.

    Args:
        points: term, step, value, low, high (shares of 1; low and high are the extreme seeds).
    """
    terms = list(dict.fromkeys(points["term"]))

    def draw(width: float) -> Figure:
        figure, ax = _figure(width, 2.5 if width < 5 else 2.8)
        for i, term in enumerate(terms):
            own = points[points["term"] == term].sort_values("step")
            colour = COLOURS[(2 * i + 2) % len(COLOURS)]
            ax.fill_between(
                own["step"], 100 * own["low"], 100 * own["high"], color=colour, alpha=0.15, lw=0
            )
            ax.plot(
                own["step"],
                100 * own["value"],
                color=colour,
                ls=DASHES[i % len(DASHES)],
                label=term,
            )
        ax.set_xlim(left=0)
        _within_percent(ax)
        ax.set_xlabel(AXES["updates"])
        ax.set_ylabel("share of the loss (%)")
        figure.legend(loc="outside lower center", ncols=len(terms), handlelength=2.8)
        return figure

    ends = points.sort_values("step").groupby("term").tail(1).set_index("term")["value"]
    words = "; ".join(f"{term} ends at {100 * ends[term]:.0f} %" for term in terms)
    return Plot(name, f"{method}: share of each term in the absolute loss", words, points, draw)


def growth(points: pd.DataFrame, *, name: str = "growth") -> Plot:
    """Seconds (logarithmic) and memory (from zero) of a step against what makes it larger; the thin
    line is linear growth from the first point.

    Args:
        points: a row a measurement: axis, value, who, seconds, memory (bytes above the start).
    """
    axes = list(dict.fromkeys(points["axis"]))
    who = list(dict.fromkeys(points["who"]))
    style = dict(zip(who, zip(COLOURS[2:], MARKERS, strict=False), strict=False))
    quantities = (("seconds", "seconds a step", 1.0), ("memory", "peak memory (MiB)", 2**20))

    def draw(width: float) -> Figure:
        narrow = width < 5
        columns = 2 if narrow else len(axes)
        bands = -(-len(axes) // columns)
        figure = Figure(figsize=(width, 1.75 * 2 * bands + 0.3), layout="constrained")
        grid = figure.subplots(2 * bands, columns, squeeze=False)
        for k, axis in enumerate(axes):
            for q, (column, label, unit) in enumerate(quantities):
                ax = grid[2 * (k // columns) + q][k % columns]
                for one, (colour, marker) in style.items():
                    here = points[(points["axis"] == axis) & (points["who"] == one)]
                    here = here.sort_values("value")
                    if not len(here):
                        continue
                    y = here[column] / unit
                    ax.plot(here["value"], y, marker=marker, ms=3.5, lw=1.2, color=colour)
                    linear = y.iloc[0] * here["value"] / here["value"].iloc[0]
                    if column == "seconds":
                        ax.plot(here["value"], linear, lw=0.6, color=colour, alpha=0.6)
                ax.set_xscale("log", base=10 if axis == "parameters" else 2)
                ax.xaxis.set_major_formatter(FuncFormatter(_short))
                if column == "seconds":
                    ax.set_yscale("log")
                    ax.yaxis.set_minor_formatter(NullFormatter())
                else:
                    ax.set_ylim(bottom=0)
                ax.yaxis.set_major_formatter(FuncFormatter(_short))
                ax.minorticks_off()
                if k % columns == 0:
                    ax.set_ylabel(label)
                if q == 1:
                    ax.set_xlabel(axis)
        for k in range(len(axes), bands * columns):
            for q in range(2):
                grid[2 * (k // columns) + q][k % columns].set_visible(False)
        handles = [
            Line2D([], [], color=c, marker=m, ms=3.5, lw=1.2, label=w)
            for w, (c, m) in style.items()
        ]
        thin = Line2D([], [], color=FAINT, lw=0.6, label="linear from the first point")
        figure.legend(handles=[*handles, thin], loc="outside upper left", ncols=3, frameon=False)
        return figure

    words = "; ".join(
        f"{r.axis} {r.value:g}, {r.who}: {r.seconds:.3g} s, {r.memory / 2**20:.3g} MiB"
        for r in points.itertuples()
    )
    return Plot(name, "How a step grows", words, points, draw)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)  # type: ignore[union-attr]
    return figure, figure.subplots()


def headed(width: float, height: float, title: str, more: str) -> Figure:
    """A figure for many panels of `height` inches, below its title and a line that explains it."""
    said, told = textwrap.wrap(title, int(width * 11)), textwrap.wrap(more, int(width * 15.5))
    top = 0.15 * (len(said) + len(told)) + 0.1
    tall = height + top
    figure = Figure(figsize=(width, tall), layout="constrained")
    box = (0, 0.08 / tall, 1, 1 - (top + 0.08) / tall)
    figure.get_layout_engine().set(  # type: ignore[union-attr]
        w_pad=0.02, h_pad=0.03, hspace=0, wspace=0, rect=box
    )
    first, below = 1 - 0.03 / tall, 1 - (0.06 + 0.15 * len(said)) / tall
    figure.text(0.01, first, "\n".join(said), va="top", fontsize=8.5, fontweight="bold")
    figure.text(0.01, below, "\n".join(told), va="top", fontsize=7.5, color=FAINT)
    return figure


def _legend(
    figure: Figure,
    look: dict[str, Look],
    narrow: bool,
    lines: bool = True,
    more: Sequence[Any] = (),
) -> None:
    """Below the figure, as many columns as the longest name allows."""
    handles = [
        Line2D([], [], color=s.colour, ls=s.dashes if lines else "", marker=s.marker, label=m)
        for m, s in look.items()
    ]
    handles += more
    figure.legend(
        handles=handles, loc="outside lower center", columnspacing=1.4,
        ncols=min(len(handles), _columns(look, narrow, lines)), handlelength=2.8 if lines else 1,
    )  # fmt: skip


def _columns(names: Iterable[str], narrow: bool, lines: bool = True) -> int:
    longest = max(len(name) for name in [*names, "diverged"])
    return max(1, (50 if narrow else 100) // (longest + (9 if lines else 6)))


def _within_percent(ax: Axes) -> None:
    """A t interval may reach below 0 or above 100 %; accuracy cannot."""
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, 0), min(high, 100))


def _number(value: Any) -> float:
    return float("nan") if value is None or pd.isna(value) else float(value)


def _short(value: float, _: Any = None) -> str:
    """1500 -> 1.5k, 2.5e6 -> 2.5M; powers of ten from 10^15 on."""
    size = abs(value)
    if size >= 1e15:
        exponent = math.floor(math.log10(size))
        return f"{value / 10**exponent:.3g}e{exponent}"
    for unit, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= scale:
            return f"{value / scale:.3g}{unit}"
    return f"{value:.3g}"
