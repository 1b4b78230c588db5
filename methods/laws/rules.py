"""The laws that every objective must keep. A law is a function of a method.

It raises AssertionError, which says what is violated, or DoesNotApply, which says why it cannot
judge this method. Otherwise it holds, and returns under which restriction (or nothing). No law
passes on a batch that could not have violated it: if the gradient is zero on every row, it fails.
"""

from dataclasses import fields, replace
from typing import TypedDict

import torch
from torch import Tensor

from methods import reduce
from methods.base import MISMATCHED, Leaves, Loss, Method, Rollout, Signal

from .rollouts import (
    EDGES,
    gradients,
    rollout,
    scored,
    select_leaves,
    tensors,
    with_tied_groups,
)  # fmt: skip


class Tolerance(TypedDict):
    rtol: float
    atol: float


EXACT: Tolerance = {"rtol": 1e-10, "atol": 1e-12}


class DoesNotApply(Exception):
    """A law cannot judge a method; the message is the reason."""


def pulled(method: Method, at: Leaves, r: Rollout, signal: Signal) -> tuple[Loss, list[Tensor]]:
    """`gradients` of a batch that has something to learn; if all are zero, nothing was tested."""
    result, found = gradients(method, at, r, signal)
    require(any(g.any() for g in found), "the gradient is zero on every row of a mixed batch")
    return result, found


def require(condition: object, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def same(a: list[Tensor], b: list[Tensor], message: str) -> None:
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, **EXACT, msg=lambda why: f"{message}: {why}")


class HeldStops:
    """Replaces `reduce.stop` by the values of the first evaluation, which stay fixed.

    So finite differences treat them as constants, as the gradient does.
    """

    def __init__(self) -> None:
        self.values: list[Tensor] = []
        self.recording, self.next = True, 0

    def __call__(self, x: Tensor) -> Tensor:
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
    """Compare the gradients on one batch; whether the objective has stop-gradients."""
    r = rollout(method, seed=seed, prompts=2, group=4, tokens=3)
    signal, at = scored(method, r, seed=seed)
    pulled(method, at, r, signal)
    names = [f.name for f in fields(at)]
    inputs = tuple(getattr(at, name).clone().requires_grad_() for name in names)
    held, stop = HeldStops(), reduce.stop

    def value(*inputs: Tensor) -> Tensor:
        held.start(recording=False)
        found = method.loss(Leaves(**dict(zip(names, inputs, strict=True))), r, signal).value
        return found + 0 * sum(x.sum() for x in inputs)  # so that every leaf has a gradient

    reduce.stop = held
    try:
        held.start(recording=True)
        method.loss(at, r, signal)
        torch.autograd.gradcheck(value, inputs, eps=1e-6, atol=1e-7, rtol=1e-5)
    except RuntimeError as error:  # GradcheckError is one
        raise AssertionError(f"autograd and finite differences disagree: {error}") from None
    finally:
        reduce.stop = stop
    require(
        not held.values or type(method).stop_gradients,
        "it has a stop-gradient; declare `stop_gradients`",
    )
    return bool(held.values)


def in_group_order(order_N: Tensor, group_N: Tensor) -> Tensor:
    """`order_N`, changed so that the rows of each group keep the order of `group_N`."""
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
    moved_signal, moved_at = method.signal(moved), select_leaves(at, order_N)
    moved_result, moved_gradient = gradients(method, moved_at, moved, moved_signal)
    same(
        [result.value, signal.trained_N[order_N], *(g[order_N] for g in gradient)],
        [moved_result.value, moved_signal.trained_N, *moved_gradient],
        "the result depends on the order of the rows",
    )
    kept = "if each group keeps its order: the k-th right answer is paired with the k-th wrong one"
    return kept if matched else ""


def padding_does_not_matter(method: Method) -> None:
    r = rollout(method, seed=3)
    signal, at = scored(method, r)
    result, gradient = pulled(method, at, r, signal)

    def pad(x: Tensor, fill: float) -> Tensor:
        return torch.cat([x, torch.full_like(x[:, :1], fill).expand(-1, 3)], dim=1)

    padded = {k: pad(v, k != "mask_NT" and -7.0) for k, v in tensors(r).items() if v.ndim == 2}
    wide = replace(r, **padded)
    wide_signal = method.signal(wide)
    wide_at = Leaves(*(pad(getattr(at, f.name), 0.0) for f in fields(at)))
    wide_result, wide_gradient = gradients(method, wide_at, wide, wide_signal)
    same(
        [result.value, signal.trained_N, *(pad(g, 0.0) for g in gradient)],
        [wide_result.value, wide_signal.trained_N, *wide_gradient],
        "the result depends on the padding",
    )


def masked_tokens_have_no_influence(method: Method) -> None:
    r = rollout(method, seed=4, prompts=5)
    signal, at = scored(method, r)
    _ignored(method, r, signal, at, dead_NT=~r.mask_NT)


def untrained_rows_have_no_influence(method: Method) -> None:
    r = with_tied_groups(rollout(method, seed=4, prompts=5))
    signal, at = scored(method, r)
    if signal.trained_N.all():
        raise DoesNotApply("it trains on every row")
    _ignored(method, r, signal, at, dead_NT=r.mask_NT & ~signal.trained_N[:, None])


def _ignored(method: Method, r: Rollout, signal: Signal, at: Leaves, dead_NT: Tensor) -> None:
    require(dead_NT.any(), "the rollout has no token to ignore")
    result, gradient = pulled(method, at, r, signal)
    for fill in (-50.0, 50.0, float("nan")):
        dirty = Leaves(*(torch.where(dead_NT, fill, getattr(at, f.name)) for f in fields(at)))
        dirty_result, dirty_gradient = gradients(method, dirty, r, signal)
        same(
            [result.value, *gradient],
            [dirty_result.value, *dirty_gradient],
            "the result depends on tokens that must be ignored",
        )
        ignored = all((g[dead_NT] == 0).all() for g in dirty_gradient)
        require(ignored, "a token that must be ignored has a gradient")
        for name, metric in dirty_result.metrics.items():
            require(metric.isfinite(), f"metric {name} depends on tokens that must be ignored")


def finite_on_degenerate_batches(method: Method) -> None:
    for edge in EDGES:
        for first_update in (False, True):
            for dtype in (torch.float64, torch.float32):
                _finite(method, edge, first_update, dtype)


def _finite(method: Method, edge: str, first_update: bool, dtype: torch.dtype) -> None:
    r = rollout(method, dtype=dtype, **EDGES[edge])
    if first_update:  # the policy equals its anchor: log-ratios are exactly 0
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


def wasted(method: Method) -> int:
    """Count the rows that get a forward pass although the loss does not depend on them."""
    r = with_tied_groups(rollout(method, seed=6, prompts=5))
    signal, at = scored(method, r, spread=1e-4)  # inside the narrowest clip
    _, gradient = pulled(method, at, r, signal)
    moved_N = torch.stack([g.abs().amax(-1) > 0 for g in gradient]).any(0)
    read_N = r.kind_N == MISMATCHED  # read behind a stop-gradient
    return int((signal.trained_N & ~moved_N & ~read_N).sum())


def no_forward_pass_is_wasted(method: Method) -> str:
    rows = wasted(method)
    require(rows == 0, f"{rows} rows are in trained_N although the loss does not depend on them")
    behind = "mismatched rows are only read behind a stop-gradient"
    return behind if method.needs().mismatched else ""


def pure(method: Method) -> None:
    r = rollout(method, seed=7)
    signal, at = scored(method, r)
    before = {k: v.clone() for k, v in (tensors(r) | tensors(signal)).items()}
    state = torch.get_rng_state()
    first, gradient = pulled(method, at, r, signal)
    again, gradient_again = gradients(method, at, r, method.signal(r))
    equal = [torch.equal(a, b) for a, b in zip(gradient, gradient_again, strict=True)]
    require(
        torch.equal(first.value, again.value) and all(equal),
        "two equal calls give different results",
    )
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
        require(metric.ndim == 0, f"metric {name} is not a scalar")
        require(not metric.requires_grad, f"metric {name} is not detached")
        require(metric.is_floating_point(), f"metric {name} is {metric.dtype}")


def a_minibatch_is_the_objective_of_its_own_groups(method: Method) -> None:
    """The harness selects whole groups after the signal. So the loss of some groups needs no row of
    another group, and the direction of a group's gradient depends on no other group."""
    coupled = type(method).coupled
    try:
        _alone(method)
    except AssertionError as error:
        if coupled:
            raise DoesNotApply(coupled) from error
        raise
    require(not coupled, "it declares `coupled`, but no group's gradient depends on another group")


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
                same([a * b.norm()], [b * a.norm()], "a group's gradient depends on other groups")
                require(a.any() == b.any(), "a group's gradient depends on other groups")


def micro_batches_give_the_exact_gradient(method: Method) -> None:
    """The harness computes the leaves, w = dL/dleaf, then the backward of sum(w * leaf) in slices.
    On a policy that is one table of logits this must equal the backward of the whole loss."""
    r = rollout(method, seed=10)
    signal = method.signal(r)
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(r.mask_NT.shape[1], 11, generator=generator, dtype=torch.float64)
    theta.requires_grad_()
    token_NT = torch.randint(0, 11, r.mask_NT.shape, generator=generator)
    live_NT = reduce.live(r, signal)

    def forward(rows: slice | Tensor) -> Leaves:
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
