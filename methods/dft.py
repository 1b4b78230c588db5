"""DFT: Dynamic Fine-Tuning."""

from typing import Literal

from torch import Tensor

from . import reduce
from .base import GOLD, Needs, Rollout
from .likelihood import Likelihood
from .registry import register


@register("dft")
class DFT(Likelihood):
    """Dynamic fine-tuning: each target token's likelihood weighted by its own probability.

        loss = -sum_t sg(exp(lp_t)) * lp_t / number of target tokens

    It undoes the 1/pi that makes SFT's gradient large on unlikely tokens.
    https://arxiv.org/abs/2508.05629. `on`: the reference answers ("gold") or right samples
    ("correct", the paper's offline setting).
    """

    paper = "https://arxiv.org/abs/2508.05629"
    unbounded = ""
    stop_gradients = "the token's probability, as its own weight"

    on: Literal["gold", "correct"] = "gold"

    def needs(self) -> Needs:
        if self.on == "gold":
            return Needs(
                source="demonstrations", sources=("demonstrations",), gold=True, learns_from=()
            )
        return Needs(source="replay", learns_from=("verdict",))

    def targets(self, rollout: Rollout) -> Tensor:
        if self.on == "gold":
            return rollout.kind_N == GOLD
        return reduce.samples(rollout) & rollout.correct_N

    def weight(self, logp_NT: Tensor) -> Tensor:
        return reduce.stop(logp_NT.exp())
