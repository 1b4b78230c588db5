"""GRPO: Group Relative Policy Optimisation."""

from .registry import register
from .surrogate import ClippedSurrogate, GroupAdvantage


@register("grpo")
class GRPO(GroupAdvantage, ClippedSurrogate):
    """GRPO: the clipped surrogate with rewards standardised inside each prompt's group.

        A_i  = (r_i - mean r) / (std r + std_eps), the same for all tokens of answer i
        loss = mean_i mean_t( -min(rho * A, clip(rho) * A) + kl * k3(policy, reference) )

    The paper (https://arxiv.org/abs/2402.03300) has kl = 0.04; today's practice and the default
    here is 0. It leaves open the std's ddof and epsilon: 1 and 1e-4, as TRL. `std=False` subtracts
    the mean only. A group whose rewards are all equal has A = 0: it gets no forward pass (but for a
    KL penalty) and still counts in the denominator. Aggregation (`aggregation`), clip (`clip`,
    `clip_high`) and KL estimator (`kl_estimator`) are part of the method, see `PolicyGradient`.
    """

    paper = "https://arxiv.org/abs/2402.03300"
