"""What each objective makes of the same answers: token weights on stored rollouts of a real run.

    found = anatomy(results.load("runs/quick"))
    found.table()                    # share of |weight| on right, wrong and reference answers
    [plot.save("anatomy") for plot in found.plots()]

The weight of a token is -dL/dlogp at the log-probs that the policy had when the batch was drawn:
what the first update passes on to the model, whatever the model is. A batch was sampled by the
policy itself or, in a replay set, by the start; old log-probs are those of the one or of
the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

import methods
from methods import GOLD, Leaves, Method, Rollout
from results.render import Column, Table

from . import plots

if TYPE_CHECKING:
    from results import Results

EDGES = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)  # of the bins of a token's probability
FAMILY = 0.8  # mean cosine above which methods stand in one box
REFERENCE = "reference answer"


@dataclass(frozen=True)
class Batch:
    """A stored rollout batch, and the policy's log-probs when it was drawn."""

    rollout: Rollout
    logp_NT: torch.Tensor
    run: str


def stored(results: Results, batches: int = 24) -> list[Batch]:
    """Stored rollout batches of all runs, at most that many, evenly spaced.

    Raises:
        FileNotFoundError: no run has any.
        ValueError: they were stored by a version that did not keep the log-probs.
    """
    files = [
        (run.run, file)
        for run in results.runs.itertuples()
        for file in sorted((Path(run.path) / "rollouts").glob("step-*.parquet"))
    ]
    if not files:
        raise FileNotFoundError(
            "no run has stored rollouts: run with -o keep_rollouts=true, and with another --out "
            "where the runs are done already"
        )
    spread = np.linspace(0, len(files) - 1, min(batches, len(files))).round().astype(int)
    return [read(file, str(run)) for run, file in (files[i] for i in spread)]


def read(file: Path, run: str) -> Batch:
    """One rollouts/step-NNNNNN.parquet, its rows as they are."""
    frame = pd.read_parquet(file)
    if "policy_logp" not in frame:
        raise ValueError(f"{file}: stored by an older version, without log-probs; run it again")
    length_N = frame["tokens"].map(len).to_numpy()
    mask_NT = np.arange(length_N.max()) < length_N[:, None]

    def padded(column: str) -> torch.Tensor:
        x_NT = np.zeros(mask_NT.shape)
        known = frame[column].notna().to_numpy()
        if known.any():
            x_NT[mask_NT & known[:, None]] = np.concatenate(frame.loc[known, column].tolist())
        return torch.from_numpy(x_NT)

    def column(name: str, dtype: type) -> torch.Tensor:
        return torch.from_numpy(frame[name].to_numpy(dtype).copy())

    policy_NT, ref_NT = padded("policy_logp"), padded("ref_logp")
    rollout = Rollout(
        mask_NT=torch.from_numpy(mask_NT),
        reward_N=column("reward", np.float64),
        group_N=column("group", np.int64),
        kind_N=column("kind", np.int64),
        correct_N=column("correct", np.bool_),
        finished_N=column("finished", np.bool_),
        format_ok_N=column("format_ok", np.bool_),
        max_tokens=int(frame["max_tokens"].iloc[0]),
        old_logp_NT=ref_NT if frame["source"].iloc[0] == "replay" else policy_NT,
        sampler_logp_NT=padded("logp"),
        ref_logp_NT=ref_NT,
        old_value_NT=padded("value"),
    )
    return Batch(rollout, policy_NT, run)


def objectives(results: Results, names: Iterable[str] | None = None) -> dict[str, Method]:
    """Methods by label: the runs' own with their fields, then every registered one with its
    defaults; only `names`, where given (labels, registered names, or path.py:Class)."""
    own = {}
    for run in results.runs.itertuples():
        phases = run.config.get("phases", [])
        if len(phases) == 1:
            own[str(run.method)] = methods.get(phases[0]["method"], **phases[0]["fields"])
    chosen = [*dict.fromkeys([*own, *methods.names()])] if names is None else names
    return {name: own.get(name) or methods.get(name) for name in chosen}


def weights(method: Method, batch: Batch) -> torch.Tensor:
    """-dL/dlogp [N, T] at the policy's log-probs: above 0 where a token is made likelier."""
    r = batch.rollout
    signal = method.signal(r)
    live_NT = r.mask_NT & signal.trained_N[:, None]
    logp_NT = torch.where(live_NT, batch.logp_NT, 0.0).requires_grad_()
    assert r.old_value_NT is not None
    loss = method.loss(Leaves(logp_NT, r.old_value_NT, torch.zeros_like(logp_NT)), r, signal)
    if not loss.value.requires_grad:
        return torch.zeros_like(logp_NT)
    return -torch.autograd.grad(loss.value, logp_NT)[0]


@dataclass(frozen=True)
class Anatomy:
    """Means over batches. Methods stand in the order of their families."""

    cosine: pd.DataFrame  # methods x methods, of their weights on the same tokens
    shares: pd.DataFrame  # method, right, wrong, reference, lowered: shares of |weight|
    profile: pd.DataFrame  # method, answer, low, high (probability), probability, weight, tokens
    notes: list[str]  # which batches, and what could not be as in training

    def table(self) -> Table:
        """Where each method's weight lies."""
        columns = (
            Column("method", "method"),
            Column("right", "right samples", "percent"),
            Column("wrong", "wrong samples", "percent"),
            Column("reference", "reference answers", "percent"),
            Column("lowered", "makes less likely", "percent"),
        )
        title = "Where the weight lies (%)"
        return Table("weight-shares", title, self.shares, columns, tuple(self.notes))

    def plots(self) -> list[plots.Plot]:
        return [_heat(self), _profiles(self)]


def anatomy(
    results: Results, chosen: Mapping[str, Method] | None = None, batches: int = 24
) -> Anatomy:
    """Token weights of methods on stored rollouts; by default of all (see `objectives`)."""
    chosen = objectives(results) if chosen is None else chosen
    read_in = stored(results, batches)
    classes = _classes(torch.cat([b.rollout.reward_N[b.rollout.kind_N != GOLD] for b in read_in]))
    found = [_one(chosen, batch, classes) for batch in read_in]
    labels = [*chosen]
    cosine = pd.DataFrame(_mean([c for c, _, _ in found]), index=labels, columns=labels)
    shares = pd.concat([s for _, s, _ in found])
    profile = pd.concat([p for _, _, p in found])
    silent = [m for m in labels if not math.isfinite(cosine.loc[m, m])]
    order = _families(cosine.drop(index=silent, columns=silent))
    shares = shares.groupby("method", sort=False).mean().loc[order].reset_index()
    profile["total"] = profile["weight"] * profile["tokens"]
    profile["likely"] = profile["probability"] * profile["tokens"]
    keys = ["method", "answer", "low", "high"]
    profile = profile.groupby(keys, sort=False)[["total", "likely", "tokens"]].sum().reset_index()
    profile["weight"] = profile["total"] / profile["tokens"]
    profile["probability"] = profile["likely"] / profile["tokens"]
    columns = [*keys, "probability", "weight", "tokens"]
    profile = profile.set_index("method", drop=False).loc[order, columns].reset_index(drop=True)
    rows = results.runs[results.runs["run"].isin({b.run for b in read_in})]
    who, task = (", ".join(sorted({str(x) for x in rows[c]})) for c in ("method", "task"))
    count = f"{len(rows)} run{'s' if len(rows) > 1 else ''}"
    where = f"Mean over {len(read_in)} stored rollout batches of {count} ({who}; {task})."
    notes = [where, *_notes(chosen, read_in)]
    if silent:
        notes.append(f"No weight on these batches: {', '.join(silent)}.")
    if any(np.isnan(c).any() for c, _, _ in found):
        notes.append(WHITE)
    return Anatomy(cosine.loc[order, order], shares, profile, notes)


def _notes(chosen: Mapping[str, Method], batches: Sequence[Batch]) -> list[str]:
    """What differs from training for want of a critic or of mismatched rows."""
    needs = {label: method.needs() for label, method in chosen.items()}
    blind = any(not b.rollout.old_value_NT.any() for b in batches)
    critic = [label for label, n in needs.items() if n.critic and blind]
    mismatched = [label for label, n in needs.items() if n.mismatched]
    notes = (
        [f"{', '.join(critic)}: a critic that says 0, where the run had none."] if critic else []
    )
    if mismatched:
        notes.append(
            f"{', '.join(mismatched)}: a reference point of 0, as mismatched rows are not stored."
        )
    return notes


def _one(
    chosen: Mapping[str, Method], batch: Batch, classes: Mapping[str, tuple[float, float]]
) -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame]:
    """Cosines (NaN where a method weighs nothing), shares and profile on one batch."""
    r = batch.rollout
    sample_N = r.kind_N != GOLD
    answers = {
        name: sample_N & (low <= r.reward_N) & (r.reward_N <= high)
        for name, (low, high) in classes.items()
    }
    answers[REFERENCE] = ~sample_N
    parts = {"right": sample_N & r.correct_N, "wrong": sample_N & ~r.correct_N}
    parts["reference"] = ~sample_N
    chance_NT = batch.logp_NT.exp()
    vectors, shares, profile = [], [], []
    for label, method in chosen.items():
        w_NT = weights(method, batch)
        if not w_NT.isfinite().all():
            raise ValueError(f"{label}: a weight on {batch.run} is not finite")
        size = float(w_NT.norm())
        vectors.append(
            w_NT.flatten() / size if size else torch.full_like(w_NT.flatten(), torch.nan)
        )
        if not size:
            continue
        total = w_NT.abs().sum()
        row = {name: float(w_NT[rows_N].abs().sum() / total) for name, rows_N in parts.items()}
        lowered = float(w_NT.clamp(max=0).abs().sum() / total)
        shares.append({"method": label, **row, "lowered": lowered})
        unit_NT = w_NT / w_NT[w_NT != 0].abs().mean()
        for answer, rows_N in answers.items():
            for low, high in pairwise(EDGES):
                inside_NT = r.mask_NT & rows_N[:, None] & (chance_NT > low) & (chance_NT <= high)
                if tokens := int(inside_NT.sum()):
                    profile.append({
                        "method": label, "answer": answer, "low": low, "high": high,
                        "probability": float(chance_NT[inside_NT].mean()),
                        "weight": float(unit_NT[inside_NT].mean()), "tokens": tokens,
                    })  # fmt: skip
    w_MX = torch.stack(vectors)
    return (w_MX @ w_MX.T).numpy(), pd.DataFrame(shares), pd.DataFrame(profile)


def _classes(reward_N: torch.Tensor) -> dict[str, tuple[float, float]]:
    """Names and (inclusive) ranges of rewards: each value where they are few, else thirds."""
    values = reward_N.unique().tolist()
    if len(values) <= 4:
        return {f"reward {v:g}": (v, v) for v in values}
    ends = [-math.inf, *reward_N.quantile(torch.tensor([1 / 3, 2 / 3]).double()).tolist(), math.inf]
    names = ("lowest third", "middle third", "highest third")
    return {
        f"reward in {name}": (math.nextafter(low, math.inf), high)
        for name, low, high in zip(names, ends, ends[1:], strict=False)
    }


def _mean(tables: Sequence[np.ndarray]) -> np.ndarray:
    """Over the tables that have a number there; NaN where none has."""
    stack = np.stack(tables)
    count = np.isfinite(stack).sum(axis=0)
    return np.where(count > 0, np.nansum(stack, axis=0) / np.maximum(count, 1), np.nan)


def _tree(cosine: pd.DataFrame) -> np.ndarray:
    distance = 1 - np.nan_to_num(cosine.to_numpy(copy=True))
    np.fill_diagonal(distance, 0)
    condensed = squareform(((distance + distance.T) / 2).clip(min=0), checks=False)
    return hierarchy.linkage(condensed, "average", optimal_ordering=True)


def _families(cosine: pd.DataFrame) -> list[str]:
    """Labels in the order of a tree of average linkage, whose neighbours are alike."""
    if len(cosine) < 2:
        return [*cosine.index]
    return [cosine.index[i] for i in hierarchy.leaves_list(_tree(cosine))]


HEAT = "How alike objectives are: cosine of their token weights on the same rollouts"
WHITE = "A cosine is the mean over batches on which both have weight; white: there is none."
PROFILE = "What objectives do to a token, by its probability and the answer's reward"


def _heat(found: Anatomy) -> plots.Plot:
    labels, value = [*found.cosine.index], found.cosine.to_numpy()
    count = len(labels)
    said = " ".join(note for note in found.notes if note in (found.notes[0], WHITE))

    def draw(width: float) -> Figure:
        narrow = width < 5
        size = min(8.0, 58 * width / 7 / max(count, 1) + (2.5 if narrow else 3.2))
        longest = 0.0075 * size * max(map(len, labels))  # inches
        height = min(width * 0.84 - 0.75 * longest + 0.2, 0.55 * count + longest)
        figure = plots.headed(width, height, HEAT, said)
        ax = figure.subplots()
        mesh = ax.pcolormesh(
            value, cmap=plots.DIVERGING, vmin=-1, vmax=1, edgecolors="white", lw=0.4
        )
        ax.invert_yaxis()
        if count <= (8 if narrow else 14):
            for i, j in np.ndindex(value.shape):
                text = f"{value[i, j]:.2f}".replace("0.", ".").replace("-", plots.MINUS)
                ax.annotate(
                    text, (j + 0.5, i + 0.5), ha="center", va="center", fontsize=size * 0.85,
                    color="white" if abs(value[i, j]) > 0.75 else "#1a1a1a",
                )  # fmt: skip
        for first, last in _boxes(found.cosine):
            ax.add_patch(
                Rectangle((first, first), last - first, last - first, fill=False, lw=1.1,
                          ec=plots.INK)
            )  # fmt: skip
        place = np.arange(count) + 0.5
        ax.set_xticks(place, labels, rotation=90, fontsize=size)
        ax.set_yticks(place, labels, fontsize=size)
        ax.set_aspect("equal", anchor="N")
        ax.grid(visible=False)
        ax.tick_params(length=0, labelcolor=plots.INK)
        for spine in ax.spines.values():
            spine.set_visible(False)
        bar = figure.colorbar(mesh, ax=ax, shrink=0.5, aspect=18, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label(f"cosine (boxes: mean above {FAMILY:g})", fontsize=7.5)
        bar.ax.tick_params(labelsize=7, length=2)
        return figure

    above = [(i, j) for i in range(count) for j in range(i)]
    far = sorted((value[i, j], labels[i], labels[j]) for i, j in above)
    alt = "; ".join(f"{a} and {b}: {c:+.2f}" for c, a, b in [*far[:3], *far[-3:]])
    data = found.cosine.reset_index(names="method")
    return plots.Plot("weight-cosine", HEAT, f"{said} {alt}", data, draw)


def _boxes(cosine: pd.DataFrame) -> list[tuple[int, int]]:
    """[first, last) of each family of two or more neighbours."""
    if len(cosine) < 2:
        return []
    family = hierarchy.fcluster(_tree(cosine), 1 - FAMILY, "distance")
    edges = [0, *(np.nonzero(np.diff(family))[0] + 1).tolist(), len(family)]
    return [(a, b) for a, b in pairwise(edges) if b - a > 1]


def _profiles(found: Anatomy) -> plots.Plot:
    rows = found.profile
    labels = [*dict.fromkeys(rows["method"])]
    answers = [a for a in dict.fromkeys(rows["answer"]) if a != REFERENCE]
    shades = ("#d55e00", "#56b4e9", "#0072b2", "#009e73")
    style = {
        a: (shades[i] if len(answers) > 2 else shades[2 * i], "-") for i, a in enumerate(answers)
    }
    style |= {REFERENCE: ("#0a0a0a", (0, (2, 1.5)))} if REFERENCE in set(rows["answer"]) else {}

    def draw(width: float) -> Figure:
        narrow = width < 5
        across = min(len(labels), 3 if narrow else 5)
        down = math.ceil(len(labels) / across)
        figure = plots.headed(width, down * 1.15 + 0.75, PROFILE, f"{found.notes[0]} {UNIT}")
        axes = np.atleast_1d(figure.subplots(down, across, sharex=True)).ravel()
        for ax, label in zip(axes, labels, strict=False):
            _profile(ax, rows[rows["method"] == label], style)
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

    return plots.Plot("weight-profile", PROFILE, f"{found.notes[0]} {UNIT}", rows, draw)


UNIT = "Weight: -dL/dlogp over its mean size where it is not 0; above 0 the token is made likelier."


def _profile(ax: Axes, rows: pd.DataFrame, style: Mapping[str, tuple[str, Any]]) -> None:
    ax.axhline(0, color=plots.FAINT, lw=0.6)
    for answer, (colour, dashes) in style.items():
        own = rows[rows["answer"] == answer].sort_values("low")
        if own["weight"].any():
            ax.plot(own["probability"], own["weight"], color=colour, ls=dashes, lw=1.3)
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, -0.5), max(high, 0.5))
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    ax.tick_params(labelsize=6.5, length=2, pad=1)
