"""Matrix products by the faster of torch's two libraries.

For float32 on a CPU torch multiplies with MKL, which on AMD's processors leaves half of the machine
unused (AVX2 where there is AVX-512); oneDNN, which comes with torch and which torch uses for bf16,
does not; `evenbench speed` measures both. oneDNN writes a kernel for each shape, which takes as
long as many products: so callers bring row counts that `whole` gives, of which there are few. torch
has no public way to it: the operator is one that its compiler uses, and without it torch's own
product is taken.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

WORTH = 1 << 22  # multiplications from which on oneDNN's longer start pays
LONG = 1 << 30  # and from which on a kernel of their own does


def whole(rows: int) -> int:
    """A little more rows, by 1/16 at most, so that few counts occur."""
    block = max(1, 1 << rows.bit_length() >> 5)
    return -(-rows // block) * block


def linear(x_MD: Tensor, weight_ED: Tensor, bias_E: Tensor | None = None) -> Tensor:
    """x W^T + b, shape (M, E), as `torch.nn.functional.linear`."""
    if not _worth(x_MD, weight_ED):
        return F.linear(x_MD, weight_ED, bias_E)
    if torch.is_grad_enabled():
        return _Linear.apply(x_MD, weight_ED, bias_E)  # pyright: ignore[reportReturnType]
    return _onednn(x_MD, weight_ED, bias_E)


def _worth(x_MD: Tensor, weight_ED: Tensor) -> bool:
    rows = x_MD.shape[0]
    work = rows * weight_ED.numel()
    return (
        work >= WORTH
        and (work >= LONG or whole(rows) == rows)
        and x_MD.device.type == "cpu"
        and x_MD.dtype == weight_ED.dtype == torch.float32
        and _available()
    )


@cache
def _available() -> bool:
    """Whether this torch has the operator, with the arguments that we give it."""
    try:
        one = torch.ones(1, 1, device="cpu")
        return bool(torch.backends.mkldnn.is_available() and _onednn(one, one).item() == 1)
    except (AttributeError, RuntimeError):
        return False


def _onednn(x_MD: Tensor, weight_ED: Tensor, bias_E: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x_MD, weight_ED, bias_E, "none", [], "")


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, x_MD: Tensor, weight_ED: Tensor, bias_E: Tensor | None) -> Tensor:
        ctx.save_for_backward(x_MD, weight_ED)
        return _onednn(x_MD, weight_ED, bias_E)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_ME: Tensor) -> Any:
        x_MD, weight_ED = ctx.saved_tensors
        to_x, to_weight, to_bias = ctx.needs_input_grad
        grad_ME = grad_ME.contiguous()
        return (
            _onednn(grad_ME, weight_ED.t()) if to_x else None,
            _onednn(x_MD.t(), grad_ME.t()).t() if to_weight else None,
            grad_ME.sum(0) if to_bias else None,
        )
