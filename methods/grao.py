"""GRAO: Group Relative Alignment Optimization."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from . import reduce
from .base import GOLD, Leaves, Loss, Method, Needs, Rollout, Signal
from .registry import register
from .search import Between, Range


@register("grao")
class GRAO(Method):
    """GRAO: explore with the policy's answers o_i, imitate the reference answer y, couple the two.

        J = alpha * (1/G) sum_i A_i Jx(o_i) + beta * A_y Ji(y)
            + lam * (1/G) sum_i A_i (Jx(o_i) - Ji(y));          loss = -mean over prompts of J

    Jx, Ji: mean over tokens of lp. A = (R - mean)/std in the group, population std, no epsilon. No
    ratio, clip, KL, reference policy or critic. Implements the objective as published in
    https://arxiv.org/abs/2508.07750 (equations 2-4; alpha = 1 there, a field for the ablation).

    Where the text is silent:
    - `stats`: over the samples and y together ("joint", both prose definitions; it gives a signal
      also where all samples fail) or over the samples only (equation 4 to the letter).
    - the reward of y is the task's: of a verifier the maximum, of a pairwise judge 0.
    - a group of equal rewards is skipped and counted in the metrics; it stays in the denominator,
      where its J would be 0. A_y is never divided by an epsilon.
    - a prompt without a reference answer uses its samples only and has no Ji anywhere.
    - `imitation_floor` (ours, off): y is never pushed down, that is A_y becomes max(A_y, 0) in the
      collapsed form, where the weight of Ji is (beta + lam/G) A_y (joint) or beta A_y (samples).
    - one update per rollout batch: there is no ratio, so a second one would be off-policy.
    """

    paper = "https://arxiv.org/abs/2508.07750"
    unbounded = "wrong answers, and y where samples beat it, are pushed down by log-likelihood"

    alpha: float = Field(1.0, ge=0)
    beta: float = Field(0.5, ge=0)
    lam: float = Field(0.6, ge=0)
    stats: Literal["joint", "samples"] = "joint"
    imitation_floor: bool = False

    def search(self) -> Mapping[str, Range]:
        return {"beta": Between(0.1, 2, "the paper's is 0.5")}

    def needs(self) -> Needs:
        return Needs(gold=True, group_min=2, max_updates_per_rollout=1)

    def signal(self, rollout: Rollout) -> Signal:
        samples_N, gold_N = reduce.samples(rollout), rollout.kind_N == GOLD
        reward_N = rollout.reward_N
        group = reduce.Groups.of(rollout.group_N, samples_N | gold_N)
        inside_N = samples_N if self.stats == "samples" else samples_N | gold_N
        basis = reduce.Groups(group.index_N, inside_N)
        skipped_N = basis.constant(reward_N) | ~(samples_N | gold_N)
        std_N = reduce.keep(basis.std(reward_N, ddof=0), ~skipped_N) + skipped_N.to(reward_N.dtype)
        advantage_N = reduce.keep((reward_N - basis.mean(reward_N)) / std_N, ~skipped_N)
        return Signal(
            reduce.per_token(advantage_N, rollout.mask_NT),
            None,
            advantage_N != 0,
            {"zero_variance_groups": group.number(skipped_N).to(advantage_N.dtype)},
        )

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        assert signal.advantage_NT is not None
        samples_N, gold_N = reduce.samples(rollout), rollout.kind_N == GOLD
        group = reduce.Groups.of(rollout.group_N, samples_N)
        advantage_N = reduce.per_row(signal.advantage_NT)
        live_NT = reduce.live(rollout, signal)
        likelihood_N = reduce.token_mean(reduce.keep(leaves.logp_NT, live_NT), rollout.mask_NT)

        size_N = group.count().clamp(min=1).to(likelihood_N.dtype)  # G
        explore_N = reduce.keep(advantage_N * likelihood_N / size_N, samples_N)
        # what the regulariser takes from Ji(y): the mean advantage of the samples, -A_y/G if joint
        imitated_N = gold_N & (advantage_N > 0) if self.imitation_floor else gold_N
        imitate = reduce.keep(self.beta * advantage_N * likelihood_N, imitated_N).sum()
        couple_N = -self.lam * group.mean(advantage_N) * likelihood_N
        explore = explore_N.sum()
        couple = self.lam * explore + reduce.keep(couple_N, imitated_N).sum()
        explore = self.alpha * explore
        prompts = reduce.Groups(group.index_N, samples_N | gold_N).number()
        value = -reduce.ratio_of(explore + imitate + couple, prompts)
        shares = reduce.shares(exploration=explore, imitation=imitate, regulariser=couple)
        return Loss(value, shares)
