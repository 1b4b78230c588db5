"""GIFT: Group-relative Implicit Fine-Tuning."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from . import reduce
from .base import Leaves, Loss, Method, Needs, Rollout, Signal
from .registry import register
from .search import Between, Range


@register("gift")
@register(
    "gift-detached",
    "GIFT as in the paper, but with detached statistics, so that beta matters and z is linear",
    stats_grad="detached",
)
@register(
    "gift-author-code",
    "GIFT as in the author's code: anchored at the policy that sampled, statistics detached",
    anchor="old", stats_grad="detached", std_eps=1e-6, std_floor=0.0, drop_zero_variance=False,
)  # fmt: skip
class GIFT(Method):
    """GIFT: match the standardised implicit reward to the standardised explicit one.

        d_i  = sum_t (lp_t - lp_anchor_t) / length^length_exponent   (DPO's implicit reward / beta)
        A    = zscore(r), z = zscore(d) inside each prompt's group
        loss = mean_i (A_i - beta * z_i)^2

    The partition function Z(x) is a constant of the group and cancels, and so does DPO's beta. No
    clip, critic, separate KL or importance weight. Implements the objective as described in
    https://arxiv.org/abs/2510.23868; `gift-author-code` is the reading of the author's public code.

    Where the text is silent:
    - `anchor`: the frozen start ("reference", DPO's implicit reward) or the policy that sampled.
    - `stats_grad`: differentiate through the group's mean and std of d ("full"), or not. Under full
      statistics beta only rescales the loss, and the loss is not convex in d; the paper says that
      beta may matter and calls the loss convex, which holds with detached ones: `gift-detached`.
    - std has ddof 1; for d it is max(std, std_floor) + std_eps. At policy = anchor d is 0 for all
      and the gradient grows as 1/std: the floor (0.1, ours, measured) guards it, also against
      low-precision noise that makes std tiny but not 0. See the metric `std_floor_active`.
    - groups of equal rewards: dropped, and then out of the denominator, or kept with A = 0.
    - `length_exponent`: 0 in the first version, later an option of the author's.
    The loss is not a progress metric: it falls with corr(A, d), whatever the accuracy does.
    """

    paper = "https://arxiv.org/abs/2510.23868"
    stop_gradients = "mean and std of the implicit reward, where stats_grad is 'detached'"

    beta: float = Field(1.0, gt=0)
    anchor: Literal["reference", "old"] = "reference"
    stats_grad: Literal["full", "detached"] = "full"
    length_exponent: float = Field(0.0, ge=0)
    std_eps: float = Field(0.0, ge=0)
    std_floor: float = Field(0.1, ge=0)
    drop_zero_variance: bool = True

    def search(self) -> Mapping[str, Range]:
        if self.stats_grad == "detached" and self.anchor == "reference":
            return {"beta": Between(0.1, 2, "the paper: performance may depend on it")}
        return {"std_floor": Between(1e-3, 1, "ours: it guards the point where all d are equal")}

    def needs(self) -> Needs:
        frozen = self.anchor == "reference"
        return Needs(reference=frozen, old="no" if frozen else "loss", group_min=2)

    def warnings(self, updates_per_rollout: int) -> list[str]:
        if self.anchor == "reference" or updates_per_rollout > 1:
            return []
        return [
            "GIFT with anchor='old' and one update per rollout batch: at that update the policy is "
            "its own anchor, so the implicit reward is identically zero and the method is "
            "REINFORCE with group-standardised rewards, token sums and a constant scale of "
            "2 beta / (std_floor + std_eps). Use several minibatches per rollout for the implicit "
            "reward to take part."
        ]

    def signal(self, rollout: Rollout) -> Signal:
        samples_N = reduce.samples(rollout)
        groups = reduce.Groups.of(rollout.group_N, samples_N)
        constant_N = groups.constant(rollout.reward_N)
        advantage_N = reduce.zscore(rollout.reward_N, groups, ddof=1, eps=self.std_eps)
        return Signal(
            reduce.per_token(advantage_N, rollout.mask_NT),
            None,
            samples_N & ~constant_N if self.drop_zero_variance else samples_N,
            {"zero_variance_groups": groups.number(constant_N).to(advantage_N.dtype)},
        )

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        assert signal.advantage_NT is not None
        anchor_NT = rollout.ref_logp_NT if self.anchor == "reference" else rollout.old_logp_NT
        ratio_NT = reduce.log_ratio(leaves.logp_NT, anchor_NT, reduce.live(rollout, signal))
        size_N = reduce.lengths(rollout.mask_NT, ratio_NT) ** self.length_exponent
        implicit_N = ratio_NT.sum(-1) / size_N
        advantage_N = reduce.per_row(signal.advantage_NT)

        groups = reduce.Groups.of(rollout.group_N, signal.trained_N)
        mean_N, raw_N = groups.mean(implicit_N), groups.std(implicit_N)
        if self.stats_grad == "detached":
            mean_N, raw_N = reduce.stop(mean_N), reduce.stop(raw_N)
        std_N = raw_N.clamp(min=self.std_floor) + self.std_eps
        std_N = std_N + (std_N == 0).to(std_N.dtype)  # nothing to divide by: scale 1, to leave it
        z_N = reduce.keep((implicit_N - mean_N) / std_N, signal.trained_N)
        error_N = reduce.keep((advantage_N - self.beta * z_N).square(), signal.trained_N)

        metrics = {
            "implicit_std": groups.mean_of_groups(raw_N),
            "std_floor_active": groups.mean_of_groups((raw_N < self.std_floor).to(raw_N.dtype)),
            "rho": groups.mean_of_groups(groups.correlation(advantage_N, implicit_N)),
        }
        return Loss(reduce.ratio_of(error_N.sum(), signal.trained_N.sum()), metrics)
