"""Where theory says that an objective's expected gradient flow ends, on an enumerable problem.

One prompt, K one-token answers (methods/laws/flow.py). A destination is a point, a curve, or every
mixture of some answers, among which the dynamics choose. Held by tests/laws/test_fixed_points.py.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.base import Method
from methods.dft import DFT
from methods.gift import GIFT
from methods.grao import GRAO
from methods.grpo_gold import GRPOSFT, GRPOGold
from methods.ipo import IPO
from methods.kto import KTO
from methods.likelihood import VerdictLikelihood
from methods.naive import Naive
from methods.nft import NFT
from methods.pairs import PairMethod
from methods.ppo import PPO
from methods.psr import WeightedReinforce
from methods.reinforce import REINFORCE
from methods.reinforce_pp import ReinforcePlusPlus
from methods.rft import RFT
from methods.sft import SFT
from methods.surrogate import GroupAdvantage
from methods.una import UNA

from .flow import Bandit


@dataclass(frozen=True)
class Destination:
    """Where the flow ends. `policy_MK` holds probabilities: one point, a curve of M, the corners of
    a face whose every mixture is stationary, or nothing (M = 0) where it never ends."""

    policy_MK: Tensor
    words: str

    def distance(self, policy_K: Tensor) -> float:
        """Euclidean, from a policy to the point, to the curve or to the segment between two
        corners; NaN where there is none."""
        if len(self.policy_MK) < 2:
            return (
                float((self.policy_MK - policy_K).norm(dim=-1).sum())
                if len(self.policy_MK)
                else torch.nan
            )
        from_MK, to_MK = self.policy_MK[:-1], self.policy_MK[1:]
        along_MK = to_MK - from_MK
        share_M = ((policy_K - from_MK) * along_MK).sum(-1) / along_MK.square().sum(-1)
        nearest_MK = from_MK + share_M.clamp(0, 1)[:, None] * along_MK
        return float((nearest_MK - policy_K).norm(dim=-1).min())


def destination(method: Method, problem: Bandit, group: int) -> Destination | None:
    """Where the flow of groups of `group` samples ends, from the method's own data source; None
    where theory does not name it."""
    reward_K, ref_K = problem.reward_K, problem.ref_K
    best_K = reward_K == reward_K.max()
    match method:
        case SFT() | DFT(on="gold") | GRPOSFT(kl=0.0):
            if problem.gold is None:
                return None
            gold_K = torch.zeros_like(ref_K)
            gold_K[problem.gold] = 1
            return Destination(gold_K[None], "the reference answer")
        case RFT():
            own = method.needs().source == "policy"
            return _face(problem.correct_K, "right") if own else _imitation(problem)
        case Naive():
            return _naive(method, problem)
        case VerdictLikelihood(group_normalise=False):
            return _imitation(problem)
        case IPO():  # every pair's difference of log-ratios
            point_K = tilted(problem, problem.correct_K.to(ref_K.dtype), 2 * method.beta)
            return Destination(point_K[None], "ref · exp(right / 2β)")
        case PairMethod() | KTO() | UNA(feedback="binary" | "binary_bce"):
            return Destination(torch.zeros(0, len(ref_K), dtype=ref_K.dtype), "no finite solution")
        case PPO(kl=0.0) | ReinforcePlusPlus(kl=0.0):
            return _rewarded(problem, method.reward_kl)
        case REINFORCE():
            return _rewarded(problem, method.kl)
        case GIFT(anchor="reference"):
            if group < 3:  # two answers are always in line: any policy in the right order
                return None
            betas = torch.logspace(1.5, -1.5, 61, dtype=ref_K.dtype)
            curve_MK = torch.stack([tilted(problem, reward_K, float(b)) for b in betas])
            return Destination(torch.cat([ref_K[None], curve_MK]), "on the curve ref · exp(r / β)")
        case GIFT() | GRAO():
            return _face(best_K, "best")
        case WeightedReinforce(kl=0.0) | NFT():
            return _face(problem.correct_K, "right")
        case GRPOGold():
            return None
        case GroupAdvantage(kl=0.0):
            return _face(best_K, "best")
        case GroupAdvantage(std=False):  # the group's own mean takes 1/G of the reward away
            return _penalised(method, problem, (group - 1) / group * reward_K)
    return None


def tilted(problem: Bandit, reward_K: Tensor, beta: float) -> Tensor:
    """pi_ref * exp(r / beta), normalised: the maximiser of E[r] - beta KL(pi || pi_ref)."""
    return (problem.ref_K.log() + reward_K / beta).softmax(-1)


def lagrange(problem: Bandit, reward_K: Tensor, beta: float) -> Tensor:
    """beta * pi_ref / (lambda - r), with the lambda > max r that normalises it (bisection): the
    maximiser of E[r] - beta KL(pi_ref || pi)."""
    low, high = float(reward_K.max()), float(reward_K.max()) + beta
    for _ in range(200):
        middle = (low + high) / 2
        total = float((beta * problem.ref_K / (middle - reward_K)).sum())
        low, high = (middle, high) if total > 1 else (low, middle)
    return beta * problem.ref_K / (high - reward_K)


def _face(answers_K: Tensor, which: str) -> Destination | None:
    """Every mixture of some answers."""
    corners_MK = torch.eye(len(answers_K), dtype=torch.float64)[answers_K]
    if len(corners_MK) in (0, len(answers_K)):
        return None
    several = len(corners_MK) > 1
    return Destination(
        corners_MK, f"any mix of the {which} answers" if several else f"the {which} answer"
    )


def _imitation(problem: Bandit) -> Destination | None:
    right_K = torch.where(problem.correct_K, problem.ref_K, 0.0)
    if not problem.correct_K.any():
        return None
    return Destination((right_K / right_K.sum())[None], "right ones as in the start")


def _rewarded(problem: Bandit, beta: float) -> Destination | None:
    """The reward, less beta times the log-ratio to the reference where beta > 0."""
    if beta == 0:
        return _face(problem.reward_K == problem.reward_K.max(), "best")
    return Destination(tilted(problem, problem.reward_K, beta)[None], "ref · exp(r / β)")


def _penalised(method: GroupAdvantage, problem: Bandit, reward_K: Tensor) -> Destination | None:
    """A KL penalty in the loss: its estimator decides which KL is meant."""
    if method.kl_estimator == "k1":  # its gradient has mean 0
        return _face(reward_K == reward_K.max(), "best")
    if method.kl_estimator == "k3" and not method.kl_correction:
        return Destination(lagrange(problem, reward_K, method.kl)[None], "β ref / (λ − r)")
    if method.kl_correction and method.kl_estimator != "k3":
        return None
    return Destination(tilted(problem, reward_K, method.kl)[None], "ref · exp(r / β)")


def _naive(method: Naive, problem: Bandit) -> Destination | None:
    """Wrong answers at 0, right ones where all their logits grow alike; only where the mean reward
    of the reference is positive."""
    right_K = problem.correct_K
    reward_K = torch.where(right_K, method.positive_reward, method.negative_reward)
    drive_K = problem.ref_K * reward_K
    common = -drive_K[~right_K].sum() / right_K.sum()
    point_K = torch.where(right_K, (drive_K - common) / drive_K.sum(), 0.0)
    if method.group_normalise or drive_K.sum() <= 0 or (point_K < 0).any():
        return None
    return Destination(point_K[None], "right ones, the unlikely fewer")
