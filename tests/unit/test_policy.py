"""The two ways through a model agree with each other and with transformers' own forward."""

import pytest
import torch

from bench.core import rng
from bench.model import cached
from bench.model.backbone import TransformersBackbone
from bench.model.packed import PackedBackbone, misfit
from bench.model.rows import pad
from bench.sampling.hf import sample
from tests import tiny

SHAPES = [{}, {"num_key_value_heads": 1}, {"num_hidden_layers": 1, "tie_word_embeddings": True}]


def reference_logp(policy, rows):
    """Row by row, without padding, cache or sharing: the whole text through the model."""
    out = torch.zeros(rows.mask_NT.shape, dtype=policy.model.dtype)
    for n in range(len(rows)):
        prompt = rows.prompt_PL[rows.prompt_N[n]][rows.prompt_mask_PL[rows.prompt_N[n]]]
        response = rows.response_NT[n][rows.mask_NT[n]]
        logits = policy.model(torch.cat([prompt, response])[None]).logits[0]
        logp = (logits[len(prompt) - 1 : -1] / rows.temperature_N[n]).log_softmax(-1)
        out[n, : len(response)] = logp.gather(1, response[:, None])[:, 0]
    return out


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("backbone", [TransformersBackbone, PackedBackbone])
def test_score_and_its_gradient_equal_the_plain_forward(shape, backbone):
    policy = tiny.policy(dtype=torch.float64, **shape)
    assert misfit(policy.model) is None
    policy.backbone = backbone(policy.model)
    rows = tiny.rows(policy, [[1, 5, 3], [4], [2, 7]])
    weight = torch.randn(rows.mask_NT.shape, dtype=torch.float64)
    gradients = []
    for logp in (policy.score(rows)[0], reference_logp(policy, rows)):
        policy.model.zero_grad(set_to_none=True)
        (logp * weight * rows.mask_NT).sum().backward()
        gradients.append([logp.detach()] + [p.grad for p in policy.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        # transformers takes norms and rotations in float32 whatever the model's dtype
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_entropy_and_large_vocabularies_in_chunks(monkeypatch):
    policy = tiny.policy(dtype=torch.float64)
    rows = tiny.rows(policy, [[5, 3], [6]])
    logp, entropy = policy.score(rows, entropy=True)
    monkeypatch.setattr("bench.model.policy.LOGIT_CHUNK", 3 * policy.model.config.vocab_size)
    chunked, chunked_entropy = policy.score(rows, entropy=True)
    torch.testing.assert_close(chunked, logp)
    torch.testing.assert_close(chunked_entropy, entropy)
    assert (
        entropy is not None
        and (entropy[rows.mask_NT] > 0).all()
        and (entropy[~rows.mask_NT] == 0).all()
    )


@pytest.mark.parametrize("backbone", [TransformersBackbone, PackedBackbone])
def test_sampler_logp_is_the_policys(backbone):
    policy = tiny.policy()
    policy.backbone = backbone(policy.model)
    prompts = [[2, 5, 6], [2, 9, 8, 7, 11]]
    drawn = sample(policy, prompts, 6, [rng.key(0, i) for i in range(12)], 60, temperature=1.3)
    assert (
        drawn.rows.mask_NT.sum(-1).unique().numel() > 2
    )  # some ended early: compaction took place
    with torch.no_grad():
        torch.testing.assert_close(policy.score(drawn.rows)[0], drawn.logp_NT, rtol=1e-4, atol=1e-4)
    assert drawn.sampled_tokens == int(drawn.rows.mask_NT.sum())


def test_a_rows_tokens_do_not_depend_on_compaction_or_company():
    policy = tiny.policy()
    prompts = [[2, 5, 6], [2, 9, 8, 7, 11], [2, 30]]
    keys = [rng.key(0, i) for i in range(12)]
    whole = sample(policy, prompts, 4, keys, 50).response_ids()
    assert sample(policy, prompts, 4, keys, 50, compact=0.0).response_ids() == whole
    assert sample(policy, prompts, 4, keys, 50, compact=1.0).response_ids() == whole
    assert sample(policy, prompts, 4, keys, 50, look=7).response_ids() == whole
    assert sample(policy, prompts[1:2], 4, keys[4:8], 50).response_ids() == whole[4:8]
    policy.backbone = TransformersBackbone(policy.model)
    assert sample(policy, prompts, 4, keys, 50).response_ids() == whole


@pytest.mark.parametrize("backbone", [TransformersBackbone, PackedBackbone])
def test_rows_of_several_temperatures_are_drawn_as_in_batches_of_their_own(backbone, monkeypatch):
    policy = tiny.policy(dtype=torch.float64)
    policy.backbone = backbone(policy.model)
    prompts, keys = [[2, 5, 6], [2, 9, 8, 7, 11], [2, 30]], [rng.key(0, i) for i in range(3)]
    temperatures = [0, 1.0, 1.0, 0.6, 1.7]  # of a group's rows, whose keys are one
    both = [key for key in keys for _ in temperatures]
    whole = sample(policy, prompts, 5, both, 50, temperatures)
    assert whole.rows.lengths_N.unique().numel() > 3  # compaction took place
    alone = [sample(policy, prompts, 1, keys if t else None, 50, t or 1.0) for t in temperatures]
    assert whole.response_ids() == [part.response_ids()[p] for p in range(3) for part in alone]
    assert len({tuple(ids) for ids in whole.response_ids()[:5]}) == 4  # two rows are alike
    torch.testing.assert_close(
        policy.score(whole.rows)[0], whole.logp_NT.double(), rtol=0, atol=2e-5
    )
    monkeypatch.setattr("bench.sampling.hf.CACHE_BYTES", 1)
    parts = sample(policy, prompts, 5, both, 50, temperatures)
    assert parts.response_ids() == whole.response_ids()
    assert torch.equal(parts.rows.temperature_N, whole.rows.temperature_N)
    with pytest.raises(ValueError, match="2 temperatures for groups of 5 rows"):
        sample(policy, prompts, 5, both, 50, [1.0, 0.6])


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_that_share_their_prompt_draw_what_rows_with_copies_draw(shape, monkeypatch):
    policy = tiny.policy(dtype=torch.float64, **shape)
    prompts = [[2, 5, 6], [2, 9, 8, 7, 11], [2, 30], [2, 8, 8, 9, 30, 31, 7]]  # ends differ
    keys = [rng.key(0, i) for i in range(36)]
    expanded, shared = cached.PackedCache.expand, []

    def watched(self, prompt_N):
        expanded(self, prompt_N)
        shared.append(self.shelf is not None)

    monkeypatch.setattr(cached.PackedCache, "expand", watched)
    drawn = []
    for copies in (1 << 23, 0):
        monkeypatch.setattr(cached, "COPIES", copies)
        drawn.append(sample(policy, prompts, 9, keys, 60, compact=1.0))
    copied, beside = drawn
    assert shared == [False, True] and copied.rows.lengths_N.unique().numel() > 5
    assert beside.response_ids() == copied.response_ids()
    torch.testing.assert_close(beside.logp_NT, copied.logp_NT)
    own = [sample(policy, [p], 9, keys[9 * i : 9 * i + 9], 60) for i, p in enumerate(prompts)]
    assert [ids for part in own for ids in part.response_ids()] == copied.response_ids()


def test_batches_that_the_cache_has_no_room_for_take_turns(monkeypatch):
    policy = tiny.policy()
    prompts = [[2, 5, 6], [2, 9, 8, 7, 11], [2, 30], [2, 7, 7]]
    keys = [rng.key(0, i) for i in range(12)]
    whole, greedy = sample(policy, prompts, 3, keys, 40, 1.3), sample(policy, prompts, 1, None, 40)
    row = 2 * 2 * 2 * 8 * 4 * (5 + 40)  # layers, keys and values, heads, width, bytes; tokens
    assert policy.cached_rows(7 * row, 45) == 7
    for size in (7 * row, 3 * row, 1):
        monkeypatch.setattr("bench.sampling.hf.CACHE_BYTES", size)
        parts = sample(policy, prompts, 3, keys, 40, 1.3)
        assert parts.response_ids() == whole.response_ids()
        for name in vars(whole.rows):
            assert torch.equal(getattr(parts.rows, name), getattr(whole.rows, name)), name
        torch.testing.assert_close(parts.logp_NT, whole.logp_NT)
        assert torch.equal(parts.finished_N, whole.finished_N)
        assert parts.sampled_tokens == whole.sampled_tokens
        assert parts.prompt_tokens == whole.prompt_tokens
        again = sample(policy, prompts, 1, None, 40)
        assert again.response_ids() == greedy.response_ids()


def test_greedy_equals_transformers_generate():
    policy = tiny.policy()
    for prompt in ([2, 5, 6, 40], [2, 9]):
        ours = sample(policy, [prompt], 1, None, 20).response_ids()[0]
        theirs = policy.model.generate(
            torch.tensor([prompt]),
            max_new_tokens=20,
            do_sample=False,
            eos_token_id=policy.end_id,
            pad_token_id=policy.pad_id,
        )
        assert ours == theirs[0, len(prompt) :].tolist()


def test_samples_follow_the_models_distribution():
    policy = tiny.policy()
    drawn = sample(policy, [[2, 5, 6]], 4000, [rng.key("d", i) for i in range(4000)], 1)
    with torch.no_grad():
        probability = policy.model(torch.tensor([[2, 5, 6]])).logits[0, -1].softmax(-1)
    share = torch.bincount(drawn.rows.response_NT[:, 0], minlength=len(probability)) / 4000
    assert (share - probability).abs().max() < 0.035


def test_stop_strings_end_a_response():
    policy = tiny.policy()
    keys = [rng.key("stop", i) for i in range(16)]
    free = policy.decode_many(sample(policy, [[2, 5]], 16, keys, 40).response_ids())
    drawn = sample(policy, [[2, 5]], 16, keys, 40, stop=("=",))
    for before, after, finished in zip(
        free, policy.decode_many(drawn.response_ids()), drawn.finished_N, strict=True
    ):
        assert after == before.partition("=")[0] + ("=" if "=" in before else "")
        assert finished or "=" not in before


def test_micro_batches_hold_every_row_once_within_the_limit():
    policy = tiny.policy()
    rows = tiny.rows(policy, [[1, 9, 3], [4, 4], [2, 12, 7, 1]])
    width = rows.prompt_PL.shape[1]
    for limit in (1, 40, 60, 10_000):
        chunks = rows.micro_batches(limit)
        assert sorted(torch.cat(chunks).tolist()) == list(range(len(rows)))
        for chunk in chunks:
            longest = int(rows.lengths_N[chunk].max())
            assert len(chunk) == 1 or (width + longest) * len(chunk) <= limit
    assert len(rows.micro_batches(10_000)) == 1


def test_select_keeps_the_tokens_of_a_row():
    policy = tiny.policy()
    rows = tiny.rows(policy, [[1, 9], [4], [2, 3]])
    part = rows.select(torch.tensor([4, 2]))
    assert part.response_NT.shape[1] == 4 and part.prompt_PL.shape[0] == 2
    for new, old in enumerate((4, 2)):
        for block, n in ((part, new), (rows, old)):
            p = block.prompt_N[n]
            texts = (
                block.prompt_PL[p][block.prompt_mask_PL[p]],
                block.response_NT[n][block.mask_NT[n]],
            )
            if block is part:
                mine = texts
        assert all(torch.equal(a, b) for a, b in zip(mine, texts, strict=True))


def test_tokenizer_round_trip_after_save_and_load(tmp_path):
    from transformers import AutoTokenizer

    import tasks

    policy = tiny.policy()
    policy.tokenizer.save_pretrained(tmp_path)
    policy.model.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for example in tasks.get("arithmetic").examples("train")[:200]:
        text = example.prompt + (example.solution or "")
        ids = loaded(text, add_special_tokens=False)["input_ids"]
        assert loaded.decode(ids) == text
        assert ids == policy.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert loaded.unk_token_id not in ids


def test_pad_refuses_nothing_and_masks_everything():
    rows = pad([[5, 6], [7]], [0, 1, 1], [[8], [9, 9, 9], []], [1.0, 1.0, 1.0], 0)
    assert rows.prompt_PL.tolist() == [[5, 6], [0, 7]]
    assert rows.mask_NT.tolist() == [
        [True, False, False],
        [True, True, True],
        [False, False, False],
    ]
