"""Real models' shapes and tokenizers, through the code that loads real models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import tasks
from bench.config import ConfigError, Lora, Model
from bench.core import rng
from bench.model import lora, start
from bench.model.backbone import AdapterOff, TransformersBackbone, recompute
from bench.model.packed import PackedBackbone
from bench.model.policy import Policy
from bench.model.rows import Rows, pad
from bench.record.ledger import Flops
from bench.sampling.hf import sample
from tests import architectures
from tests.architectures import SHAPES, TEMPLATES
from tests.unit.test_policy import reference_logp

NAMES = list(SHAPES)
TEXT = "Tom has 3 coins.  buys 10. buys 7. now?\n3+10=13;13+7=20####20"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Any:
    """The folder of a tiny model, made when first asked for."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = architectures.save(name, tmp_path_factory.mktemp(name))
        return made[name]

    return get


def load(where: Path, **section: Any) -> Policy:
    # eager attention, which soft caps need, refuses float64
    dtype = "float32" if where.name.startswith("gemma2") else "float64"
    model = Model(path=str(where), **{"dtype": dtype, **section})
    return start.load(where, model)


def rows(policy: Policy, lengths: list[list[int]]) -> Rows:
    """Prompts of 5, 12 and 19 tokens, with a response of each length in its list."""
    generator = torch.Generator().manual_seed(1)

    def ids(n: int) -> list[int]:
        return torch.randint(8, len(policy.tokenizer), (n,), generator=generator).tolist()

    prompts = [ids(5 + 7 * p) for p in range(len(lengths))]
    flat = [(p, n) for p, group in enumerate(lengths) for n in group]
    responses = [ids(n) for _, n in flat]
    return pad(prompts, [p for p, _ in flat], responses, [1.2] * len(flat), policy.pad_id)


def gradients(policy: Policy, logp_NT: torch.Tensor, mask_NT: torch.Tensor) -> list[torch.Tensor]:
    weight_NT = torch.linspace(-1, 1, mask_NT.numel()).view(mask_NT.shape).to(logp_NT)
    policy.model.zero_grad(set_to_none=True)
    (logp_NT * weight_NT * mask_NT).sum().backward()
    return [torch.zeros(()) if p.grad is None else p.grad for p in policy.parameters()]


@pytest.mark.parametrize("name", NAMES)
def test_text_to_ids_to_text_is_the_identity_after_save_and_load(folder, name):
    policy = load(folder(name))
    assert type(policy.tokenizer).__name__ in (SHAPES[name][1], "TokenizersBackend")
    for text in (TEXT, *architectures.embedded_texts(20)):
        ids = policy.encode_response(text)
        assert ids[-1] == policy.end_id == policy.tokenizer.eos_token_id
        assert policy.decode(ids) == text
        assert policy.tokenizer.unk_token_id not in ids[:-1]
        assert len(ids) < len(text)  # words were learned


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", ["shared", "recomputed"])
def test_scores_and_gradients_equal_the_plain_forward(folder, name, way):
    policy = load(folder(name), checkpointing=way == "recomputed")
    assert isinstance(policy.backbone, PackedBackbone) == (
        name in ("llama", "qwen2") and way == "shared"
    )
    batch = rows(policy, [[1, 14, 3], [9], [2, 17, 7]])
    ours = policy.score(batch)[0]
    ours_gradients = gradients(policy, ours, batch.mask_NT)
    theirs = reference_logp(policy, batch)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    for mine, its in zip(ours_gradients, gradients(policy, theirs, batch.mask_NT), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_sampler_is_the_policy(folder, name):
    policy = load(folder(name))
    prompts = [list(range(9, 14)), list(range(20, 39)), list(range(30, 42))]
    keys = [rng.key(0, i) for i in range(12)]
    policy.stop_ids = list(range(0, len(policy.tokenizer), 16))  # so that rows end early
    drawn = sample(policy, prompts, 4, keys, 30, temperature=1.3)
    assert len(drawn.rows.mask_NT.sum(-1).unique()) > 4
    drawn.rows.temperature_N.fill_(1.3)
    with torch.no_grad():
        plain = reference_logp(policy, drawn.rows)
    torch.testing.assert_close(drawn.logp_NT.double(), plain.double(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("adapters", [False, True])
def test_slower_ways_are_not_sampled_through(folder, name, adapters):
    """With adapters, or with layers recomputed in training: the leaner way where there is one, with
    the adapters in the weights, and without them for the reference."""
    policy = load(
        folder(name), **({"lora": {"r": 2, "alpha": 8}} if adapters else {"checkpointing": True})
    )
    with torch.no_grad():
        for i, weight in enumerate(policy.parameters()):
            weight.normal_(std=0.1, generator=torch.Generator().manual_seed(i))
    assert not isinstance(policy.backbone, PackedBackbone)
    reference, prompts = policy.reference(), [list(range(9, 14)), list(range(20, 39))]
    for drawer in (policy, reference):
        assert isinstance(drawer.drawing, PackedBackbone) == (name in ("llama", "qwen2"))
        drawn = sample(drawer, prompts, 3, [rng.key(0, i) for i in range(6)], 20)
        with torch.no_grad():
            scored = drawer.score(drawn.rows)[0]
            torch.testing.assert_close(drawn.logp_NT.double(), scored.double(), rtol=0, atol=1e-5)
            gap = policy.score(drawn.rows)[0] - reference.score(drawn.rows)[0]
    assert (gap.abs().max() > 0.01) == adapters


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("mistral", {"sliding_window": None}),
        ("qwen2-sliding", {"layer_types": ["full_attention"] * 2}),
        ("gemma3", {"layer_types": ["full_attention"] * 2}),
        ("gemma2", {"layer_types": ["full_attention"] * 2}),
        ("gemma2", {"attn_logit_softcapping": None}),
        ("gemma2", {"final_logit_softcapping": None}),
        ("granite", {"logits_scaling": 1.0}),
        ("cohere", {"logit_scale": 1.0}),
    ],
)
def test_windows_caps_and_factors_matter_here(folder, tmp_path, name, change):
    """The equalities above would hold for models without any, too."""
    policy = load(folder(name))
    other = load(architectures.save(name, tmp_path / name, **change))
    for mine, its in zip(policy.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, its)
    batch = rows(policy, [[14, 3], [17]])
    assert (other.score(batch)[0] - policy.score(batch)[0]).abs().max() > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_adapters_train_and_their_absence_is_the_reference(folder, name):
    start = load(folder(name))
    policy = load(folder(name), lora={"r": 2, "alpha": 8})
    batch = rows(policy, [[14, 3], [9, 5]])
    reference = policy.reference()
    assert reference.model is policy.model and isinstance(reference.backbone, AdapterOff)
    assert {
        n.rsplit(".", 3)[-3] for n, p in policy.model.named_parameters() if p.requires_grad
    } == {
        "lora_A",
        "lora_B",
    }
    torch.testing.assert_close(policy.score(batch)[0], start.score(batch)[0], rtol=0, atol=1e-5)
    with torch.no_grad():
        for i, weight in enumerate(policy.parameters()):
            weight.normal_(std=0.1, generator=torch.Generator().manual_seed(i))
    ours = policy.score(batch)[0]
    assert (ours - start.score(batch)[0]).abs().max() > 0.01
    ours_gradients = gradients(policy, ours, batch.mask_NT)
    theirs = reference_logp(policy, batch)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    for mine, its in zip(ours_gradients, gradients(policy, theirs, batch.mask_NT), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        off = reference.score(batch)[0]
    torch.testing.assert_close(off, start.score(batch)[0].detach(), rtol=0, atol=1e-5)
    keys = [rng.key(0, i) for i in range(4)]
    drawn = [sample(p, [[9, 10], [11, 12, 13]], 2, keys, 9) for p in (reference, start, policy)]
    assert drawn[0].response_ids() == drawn[1].response_ids() != drawn[2].response_ids()
    assert policy.score(batch)[0].requires_grad  # on again


def test_adapters_start_the_same_everywhere_and_never_at_the_tables(folder):
    first, second = (load(folder("qwen2"), lora={"r": 2}) for _ in range(2))
    torch.manual_seed(5)
    for mine, its in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(mine, its)
    with pytest.raises(ConfigError, match="may not name the embeddings or the output layer"):
        load(folder("qwen2"), lora={"targets": ["q_proj", "lm_head"]})
    with pytest.raises(ConfigError, match="no_such"):
        load(folder("qwen2"), lora={"targets": ["no_such"]})


def test_frozen_weights_cost_no_gradient_of_their_own(folder):
    policy = load(folder("qwen3"), lora={"r": 2})
    flops, batch = Flops.of(policy.model), rows(policy, [[4]])
    adapters = sum(p.numel() for p in policy.parameters())
    assert flops.frozen == flops.linear - adapters and flops.head_frozen
    whole = Flops.of(load(folder("qwen3")).model)
    assert whole.training(batch) == 3 * whole.forward(batch)
    assert 2 * flops.forward(batch) < flops.training(batch) < 3 * flops.forward(batch)


def test_layers_are_recomputed(folder):
    policy = load(folder("gemma3"), checkpointing=True)
    calls = []
    for layer in policy.model.model.layers:
        layer.self_attn.register_forward_hook(lambda *_: calls.append(1))
    batch = rows(policy, [[4, 3]])
    policy.score(batch)[0].sum().backward()
    assert len(calls) == 2 * 2  # layers, forward and again
    assert not any(m.training for m in policy.model.modules())


def test_a_named_attention_takes_the_general_path(folder):
    assert isinstance(load(folder("llama")).backbone, PackedBackbone)
    eager = load(folder("llama"), attention="eager", dtype="float32")
    assert type(eager.backbone) is TransformersBackbone
    assert eager.model.config._attn_implementation == "eager"
    assert type(eager.reference().backbone) is TransformersBackbone


def test_another_ones_tokenizer_is_not_replaced(tmp_path, folder):
    """transformers 5 gives a Qwen2 model a Qwen2Tokenizer whatever tokenizer.json says."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    task = tasks.get("arithmetic")
    words = ["<unk>", "</s>", *task.vocabulary()]
    level = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    level.pre_tokenizer = pre_tokenizers.Split(Regex(task.word_pattern or ""), "isolated")
    level.decoder = decoders.Fuse()
    own = PreTrainedTokenizerFast(tokenizer_object=level, unk_token="<unk>", eos_token="</s>")
    AutoModelForCausalLM.from_pretrained(folder("qwen2")).save_pretrained(tmp_path)
    own.save_pretrained(tmp_path)
    text = "Tom has 3 coins. buys 10. now?"
    policy = load(tmp_path)
    assert policy.decode(policy.encode_response(text)) == text
    replaced = AutoTokenizer.from_pretrained(tmp_path)
    assert replaced.decode(replaced(text)["input_ids"]) != text  # else load_tokenizer is needless


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_prompt_and_reference_answer_are_the_templates_conversation(folder, name):
    policy = load(folder(name), chat="template")
    question, answer = "Tom has 3 coins. now?", "3####3"
    ids = policy.encode_prompt(question) + policy.encode_response(answer)
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    whole = policy.tokenizer.apply_chat_template(messages, tokenize=False)
    assert policy.tokenizer.decode(ids) == whole.rstrip("\n")
    assert ids[-1] == policy.end_id != policy.tokenizer.eos_token_id
    assert policy.decode(policy.encode_response(answer)) == answer
    assert {policy.end_id, policy.tokenizer.eos_token_id} == set(policy.stop_ids)
    bos = policy.tokenizer.bos_token_id
    assert bos is None or ids.count(bos) == ("bos_token" in TEMPLATES[name])


def test_options_and_system_prompts_reach_the_template(folder):
    policy = load(
        folder("qwen3"),
        chat="template",
        chat_options={"enable_thinking": False},
        system="Be brief.",
    )
    text = policy.tokenizer.decode(policy.encode_prompt("now?"))
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nnow?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


def test_any_model_can_chat_plainly(folder):
    policy = load(folder("gpt2"), chat="plain", system="Be brief.")
    assert policy.tokenizer.decode(policy.encode_prompt("now?")) == (
        "<|endoftext|>Be brief.\n\nUser:\nnow?\n\nAssistant:\n"
    )
    assert policy.end_id == policy.tokenizer.eos_token_id and policy.stop == ("\n\nUser:",)


def test_templates_that_cannot_be_used_are_refused(folder):
    with pytest.raises(ConfigError, match="no chat template; chat = 'plain' needs none"):
        load(folder("gpt2"), chat="template")
    with pytest.raises(ConfigError, match="System role not supported"):
        load(folder("gemma2"), chat="template", system="Be brief.")
    with pytest.raises(ValueError, match="system and chat_options need chat"):
        Model(path="x", system="Be brief.")


def test_every_end_token_ends_a_sample(folder, tmp_path):
    """Those of the generation config count, and the model's stop strings."""
    policy = load(folder("qwen2"))
    keys = [rng.key("stop", i) for i in range(24)]
    free = sample(policy, [[9, 10]], 24, keys, 30).response_ids()
    common = max(range(len(policy.tokenizer)), key=lambda i: sum(i in r[:20] for r in free))
    policy.model.generation_config.eos_token_id = [policy.end_id, common]
    policy.model.save_pretrained(tmp_path)
    policy.tokenizer.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert again.stop_ids == sorted([policy.end_id, common])
    drawn = sample(again, [[9, 10]], 24, keys, 30)
    cut = [r[: r.index(common) + 1] if common in r else r for r in free]
    assert drawn.response_ids() == cut and cut != free
    assert drawn.finished_N.tolist() == [r[-1] in again.stop_ids for r in cut]
    texts = policy.decode_many(free)
    word = max("aeno0123", key=lambda c: sum(c in text[:-3] for text in texts))
    stopped = sample(load(folder("qwen2"), stop=(word,)), [[9, 10]], 24, keys, 30)
    assert all(word not in policy.decode(ids[:-1]) for ids in stopped.response_ids())
    assert stopped.sampled_tokens < sum(map(len, free))


def test_the_merged_adapter_is_the_adapted_model(folder, tmp_path):
    policy = load(folder("llama"), lora={"r": 2})
    with torch.no_grad():
        for weight in policy.parameters():
            weight.normal_(std=0.1)
    policy.model.save_pretrained(tmp_path)
    plain = load(folder("llama"))
    merged = lora.merged(plain.model, tmp_path)
    batch = rows(policy, [[14, 3], [9]])
    fast = Policy(merged, plain.tokenizer)
    assert isinstance(fast.backbone, PackedBackbone)
    torch.testing.assert_close(fast.score(batch)[0], policy.score(batch)[0], rtol=0, atol=1e-5)


def test_recomputation_can_be_switched_on_for_a_loaded_model(folder):
    policy = load(folder("mistral"))
    batch = rows(policy, [[14, 3], [9]])
    before = policy.score(batch)[0]
    recompute(policy.model)
    torch.testing.assert_close(policy.score(batch)[0], before, rtol=0, atol=1e-5)


@pytest.fixture
def broken(folder, tmp_path):
    """A copy of the tiny Qwen2 with something done to it."""

    def make(change: str) -> Path:
        where = Path(shutil.copytree(folder("qwen2"), tmp_path / change))
        weights = where / "model.safetensors"
        if change == "no weights":
            weights.unlink()
        elif change == "torn weights":
            weights.write_bytes(weights.read_bytes()[:20000])
        elif change == "a weight less":
            content = load_file(weights)
            del content["model.layers.1.mlp.up_proj.weight"]
            save_file(content, weights, metadata={"format": "pt"})
        elif change == "another width":
            _edit(where / "config.json", hidden_size=64)
        elif change == "no tokenizer":
            for file in where.glob("tok*"):
                file.unlink()
        elif change == "no end token":
            _edit(where / "tokenizer_config.json", eos_token=None, pad_token=None)
        elif change == "no padding token":
            _edit(where / "tokenizer_config.json", pad_token=None)
        return where

    return make


def _edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("change", "early", "message"),
    [
        ("no weights", False, "no file named model.safetensors"),
        ("torn weights", False, "incomplete metadata"),
        ("a weight less", False, "1 weights are missing .*: model.layers.1.mlp.up_proj.weight"),
        ("another width", False, "weights are missing or of another shape than config.json says"),
        ("no tokenizer", True, "no tokenizer beside the weights"),
        ("no end token", True, "has no eos token"),
    ],
)
def test_a_broken_model_is_refused_with_its_path(broken, change, early, message):
    """Never loaded with random numbers or without text; early: before the first of many runs."""
    where = broken(change)
    model = Model(path=str(where))
    for refuse in [lambda: start.load(where, model)] + [lambda: start.check(model)] * early:
        with pytest.raises(ConfigError, match=message) as caught:
            refuse()
        assert str(where) in str(caught.value)


def test_without_a_padding_token_the_end_token_pads(broken):
    model = Model(path=str(broken("no padding token")))
    policy = start.load(str(model.path), model)
    assert policy.pad_id == policy.tokenizer.eos_token_id


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"path": "/no/such/folder"}, "'/no/such/folder': no such folder"),
        ({"path": "~/no/such"}, "/no/such': no such folder"),
        ({"path": "someone/unheard-of", "revision": "abc"}, "looked for on the hub at abc"),
        ({"attention": "flash_attention_2"}, "FlashAttention2"),
        ({"lora": {"targets": ["q_proj", "q_prj"]}}, "no module q_prj; allowed: 'all-linear', or"),
        ({"lora": {"targets": ["q_prj"]}}, "a list of down_proj, gate_proj, .*, v_proj$"),
    ],
)
def test_what_cannot_be_loaded_is_refused_before_the_first_run(folder, section, message):
    with pytest.raises(ConfigError, match=message):
        start.check(Model(**{"path": str(folder("qwen2")), **section}))


@pytest.mark.parametrize("name", NAMES)
def test_a_good_model_passes_the_check(folder, name):
    start.check(Model(path=str(folder(name)), chat="plain", lora=Lora(r=2)))
    one = "c_attn" if name == "gpt2" else "self_attn.q_proj"
    start.check(Model(path=str(folder(name)), lora=Lora(targets=(one,))))
