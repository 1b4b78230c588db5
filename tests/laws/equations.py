"""Every objective once more, as its equation reads: row by row, in plain loops, without tricks.

Nothing here is shared with `methods/`. A law compares value and gradient of both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from methods import GOLD, MISMATCHED, SAMPLE, Leaves, Rollout

Scalar = Any  # a 0-dim tensor, or the 0 of an empty sum


@dataclass(frozen=True)
class Row:
    """One answer without its padding: [length] tensors, and plain numbers."""

    lp: torch.Tensor
    value: torch.Tensor
    entropy: torch.Tensor
    old: torch.Tensor
    ref: torch.Tensor
    old_value: torch.Tensor
    reward: float
    right: bool
    kind: int
    group: int
    finished: bool

    @property
    def length(self) -> int:
        return len(self.lp)


class Rows(list[Row]):
    def of(self, *kinds: int) -> Rows:
        return Rows(row for row in self if row.kind in kinds)

    def groups(self) -> list[Rows]:
        return [Rows(r for r in self if r.group == g) for g in sorted({r.group for r in self})]

    @property
    def rewards(self) -> list[float]:
        return [row.reward for row in self]


def rows_of(at: Leaves, r: Rollout) -> Rows:
    found = Rows()
    for i in range(len(r)):
        n = int(r.mask_NT[i].sum())
        tensors = (at.logp_NT, at.value_NT, at.entropy_NT, r.old_logp_NT, r.ref_logp_NT)
        lp, value, entropy, old, ref, old_value = (
            x[i, :n] for x in (*tensors, r.old_value_NT) if x is not None
        )
        found.append(
            Row(
                lp,
                value,
                entropy,
                old,
                ref,
                old_value,
                reward=float(r.reward_N[i]),
                right=bool(r.correct_N[i]),
                kind=int(r.kind_N[i]),
                group=int(r.group_N[i]),
                finished=bool(r.finished_N[i]),
            )
        )
    return found


def mean(values: list[Scalar]) -> Scalar:
    return sum(values) / len(values) if values else 0.0


def spread(values: list[float], ddof: int) -> float:
    m = mean(values)
    return math.sqrt(sum((v - m) ** 2 for v in values) / (len(values) - ddof))


def tied(values: list[float]) -> bool:
    return max(values) == min(values)


def average(how: str, terms: list[torch.Tensor], max_tokens: int) -> Scalar:
    """Over the per-token terms of each counted answer."""
    if how == "token_mean":
        tokens = sum(len(t) for t in terms)
        return sum(t.sum() for t in terms) / tokens if tokens else 0.0
    if how == "sequence_mean":
        return mean([t.mean() for t in terms])
    if how in ("sequence_sum", "sum"):
        return mean([t.sum() for t in terms])
    return sum(t.sum() for t in terms) / (len(terms) * max_tokens) if terms else 0.0


def double(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


Equation = Callable[[Any, Rows, int], Scalar]
EQUATIONS: dict[str, Equation] = {}


def equation(*names: str):
    def add(function: Equation) -> Equation:
        for name in names:
            EQUATIONS[name] = function
        return function

    return add


# imitation


@equation("sft")
def sft(m, rows, limit):
    return average(m.reduction, [-row.lp for row in rows.of(GOLD)], limit)


@equation("rft", "raft")
def rft(m, rows, limit):
    return average(m.reduction, [-row.lp for row in rows.of(SAMPLE) if row.right], limit)


@equation("dft")
def dft(m, rows, limit):
    found = rows.of(GOLD) if m.on == "gold" else [row for row in rows.of(SAMPLE) if row.right]
    return average(m.reduction, [-row.lp.detach().exp() * row.lp for row in found], limit)


def by_verdict(m, rows, wrong: Callable[[Row], Scalar]) -> Scalar:
    """sum_i share_i (r nll or -r wrong(row)): the frame of RIFT, naive, unlikelihood, TOPR."""
    samples = rows.of(SAMPLE)
    tokens = sum(row.length for row in samples)
    total = 0.0
    for group in samples.groups():
        rewards = [m.positive_reward if row.right else m.negative_reward for row in group]
        if m.group_normalise:
            if len(group) == 1 or tied(rewards):
                continue
            scale = spread(rewards, 1) + 1e-4
            rewards = [(r - mean(rewards)) / scale for r in rewards]
        for row, r in zip(group, rewards, strict=True):
            share = row.length / tokens if m.reduction == "token_mean" else 1 / len(samples)
            nll = -row.lp.sum() if m.reduction == "sum" else -row.lp.mean()
            total = total + share * (r * nll if r > 0 else -r * wrong(row) if r < 0 else 0.0)
    return total


@equation("rift", "rift-is")
def rift(m, rows, limit):
    def wrong(row):
        lp = row.lp - row.old if m.importance else row.lp
        if m.negative == "sequence":
            return lp.sum().exp()
        if m.negative == "geometric":
            return lp.mean().exp()
        if m.negative == "token_sum" and m.reduction != "token_mean":
            return lp.exp().sum()
        return lp.exp().mean()

    return by_verdict(m, rows, wrong)


@equation("naive")
def naive(m, rows, limit):
    return by_verdict(m, rows, lambda row: row.lp.sum() if m.reduction == "sum" else row.lp.mean())


@equation("unlikelihood")
def unlikelihood(m, rows, limit):
    def wrong(row):
        cost = -torch.log(torch.clamp(1 - row.lp.exp(), min=m.floor))
        return cost.sum() if m.reduction == "sum" else cost.mean()

    return by_verdict(m, rows, wrong)


@equation("topr")
def topr(m, rows, limit):
    def wrong(row):
        weight = torch.clamp((row.lp - row.old).sum().exp(), 0, 1).detach()
        return weight * (row.lp.sum() if m.reduction == "sum" else row.lp.mean())

    return by_verdict(m, rows, wrong)


# pairs and scores


def pairs(m, rows) -> list[tuple[Row, Row]]:
    found = []
    for group in rows.of(SAMPLE).groups():
        right, wrong = [r for r in group if r.right], [r for r in group if not r.right]
        if m.pairing == "matched":
            found += list(zip(right, wrong, strict=False))
        else:
            found += [(a, b) for a in right for b in wrong]
    return found


def log_sigmoid(x: torch.Tensor) -> torch.Tensor:
    return -torch.log(1 + torch.exp(-x))


def implicit(row: Row) -> torch.Tensor:
    return (row.lp - row.ref).sum()


@equation("dpo")
def dpo(m, rows, limit):
    found = pairs(m, rows)
    return mean([-log_sigmoid(m.beta * (implicit(a) - implicit(b))) for a, b in found])


@equation("ipo")
def ipo(m, rows, limit):
    def score(row):
        return (row.lp - row.ref).mean() if m.average else implicit(row)

    return mean([(score(a) - score(b) - 0.5 / m.beta) ** 2 for a, b in pairs(m, rows)])


@equation("simpo")
def simpo(m, rows, limit):
    found = pairs(m, rows)
    return mean(
        [-log_sigmoid(m.beta * a.lp.mean() - m.beta * b.lp.mean() - m.gamma) for a, b in found]
    )


@equation("orpo")
def orpo(m, rows, limit):
    def odds(row):
        p = row.lp.mean().exp()
        return p / (1 - p)

    return mean(
        [
            -a.lp.mean() - m.lam * log_sigmoid(torch.log(odds(a) / odds(b)))
            for a, b in pairs(m, rows)
        ]
    )


@equation("kto")
def kto(m, rows, limit):
    z0 = max(0.0, float(mean([implicit(row).detach() for row in rows.of(MISMATCHED)])))
    samples = rows.of(SAMPLE)
    desirable, right = m.desirable, sum(row.right for row in samples)
    if desirable is None:  # so that both kinds weigh the same
        desirable = m.undesirable * (len(samples) - right) / max(right, 1)
    losses = []
    for row in samples:
        if row.right:
            losses.append(desirable * (1 - torch.sigmoid(m.beta * (implicit(row) - z0))))
        else:
            losses.append(m.undesirable * (1 - torch.sigmoid(m.beta * (z0 - implicit(row)))))
    return mean(losses)


@equation("una")
def una(m, rows, limit):
    losses = []
    for row in rows.of(SAMPLE):
        s = torch.sigmoid(m.beta * implicit(row))
        y = float(row.right)
        if m.feedback == "score":
            y = min(max(row.reward, 0.0), 1.0)
        if m.feedback == "reward":
            y = 1 / (1 + math.exp(-row.reward))
        cross = -(y * torch.log(s) + (1 - y) * torch.log(1 - s))
        losses.append(cross if m.feedback == "binary_bce" else (s - y) ** 2)
    return mean(losses)


# policy gradients


def k(how: str, row: Row) -> torch.Tensor:
    delta = row.lp - row.ref
    return {"k1": delta, "k2": delta**2 / 2, "k3": torch.exp(-delta) + delta - 1}[how]


def clipped(m, row: Row, advantage: Any, ratio: torch.Tensor | None = None) -> torch.Tensor:
    rho = torch.exp(row.lp - row.old) if ratio is None else ratio
    high = m.clip if m.clip_high is None else m.clip_high
    return -torch.minimum(rho * advantage, torch.clamp(rho, 1 - m.clip, 1 + high) * advantage)


def penalised(
    m,
    rows: list[Row],
    term: Callable[[Row], torch.Tensor],
    limit: int,
    ratio: Callable[[Row], torch.Tensor] = lambda row: torch.exp(row.lp - row.old),
) -> Scalar:
    def penalty(row: Row) -> Any:
        return m.kl * k(m.kl_estimator, row) * (ratio(row) if m.kl_correction else 1.0)

    terms = [term(row) + (penalty(row) if m.kl else 0.0) for row in rows]
    return average(m.aggregation, terms, limit)


def group_advantages(m, groups: list[Rows], reward=lambda row: row.reward) -> dict[int, float]:
    """By the identity of the row."""
    found = {}
    for group in groups:
        rewards = [reward(row) for row in group]
        flat = len(group) == 1 or tied(rewards)
        scale = spread(rewards, 1) + m.std_eps if m.std and not flat else 1.0
        for row, r in zip(group, rewards, strict=True):
            found[id(row)] = 0.0 if flat else (r - mean(rewards)) / scale
    return found


@equation("grpo", "dr-grpo")
def grpo(m, rows, limit):
    samples = rows.of(SAMPLE)
    a = group_advantages(m, samples.groups())
    return penalised(m, samples, lambda row: clipped(m, row, a[id(row)]), limit)


@equation("grpo-gold")
def grpo_gold(m, rows, limit):
    members = rows.of(SAMPLE, GOLD)
    a = group_advantages(m, members.groups())
    return penalised(m, members, lambda row: clipped(m, row, a[id(row)]), limit)


@equation("grpo-sft")
def grpo_sft(m, rows, limit):
    supervised = average("token_mean", [-row.lp for row in rows.of(GOLD)], limit)
    return grpo(m, rows, limit) + m.sft_weight * supervised


@equation("dapo")
def dapo(m, rows, limit):
    live = [g for g in rows.of(SAMPLE).groups() if not tied(g.rewards)]
    buffer = m.overlong_buffer * limit

    def shaped(row):
        excess = row.length - (limit - buffer)
        return row.reward - m.overlong_penalty * min(max(excess / buffer, 0.0), 1.0)

    a = group_advantages(m, live, shaped)
    kept = [row for group in live for row in group]
    return penalised(m, kept, lambda row: clipped(m, row, a[id(row)]), limit)


@equation("gspo")
def gspo(m, rows, limit):
    samples = rows.of(SAMPLE)
    a = group_advantages(m, samples.groups())

    def ratio(row):
        return torch.exp((row.lp - row.old).mean())

    def term(row):
        return clipped(m, row, a[id(row)], ratio(row)) * torch.ones_like(row.lp)

    return penalised(m, samples, term, limit, ratio)


@equation("cispo")
def cispo(m, rows, limit):
    samples = rows.of(SAMPLE)
    a = group_advantages(m, samples.groups())
    cap = m.epsilon_high if m.absolute_cap else 1 + m.epsilon_high

    def term(row):
        weight = torch.clamp(torch.exp(row.lp - row.old), max=cap).detach()
        return -weight * a[id(row)] * row.lp

    return penalised(m, samples, term, limit)


@equation("psr", "nsr", "w-reinforce")
def weighted_reinforce(m, rows, limit):
    def term(row):
        return clipped(m, row, m.positive if row.right else -m.negative)

    return penalised(m, rows.of(SAMPLE), term, limit)


def penalised_return(row: Row, weight: float) -> float:
    return row.reward - weight * float((row.old - row.ref).sum())


@equation("reinforce")
def reinforce(m, rows, limit):
    samples = rows.of(SAMPLE)
    base = mean([penalised_return(row, m.kl) for row in samples])
    return mean([-(penalised_return(row, m.kl) - base) * row.lp.sum() for row in samples])


@equation("rloo")
def rloo(m, rows, limit):
    losses = []
    for group in rows.of(SAMPLE).groups():
        for row in group:
            others = [penalised_return(o, m.kl) for o in group if o is not row]
            a = penalised_return(row, m.kl) - mean(others) if others else 0.0
            if m.clip is None:
                losses.append(-a * row.lp.sum())
            else:
                rho = torch.exp((row.lp - row.old).sum())
                held = torch.clamp(rho, 1 - m.clip, 1 + m.clip)
                losses.append(-torch.minimum(rho * a, held * a))
    return mean(losses)


def whitened(per_row: list[list[float]], ddof: int) -> list[torch.Tensor]:
    flat = [x for row in per_row for x in row]
    m, v = mean(flat), spread(flat, ddof) ** 2
    return [double([(x - m) / math.sqrt(v + 1e-8) for x in row]) for row in per_row]


@equation("reinforce++")
def reinforce_plus_plus(m, rows, limit):
    samples = rows.of(SAMPLE)
    returns = [
        [row.reward - m.reward_kl * float((row.old - row.ref)[t:].sum()) for t in range(row.length)]
        for row in samples
    ]
    a = {id(row): w for row, w in zip(samples, whitened(returns, 0), strict=True)}
    return penalised(m, samples, lambda row: clipped(m, row, a[id(row)]), limit)


def gae(m, row: Row) -> list[float]:
    """A_t as the double sum of the definition, no recursion."""
    v, n = row.old_value.tolist(), row.length
    beyond = v[-1] if m.bootstrap and not row.finished else 0.0
    delta = []
    for t in range(n):
        reward = -m.reward_kl * float(row.old[t] - row.ref[t])
        reward += row.reward if t == n - 1 else 0.0
        delta.append(reward + m.gamma * (v[t + 1] if t < n - 1 else beyond) - v[t])
    decay = m.gamma * m.gae_lambda
    return [sum(decay ** (s - t) * delta[s] for s in range(t, n)) for t in range(n)]


@equation("ppo")
def ppo(m, rows, limit):
    samples = rows.of(SAMPLE)
    raw = [gae(m, row) for row in samples]
    used = whitened(raw, 1) if m.whiten else [double(a) for a in raw]
    a = {id(row): w for row, w in zip(samples, used, strict=True)}
    errors = []
    for row, advantage in zip(samples, raw, strict=True):
        goal = double(advantage) + row.old_value
        low, high = row.old_value - m.value_clip, row.old_value + m.value_clip
        held = torch.maximum(torch.minimum(row.value, high), low)
        errors.append(torch.maximum((row.value - goal) ** 2, (held - goal) ** 2))
    policy = penalised(m, samples, lambda row: clipped(m, row, a[id(row)]), limit)
    value = average(m.aggregation, errors, limit)
    entropy = average(m.aggregation, [row.entropy for row in samples], limit)
    return policy + m.value_weight * value - m.entropy_weight * entropy


@equation("nft")
def nft(m, rows, limit):
    terms = []
    for group in rows.of(SAMPLE).groups():
        q = mean([float(row.right) for row in group])
        if q in (0.0, 1.0):
            continue
        q = min(max(q, 0.02), 0.98)
        w = {"one": 1.0, "hard": 1 - q, "root": math.sqrt((1 - q) / q)}[m.prompt_weight]
        for row in group:
            ratio = torch.exp(row.lp - row.old)
            if row.right:
                terms.append(-w * torch.log(ratio))
            else:
                x = (1 - q * ratio) / (1 - q)
                # straight-through: the value of max(x, 1), the slope of x
                terms.append(-w * torch.log(x - x.detach() + torch.clamp(x, min=1).detach()))
    return average("token_mean", terms, limit)


# the three papers


@equation("grao")
def grao(m, rows, limit):
    groups = rows.of(SAMPLE, GOLD).groups()
    total = 0.0
    for group in groups:
        samples, gold = group.of(SAMPLE), group.of(GOLD)
        basis = (samples if m.stats == "samples" else group).rewards
        if tied(basis):
            continue
        m_, s = mean(basis), spread(basis, 0)
        a = [(row.reward - m_) / s for row in samples]
        explore = mean([x * row.lp.mean() for x, row in zip(a, samples, strict=True)])
        total = total + (m.alpha + m.lam) * explore
        if gold:
            (y,) = gold
            weight = m.beta * (y.reward - m_) / s - m.lam * mean(a)
            total = total + (max(weight, 0.0) if m.imitation_floor else weight) * y.lp.mean()
    return -total / len(groups)


@equation("gift", "gift-detached", "gift-author-code")
def gift(m, rows, limit):
    errors = []
    for group in rows.of(SAMPLE).groups():
        flat = len(group) == 1 or tied(group.rewards)
        if flat and m.drop_zero_variance:
            continue
        scale = 1.0 if flat else spread(group.rewards, 1) + m.std_eps
        anchors = [row.ref if m.anchor == "reference" else row.old for row in group]
        d = torch.stack(
            [
                (row.lp - anchor).sum() / row.length**m.length_exponent
                for row, anchor in zip(group, anchors, strict=True)
            ]
        )
        centre = d.mean()
        s = d.std() if d.max() > d.min() else 0 * d.sum()  # one sample, or the policy at its anchor
        if m.stats_grad == "detached":
            centre, s = centre.detach(), s.detach()
        s = torch.clamp(s, min=m.std_floor) + m.std_eps
        for row, d_i in zip(group, d, strict=True):
            a = 0.0 if flat else (row.reward - mean(group.rewards)) / scale
            z = (d_i - centre) / (s if s > 0 else 1)
            errors.append((a - m.beta * z) ** 2)
    return mean(errors)
