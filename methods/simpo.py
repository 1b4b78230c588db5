"""SimPO: Simple Preference Optimization."""

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


@register("simpo")
class SimPO(PairMethod):
    """SimPO: DPO without a reference, on mean log-probabilities, with a target margin.

        loss = mean over pairs of -log sigmoid(beta * (mean_t lp_better - mean_t lp_worse) - gamma)

    https://arxiv.org/abs/2405.14734; beta 2.0 and gamma 1.0 lie inside its tuned ranges.
    """

    paper = "https://arxiv.org/abs/2405.14734"
    unbounded = "from above only: a pair that stands the wrong way round costs its margin"

    beta: float = Field(2.0, gt=0)
    gamma: float = Field(1.0, ge=0)

    def search(self) -> Mapping[str, Range]:
        return {"beta": Between(1, 10, "the paper recommends 2 to 10")}

    def needs(self) -> Needs:
        return replace(super().needs(), reference=False)

    def score(self, leaves: Leaves, rollout: Rollout, live_NT: Tensor) -> Tensor:
        return reduce.token_mean(reduce.keep(leaves.logp_NT, live_NT), rollout.mask_NT)

    def pair_loss(self, better_M: Tensor, worse_M: Tensor) -> Tensor:
        logit_M = self.beta * (better_M - worse_M) - self.gamma
        return -torch.nn.functional.logsigmoid(logit_M)
