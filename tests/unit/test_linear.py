"""The product by oneDNN is the product, forwards and backwards; what it is not meant for goes the
other way."""

import pytest
import torch
import torch.nn.functional as F

from bench.model import linear as module
from bench.model.linear import linear, whole

ROWS, IN, OUT = 1024, 96, 512
onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN"
)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the products that oneDNN did."""
    shapes: list[tuple[int, ...]] = []
    real = module._onednn
    module._available()  # asked once, and not counted

    def counted(x: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(x.shape))
        return real(x, *rest)

    monkeypatch.setattr(module, "_onednn", counted)
    return shapes


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@onednn
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("frozen", ["nothing", "x", "weight"])
def test_values_and_gradients_are_those_of_torch(biased: bool, frozen: str, calls: list) -> None:
    found = []
    for function in (F.linear, linear):
        x, weight, bias = numbers(ROWS, IN), numbers(OUT, IN, seed=1), numbers(OUT, seed=2)
        leaves = [x.requires_grad_(frozen != "x"), weight.requires_grad_(frozen != "weight")]
        if biased:
            leaves.append(bias.requires_grad_())
        y = function(x, weight, bias if biased else None)
        y.sin().sum().backward()
        found.append((y.detach(), *(leaf.grad for leaf in leaves)))
    assert len(calls) == 3 - (frozen != "nothing")
    for ours, theirs in zip(found[1], found[0], strict=True):
        if theirs is None:
            assert ours is None
        else:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


def test_a_gradient_without_strides_of_its_own(calls: list) -> None:
    weight = numbers(OUT, IN, seed=1).requires_grad_()
    linear(numbers(ROWS, IN), weight).sum().backward()  # the sum's gradient is one number, expanded
    assert weight.grad is not None
    want = numbers(ROWS, IN).sum(0).expand(OUT, IN)
    torch.testing.assert_close(weight.grad, want, rtol=1e-4, atol=1e-3)


@onednn
def test_without_a_graph_there_is_none(calls: list) -> None:
    weight = numbers(OUT, IN, seed=1).requires_grad_()
    with torch.no_grad():
        assert not linear(numbers(ROWS, IN), weight).requires_grad
    assert calls == [(ROWS, IN)]


@pytest.mark.parametrize(
    "x",
    [
        numbers(ROWS + 1, IN),  # a count that comes once, and its kernel with it
        numbers(8, IN),
        numbers(ROWS, IN).double(),
        numbers(ROWS, IN).bfloat16(),
        torch.empty(ROWS, IN, device="meta"),
    ],
    ids=["odd rows", "few rows", "float64", "bfloat16", "device"],
)
def test_what_goes_by_torch(x: torch.Tensor, calls: list) -> None:
    weight = numbers(OUT, IN, seed=1).to(x.dtype).to(x.device)
    assert linear(x, weight).shape == (len(x), OUT)
    assert not calls


@pytest.mark.parametrize("error", [AttributeError, RuntimeError], ids=["absent", "other arguments"])
def test_without_the_operator_torch_multiplies(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> torch.Tensor:
        raise error

    monkeypatch.setattr(module, "_onednn", refused)
    x, weight = numbers(ROWS, IN).requires_grad_(), numbers(OUT, IN, seed=1)
    module._available.cache_clear()
    try:
        y = linear(x, weight)
        y.sum().backward()
    finally:
        module._available.cache_clear()
    assert torch.equal(y, F.linear(x, weight)) and x.grad is not None


def test_whole_counts_are_few_and_little_more() -> None:
    for rows in range(5000):
        assert rows <= whole(rows) <= rows * 17 / 16
        assert whole(whole(rows)) == whole(rows)
    assert len({whole(rows) for rows in range(1024, 4096)}) <= 33
