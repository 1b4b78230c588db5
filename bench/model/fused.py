"""The matrices of the packed forward, which are made of a model's weights once they have changed.

Queries, keys and values are one product, gate and up another; a norm's weight is multiplied into
the matrix behind it, and the halves of queries and keys are interleaved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.graph import increment_version
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from . import lora
from .choice import head_width
from .rows import sent


@dataclass(frozen=True)
class Weights:
    """A layer's matrices."""

    qkv: Tensor
    bias: Tensor | None  # of qkv
    out: Tensor
    gate_up: Tensor
    down: Tensor

    def detached(self) -> "Weights":
        """The same values without their graph."""
        bias = None if self.bias is None else self.bias.detach()
        matrices = (self.out.detach(), self.gate_up.detach())
        return Weights(self.qkv.detach(), bias, *matrices, down=self.down.detach())


class FusedWeights:
    """The fused matrices of a model of Llama's shape, at its weights of the moment.

    They are held until a weight has another place in memory or another version, which torch counts
    up whenever a tensor is changed in place. Only a change through `.data` is not counted: whoever
    makes one calls `release`. `adapters`: those of an adapted model are added, else left out.
    """

    def __init__(self, model: Any, adapters: bool):
        self.model, self.adapters = model, adapters
        self.release()

    def release(self) -> None:
        """Free the matrices; the next call makes them anew."""
        self._layers: list[Weights] = []
        self._state: list[tuple[int, int]] = []
        self._order: Tensor | None = None
        self._made_of: list[Tensor] = []  # held, so that no other weight gets the same place

    def layers(self) -> list[Weights]:
        """The matrices of each layer. While gradients are recorded, they lead to the weights."""
        modules = list(self.model.model.layers)
        weights = [weight for module in modules for weight in module.parameters()]
        state = [(weight.data_ptr(), weight._version) for weight in weights]
        if state != self._state:
            self.release()
            self._order = self._interleaved()
            made = [self._layer(module) for module in modules]
            self._layers = [layer.detached() for layer in made]
            self._state, self._made_of = state, [weight.detach() for weight in weights]
            return made
        if not torch.is_grad_enabled():
            return self._layers
        return [self._layer(*pair) for pair in zip(modules, self._layers, strict=True)]

    def _layer(self, module: Any, known: Weights | None = None) -> Weights:
        """The matrices of one layer; where their values are known, only the graph is made."""
        attention, mlp = module.self_attn, module.mlp
        heads = (attention.q_proj, attention.k_proj, attention.v_proj)
        norms = (module.input_layernorm, module.post_attention_layernorm)
        biases = [head.bias for head in heads]
        return Weights(
            self._fused(norms[0], heads, self._order, known and known.qkv),
            None if biases[0] is None else _stacked(biases, self._order),
            lora.weight(attention.o_proj, self.adapters),
            self._fused(norms[1], (mlp.gate_proj, mlp.up_proj), None, known and known.gate_up),
            down=lora.weight(mlp.down_proj, self.adapters),
        )

    def _fused(self, norm: Any, parts: tuple, order: Tensor | None, known: Tensor | None) -> Tensor:
        weights = [lora.weight(part, self.adapters) for part in parts]
        if known is None:
            return _stacked(weights, order) * scaled(norm)
        return _Known.apply(known, order, scaled(norm), *weights)  # pyright: ignore[reportReturnType]

    def _interleaved(self) -> Tensor:
        """Order of the rows of qkv: of each query and key head 0, K / 2, 1, K / 2 + 1, ..."""
        config = self.model.config
        heads, values = config.num_attention_heads, config.num_key_value_heads
        K = head_width(config)
        halves = torch.arange(K).view(2, -1).t().flatten()
        row = torch.arange((heads + 2 * values) * K).view(-1, K)
        turned = heads + values
        return sent(torch.cat([row[:turned, halves], row[turned:]]).flatten(), self.model.device)


def scaled(norm: Any) -> Tensor:
    """A norm's weight, for vectors of length 1."""
    return norm.weight * norm.weight.shape[0] ** 0.5


def _stacked(parts: Sequence[Tensor], order: Tensor | None) -> Tensor:
    stacked = torch.cat([*parts])
    return stacked if order is None else stacked.index_select(0, order)


class _Known(Function):
    """`_stacked(parts, order) * scale`, the value of which is given."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, order: Tensor | None, scale: Tensor, *parts: Tensor
    ) -> Tensor:
        ctx.order = order
        ctx.save_for_backward(scale, *parts)
        return value.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        scale, *parts = ctx.saved_tensors
        to_scale = (grad * _stacked(parts, ctx.order)).sum(0)
        to_parts = grad * scale
        if ctx.order is not None:
            to_parts = torch.empty_like(to_parts).index_copy_(0, ctx.order, to_parts)
        return None, None, to_scale, *to_parts.split([len(part) for part in parts])


@register_optimizer_step_post_hook
def _count(optimizer: Optimizer, *_: Any) -> None:
    """torch does not count the changes that its fused optimisers make."""
    for group in optimizer.param_groups:
        increment_version(group["params"])
