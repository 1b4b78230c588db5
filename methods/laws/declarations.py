"""Laws about what a method declares: its bound, what it learns from, and what it reads."""

import math
from dataclasses import replace

import torch

from methods import reduce, registry, search
from methods.base import Judgement, Leaves, Method, Rollout

from .rollouts import CorrectPattern, gradients, rollout, scored
from .rules import pulled, require, same


def extremes(method: Method, far: float) -> tuple[list[float], list[float]]:
    """|loss| and largest |gradient| with all, only right or only wrong rows at a logp of `far`."""
    values, slopes = [], []
    cases: tuple[CorrectPattern, ...] = ("mixed", "right", "wrong")
    for correct in cases:
        r = rollout(method, seed=6, correct=correct)
        signal, at = scored(method, r)
        for rows_N in (torch.ones_like(r.correct_N), r.correct_N, ~r.correct_N):
            moved_NT = reduce.live(r, signal) & rows_N[:, None]
            moved = replace(at, logp_NT=torch.where(moved_NT, far, at.logp_NT))
            result, gradient = gradients(method, moved, r, signal)
            values.append(result.value.abs().item())
            slopes.append(max(g.abs().max().item() for g in gradient))
    return values, slopes


def _as_registered(method: Method) -> bool:
    """Whether the fields are the class's defaults or a registered preset of it."""
    known = [e for e in map(registry.entry, registry.names()) if e.cls is type(method)]
    return not method.model_fields_set or any(e.cls(**e.preset) == method for e in known)


def bounded_at_logp_minus_500_or_declared(method: Method) -> str:
    values, slopes = extremes(method, -500.0)
    require(all(map(math.isfinite, values + slopes)), "not finite at a logp of -500")
    declared, plain = type(method).unbounded, _as_registered(method)
    if not declared or (declared.startswith("where ") and plain):  # "where kl > 0: ..."
        largest = max(values + slopes)
        require(
            largest < 50,
            f"it reaches {largest:.3g} at a logp of -500: bound it, or declare `unbounded`",
        )
        return "bounded" + (f"; unbounded {declared}" if declared else "")
    if plain:
        grown = max(values) > 5 * max(extremes(method, -50.0)[0])
        require(grown, "it declares `unbounded`, but it is bounded")
    return f"unbounded, as declared: {declared}" + (
        "" if plain else "; not measured with these fields"
    )


def learned_from(method: Method) -> set[Judgement]:
    """Which of the task's reward and the checker's verdict change the gradient."""
    r = rollout(method, seed=15, real_rewards=True)
    changed: dict[Judgement, Rollout] = {
        "reward": replace(r, reward_N=r.reward_N.flip(0)),
        "verdict": replace(r, correct_N=~r.correct_N),
    }
    signal, at = scored(method, r)
    _, before = pulled(method, at, r, signal)
    found: set[Judgement] = set()
    for judgement, other in changed.items():
        signal, at = scored(method, other)
        _, after = gradients(method, at, other, signal)
        if not all(torch.equal(a, b) for a, b in zip(before, after, strict=True)):
            found.add(judgement)
    return found


def what_it_learns_from_is_declared(method: Method) -> None:
    """A run refuses a reward that would change nothing, and decides so by the declaration."""
    declared, found = set(method.needs().learns_from), learned_from(method)
    require(
        declared == found,
        f"`needs` declares learns_from = {sorted(declared)}, but the gradient depends on "
        f"{' and '.join(sorted(found)) or 'neither reward nor verdict'}",
    )


def what_is_tuned_is_declared(method: Method) -> str:
    """`search` names at most two fields of the objective with ranges that it accepts."""
    wrong = search.problems(method)
    require(not wrong, "; ".join(f"search: {name}: {why}" for name, why in wrong.items()))
    return "; ".join(f"{name} {values}" for name, values in search.space(method).items())


def what_it_reads_is_declared(method: Method) -> None:
    """Nothing changes without the inputs that `needs` does not ask for, and each input that it asks
    for is read: a reference, a critic or a second forward pass costs compute."""
    r, needs = rollout(method, seed=15), method.needs()
    signal, at = scored(method, r)
    result, gradient = pulled(method, at, r, signal)
    bare = replace(
        r,
        sampler_logp_NT=None,
        old_logp_NT=None if needs.old == "no" else r.old_logp_NT,
        ref_logp_NT=r.ref_logp_NT if needs.reference else None,
        old_value_NT=r.old_value_NT if needs.critic else None,
    )
    # the signal reads old and reference log-probs only where it says so
    early = bare if needs.old == "signal" else replace(bare, old_logp_NT=None, ref_logp_NT=None)
    few = Leaves(
        at.logp_NT, at.value_NT if needs.critic else None, at.entropy_NT if needs.entropy else None
    )
    try:
        found = method.loss(few, bare, method.signal(early)).value
    except (AttributeError, TypeError, AssertionError) as error:
        raise AssertionError(f"it reads an input that `needs` does not ask for: {error}") from error
    same([result.value], [found], "it reads an input that `needs` does not ask for")

    asked = {"reference": "ref_logp_NT", "critic": "old_value_NT"}
    read = {name: getattr(r, name) for need, name in asked.items() if getattr(needs, need)}
    read |= {"old_logp_NT": r.old_logp_NT} if needs.old != "no" else {}
    slope = torch.linspace(0.3, -0.3, r.mask_NT.shape[1], dtype=torch.float64)
    for name, x_NT in read.items():
        moved = replace(r, **{name: x_NT + slope * (1 + r.reward_N[:, None])})
        other, slopes = gradients(method, at, moved, method.signal(moved))
        pairs = zip([result.value, *gradient], [other.value, *slopes], strict=True)
        require(
            not all(torch.equal(a, b) for a, b in pairs),
            f"`needs` asks for {name}, which changes nothing",
        )
