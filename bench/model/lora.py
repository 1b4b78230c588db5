"""Low-rank adapters (peft), injected into a Hugging Face model, which stays of its own class."""

from collections.abc import Iterator
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from bench.config import Lora
from bench.core import rng


def adapted(model: Any) -> bool:
    return bool(getattr(model, "_hf_peft_config_loaded", False))


def add(model: Any, section: Lora) -> None:
    """Inject adapters, which alone will train. Raises ValueError where no module is so called."""
    from peft import LoraConfig

    targets = section.targets if isinstance(section.targets, str) else list(section.targets)
    if isinstance(targets, list):
        modules, kinds = dict(model.named_modules()), torch.nn.Linear | Conv1D
        if unknown := [t for t in targets if not any(f".{n}".endswith(f".{t}") for n in modules)]:
            linear = {n.rpartition(".")[2] for n, m in modules.items() if isinstance(m, kinds)}
            raise ValueError(
                f"lora.targets: no module {', '.join(unknown)}; allowed: 'all-linear', or a list "
                f"of {', '.join(sorted(linear - {'lm_head'}))}"
            )
    config = LoraConfig(
        r=section.r,
        lora_alpha=section.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=0.0,
        target_modules=targets,
        fan_in_fan_out=type(model).__name__.startswith("GPT2"),  # whose weights are transposed
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.key(section.seed, "lora") % 2**63)
        model.add_adapter(config)
    tables = (model.get_input_embeddings(), model.get_output_embeddings())
    if any(hasattr(table, "lora_A") for table in tables):
        raise ValueError("lora.targets may not name the embeddings or the output layer")


def weight(layer: Any, adapters: bool = True) -> torch.Tensor:
    """A linear layer's weight, with its adapter added where it has one and `adapters` are on."""
    base = getattr(layer, "base_layer", None)
    if base is None:
        return layer.weight
    return base.weight + layer.get_delta_weight(*layer.active_adapters) if adapters else base.weight


def full_parameters(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and weights of the plain model with its adapters added, one weight at a time. Nothing
    is merged in place: adding and subtracting again would wear the weights off."""
    from peft.tuners.lora import LoraLayer

    modules = model.named_modules()
    layers = {f"{n}.base_layer.weight": m for n, m in modules if isinstance(m, LoraLayer)}
    for name, parameter in model.named_parameters():
        if layer := layers.get(name):
            yield name.replace(".base_layer", ""), weight(layer).detach()
        elif ".lora_" not in name:
            yield name.replace(".base_layer", ""), parameter.data


def load(model: Any, folder: Any) -> None:
    """Adapter weights as `save_pretrained` wrote them."""
    from peft import load_peft_weights, set_peft_model_state_dict

    found = set_peft_model_state_dict(model, load_peft_weights(str(folder), device="cpu"))
    if found.unexpected_keys:
        raise ValueError(f"{folder}: weights of another adapter: {found.unexpected_keys[:3]}")


def merged(model: Any, folder: Any) -> Any:
    """The plain model with the adapter in `folder` added to its weights."""
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
