"""The packed forward's matrices are made once for the same weights, and anew for any others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench.model import fused, lora, start
from bench.model.backbone import TransformersBackbone
from bench.model.optim import AdamW
from bench.model.packed import PackedBackbone
from bench.model.policy import Policy
from bench.sampling.hf import sample
from bench.train.learner import load_weights
from tests import architectures, tiny


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A number for each layer whose matrices are made, not counting those of the graph."""
    made: list[int] = []
    real = fused.FusedWeights._layer

    def counted(self: Any, module: Any, known: Any = None) -> Any:
        if known is None:
            made.append(1)
        return real(self, module, known)

    monkeypatch.setattr(fused.FusedWeights, "_layer", counted)
    return made


def stepped(optimizer: Callable[..., torch.optim.Optimizer]) -> Callable[[Policy], None]:
    """A step of the optimiser on the layers' matrices."""

    def change(policy: Policy) -> None:
        weights = [w for w in policy.model.model.layers.parameters() if w.dim() == 2]
        step = optimizer(weights, lr=0.1).step  # ours takes gradients as they come
        policy.model(torch.tensor([[2, 5, 6]])).logits.sin().sum().backward()
        step()
        policy.model.zero_grad()

    return change


def load_state(policy: Policy) -> None:
    state = policy.model.state_dict()
    policy.model.load_state_dict({k: torch.randn_like(v) * 0.3 for k, v in state.items()})


def assign_data(policy: Policy) -> None:
    for weight in policy.model.model.layers.parameters():
        weight.data = torch.randn_like(weight) * 0.3


def assign_until_the_place_is_the_same(policy: Policy) -> None:
    """Memory that was given back is soon used again, unless it is held."""
    weight = policy.model.model.layers[0].mlp.up_proj.weight
    first = weight.data_ptr()
    for _ in range(50):
        weight.data = torch.randn_like(weight)
        if weight.data_ptr() == first:
            break


def replace_parameters(policy: Policy) -> None:
    for layer in policy.model.model.layers:
        weight = torch.nn.Parameter(torch.randn_like(layer.mlp.up_proj.weight))
        layer.mlp.up_proj.weight = weight


def write_in_place(policy: Policy) -> None:
    with torch.no_grad():
        policy.model.model.layers[1].post_attention_layernorm.weight.mul_(3)


CHANGES = {
    "AdamW": stepped(torch.optim.AdamW),
    "ours": stepped(AdamW),
    "foreach": stepped(lambda w, lr: torch.optim.AdamW(w, lr, foreach=True)),
    "fused": stepped(lambda w, lr: torch.optim.AdamW(w, lr, fused=True)),
    "Muon": stepped(torch.optim.Muon),
    "load_state_dict": load_state,
    ".data": assign_data,
    ".data to and fro": assign_until_the_place_is_the_same,
    "parameters": replace_parameters,
    "in place": write_in_place,
}


def answers(policy: Policy) -> tuple[list[list[int]], torch.Tensor]:
    drawn = sample(policy, [[2, 5, 6], [2, 9, 8, 7]], 4, range(8), 12)
    return drawn.response_ids(), drawn.logp_NT


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_sample_and_no_score_is_of_weights_from_before(change, dtype):
    policy = tiny.policy(dtype=dtype)
    rows = tiny.rows(policy, [[3, 4], [2]])
    with torch.no_grad():
        before, scored = answers(policy)[1], policy.score(rows)[0]
        torch.manual_seed(3)
        with torch.enable_grad():
            CHANGES[change](policy)
        ids, logp = answers(policy)
        fresh = Policy(policy.model, policy.tokenizer)
        fresh_ids, fresh_logp = answers(fresh)
        assert ids == fresh_ids and torch.equal(logp, fresh_logp)
        assert torch.equal(policy.score(rows)[0], fresh.score(rows)[0])
        assert not torch.equal(policy.score(rows)[0], scored)
        assert logp.shape != before.shape or not torch.equal(logp, before)


def test_a_loaded_checkpoint_is_what_is_sampled(tmp_path):
    policy, other = tiny.policy(), tiny.policy(seed=4)
    other.model.save_pretrained(tmp_path)
    answers(policy)
    load_weights(policy, tmp_path)
    ids, logp = answers(policy)
    other_ids, other_logp = answers(other)
    assert ids == other_ids and torch.equal(logp, other_logp)


def test_changed_adapters_are_sampled(tmp_path):
    folder = architectures.save("llama", tmp_path / "base")
    model = tiny.run(model={"path": str(folder), "lora": {"r": 2}}).model
    policy, trained = (start.load(folder, model) for _ in range(2))
    assert isinstance(policy.drawing, PackedBackbone)
    with torch.no_grad():
        for weight in trained.parameters():
            weight.normal_(std=0.2)
    trained.model.save_pretrained(tmp_path / "adapter")
    first, wanted = answers(policy), answers(trained)
    assert first[0] != wanted[0]
    lora.load(policy.model, tmp_path / "adapter")
    found = answers(policy)
    assert found[0] == wanted[0] and torch.equal(found[1], wanted[1])
    policy.score(tiny.rows(policy, [[3]]))  # a training pass, which needs the room
    assert not policy.drawing.weights._layers


def test_matrices_are_made_once_an_update(builds):
    policy = tiny.policy()
    rows = tiny.rows(policy, [[3, 4], [2, 6]])
    layers = policy.model.config.num_hidden_layers
    for updates in (1, 2):
        answers(policy)
        answers(policy)
        for _ in range(2):  # micro-batches
            with torch.no_grad():
                policy.score(rows)
            policy.score(rows)[0].sum().backward()
        assert len(builds) == layers * updates
        torch.optim.AdamW(policy.parameters(), lr=1e-2).step()


def test_gradients_do_not_depend_on_what_was_made_before():
    """Two micro-batches through matrices made earlier give the gradients of transformers' way."""
    gradients = []
    for backbone in (PackedBackbone, TransformersBackbone):
        policy = tiny.policy(dtype=torch.float64, num_key_value_heads=1, attention_bias=False)
        policy.backbone = backbone(policy.model)
        for seed in (1, 2):
            policy.score(tiny.rows(policy, [[3, 4], [2, 6]], seed))[0].sum().backward()
        gradients.append([p.grad for p in policy.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
