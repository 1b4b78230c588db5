"""Dimensions of models, for planning without their weights or the hub."""

from dataclasses import dataclass, replace
from pathlib import Path

from bench.config import ConfigError, Lora, Model

from .choice import head_width, misfit


@dataclass(frozen=True)
class Shape:
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    vocabulary: int
    tied: bool  # the output layer is the embedding
    gated: bool = True  # three matrices in the MLP, else two
    misfit: str | None = None  # why the packed forward cannot take the model

    @property
    def width(self) -> int:
        return self.heads * self.head_dim

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Sides of a layer's matrices."""
        cache = self.kv_heads * self.head_dim
        attention = [(self.hidden, self.width), (self.width, self.hidden)]
        attention += [(self.hidden, cache)] * 2
        return attention + [(self.hidden, self.inner)] * (3 if self.gated else 2)

    @property
    def linear(self) -> int:
        return self.layers * sum(a * b for a, b in self.matrices)

    @property
    def fused(self) -> int:
        """Of these, the numbers that the packed forward holds a second time."""
        return self.linear - self.layers * self.hidden * (self.width + self.inner)

    @property
    def head(self) -> int:
        return self.hidden * self.vocabulary

    @property
    def parameters(self) -> int:
        """Norms and biases apart, some 0.1 %."""
        return self.linear + self.head * (1 if self.tied else 2)

    def adapters(self, lora: Lora) -> int:
        """Weights of the adapters, as if every matrix of the layers had one."""
        return self.layers * lora.r * sum(a + b for a, b in self.matrices)

    def cached(self) -> int:
        """Numbers that a token leaves in the cache."""
        return 2 * self.layers * self.kv_heads * self.head_dim


# From the models' config.json, by name on the hub without what does not change the shape.
SHAPES = {
    "Qwen/Qwen2.5-0.5B": (896, 24, 14, 2, 64, 4864, 151936, True),
    "Qwen/Qwen2.5-1.5B": (1536, 28, 12, 2, 128, 8960, 151936, True),
    "Qwen/Qwen2.5-3B": (2048, 36, 16, 2, 128, 11008, 151936, True),
    "Qwen/Qwen2.5-7B": (3584, 28, 28, 4, 128, 18944, 152064, False),
    "Qwen/Qwen2.5-14B": (5120, 48, 40, 8, 128, 13824, 152064, False),
    "Qwen/Qwen2.5-32B": (5120, 64, 40, 8, 128, 27648, 152064, False),
    "Qwen/Qwen3-0.6B": (1024, 28, 16, 8, 128, 3072, 151936, True),
    "Qwen/Qwen3-1.7B": (2048, 28, 16, 8, 128, 6144, 151936, True),
    "Qwen/Qwen3-4B": (2560, 36, 32, 8, 128, 9728, 151936, True),
    "Qwen/Qwen3-8B": (4096, 36, 32, 8, 128, 12288, 151936, False),
    "meta-llama/Llama-3.2-1B": (2048, 16, 32, 8, 64, 8192, 128256, True),
    "meta-llama/Llama-3.2-3B": (3072, 28, 24, 8, 128, 8192, 128256, True),
    "meta-llama/Llama-3.1-8B": (4096, 32, 32, 8, 128, 14336, 128256, False),
    "mistralai/Mistral-7B-v0.1": (4096, 32, 32, 8, 128, 14336, 32000, False),
    "google/gemma-2-2b": (2304, 26, 8, 4, 256, 9216, 256000, True),
    "google/gemma-3-1b": (1152, 26, 4, 1, 256, 6912, 262144, True),
    "openai-community/gpt2": (768, 12, 12, 12, 64, 3072, 50257, True, False),
}
KNOWN = {name: Shape(*sizes) for name, sizes in SHAPES.items()}
VARIANTS = ("-Instruct", "-Base", "-it", "-pt")


def shape(model: Model, vocabulary: int) -> Shape:
    """Of a model section; `vocabulary` counts for a model built on the spot.

    Raises ConfigError where nothing at hand says what the model is.
    """
    if model.path is None:
        head_dim = model.hidden // model.heads
        sizes = (model.heads, model.heads, head_dim, model.intermediate, vocabulary)
        return Shape(model.hidden, model.layers, *sizes, True)
    name = model.path.replace("Qwen2.5-Math", "Qwen2.5")
    for variant in VARIANTS:
        name = name.removesuffix(variant)
    if name in KNOWN and not Path(model.path).exists():
        packs = name.startswith("Qwen/Qwen2.5-")
        return replace(KNOWN[name], misfit=None if packs else f"the architecture of {name}")
    from transformers import AutoConfig

    try:
        c = AutoConfig.from_pretrained(model.path, revision=model.revision or "main")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"model.path = {model.path!r}: no folder with a config.json, and not among the models "
            f"whose shape is known: {', '.join(KNOWN)}"
        ) from error
    c = c.get_text_config()
    kv_heads = getattr(c, "num_key_value_heads", None) or c.num_attention_heads
    inner = getattr(c, "intermediate_size", None) or 4 * c.hidden_size
    sizes = (c.num_attention_heads, kv_heads, head_width(c), inner, c.vocab_size)
    rest = (bool(c.tie_word_embeddings), c.model_type != "gpt2", misfit(c))
    return Shape(c.hidden_size, c.num_hidden_layers, *sizes, *rest)
