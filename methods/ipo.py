"""IPO: Identity Preference Optimization."""

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor

from . import reduce
from .base import Leaves, Rollout
from .pairs import PairMethod
from .registry import register
from .search import Between, Range


@register("ipo")
class IPO(PairMethod):
    """IPO: regress the difference of log-ratios on a fixed margin, so that it stays bounded.

        loss = mean over pairs of (D_better - D_worse - 1 / (2 beta))^2,   D = sum_t (lp - lp_ref)

    https://arxiv.org/abs/2310.12036, equation 17 (its tau is beta). `average`: D is a mean over the
    answer's tokens, as its authors and TRL do in practice; the paper writes the sum.
    """

    paper = "https://arxiv.org/abs/2310.12036"
    unbounded = "from above only: a squared error"

    beta: float = Field(0.1, gt=0)
    average: bool = False

    def search(self) -> Mapping[str, Range]:
        return {"beta": Between(0.05, 5, "as DPO")}

    def score(self, leaves: Leaves, rollout: Rollout, live_NT: Tensor) -> Tensor:
        total_N = super().score(leaves, rollout, live_NT)
        return total_N / reduce.lengths(rollout.mask_NT, total_N) if self.average else total_N

    def pair_loss(self, better_M: Tensor, worse_M: Tensor) -> Tensor:
        return (better_M - worse_M - 1 / (2 * self.beta)).square()
