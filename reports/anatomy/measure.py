"""How each objective weighs the same answers: token weights on stored rollouts of real runs.

    found = anatomy(results.load("runs/quick"))
    found.table()                    # share of |weight| on right, wrong and reference answers
    [plot.save("anatomy") for plot in found.plots()]

The weight of a token is -dL/dlogp at the log-probs that the policy had when the batch was drawn:
what the first update passes on to the model, whatever the model is. A batch was sampled by the
policy itself or, in a replay set, by the starting model; the old log-probs are the sampling
model's.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

import methods
from methods import GOLD, Leaves, Method
from results import Results

from .rollouts import StoredBatch, stored
from .show import REFERENCE, WHITE, Anatomy, families

EDGES = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)  # of the bins of a token's probability


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


def weights(method: Method, batch: StoredBatch) -> torch.Tensor:
    """-dL/dlogp [N, T] at the policy's log-probs: above 0 it makes the token more likely."""
    r = batch.rollout
    signal = method.signal(r)
    live_NT = r.mask_NT & signal.trained_N[:, None]
    logp_NT = torch.where(live_NT, batch.logp_NT, 0.0).requires_grad_()
    assert r.old_value_NT is not None
    loss = method.loss(Leaves(logp_NT, r.old_value_NT, torch.zeros_like(logp_NT)), r, signal)
    if not loss.value.requires_grad:
        return torch.zeros_like(logp_NT)
    return -torch.autograd.grad(loss.value, logp_NT)[0]


def anatomy(
    results: Results, chosen: Mapping[str, Method] | None = None, batches: int = 24
) -> Anatomy:
    """Token weights of methods on stored rollouts; by default of all (see `objectives`)."""
    chosen = objectives(results) if chosen is None else chosen
    read_in = stored(results, batches)
    by_reward = classes(torch.cat([b.rollout.reward_N[b.rollout.kind_N != GOLD] for b in read_in]))
    found = [measure(chosen, batch, by_reward) for batch in read_in]
    labels = [*chosen]
    cosine = pd.DataFrame(_mean([f.cosine for f in found]), index=labels, columns=labels)
    silent = [m for m in labels if not math.isfinite(cosine.loc[m, m])]
    order = families(cosine.drop(index=silent, columns=silent))
    shares = pd.concat([f.shares for f in found])
    shares = shares.groupby("method", sort=False).mean().loc[order].reset_index()
    profile = pd.concat([f.profile for f in found])
    keys, means = ["method", "answer", "low", "high"], ["probability", "weight"]
    profile[means] = profile[means].mul(profile["tokens"], axis=0)
    profile = profile.groupby(keys, sort=False)[[*means, "tokens"]].sum().reset_index()
    profile[means] = profile[means].div(profile["tokens"], axis=0)
    profile = profile.set_index("method", drop=False).loc[order].reset_index(drop=True)
    rows = results.runs[results.runs["run"].isin({b.run for b in read_in})]
    who, task = (", ".join(sorted({str(x) for x in rows[c]})) for c in ("method", "task"))
    count = f"{len(rows)} run{'s' if len(rows) > 1 else ''}"
    where = f"Mean over {len(read_in)} stored rollout batches of {count} ({who}; {task})."
    notes = [where, *_notes(chosen, read_in)]
    if silent:
        notes.append(f"No weight on any of these batches: {', '.join(silent)}.")
    if any(np.isnan(f.cosine).any() for f in found):
        notes.append(WHITE)
    return Anatomy(cosine.loc[order, order], shares, profile, notes)


def _notes(chosen: Mapping[str, Method], batches: Sequence[StoredBatch]) -> list[str]:
    """What differs from training where the runs stored no critic and no mismatched rows."""
    needs = {label: method.needs() for label, method in chosen.items()}
    blind = any(not b.rollout.old_value_NT.any() for b in batches)
    critic = ", ".join(label for label, n in needs.items() if n.critic and blind)
    mismatched = ", ".join(label for label, n in needs.items() if n.mismatched)
    notes = {
        critic: "assumes that the critic predicts 0, as these runs stored no values.",
        mismatched: "assumes a reference point of 0, as mismatched pairs are not stored.",
    }
    return [f"{who}: {what}" for who, what in notes.items() if who]


class MeasuredWeights(NamedTuple):
    """What one batch shows; the frames are those of `Anatomy`, over this batch alone."""

    cosine: np.ndarray  # methods x methods; NaN where a method weighs nothing
    shares: pd.DataFrame
    profile: pd.DataFrame


def measure(
    chosen: Mapping[str, Method], batch: StoredBatch, classes: Mapping[str, tuple[float, float]]
) -> MeasuredWeights:
    """Weights on one batch; `classes` holds the range of rewards of each class of samples."""
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
        vectors.append(w_NT.flatten() / (size or math.nan))
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
    return MeasuredWeights((w_MX @ w_MX.T).numpy(), pd.DataFrame(shares), pd.DataFrame(profile))


def classes(reward_N: torch.Tensor) -> dict[str, tuple[float, float]]:
    """Names and (inclusive) ranges of rewards: each value where they are few, else thirds."""
    values = reward_N.unique().tolist()
    if len(values) <= 4:
        return {f"reward {v:g}": (v, v) for v in values}
    ends = [-math.inf, *reward_N.quantile(torch.tensor([1 / 3, 2 / 3]).double()).tolist(), math.inf]
    names = ("lowest third", "middle third", "highest third")
    thirds = zip(names, pairwise(ends), strict=True)
    return {
        f"reward in {name}": (math.nextafter(low, math.inf), high) for name, (low, high) in thirds
    }


def _mean(tables: Sequence[np.ndarray]) -> np.ndarray:
    """Cell by cell, over the tables that have a number in the cell; NaN where none has."""
    stack = np.stack(tables)
    count = np.isfinite(stack).sum(axis=0)
    return np.where(count > 0, np.nansum(stack, axis=0) / np.maximum(count, 1), np.nan)
