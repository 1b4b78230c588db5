"""AdamW for weights of low precision: an update of 1e-6 is lost in a bfloat16 weight of 0.02."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import nn


class AdamW(torch.optim.AdamW):
    """Steps in float32. Weights of 16 bits have a float32 copy, in which the gradients of
    micro-batches add up and which is rounded into the weight after each step; others are stepped
    directly. Only what requires a gradient is taken."""

    def __init__(self, parameters: Iterable[nn.Parameter], *args: Any, **kwargs: Any):
        wanted = [p for p in parameters if p.requires_grad]
        self.copies = {p: p.detach().float() for p in wanted if p.element_size() == 2}
        for weight, copy in self.copies.items():
            weight.register_post_accumulate_grad_hook(partial(self._add, copy))
        super().__init__([self.copies.get(p, p) for p in wanted], *args, **kwargs)

    @staticmethod
    def _add(copy: torch.Tensor, weight: torch.Tensor) -> None:
        assert weight.grad is not None
        gradient = weight.grad.float()
        copy.grad = gradient if copy.grad is None else copy.grad.add_(gradient)
        weight.grad = None

    def clip(self, norm: float) -> float:
        """Scale the gradients down to a norm of at most `norm`; their norm before."""
        return float(nn.utils.clip_grad_norm_(self.param_groups[0]["params"], norm))

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        self._round()
        return loss

    def _round(self) -> None:
        for weight, copy in self.copies.items():
            weight.copy_(copy)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "copies": list(self.copies.values())}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = dict(state_dict)
        for copy, saved in zip(self.copies.values(), state.pop("copies", []), strict=True):
            copy.copy_(saved)
        super().load_state_dict(state)
        self._round()
