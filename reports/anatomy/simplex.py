"""Where objectives lead: expected gradient flows on three answers, a panel a method.

    flows({"grpo": methods.get("grpo")}, problem((1, 1, 0))).plot().save("anatomy")

Everything is computed (methods/laws/flow.py, methods/laws/theory.py); nothing is sampled.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from methods import Method
from methods.laws.flow import Bandit, trace, velocity
from methods.laws.theory import Destination, destination
from results.render import NONE, Column, Table

from ..plots import Plot, looks
from ..plots.look import FAINT, INK
from ..plots.parts import headed, is_narrow

START = (0.15, 0.35, 0.5)  # the reference: mostly wrong, and the reference answer is unlikely
CORNERS_KX = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]])
CELLS = 26  # of the field, along a side
ANSWERS = ("a", "b", "c")


def problem(rewards: Sequence[float], start: Sequence[float] = START) -> Bandit:
    """Three answers with these rewards and reference probabilities. The best ones are right; the
    first of them is the reference answer.

    Raises:
        ValueError: not three finite rewards that differ, or no distribution over them.
    """
    if len(rewards) != 3 or not all(map(math.isfinite, rewards)) or len(set(rewards)) == 1:
        raise ValueError(f"rewards {rewards!r}: three numbers, not all equal")
    if len(start) != 3 or min(start) <= 0 or abs(sum(start) - 1) > 1e-6:
        raise ValueError(f"start {start!r}: three positive probabilities that add up to 1")
    reward_K = torch.tensor(rewards, dtype=torch.float64)
    correct_K = reward_K == reward_K.max()
    ref_K = torch.tensor(start, dtype=torch.float64)
    return Bandit(reward_K, correct_K, ref_K / ref_K.sum(), gold=int(correct_K.nonzero()[0, 0]))


@dataclass(frozen=True)
class Panel:
    label: str
    source: str
    field_MK: np.ndarray  # policies at which the velocity is known, [M, 3]
    velocity_MK: np.ndarray
    path_SK: np.ndarray
    theory: Destination | None

    @property
    def end(self) -> str:
        return " / ".join(f"{100 * p:.0f}" for p in self.path_SK[-1]) + " %"

    @property
    def words(self) -> str:
        """Where it should end, according to theory."""
        return self.theory.words if self.theory else NONE

    @property
    def distance(self) -> float:
        """Between the path's end and theory's; NaN where theory says nothing."""
        return self.theory.distance(torch.from_numpy(self.path_SK[-1])) if self.theory else math.nan


def panel(label: str, method: Method, of: Bandit, group: int) -> Panel:
    """The field, the path from the reference and theory's end of one method."""
    inside_MK = np.array([p for p in _grid().reshape(-1, 3) if p.min() > 1e-3])
    velocities = [velocity(method, of, torch.from_numpy(p), group).numpy() for p in inside_MK]
    return Panel(
        label=label, source=method.needs().source, field_MK=inside_MK,
        velocity_MK=np.array(velocities), path_SK=trace(method, of, of.ref_K, group).numpy(),
        theory=destination(method, of, group),
    )  # fmt: skip


@dataclass(frozen=True)
class Flows:
    """A panel for each method, all on the same problem."""

    panels: list[Panel]
    of: Bandit
    group: int

    def plot(self) -> Plot:
        look = looks(p.label for p in self.panels)

        def draw(width: float) -> Figure:
            narrow = is_narrow(width)
            across = 2 if narrow else 3
            down = math.ceil(len(self.panels) / across)
            tall = down * (0.87 * width / across + 0.48) + 0.3
            figure = headed(width, tall, TITLE, self._setting)
            axes = np.atleast_1d(figure.subplots(down, across)).ravel()
            for ax, one in zip(axes, self.panels, strict=False):
                colour, size = look[one.label].colour, 6.0 if narrow else 7.2
                _draw(ax, one, self.of, colour=colour, size=size)
            for ax in axes[len(self.panels) :]:
                ax.axis("off")
            figure.legend(handles=KEYS, loc="outside lower center", ncols=2 if narrow else 4)
            figure.draw_without_rendering()  # square axes below titles need a second layout
            return figure

        ends = "; ".join(f"{p.label} ends at {p.end}" for p in self.panels)
        data = pd.concat(map(_rows, self.panels))
        alt = f"{self._setting} {ends}"
        return Plot(name="flows", title=TITLE, alt=alt, data=data, draw=draw)

    def table(self) -> Table:
        """Where each path ends, and its distance from the end that theory predicts."""
        rows = [(p.label, p.source, p.end, p.words, p.distance) for p in self.panels]
        columns = (
            Column("method", "method"),
            Column("data", "data"),
            Column("end", "ends at"),
            Column("theory", "theory"),
            Column("distance", "distance", "plain"),
        )
        frame = pd.DataFrame(rows, columns=[c.key for c in columns])
        return Table("flow-ends", TITLE, frame, columns, notes=(self._setting,))

    @property
    def _setting(self) -> str:
        start, reward = ([*x.tolist()] for x in (self.of.ref_K, self.of.reward_K))
        shares = " / ".join(f"{100 * p:.0f}" for p in start)
        rewards = " / ".join(f"{r:g}" for r in reward)
        return (
            "Each point is a policy; at a corner one answer has all the probability. Rewards "
            f"{rewards}; the policy starts at {shares} %; groups of {self.group} samples; replay "
            "methods learn from samples of the starting policy."
        )


def flows(chosen: Mapping[str, Method], of: Bandit, group: int = 4) -> Flows:
    """The flows of methods by label, in the given order; each with its own data source, and
    `group` samples of the prompt."""
    return Flows([panel(label, m, of, group) for label, m in chosen.items()], of, group)


TITLE = "Where each objective leads: expected gradient flow on three answers"
KEYS = [
    Line2D([], [], color=INK, marker="o", mfc="white", ls="", ms=5, label="start (the reference)"),
    Line2D([], [], color=INK, lw=1.8, label="path"),
    Line2D([], [], color=INK, marker="o", ls="", ms=5, label="end"),
    Line2D([], [], color=INK, marker="D", mfc="none", ls=(0, (2, 1.5)), ms=7, lw=1.2,
           label="fixed point(s) in theory"),
]  # fmt: skip


def _draw(ax: Axes, one: Panel, of: Bandit, *, colour: str, size: float) -> None:
    edge = CORNERS_KX[[0, 1, 2, 0]]
    ax.fill(*edge.T, color="#ffffff", zorder=0)
    steps = np.linspace(0, 1, CELLS)
    ax.streamplot(
        steps, steps * math.sqrt(0.75), *_on_grid(one), color="#a9a9b2", zorder=1,
        density=0.75, linewidth=0.5, arrowsize=0.55,
    )  # fmt: skip
    ax.plot(*edge.T, color=FAINT, lw=0.8, zorder=2)
    if one.theory is not None and len(one.theory.policy_MK):
        at = _place(one.theory.policy_MK.numpy())
        if len(at) > 1:
            ax.plot(*at.T, color=INK, lw=1.4, ls=(0, (2, 1.5)), zorder=4)
        else:
            ax.plot(*at.T, "D", color=INK, mfc="none", ms=9, mew=1.1, zorder=6, clip_on=False)
    path = _place(one.path_SK)
    ax.plot(*path.T, color=colour, lw=1.9, zorder=3, solid_capstyle="round")
    ax.plot(*path[:1].T, "o", color=INK, mfc="white", ms=5, zorder=7)
    ax.plot(*path[-1:].T, "o", color=colour, ms=5, zorder=5, clip_on=False)
    for k, (x, y) in enumerate(CORNERS_KX):
        ax.annotate(
            _corner(of, k), (x, y), xytext=(0, 3 if k == 2 else -7), textcoords="offset points",
            ha=("left", "right", "center")[k], va="bottom" if k == 2 else "top", fontsize=size,
            color=FAINT,
        )  # fmt: skip
    ax.set_title(one.label, fontweight="bold", pad=22, loc="center")
    ax.annotate(
        f"theory: {one.theory.words}" if one.theory else "", (0.5, 1), xytext=(0, 11),
        xycoords="axes fraction", textcoords="offset points", ha="center", va="bottom",
        fontsize=size, color=FAINT, in_layout=False,
    )  # fmt: skip
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.13, 0.88), aspect="equal", anchor="N")
    ax.axis("off")


def _corner(of: Bandit, k: int) -> str:
    verdict = "right" if of.correct_K[k] else "wrong"
    return f"{'gold' if k == of.gold else verdict}, r = {of.reward_K[k]:g}"


def _place(policy_MK: np.ndarray) -> np.ndarray:
    """Policies as points of the plane."""
    return policy_MK @ CORNERS_KX


def _grid() -> np.ndarray:
    """Barycentric coordinates [CELLS (y), CELLS (x), 3] of a square grid over the triangle."""
    steps = np.linspace(0, 1, CELLS)
    x, top = np.meshgrid(steps, steps)  # `top` is the third answer's probability
    right = x - top / 2
    return np.stack([1 - right - top, right, top], axis=-1)


def _on_grid(one: Panel) -> tuple[np.ndarray, np.ndarray]:
    """The field's direction on the grid, masked outside the triangle."""
    arrow_MX = one.velocity_MK @ CORNERS_KX
    arrow_MX = arrow_MX / np.maximum(np.linalg.norm(arrow_MX, axis=1, keepdims=True), 1e-300)
    field = np.full((CELLS, CELLS, 2), np.nan)
    field[_grid().min(axis=-1) > 1e-3] = arrow_MX
    masked = np.ma.masked_invalid(field)
    return masked[..., 0], masked[..., 1]


def _rows(one: Panel) -> pd.DataFrame:
    """What the panel is drawn from: kind field (with d policy / dt), path or theory."""
    parts = {"field": one.field_MK, "path": one.path_SK}
    if one.theory is not None:
        parts["theory"] = one.theory.policy_MK.numpy()
    frames = [
        pd.DataFrame(points, columns=list(ANSWERS)).assign(kind=kind, step=range(len(points)))
        for kind, points in parts.items()
    ]
    speed = pd.DataFrame(one.velocity_MK, columns=[f"d{a}" for a in ANSWERS])
    rows = pd.concat([frames[0].join(speed), *frames[1:]])
    rows.insert(0, "method", one.label)
    return rows.reindex(columns=["method", "kind", "step", *ANSWERS, *speed.columns])
