"""ORPO: Odds Ratio Preference Optimization."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from . import reduce
from .base import Leaves, Needs, Rollout
from .pairs import PairMethod
from .registry import register
from .search import Between, Range

FLOOR = 1e-6  # of 1 - p: the odds of a certain answer would be infinite


@register("orpo")
class ORPO(PairMethod):
    """ORPO: supervised learning of the better answer plus the odds ratio of the two.

        p    = exp(mean_t lp),  odds = p / (1 - p)
        loss = mean over pairs of -mean_t lp_better
                                  - lam * log sigmoid(log odds_better - log odds_worse)

    No reference. https://arxiv.org/abs/2403.07691; the likelihood term is the mean per answer, as
    in its equation 2 (TRL takes the mean over all better tokens of the batch).
    """

    paper = "https://arxiv.org/abs/2403.07691"
    unbounded = "from above only: the likelihood of better answers, and pairs the wrong way round"

    lam: float = Field(0.1, ge=0)

    def search(self) -> Mapping[str, Range]:
        return {"lam": Between(0.05, 1, "the paper tries 0.1 to 1")}

    def needs(self) -> Needs:
        return replace(super().needs(), reference=False)

    def score(self, leaves: Leaves, rollout: Rollout, live_NT: Tensor) -> Tensor:
        return reduce.token_mean(reduce.keep(leaves.logp_NT, live_NT), rollout.mask_NT)

    def pair_loss(self, better_M: Tensor, worse_M: Tensor) -> Tensor:
        better_odds_M = better_M - reduce.log1mexp(better_M, FLOOR)
        worse_odds_M = worse_M - reduce.log1mexp(worse_M, FLOOR)
        ratio_M = torch.nn.functional.logsigmoid(better_odds_M - worse_odds_M)
        return -better_M - self.lam * ratio_M
