"""The analytic FLOPs against PyTorch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.record.ledger import Flops, Ledger
from results.records import LEDGER_COLUMNS
from tests import tiny


@pytest.mark.parametrize("shape", [{}, {"num_key_value_heads": 1}, {"tie_word_embeddings": True}])
def test_forward_flops_agree_with_torchs_counter(shape):
    policy = tiny.policy(**shape)
    rows = tiny.rows(policy, [[9]])
    flops = Flops.of(policy.model)
    prompt, response = rows.prompt_PL[0].tolist(), rows.response_NT[0].tolist()
    policy.model.set_attn_implementation(
        "eager"
    )  # the counter does not see fused attention on a CPU
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        policy.model(torch.tensor([prompt + response]))
    length, width = len(prompt) + len(response), 4 * 2 * 16
    # torch counts attention without the causal half, and logits of the prompt too
    full = counter.get_total_flops()
    causal = full - width * length**2 + width * length * (length + 1) / 2
    assert flops.forward(rows) == causal - 2 * flops.head * len(prompt)


def test_a_prompt_counts_once_a_group():
    policy = tiny.policy()
    flops = Flops.of(policy.model)
    one, four = (flops.forward(tiny.rows(policy, [[5] * n])) for n in (1, 4))
    prompt = flops.forward_lengths(
        torch.tensor([3.0]).double(), torch.zeros(0).double(), torch.zeros(0).double()
    )
    assert four - prompt == pytest.approx(4 * (one - prompt))


def test_rows_hold_the_documented_columns_and_restore():
    ledger = Ledger(
        samples=3, tokens_sampled=10, tokens_trained=7, flops_train=5.0, seconds_sample=1.0
    )
    row = ledger.row()
    assert set(LEDGER_COLUMNS) <= set(row)
    assert (row["tokens"], row["flops"], row["seconds"]) == (17, 5.0, 1.0)
    assert Ledger(**row) == ledger  # pyright: ignore[reportArgumentType]
    assert ledger.spent("samples") == 3
