"""Unlikelihood training."""

from pydantic import Field
from torch import Tensor

from . import reduce
from .base import Rollout
from .likelihood import VerdictLikelihood
from .registry import register


@register("unlikelihood")
class Unlikelihood(VerdictLikelihood):
    """Unlikelihood: likelihood of right answers, and of not saying each token of wrong ones.

        loss = mean over tokens of  -lp_t (right),  -log(1 - exp(lp_t)) (wrong)

    https://arxiv.org/abs/1908.04319, whose unlikely set is here the wrong sample itself. 1 - pi is
    held at `floor` or more, as its authors' code does: at pi = 1 the term has no bound else.
    """

    paper = "https://arxiv.org/abs/1908.04319"
    unbounded = "from above only: right answers enter by their log-likelihood"

    floor: float = Field(1e-5, gt=0, lt=1)

    def penalty(self, logp_NT: Tensor, rollout: Rollout, wrong_NT: Tensor) -> Tensor:
        cost_NT = reduce.keep(-reduce.log1mexp(logp_NT, self.floor), wrong_NT)
        return self.row(cost_NT, rollout.mask_NT)
