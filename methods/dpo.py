"""DPO: Direct Preference Optimization."""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from .pairs import PairMethod
from .registry import register
from .search import Between, Range


@register("dpo")
class DPO(PairMethod):
    """DPO: a logistic regression on pairs, whose logit is the difference of implicit rewards.

        D    = sum_t (lp_t - lp_ref_t)
        loss = mean over pairs of -log sigmoid(beta * (D_better - D_worse))

    https://arxiv.org/abs/2305.18290. Pairs are made of one prompt's G samples, a right and a wrong
    one (`pairing`): the k-th of each, or all combinations.
    """

    paper = "https://arxiv.org/abs/2305.18290"
    unbounded = "from above only: a pair that stands the wrong way round costs its margin"

    beta: float = Field(0.1, gt=0)

    def search(self) -> Mapping[str, Range]:
        return {"beta": Between(0.05, 5, "the values of the paper's second figure")}

    def pair_loss(self, better_M: Tensor, worse_M: Tensor) -> Tensor:
        return -torch.nn.functional.logsigmoid(self.beta * (better_M - worse_M))
