"""What objectives on (better, worse) pairs inside a prompt's group share."""

from typing import Literal

import torch
from torch import Tensor

from . import reduce
from .base import Leaves, Loss, Method, Needs, Rollout, Signal


def turns(flag_N: Tensor, groups: reduce.Groups) -> Tensor:
    """int64 [N]: places of the rows when sorted by group, flagged rows first, in the order in which
    they stand, which the harness keeps inside a group (samples as drawn). The k-th flagged row of a
    group then has the same place for any flag."""
    order_N = torch.sort(groups.index_N * 2 + (~flag_N).long(), stable=True).indices
    places_N = torch.arange(len(order_N), device=order_N.device)
    return torch.empty_like(places_N).scatter(0, order_N, places_N)


def pair_up(rollout: Rollout, pairing: Literal["matched", "all"]) -> tuple[Tensor, Tensor]:
    """Row indices (better [M], worse [M]) of the pairs among each prompt's samples.

    "matched": the k-th right sample with the k-th wrong one, min(right, wrong) pairs a prompt;
    "all": every right one with every wrong one. M depends on the verdicts, so a GPU waits here.
    """
    samples_N = reduce.samples(rollout)
    right_N, wrong_N = samples_N & rollout.correct_N, samples_N & ~rollout.correct_N
    groups = reduce.Groups.of(rollout.group_N, samples_N)
    better, worse = right_N.nonzero()[:, 0], wrong_N.nonzero()[:, 0]
    joined = groups.index_N[better][:, None] == groups.index_N[worse][None, :]
    if pairing == "matched":
        joined &= turns(right_N, groups)[better][:, None] == turns(wrong_N, groups)[worse][None, :]
    chosen = joined.nonzero()
    return better[chosen[:, 0]], worse[chosen[:, 1]]


class PairMethod(Method):
    """Base: the mean over pairs of a loss of the better and the worse answer.

    Pairs are right and wrong samples of one prompt, see `pair_up`; rows in no pair are not trained
    and do not count. Subclasses give `score` and `pair_loss`.
    """

    pairing: Literal["matched", "all"] = "matched"

    def needs(self) -> Needs:
        return Needs(
            source="replay", reference=True, pairs=True, group_min=2, learns_from=("verdict",)
        )

    def signal(self, rollout: Rollout) -> Signal:
        better_M, worse_M = pair_up(rollout, self.pairing)
        trained_N = torch.zeros_like(rollout.correct_N)
        trained_N[better_M] = True
        trained_N[worse_M] = True
        pairs = rollout.reward_N.new_tensor(len(better_M))
        return Signal(None, None, trained_N, {"pairs": pairs})

    def score(self, leaves: Leaves, rollout: Rollout, live_NT: Tensor) -> Tensor:
        """[N]: the implicit reward of each row; here the log-ratio to the reference, summed."""
        return reduce.log_ratio(leaves.logp_NT, rollout.ref_logp_NT, live_NT).sum(-1)

    def pair_loss(self, better_M: Tensor, worse_M: Tensor) -> Tensor:
        """[M], from the scores of both sides."""
        raise NotImplementedError

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        better_M, worse_M = pair_up(rollout, self.pairing)
        score_N = self.score(leaves, rollout, reduce.live(rollout, signal))
        high_M, low_M = score_N[better_M], score_N[worse_M]
        pairs = torch.as_tensor(len(better_M))
        total = self.pair_loss(high_M, low_M).sum() + 0 * score_N.sum()  # a graph without pairs too
        margin_M = (high_M - low_M).detach()
        return Loss(
            reduce.ratio_of(total, pairs),
            {
                "margin": reduce.ratio_of(margin_M.sum(), pairs),
                "pair_accuracy": reduce.ratio_of((margin_M > 0).to(total.dtype).sum(), pairs),
            },
        )
