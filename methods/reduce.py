"""The vocabulary that every objective is written in: masks, averages, group statistics, KL.

All functions are pure, work on rows in any order, keep the dtype of the log-probabilities (so that
the laws can run in float64) and ask for no value on the host. Rows that get no forward pass are
masked *before* anything nonlinear is computed from them, so that whatever stands in them can
neither reach the loss nor its gradient.

Metrics of a `Loss` or a `Signal` use the names of `METRICS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .base import SAMPLE, Rollout, Signal

METRICS = {
    "zero_variance_groups": "groups of the rollout batch whose rewards are all equal (count)",
    "clip_fraction": "share of the trained tokens (sequences, for sequence ratios) cut by the clip",
    "ratio": "mean ratio of the policy to the one that sampled, over trained tokens or sequences",
    "kl": "mean over trained tokens of the k3 estimate of KL(policy || reference)",
    "nll": "mean negative log-likelihood of a trained target token, nats",
    "implicit_std": "mean over groups of the std of the implicit rewards, before floor and epsilon",
    "std_floor_active": "share of the groups whose implicit std lies below the floor",
    "rho": "mean over groups of the correlation of explicit and implicit rewards",
    "share_exploration": "share of the absolute loss of the term on the policy's own samples",
    "share_imitation": "share of the absolute loss of the term on the reference answers",
    "share_regulariser": "share of the absolute loss of the term that couples the two",
    "pairs": "pairs of a right and a wrong answer in the rollout batch (count)",
    "margin": "mean over pairs of the implicit reward's lead of the better answer",
    "pair_accuracy": "share of the pairs whose better answer has the higher implicit reward",
    "z0": "KTO's reference point, an estimate of the KL to the reference in nats",
    "implicit_score": "mean over samples of UNA's squashed implicit reward",
    "value_loss": "squared error of the critic, clipped, per token",
    "explained_variance": "1 - var(return - value) / var(return) of the critic on trained tokens",
    "entropy": "mean entropy of the policy at trained tokens, nats",
    "negative_term": "the part of the loss that comes from wrong answers",
    "negative_probability": "mean token probability (RIFT with importance: ratio) of wrong answers",
}

Aggregation = Literal["token_mean", "sequence_mean", "sequence_sum", "constant"]
Estimator = Literal["k1", "k2", "k3"]


def stop(x: Tensor) -> Tensor:
    """sg(x): the stop-gradient that is part of an objective. Tests replace it to hold it fixed."""
    return x.detach()


def samples(rollout: Rollout) -> Tensor:
    """bool [N]: the policy's own answers."""
    return rollout.kind_N == SAMPLE


def live(rollout: Rollout, signal: Signal) -> Tensor:
    """bool [N, T]: response tokens of the rows that get a forward pass."""
    return rollout.mask_NT & signal.trained_N[:, None]


def keep(x: Tensor, where: Tensor) -> Tensor:
    """`x` where `where`, else 0, without a gradient (not even a NaN) from elsewhere."""
    return torch.where(where, x, torch.zeros_like(x))


def log_ratio(logp_NT: Tensor, anchor_NT: Tensor | None, live_NT: Tensor):
    """log(pi / anchor) per token, 0 where not live; `logp_NT` itself for an anchor of None."""
    return keep(logp_NT if anchor_NT is None else logp_NT - anchor_NT, live_NT)


def per_token(x_N: Tensor, mask_NT: Tensor) -> Tensor:
    """A value of the row at each of its tokens, [N, T]; 0 where masked."""
    return keep(x_N[:, None].expand(mask_NT.shape), mask_NT)


def per_row(x_NT: Tensor) -> Tensor:
    """[N]: the inverse of `per_token` (rows are right-padded); 0 for a row without tokens."""
    return x_NT[:, 0]


def lengths(mask_NT: Tensor, like: Tensor) -> Tensor:
    """Tokens of each row, in the dtype of `like`; at least 1, so that one can divide by it."""
    return mask_NT.sum(-1).clamp(min=1).to(like.dtype)


def token_mean(x_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """[N]: mean over each row's own tokens (0 for a row without tokens)."""
    return keep(x_NT, mask_NT).sum(-1) / lengths(mask_NT, x_NT)


def ratio_of(total: Tensor, count: Tensor) -> Tensor:
    """total / count, 0 where nothing was counted."""
    return total / count.clamp(min=1).to(total.dtype)


def aggregate(
    x_NT: Tensor, mask_NT: Tensor, counted_N: Tensor, how: Aggregation, max_tokens: int
) -> Tensor:
    """One number from per-token terms that are 0 on every row that is not trained.

    `counted_N` (bool) are the rows that the paper's denominator counts, trained or not:
    token_mean     sum over tokens / tokens of the counted rows
    sequence_mean  mean over counted rows of the row's token mean
    sequence_sum   mean over counted rows of the row's token sum
    constant       sum over tokens / (counted rows * max_tokens)
    """
    if how == "token_mean":
        return ratio_of(x_NT.sum(), (mask_NT & counted_N[:, None]).sum())
    if how == "sequence_mean":
        return ratio_of(token_mean(x_NT, mask_NT).sum(), counted_N.sum())
    return ratio_of(x_NT.sum(), counted_N.sum()) / (max_tokens if how == "constant" else 1)


def mean_live(x: Tensor, live: Tensor) -> Tensor:
    """Detached mean of `x` over `live`, for metrics; 0 where there is none."""
    return ratio_of(keep(x.detach(), live).sum(), live.sum())


def whiten(x_NT: Tensor, where_NT: Tensor, ddof: int = 1) -> Tensor:
    """(x - mean) / std over all places of `where_NT`, 0 elsewhere; detached statistics are of the
    whole batch, so this belongs in a `signal`."""
    count = where_NT.sum()
    centred_NT = keep(x_NT - ratio_of(keep(x_NT, where_NT).sum(), count), where_NT)
    return centred_NT * (ratio_of(centred_NT.square().sum(), count - ddof) + 1e-8).rsqrt()


def explained_variance(guess_NT: Tensor, goal_NT: Tensor, live_NT: Tensor) -> Tensor:
    """1 - var(goal - guess) / var(goal) over live tokens, detached; 0 for a constant goal."""
    var = []
    for x_NT in (goal_NT.detach() - guess_NT.detach(), goal_NT.detach()):
        var.append(mean_live((x_NT - mean_live(x_NT, live_NT)).square(), live_NT))
    flat = (var[1] == 0).to(goal_NT.dtype)
    return (1 - flat) * (1 - var[0] / (var[1] + flat))


def safe_sqrt(x: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0 rather than infinite."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, torch.ones_like(x)).sqrt(), 0.0)


def log1mexp(x: Tensor, floor: float) -> Tensor:
    """log(1 - exp(x)) for x <= 0, with 1 - exp(x) held at `floor` or more (gradient 0 there)."""
    return (-torch.expm1(x)).clamp(min=floor).log()


@dataclass(frozen=True)
class Groups:
    """Statistics over the counted rows of each group. [N] in, [N] out: each row gets its group's.

    Groups are numbered densely by sorting, and tables have N slots (the most groups there can be):
    shapes then depend on no value, and a GPU need not be waited for.
    """

    index_N: Tensor
    counted_N: Tensor

    @classmethod
    def of(cls, group_N: Tensor, counted_N: Tensor) -> Groups:
        ordered_N, order_N = torch.sort(group_N)
        new_N = torch.ones_like(ordered_N)
        new_N[1:] = (ordered_N[1:] != ordered_N[:-1]).to(ordered_N.dtype)
        return cls(torch.empty_like(group_N).scatter(0, order_N, new_N.cumsum(0) - 1), counted_N)

    def sum(self, x_N: Tensor) -> Tensor:
        table = torch.zeros_like(x_N).index_add(0, self.index_N, keep(x_N, self.counted_N))
        return table[self.index_N]

    def count(self) -> Tensor:
        """int64 [N]: counted rows of the row's group."""
        return self.sum(self.counted_N.long())

    def mean(self, x_N: Tensor) -> Tensor:
        return ratio_of(self.sum(x_N), self.count())

    def std(self, x_N: Tensor, ddof: int = 1) -> Tensor:
        """0 (with a gradient of 0) where all are equal or only one is counted."""
        squares_N = self.sum((x_N - self.mean(x_N)).square())
        return safe_sqrt(ratio_of(squares_N, self.count() - ddof))

    def constant(self, x_N: Tensor) -> Tensor:
        """bool [N]: all counted values are equal, bit for bit (their computed std may not be 0)."""
        far = torch.finfo(x_N.dtype).max
        edges = []
        for sign in (1.0, -1.0):
            high_N = torch.where(self.counted_N, sign * x_N, -far)
            table = torch.full_like(x_N, -far).scatter_reduce(0, self.index_N, high_N, "amax")
            edges.append(sign * table[self.index_N])
        return edges[0] <= edges[1]

    def correlation(self, a_N: Tensor, b_N: Tensor) -> Tensor:
        """Detached, for metrics; 0 where one of both is constant."""
        a_N, b_N = (x.detach() - self.mean(x.detach()) for x in (a_N, b_N))
        size_N = (self.sum(a_N.square()) * self.sum(b_N.square())).sqrt()
        return torch.where(size_N > 0, self.sum(a_N * b_N) / size_N, torch.zeros_like(size_N))

    def number(self, flag_N: Tensor | None = None) -> Tensor:
        """How many groups have a counted row (for which `flag_N` holds); 0-dim int64."""
        hit_N = self.counted_N if flag_N is None else self.counted_N & flag_N
        return torch.zeros_like(self.index_N).index_add(0, self.index_N, hit_N.long()).gt(0).sum()

    def mean_of_groups(self, x_N: Tensor) -> Tensor:
        """Mean over groups of a value that is the same on all rows of a group; for metrics."""
        share_N = keep(x_N.detach() / self.count().clamp(min=1).to(x_N.dtype), self.counted_N)
        return ratio_of(share_N.sum(), self.number())


def zscore(x_N: Tensor, groups: Groups, ddof: int, eps: float) -> Tensor:
    """(x - mean) / (std + eps) inside each group; 0 on groups that are constant and rows that do
    not count."""
    flat_N = groups.constant(x_N) | ~groups.counted_N
    std_N = torch.where(flat_N, torch.ones_like(x_N), groups.std(x_N, ddof) + eps)
    return keep((x_N - groups.mean(x_N)) / std_N, ~flat_N)


def shares(**terms: Tensor) -> dict[str, Tensor]:
    """Metrics `share_NAME`: each term's part of the sum of all terms' absolute values."""
    sizes = {name: term.detach().abs() for name, term in terms.items()}
    total = torch.stack(list(sizes.values())).sum()
    return {f"share_{name}": size / total.clamp(min=1e-30) for name, size in sizes.items()}


def kl(delta_NT: Tensor, how: Estimator) -> Tensor:
    """Schulman's estimators of KL(policy || reference) at tokens that the policy sampled.

    With delta = lp - lp_ref: k1 = delta, k2 = delta^2 / 2, k3 = exp(-delta) - 1 + delta >= 0.
    As terms of a loss their gradients differ: k1's has mean 0, k2's is that of KL(pi || ref),
    k3's that of KL(ref || pi).
    """
    if how == "k1":
        return delta_NT
    return delta_NT.square() / 2 if how == "k2" else torch.expm1(-delta_NT) + delta_NT
