"""Which forward pass a model gets: `packed` (bench/model/packed.py) or `transformers`, its own.

Nothing here loads torch, so that `evenbench doctor` and `evenbench plan` answer at once.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Forward:
    """The forward passes that a run takes; stands in its run.json."""

    train: str  # which one trains and scores
    sample: str  # which one samples
    why: str

    def __str__(self) -> str:
        apart = "" if self.train == self.sample else f" trains, {self.sample} samples"
        return f"{self.train}{apart} ({self.why})"


def misfit(config: Any) -> str | None:
    """Why the packed forward cannot take a model of this config; None where it can.

    It takes Llama and Qwen2 with plain rotary embeddings, full attention and SiLU. A config cannot
    tell everything, least of all about later versions of transformers: `bench.model.probe` compares
    every loaded model with its own forward.
    """
    if config.model_type not in ("llama", "qwen2"):
        return f"the architecture {config.model_type}"
    rope = config.rope_parameters
    found = {
        f"rotary embeddings of type {rope.get('rope_type')}": rope.get("rope_type") != "default",
        "rotary embeddings of a part of each head": rope.get("partial_rotary_factor", 1.0) != 1.0,
        f"the activation {config.hidden_act}": config.hidden_act != "silu",
        "biases in the MLP": getattr(config, "mlp_bias", False),
        # Llama's option adds one to o_proj as well
        "biases in attention": config.model_type == "llama" and config.attention_bias,
        "sliding windows": {*(getattr(config, "layer_types", None) or [])} - {"full_attention"},
    }
    return next((what for what, there in found.items() if there), None)


def head_width(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def choose(asked: str, device: str, misfit: str | None, apart: bool = False) -> Forward:
    """What `model.backbone = asked` means on a type of device, for a model with this `misfit`.

    `apart`: the model has adapters or recomputes its layers. Transformers' forward then trains it,
    and the packed one, into whose weights adapters are added, only samples. Raises ValueError where
    the packed forward is asked for and cannot take the model.
    """
    if asked == "packed" and misfit:
        raise ValueError(
            f"backbone = 'packed': this forward does not take {misfit}; allowed: 'auto' or "
            "'transformers'"
        )
    if asked != "auto":
        name, why = asked, "asked for"
    elif misfit:
        name, why = "transformers", f"the packed forward does not take {misfit}"
    elif device == "cpu":
        name, why = "packed", "faster on a CPU"
    else:
        name, why = "transformers", "the packed forward has not been measured on a GPU"
    return Forward("transformers" if apart else name, name, why)
