"""Dr. GRPO: GRPO done right."""

from . import reduce
from .grpo import GRPO
from .registry import register


@register("dr-grpo")
class DrGRPO(GRPO):
    """Dr. GRPO: GRPO without its two biases, division by the std and by the answer's length.

        A_i  = r_i - mean r
        loss = sum_{i,t} -min(rho * A, clip(rho) * A) / (answers * max_tokens)

    The constant is the generation limit, as in https://arxiv.org/abs/2503.20783 and TRL. The mean
    is over all answers of the group, not over the others, as printed.
    """

    paper = "https://arxiv.org/abs/2503.20783"

    std: bool = False
    aggregation: reduce.Aggregation = "constant"
