"""A policy and a run so small that tests of the harness take moments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

import tasks
from bench.config import Model, RunConfig, build_suite
from bench.model.policy import Policy
from bench.model.rows import Rows, pad
from bench.model.start import build_tokenizer

MODEL = {
    "hidden": 16, "layers": 2, "heads": 2, "intermediate": 24, "positions": 256,
    "pretrain": {"steps": 4, "batch": 8},
}  # fmt: skip


def policy(seed: int = 0, dtype: torch.dtype = torch.float32, **shape: Any) -> Policy:
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(Model(), tasks.get("arithmetic"))
    config = {
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 256, **shape,
    }  # fmt: skip
    model: Any = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **config))
    for parameter in model.parameters():
        if parameter.dim() > 1:  # larger than at initialisation: distributions with a shape
            torch.nn.init.normal_(parameter, std=0.3)
    return Policy(model.to(dtype), tokenizer)


def rows(of: Policy, lengths: list[list[int]], seed: int = 1) -> Rows:
    """A prompt for each inner list, with a response of each length in it."""
    generator = torch.Generator().manual_seed(seed)

    def ids(n: int) -> list[int]:
        return torch.randint(4, len(of.tokenizer), (n,), generator=generator).tolist()

    prompts = [ids(3 + 2 * p) for p in range(len(lengths))]
    flat = [(p, n) for p, group in enumerate(lengths) for n in group]
    responses = [ids(n) for _, n in flat]
    temperatures = [1.0 + 0.1 * (i % 2) for i in range(len(flat))]
    return pad(prompts, [p for p, _ in flat], responses, temperatures, of.pad_id)


def recipe(**changes: Any) -> dict[str, Any]:
    base = {
        "name": "tiny", "methods": ["grpo"], "seeds": 1, "model": MODEL,
        "rollout": {"prompts": 3, "group": 4, "max_tokens": 12},
        "optimizer": {"lr": 1e-3},
        "budget": {"axis": "updates", "amount": 4},
        "eval": {"points": 2, "curve": {"test": 4}, "final": {"test": 6, "ood-5": 3},
                 "train_questions": 3, "samples": 2},
    }  # fmt: skip
    return {**base, **changes}


def run(label: str = "grpo", **changes: Any) -> RunConfig:
    return build_suite(recipe(methods=[label], **changes)).runs[0]


def steps(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's steps.jsonl."""
    return [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Of a run's checkpoint."""
    return load_file(folder / "checkpoint" / "model.safetensors")
