"""A tiny model on disk, and the way from its token ids to an objective's loss and gradient."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from methods import SAMPLE, Leaves, Loss, Method, Rollout

WORDS = list("abcdefghijklm")


def save(folder: Path) -> Path:
    """A one-layer Llama with random weights and its tokenizer (a word is a letter)."""
    vocabulary = {w: i for i, w in enumerate(["<pad>", "<eos>", "<unk>", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load(folder: Path) -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(folder)


def tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(folder)


@torch.no_grad()
def disturb(model: torch.nn.Module, seed: int, size: float = 0.02) -> None:
    """Move the weights a little: the policy after some updates."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter += size * torch.randn(parameter.shape, generator=generator)


def logp(model, ids_NL: torch.Tensor, attention_NL: torch.Tensor, mask_NL: torch.Tensor):
    """Log-probs and mask [N, T] of the tokens in `mask_NL` (one run a row), moved to the left."""
    logits = model(input_ids=ids_NL, attention_mask=attention_NL).logits[:, :-1].float()
    all_NT = logits.log_softmax(-1).gather(2, ids_NL[:, 1:, None])[..., 0]
    mask_NT = mask_NL[:, 1:].bool()
    order_NT = torch.argsort((~mask_NT).int(), dim=1, stable=True)
    mask_NT = mask_NT.gather(1, order_NT)
    width = int(mask_NT.sum(-1).max())
    return (all_NT.gather(1, order_NT) * mask_NT)[:, :width], mask_NT[:, :width]


def rollout(mask_NT: torch.Tensor, **known: torch.Tensor | int | None) -> Rollout:
    """A rollout of samples, every field by default unremarkable."""
    rows = len(mask_NT)
    true_N = torch.ones(rows, dtype=torch.bool)
    fields = {
        "reward_N": torch.zeros(rows),
        "group_N": torch.arange(rows),
        "kind_N": torch.full((rows,), SAMPLE),
        "correct_N": true_N,
        "finished_N": true_N,
        "format_ok_N": true_N,
        "max_tokens": mask_NT.shape[1],
        **known,
    }
    return Rollout(mask_NT=mask_NT, **fields)  # type: ignore[arg-type]


def gradient(value: torch.Tensor, model: torch.nn.Module) -> torch.Tensor:
    """All parameters' gradients in one vector."""
    found = torch.autograd.grad(
        value, list(model.parameters()), materialize_grads=True, allow_unused=True
    )
    return torch.cat([g.flatten() for g in found])


def ours(method: Method, r: Rollout, logp_NT: torch.Tensor) -> Loss:
    signal = method.signal(r)
    trained_N1 = signal.trained_N[:, None]
    return method.loss(Leaves(torch.where(trained_N1, logp_NT, 0.0)), r, signal)


def agree(value: torch.Tensor, expected: torch.Tensor, model: torch.nn.Module) -> None:
    """Two losses of one model, and their gradients."""
    same(value, gradient(value, model), expected, gradient(expected, model))


def same(value: torch.Tensor, grad: torch.Tensor, other: torch.Tensor, other_grad: torch.Tensor):
    """Equal to float32, in which TRL computes its log-probs. The gradient's error is relative to
    its norm, and a gradient of nothing compares nothing."""
    torch.testing.assert_close(value, other.to(value.dtype), rtol=1e-5, atol=1e-6)
    assert grad.norm() > 1e-3
    assert ((grad - other_grad).norm() / grad.norm()).item() < 2e-5
