"""Tiny models of well-known shapes, each with a tokenizer of its own class trained on the spot.

Sliding windows are shorter than prompts and responses of the tests, so that a wrong window shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import pre_tokenizers

import tasks

COMMON = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 2048,
}
MIXED = ["sliding_attention", "full_attention"]
GEMMA = {**COMMON, "sliding_window": 6, "layer_types": MIXED, "query_pre_attn_scalar": 8}
# name: config class, tokenizer class, shape, special tokens beside the tokenizer's own
SHAPES: dict[str, tuple[str, str, dict[str, Any], list[str]]] = {
    "llama": (
        "LlamaConfig",
        "LlamaTokenizer",
        COMMON,
        ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    ),
    "qwen2": ("Qwen2Config", "Qwen2Tokenizer", COMMON, ["<|im_start|>", "<|im_end|>"]),
    "qwen2-sliding": (
        "Qwen2Config",
        "Qwen2Tokenizer",
        {**COMMON, "use_sliding_window": True, "sliding_window": 6, "layer_types": MIXED},
        [],
    ),
    "qwen3": ("Qwen3Config", "Qwen2Tokenizer", COMMON, ["<|im_start|>", "<|im_end|>"]),
    "gemma2": (
        "Gemma2Config",
        "GemmaTokenizer",
        {**GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
        ["<start_of_turn>", "<end_of_turn>"],
    ),
    "gemma3": ("Gemma3TextConfig", "GemmaTokenizer", GEMMA, []),
    "mistral": ("MistralConfig", "LlamaTokenizer", {**COMMON, "sliding_window": 6}, []),
    # with a factor on the logits, far from 1 so that leaving it out shows
    "granite": ("GraniteConfig", "GPT2Tokenizer", {**COMMON, "logits_scaling": 0.2}, []),
    "cohere": ("CohereConfig", "CohereTokenizer", {**COMMON, "logit_scale": 5.0}, []),
    "gpt2": (
        "GPT2Config",
        "GPT2Tokenizer",
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 2048},
        [],
    ),
}
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
HEADERS = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
TURNS = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
TEMPLATES = {"llama": HEADERS, "qwen2": CHATML, "qwen3": CHATML, "gemma2": TURNS}


def embedded_texts(count: int = 300) -> list[str]:
    pairs = [islice(tasks.get(name).corpus(0), count) for name in ("arithmetic", "fractions")]
    return [prompt + "\n" + response for part in pairs for prompt, response in part]


def tokenizer(name: str, texts: Sequence[str], vocabulary: int = 500) -> Any:
    _, kind, _, special = SHAPES[name]
    start = {"add_bos_token": True} if kind in ("LlamaTokenizer", "GemmaTokenizer") else {}
    untrained: Any = getattr(transformers, kind)(**start)
    bytewise = "ByteLevel" in str(untrained.backend_tokenizer.pre_tokenizer)
    trained = untrained.train_new_from_iterator(
        [texts],
        vocabulary,
        new_special_tokens=special or None,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if bytewise else [],
    )
    trained.chat_template = TEMPLATES.get(name)
    return trained


def save(name: str, folder: Path, texts: Sequence[str] = (), seed: int = 0, **shape: Any) -> Path:
    """A folder as a hub model's: weights, config, tokenizer."""
    kind, _, sizes, _ = SHAPES[name]
    words = tokenizer(name, texts or embedded_texts())
    config = getattr(transformers, kind)(
        **{**sizes, **shape},
        vocab_size=len(words),
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    torch.manual_seed(seed)
    model: Any = transformers.AutoModelForCausalLM.from_config(config)
    for weight in model.parameters():  # larger than at initialisation: distributions with a shape
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
