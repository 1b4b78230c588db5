"""The output layer: from hidden states to next-token logits, as the model itself does it."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import MoeModelOutputWithPast

from .linear import linear


class Head:
    """Logits of hidden states, in float32 (float64 for a float64 model).

    Most models have one matrix, maybe with a soft cap. Others also scale the logits, by an option
    that has another name in each (Granite, Cohere, Falcon-H1): where the plain product is not what
    the model computes, the model's own forward is called on the hidden states.
    """

    def __init__(self, model: Any):
        self.model = model

    def __call__(self, hidden_MD: Tensor) -> Tensor:
        return (self._product if self._plain else self._own)(hidden_MD)

    @cached_property
    def _plain(self) -> bool:
        """Whether the product is what the model computes, for two vectors that are long enough to
        reach a cap. Assumed on the meta device, and where the model's forward does not allow it to
        be asked: `bench.model.probe` then tells."""
        if self.model.device.type == "meta":
            return True
        width = self.model.config.get_text_config().hidden_size
        long_2D = 100 * torch.arange(2.0 * width).sin().view(2, -1)
        long_2D = long_2D.to(self.model.device, self.model.dtype)
        try:
            with torch.no_grad():
                ours_2V, own_2V = self._product(long_2D), self._own(long_2D)
        except (AttributeError, TypeError):
            return True
        share = 0.02 if self.model.dtype.itemsize == 2 else 1e-4
        return bool((ours_2V - own_2V).abs().max() <= share * own_2V.abs().max())

    def _product(self, hidden_MD: Tensor) -> Tensor:
        head = self.model.get_output_embeddings()
        plain = type(head) is nn.Linear  # no adapter on it
        logits_MV = _wide(linear(hidden_MD, head.weight, head.bias) if plain else head(hidden_MD))
        cap = getattr(self.model.config.get_text_config(), "final_logit_softcapping", None)
        return logits_MV if cap is None else cap * torch.tanh(logits_MV / cap)

    def _own(self, hidden_MD: Tensor) -> Tensor:
        """What the model makes of hidden states; its layers are passed over."""
        ids_1M = torch.zeros(1, len(hidden_MD), dtype=torch.int64, device=hidden_MD.device)
        # of all outputs the one with the fields of the others
        output = MoeModelOutputWithPast(last_hidden_state=hidden_MD[None])
        layers = self.model.base_model
        layers.forward = lambda *_, **__: output
        try:
            return _wide(self.model(input_ids=ids_1M).logits[0])
        finally:
            del layers.forward


def _wide(logits_MV: Tensor) -> Tensor:
    return logits_MV if logits_MV.dtype == torch.float64 else logits_MV.float()
