"""Where an objective leads: its expected gradient flow on a problem small enough to enumerate.

One prompt, K one-token answers with known rewards, a policy softmax(theta). All K^G groups of G
samples are laid out in one rollout, the objective's weights dL/dlogp are taken as they are, and
each group is weighted by its probability under the distribution that samples it: the expected
gradient, without noise. (Where an objective divides by the number of groups that it keeps, or by a
standard deviation over the batch, the flow is exact up to its speed. There is no other prompt, so
KTO's reference point is 0.)
"""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from methods.base import GOLD, SAMPLE, Leaves, Method, Rollout, SourceName


@dataclass(frozen=True)
class Bandit:
    """K answers to one prompt; the reference policy is also the start that filled a replay set."""

    reward_K: Tensor  # float64
    correct_K: Tensor  # bool
    ref_K: Tensor  # float64, probabilities
    gold: int | None = None  # which answer is the reference answer


@dataclass(frozen=True)
class Path:
    policy_SK: Tensor  # probabilities at S times
    loss_S: Tensor  # of the enumerated groups, unweighted; for the sign of its trend only
    theta_K: Tensor  # at the end of the flow


def enumerate_groups(method: Method, problem: Bandit, group: int) -> tuple[Tensor, Tensor, Tensor]:
    """Answer, kind and group id of each row, [N], of all K^G groups that the method asks for."""
    needs = method.needs()
    answers = range(len(problem.reward_K))
    size = 0 if needs.source == "demonstrations" else group
    drawn = [
        (a, SAMPLE, g) for g, t in enumerate(itertools.product(answers, repeat=size)) for a in t
    ]
    if needs.gold and problem.gold is not None:
        groups = len(answers) ** size
        drawn += [(problem.gold, GOLD, g) for g in range(groups)]
    answer_N, kind_N, group_N = torch.tensor(drawn).T
    return answer_N, kind_N, group_N


def expected_gradient(
    method: Method,
    problem: Bandit,
    theta_K: Tensor,
    group: int = 4,
    source: SourceName | None = None,
) -> tuple[Tensor, Tensor]:
    """(loss on the enumerated groups, expected dL/dtheta [K]) where the policy is softmax(theta).

    `source` says who samples: the policy itself, or the reference (a replay set); by default the
    method's own. The policy samples afresh all the time, so its log-ratio to itself is 0.
    """
    answer_N, kind_N, group_N = enumerate_groups(method, problem, group)
    logp_K, ref_K = theta_K.log_softmax(-1), problem.ref_K.log()
    on_policy = (source or method.needs().source) == "policy"
    sampler_K = logp_K if on_policy else ref_K
    own_N = kind_N == SAMPLE
    groups = int(group_N.max()) + 1
    log_chance_P = torch.zeros(groups, dtype=theta_K.dtype)
    log_chance_P = log_chance_P.index_add(0, group_N[own_N], sampler_K[answer_N[own_N]])

    def column(x_K: Tensor) -> Tensor:
        return x_K[answer_N][:, None]

    true_N = torch.ones_like(own_N)
    rollout = Rollout(
        mask_NT=true_N[:, None],
        reward_N=problem.reward_K[answer_N],
        group_N=group_N,
        kind_N=kind_N,
        correct_N=problem.correct_K[answer_N] | ~own_N,
        finished_N=true_N,
        format_ok_N=true_N,
        max_tokens=1,
        old_logp_NT=column(sampler_K),
        sampler_logp_NT=column(sampler_K),
        ref_logp_NT=column(ref_K),
        old_value_NT=column(torch.zeros_like(ref_K)),
    )
    signal = method.signal(rollout)
    leaf_NT = torch.where(signal.trained_N[:, None], column(logp_K), 0.0).requires_grad_()
    zeros_NT = torch.zeros_like(leaf_NT)
    value = method.loss(Leaves(leaf_NT, zeros_NT, zeros_NT), rollout, signal).value
    (weight_NT,) = torch.autograd.grad(value, leaf_NT)
    weight_N = weight_NT[:, 0] * log_chance_P.exp()[group_N] * groups
    # sum_n weight_n * d logp(answer_n) / d theta
    weight_K = torch.zeros_like(theta_K).index_add(0, answer_N, weight_N)
    return value.detach(), weight_K - weight_K.sum() * logp_K.exp()


def velocity(
    method: Method, problem: Bandit, policy_K: Tensor, group: int = 4, **options: SourceName
) -> Tensor:
    """d policy / dt [K] under dtheta/dt = -expected gradient; sums to 0."""
    _, gradient_K = expected_gradient(method, problem, policy_K.log(), group, **options)
    return -policy_K * (gradient_K - (policy_K * gradient_K).sum())


def flow(
    method: Method,
    problem: Bandit,
    start_K: Tensor,
    time: float,
    steps: int,
    group: int = 4,
    source: SourceName | None = None,
) -> Path:
    """Integrate dtheta/dt = -expected gradient from the policy `start_K` (Heun's method)."""
    theta_K, dt = start_K.log(), time / steps
    policies, losses = [start_K], []
    for _ in range(steps):
        loss, first_K = expected_gradient(method, problem, theta_K, group, source=source)
        ahead_K = theta_K - dt * first_K
        _, second_K = expected_gradient(method, problem, ahead_K, group, source=source)
        theta_K = theta_K - dt * (first_K + second_K) / 2
        policies.append(theta_K.softmax(-1))
        losses.append(loss)
    return Path(torch.stack(policies), torch.stack(losses), theta_K)


def trace(
    method: Method,
    problem: Bandit,
    start_K: Tensor,
    group: int = 4,
    length: float = 0.01,
    most: int = 2000,
) -> Tensor:
    """Policies [S, K] along the flow's path until it rests, in steps of `length` (midpoint rule).

    For drawing: speed, which differs by orders of magnitude, is left out. No step takes more than
    half of an answer's probability. Steps are halved where the path turns back on itself, as it
    does about its end, also of an objective that never slows down, and where the last ones lead
    nowhere (on a crease). At rest: 1e-5 of the highest speed so far, or steps of length / 128.
    """
    policies, before_K, top, step, since = [start_K], torch.zeros_like(start_K), 0.0, length, 0
    while len(policies) <= most and step > length / 128:
        policy_K = policies[-1]
        first_K = velocity(method, problem, policy_K, group)
        top = max(top, float(first_K.norm()))
        if float(first_K.norm()) <= max(1e-5 * top, 1e-12):
            break
        second_K = velocity(method, problem, _moved(policy_K, first_K, step / 2), group)
        turns = float((second_K * before_K).sum()) < 0 or not second_K.any()
        before_K = torch.zeros_like(start_K) if turns else second_K
        if not turns:
            policies.append(_moved(policy_K, second_K, step))
        if turns or (len(policies) - since > 6 and _lost(policies[-7:])):
            step, since = step / 2, len(policies)
    return torch.stack(policies)


def _lost(policies: list[Tensor]) -> bool:
    """Whether the steps together led less than 0.6 of their length away."""
    policy_SK = torch.stack(policies)
    walked = (policy_SK[1:] - policy_SK[:-1]).norm(dim=-1).sum()
    return bool((policy_SK[-1] - policy_SK[0]).norm() < 0.6 * walked)


def _moved(policy_K: Tensor, velocity_K: Tensor, step: float) -> Tensor:
    along_K = velocity_K / velocity_K.norm().clamp(min=1e-300)
    half = float((policy_K / (-along_K).clamp(min=1e-300)).min()) / 2
    return policy_K + min(step, half) * along_K
