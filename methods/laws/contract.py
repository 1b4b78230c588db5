"""The contract that every objective is held to, on synthetic rollouts: `check_method(method)`.

A law is a function of a method. It raises AssertionError and says what does not hold, or
DoesNotApply and says why it has nothing to say of this method; else it holds, and what it returns
says with what restriction. A law never passes on a batch that could not have failed it: where the
gradient is zero on every row, it fails. The rollouts are small, float64, and awkward in every way
that a real batch is: group ids are neither dense nor sorted, rows are shuffled, lengths differ
(one-token answers included), padding holds garbage, some prompts have no reference answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch

from methods import reduce, registry
from methods.base import GOLD, MISMATCHED, SAMPLE, Leaves, Loss, Method, Rollout, Signal

Verdicts = Literal["mixed", "right", "wrong", "ties"]
Verdict = Literal["holds", "does not apply", "fails"]
EXACT: Any = {"rtol": 1e-10, "atol": 1e-12}


class DoesNotApply(Exception):
    """A law has nothing to say of a method; the message is the reason."""


EDGES = {
    "all right": {"verdicts": "right"},
    "all wrong": {"verdicts": "wrong"},
    "no group has variance": {"verdicts": "ties"},
    "one-token answers": {"one_token": True},
    "one prompt": {"prompts": 1},
    "one sample a prompt": {"group": 1},
}


def rollout(
    method: Method | None = None,
    seed: int = 0,
    prompts: int = 4,
    group: int = 4,
    tokens: int = 6,
    verdicts: Verdicts = "mixed",
    one_token: bool = False,
    shuffle: bool = True,
    real_rewards: bool = False,
    dtype: torch.dtype | None = None,
) -> Rollout:
    """A rollout with `prompts` groups of `group` samples, plus the gold and mismatched rows that
    `method` needs (the last prompt has no gold), and everything that any method reads.

    Rewards are the verdict, 1 or 0, or with `real_rewards` any real, unrelated to it."""
    dtype = dtype or torch.float64
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator, dtype=dtype)

    needs = method.needs() if method else None
    kinds = [(p, SAMPLE) for p in range(prompts) for _ in range(group)]
    if needs and needs.source == "demonstrations":
        kinds = []
    if needs and needs.gold:
        kinds += [(p, GOLD) for p in range(max(prompts - 1, 1))]
    if needs and needs.mismatched:
        kinds += [(p, MISMATCHED) for p in range(prompts)]
    prompt_N, kind_N = torch.tensor(kinds).T
    rows = len(kinds)

    correct_N = torch.zeros(rows, dtype=torch.bool)
    if verdicts == "mixed":  # in turn, so that nearly every group holds both
        correct_N = (torch.arange(rows) + prompt_N) % 3 == 0
    elif verdicts == "right":
        correct_N = torch.ones(rows, dtype=torch.bool)
    elif verdicts == "ties":  # whole groups right or wrong: no variance inside any
        correct_N = prompt_N % 2 == 0
    correct_N = (correct_N | (kind_N == GOLD)) & (kind_N != MISMATCHED)

    length_N = torch.randint(1, tokens + 1, (rows,), generator=generator)
    length_N[0] = tokens
    if one_token:
        length_N = torch.ones_like(length_N)
    mask_NT = torch.arange(tokens)[None, :] < length_N[:, None]
    old_NT = uniform(rows, tokens, low=-2.5, high=-0.05)
    value_NT = uniform(rows, tokens, low=-0.5, high=1.0)
    reward_N = uniform(rows, low=-1.0, high=1.5) if real_rewards else correct_N.to(dtype)
    result = Rollout(
        mask_NT=mask_NT,
        reward_N=reward_N,
        group_N=torch.tensor([70, 3, 41, 12, 9, 55, 28, 1])[prompt_N],
        kind_N=kind_N,
        correct_N=correct_N,
        finished_N=length_N < tokens,
        format_ok_N=torch.rand(rows, generator=generator) < 0.7,
        max_tokens=tokens,
        progress=0.3,
        old_logp_NT=old_NT,
        sampler_logp_NT=old_NT + uniform(rows, tokens, low=-0.02, high=0.02),
        ref_logp_NT=old_NT + uniform(rows, tokens, low=-0.3, high=0.3),
        old_value_NT=value_NT,
    )
    order_N = torch.randperm(rows, generator=generator) if shuffle else torch.arange(rows)
    return result.select(order_N)


def leaves(r: Rollout, signal: Signal | None, seed: int = 1, spread: float = 0.3) -> Leaves:
    """Leaves near the sampling policy, as the harness hands them over: zeros on untrained rows
    (without a signal, all rows have theirs)."""
    generator = torch.Generator().manual_seed(seed)
    live_NT = r.mask_NT if signal is None else r.mask_NT & signal.trained_N[:, None]

    def noise() -> torch.Tensor:
        unit = torch.rand(r.mask_NT.shape, generator=generator, dtype=torch.float64)
        return ((2 * unit - 1) * spread).to(r.reward_N.dtype)

    assert r.old_logp_NT is not None
    assert r.old_value_NT is not None
    logp_NT = torch.where(live_NT, (r.old_logp_NT + noise()).clamp(max=-1e-3), 0.0)
    value_NT = torch.where(live_NT, r.old_value_NT + noise(), 0.0)
    entropy_NT = torch.where(live_NT, noise() + 1.0, 0.0)
    return Leaves(logp_NT, value_NT, entropy_NT)


def scored(method: Method, r: Rollout, **options) -> tuple[Signal, Leaves]:
    signal = method.signal(r)
    return signal, leaves(r, signal, **options)


def gradients(
    method: Method, at: Leaves, r: Rollout, signal: Signal
) -> tuple[Loss, list[torch.Tensor]]:
    """The loss, and its gradient by each leaf (zeros for a leaf that it does not read)."""
    inputs = [getattr(at, f.name).detach().clone().requires_grad_() for f in fields(at)]
    result = method.loss(Leaves(*inputs), r, signal)
    found = torch.autograd.grad(result.value, inputs, allow_unused=True, materialize_grads=True)
    return result, list(found)


def pulled(
    method: Method, at: Leaves, r: Rollout, signal: Signal
) -> tuple[Loss, list[torch.Tensor]]:
    """`gradients` of a batch that is there to be learned from: all zero would test nothing."""
    result, found = gradients(method, at, r, signal)
    require(any(g.any() for g in found), "the gradient is zero on every row of a mixed batch")
    return result, found


def select_leaves(at: Leaves, rows: torch.Tensor) -> Leaves:
    return replace(at, **{f.name: getattr(at, f.name)[rows] for f in fields(at)})


def require(condition: Any, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def same(a: list[torch.Tensor], b: list[torch.Tensor], message: str) -> None:
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, **EXACT, msg=lambda why: f"{message}: {why}")


def tensors(batch: Rollout | Signal) -> dict[str, torch.Tensor]:
    found = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return {k: v for k, v in found.items() if isinstance(v, torch.Tensor)}


class HeldStops:
    """Stands in for `reduce.stop`: hands out the values of the first evaluation for ever, so that
    finite differences see what the gradient sees."""

    def __init__(self) -> None:
        self.values: list[torch.Tensor] = []
        self.recording, self.next = True, 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self.recording:
            self.values.append(x.detach().clone())
        self.next += 1
        return self.values[self.next - 1]

    def start(self, recording: bool) -> None:
        self.recording, self.next = recording, 0


def gradient_equals_finite_differences(method: Method) -> str:
    stops = [_differences(method, seed) for seed in (0, 1)]
    return f"held fixed: {type(method).stop_gradients}" if any(stops) else ""


def _differences(method: Method, seed: int) -> bool:
    """Whether the objective has stop-gradients."""
    r = rollout(method, seed=seed, prompts=2, group=4, tokens=3)
    signal, at = scored(method, r, seed=seed)
    pulled(method, at, r, signal)
    names = [f.name for f in fields(at)]
    inputs = tuple(getattr(at, name).clone().requires_grad_() for name in names)
    held, stop = HeldStops(), reduce.stop

    def value(*inputs: torch.Tensor) -> torch.Tensor:
        held.start(recording=False)
        found = method.loss(Leaves(**dict(zip(names, inputs, strict=True))), r, signal).value
        return found + 0 * sum(x.sum() for x in inputs)  # a leaf that is not read: gradient zero

    reduce.stop = held
    try:
        held.start(recording=True)
        method.loss(at, r, signal)
        torch.autograd.gradcheck(value, inputs, eps=1e-6, atol=1e-7, rtol=1e-5)
    except RuntimeError as error:  # GradcheckError is one
        raise AssertionError(f"it is not the gradient of the loss: {error}") from None
    finally:
        reduce.stop = stop
    require(not held.values or type(method).stop_gradients, "a stop-gradient that is not declared")
    return bool(held.values)


def in_group_order(order_N: torch.Tensor, group_N: torch.Tensor) -> torch.Tensor:
    """The same interleaving of groups as `order_N`, but each group's rows keep their order."""
    result_N = order_N.clone()
    for group in group_N.unique():
        places = (group_N[order_N] == group).nonzero()[:, 0]
        result_N[places] = order_N[places].sort().values
    return result_N


def order_of_rows_does_not_matter(method: Method) -> str:
    r = rollout(method, seed=2)
    signal, at = scored(method, r)
    result, gradient = pulled(method, at, r, signal)
    order_N = torch.randperm(len(r), generator=torch.Generator().manual_seed(5))
    matched = getattr(method, "pairing", None) == "matched"
    if matched:
        order_N = in_group_order(order_N, r.group_N)
    moved = r.select(order_N)
    moved_signal = method.signal(moved)
    same(
        [signal.trained_N[order_N]],
        [moved_signal.trained_N],
        "the result depends on the order of the rows",
    )
    moved_at = select_leaves(at, order_N)
    moved_result, moved_gradient = gradients(method, moved_at, moved, moved_signal)
    same([result.value], [moved_result.value], "the result depends on the order of the rows")
    same(
        [g[order_N] for g in gradient],
        moved_gradient,
        "the result depends on the order of the rows",
    )
    kept = "orders that keep each group's own: the k-th right answer is paired with the k-th wrong"
    return kept if matched else ""


def padding_does_not_matter(method: Method) -> None:
    r = rollout(method, seed=3)
    signal, at = scored(method, r)
    result, gradient = pulled(method, at, r, signal)

    def pad(x: torch.Tensor, fill: float) -> torch.Tensor:
        return torch.cat([x, torch.full_like(x[:, :1], fill).expand(-1, 3)], dim=1)

    wide = replace(
        r, **{k: pad(v, k != "mask_NT" and -7.0) for k, v in tensors(r).items() if v.ndim == 2}
    )
    wide_signal = method.signal(wide)
    same([signal.trained_N], [wide_signal.trained_N], "the result depends on the padding")
    wide_at = Leaves(*(pad(getattr(at, f.name), 0.0) for f in fields(at)))
    wide_result, wide_gradient = gradients(method, wide_at, wide, wide_signal)
    same([result.value], [wide_result.value], "the result depends on the padding")
    same([pad(g, 0.0) for g in gradient], wide_gradient, "the result depends on the padding")


def masked_tokens_have_no_influence(method: Method) -> None:
    r = rollout(method, seed=4, prompts=5)
    signal, at = scored(method, r)
    _ignored(method, r, signal, at, ~r.mask_NT)


def untrained_rows_have_no_influence(method: Method) -> None:
    r = with_tied_groups(rollout(method, seed=4, prompts=5))
    signal, at = scored(method, r)
    if signal.trained_N.all():
        raise DoesNotApply("it trains on every row")
    _ignored(method, r, signal, at, r.mask_NT & ~signal.trained_N[:, None])


def with_tied_groups(r: Rollout) -> Rollout:
    """Two groups whose samples are all right or all wrong: many methods skip what does not vary."""
    reward_N, correct_N = r.reward_N, r.correct_N
    for group, right in zip(r.group_N.unique()[:2], (True, False), strict=True):
        tied_N = (r.group_N == group) & (r.kind_N == SAMPLE)
        reward_N = reward_N.masked_fill(tied_N, float(right))
        correct_N = correct_N.masked_fill(tied_N, right)
    return replace(r, reward_N=reward_N, correct_N=correct_N)


def _ignored(method: Method, r: Rollout, signal: Signal, at: Leaves, dead_NT: torch.Tensor) -> None:
    require(dead_NT.any(), "the rollout has no such token")
    result, gradient = pulled(method, at, r, signal)
    for fill in (-50.0, 50.0, float("nan")):
        dirty = Leaves(*(torch.where(dead_NT, fill, getattr(at, f.name)) for f in fields(at)))
        dirty_result, dirty_gradient = gradients(method, dirty, r, signal)
        same([result.value], [dirty_result.value], "the result reads dead tokens")
        same(gradient, dirty_gradient, "the result reads dead tokens")
        require(all((g[dead_NT] == 0).all() for g in dirty_gradient), "a gradient on a dead token")
        for name, metric in dirty_result.metrics.items():
            require(metric.isfinite(), f"metric {name} reads dead tokens")


def finite_on_degenerate_batches(method: Method) -> None:
    for edge in EDGES:
        for first_update in (False, True):
            for dtype in (torch.float64, torch.float32):
                _finite(method, edge, first_update, dtype)


def _finite(method: Method, edge: str, first_update: bool, dtype: torch.dtype) -> None:
    options: Any = EDGES[edge]
    r = rollout(method, dtype=dtype, **options)
    if first_update:  # the policy is its own anchor: log-ratios are exactly 0
        r = replace(r, ref_logp_NT=r.old_logp_NT)
    signal, at = scored(method, r, spread=0.0 if first_update else 0.3)
    result, gradient = gradients(method, at, r, signal)
    where = f"{edge}{', first update' if first_update else ''}, {dtype}"
    require(result.value.isfinite(), f"{where}: the loss is {result.value.item()}")
    require(result.value.ndim == 0, f"{where}: the loss has shape {tuple(result.value.shape)}")
    require(result.value.dtype == dtype, f"{where}: the loss is {result.value.dtype}")
    require(all(g.isfinite().all() for g in gradient), f"{where}: the gradient is not finite")
    for name, metric in (result.metrics | signal.metrics).items():
        require(metric.isfinite(), f"{where}: metric {name} is {metric.item()}")


def extremes(method: Method, far: float) -> tuple[list[float], list[float]]:
    """|loss| and largest |gradient| with all, only right, or only wrong rows at a logp of `far`."""
    values, slopes = [], []
    for verdicts in ("mixed", "right", "wrong"):
        r = rollout(method, seed=6, verdicts=verdicts)
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
        require(largest < 50, f"{largest:.3g} at a logp of -500: bound it, or declare `unbounded`")
        return "bounded" + (f"; not so {declared}" if declared else "")
    if plain:
        grown = max(values) > 5 * max(extremes(method, -50.0)[0])
        require(grown, "declared `unbounded`, but it is bounded")
    return f"unbounded, as declared: {declared}" + (
        "" if plain else "; not measured with these fields"
    )


def wasted(method: Method) -> int:
    """Rows with a forward pass although the loss, in general position, does not depend on them."""
    r = with_tied_groups(rollout(method, seed=6, prompts=5))
    signal, at = scored(method, r, spread=1e-4)  # inside the narrowest clip
    _, gradient = pulled(method, at, r, signal)
    moved_N = torch.stack([g.abs().amax(-1) > 0 for g in gradient]).any(0)
    read_N = r.kind_N == MISMATCHED  # read behind a stop-gradient
    return int((signal.trained_N & ~moved_N & ~read_N).sum())


def learns_from(method: Method) -> set[Literal["reward", "verdict"]]:
    """Which of the task's reward and the checker's verdict the gradient depends on; neither where
    reference answers alone are learned from."""
    r = rollout(method, seed=15, real_rewards=True)
    changed: dict[Literal["reward", "verdict"], Rollout] = {
        "reward": replace(r, reward_N=r.reward_N.flip(0)),
        "verdict": replace(r, correct_N=~r.correct_N),
    }
    _, before = gradients(method, scored(method, r)[1], r, method.signal(r))
    found: set[Literal["reward", "verdict"]] = set()
    for what, other in changed.items():
        signal, at = scored(method, other)
        _, after = gradients(method, at, other, signal)
        if not all(torch.equal(a, b) for a, b in zip(before, after, strict=True)):
            found.add(what)
    return found


def no_forward_pass_is_wasted(method: Method) -> str:
    rows = wasted(method)
    require(rows == 0, f"{rows} rows are in trained_N although the loss does not depend on them")
    behind = "mismatched rows are read behind a stop-gradient"
    return behind if method.needs().mismatched else ""


def pure(method: Method) -> None:
    r = rollout(method, seed=7)
    signal, at = scored(method, r)
    before = {k: v.clone() for k, v in (tensors(r) | tensors(signal)).items()}
    state = torch.get_rng_state()
    first, gradient = pulled(method, at, r, signal)
    again, gradient_again = gradients(method, at, r, method.signal(r))
    equal = [torch.equal(a, b) for a, b in zip(gradient, gradient_again, strict=True)]
    require(torch.equal(first.value, again.value) and all(equal), "two calls give two results")
    require(torch.equal(state, torch.get_rng_state()), "it draws random numbers")
    for key, value in (tensors(r) | tensors(signal)).items():
        require(torch.equal(before[key], value), f"it changes its argument {key}")


def metrics_use_the_vocabulary(method: Method) -> None:
    r = rollout(method, seed=8)
    signal, at = scored(method, r)
    result, _ = gradients(method, at, r, signal)
    if not (result.metrics | signal.metrics):
        raise DoesNotApply("it reports no metrics")
    for name, metric in (result.metrics | signal.metrics).items():
        require(name in reduce.METRICS, f"metric {name!r} is not in reduce.METRICS")
        require(metric.ndim == 0, f"metric {name} is no scalar")
        require(not metric.requires_grad, f"metric {name} is not detached")
        require(metric.is_floating_point(), f"metric {name} is {metric.dtype}")


def a_minibatch_is_the_objective_of_its_own_groups(method: Method) -> None:
    """Selecting whole groups after the signal must work as the harness does it: no row of another
    group is needed, and the direction of a group's gradient does not depend on its company."""
    coupled = type(method).coupled
    try:
        _alone(method)
    except AssertionError as error:
        if coupled:
            raise DoesNotApply(coupled) from error
        raise
    require(not coupled, "declared `coupled`, but no group's gradient depends on its company")


def _alone(method: Method) -> None:
    r = rollout(method, seed=9, prompts=4)
    signal, at = scored(method, r)
    _, whole = pulled(method, at, r, signal)
    for group in r.group_N.unique():
        rows_N = (r.group_N == group).nonzero()[:, 0]
        part = select_leaves(at, rows_N)
        _, alone = gradients(method, part, r.select(rows_N), signal.select(rows_N))
        for mine, theirs in zip(alone, whole, strict=True):
            for kind in r.kind_N.unique():  # kinds may have denominators of their own
                a, b = (x[r.kind_N[rows_N] == kind] for x in (mine, theirs[rows_N]))
                same([a * b.norm()], [b * a.norm()], "a group's gradient depends on its company")
                require(a.any() == b.any(), "a group's gradient depends on its company")


def micro_batches_give_the_exact_gradient(method: Method) -> None:
    """The harness's two passes, on a policy of one table of logits: leaves, w = dL/dleaf, then
    backward of sum(w * leaf) in slices equals the backward of the whole loss."""
    r = rollout(method, seed=10)
    signal = method.signal(r)
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(r.mask_NT.shape[1], 11, generator=generator, dtype=torch.float64)
    theta.requires_grad_()
    token_NT = torch.randint(0, 11, r.mask_NT.shape, generator=generator)
    live_NT = reduce.live(r, signal)

    def forward(rows: slice | torch.Tensor) -> Leaves:
        logp_TV = theta.log_softmax(-1)
        spread_NTV = logp_TV.expand(len(token_NT[rows]), -1, -1)
        logp_NT = spread_NTV.gather(2, token_NT[rows][..., None])[..., 0]
        entropy_T = -(logp_TV.exp() * logp_TV).sum(-1)
        value_NT = theta.tanh().mean(-1).expand_as(logp_NT)
        outputs = (logp_NT, value_NT, entropy_T.expand_as(logp_NT))
        return Leaves(*(torch.where(live_NT[rows], x, 0.0) for x in outputs))

    (whole,) = torch.autograd.grad(method.loss(forward(slice(None)), r, signal).value, theta)
    with torch.no_grad():
        at = forward(slice(None))
    _, weights = pulled(method, at, r, signal)
    total = torch.zeros_like(theta)
    for rows in torch.arange(len(r)).split(3):
        part = forward(rows)
        outputs = [getattr(part, f.name) for f in fields(part)]
        weighted = [(w[rows] * x).sum() for w, x in zip(weights, outputs, strict=True)]
        total += torch.autograd.grad(torch.stack(weighted).sum(), theta)[0]
    same([whole], [total], "slices do not add up to the whole gradient")


def what_it_reads_is_declared(method: Method) -> None:
    """`needs` is the truth: without what it does not ask for, nothing changes; and what it asks
    for is read, since a reference, a critic or a second score costs compute."""
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
        at.logp_NT,
        at.value_NT if needs.critic else None,
        at.entropy_NT if needs.entropy else None,
    )
    try:
        found = method.loss(few, bare, method.signal(early)).value
    except (AttributeError, TypeError, AssertionError) as error:
        raise AssertionError(f"it reads what `needs` does not ask for: {error}") from error
    same([result.value], [found], "it reads what `needs` does not ask for")

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


LAWS: dict[str, Callable[[Method], str | None]] = {
    law.__name__.replace("_", " "): law
    for law in (
        gradient_equals_finite_differences,
        order_of_rows_does_not_matter,
        padding_does_not_matter,
        masked_tokens_have_no_influence,
        untrained_rows_have_no_influence,
        finite_on_degenerate_batches,
        bounded_at_logp_minus_500_or_declared,
        no_forward_pass_is_wasted,
        pure,
        metrics_use_the_vocabulary,
        a_minibatch_is_the_objective_of_its_own_groups,
        micro_batches_give_the_exact_gradient,
        what_it_reads_is_declared,
    )
}


@dataclass(frozen=True)
class Finding:
    law: str
    verdict: Verdict
    why: str  # what fails, why it does not apply, or with what restriction it holds


def check_method(method: Method) -> list[Finding]:
    """Every law, held against the method."""
    return [check_law(name, method) for name in LAWS]


def check_law(name: str, method: Method) -> Finding:
    """One law by its name; an exception of the method's own counts as a failure."""
    try:
        return Finding(name, "holds", LAWS[name](method) or "")
    except DoesNotApply as reason:
        return Finding(name, "does not apply", str(reason))
    except Exception as error:  # whatever an unfinished method raises is what its author must read
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        return Finding(name, "fails", kind + str(error))
