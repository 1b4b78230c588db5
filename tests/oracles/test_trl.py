"""Value and gradient equal TRL's own loss code, on the same tiny model and batch.

TRL's trainers are built as a user would, fed one batch through their own collators (or, where they
would sample, with given completions and rewards), and their own loss method is called.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
trl = pytest.importorskip("trl", reason="the oracles compare with TRL")
datasets = pytest.importorskip("datasets")

import methods  # noqa: E402
from bench.train.correction import Correction  # noqa: E402
from methods import GOLD, MISMATCHED, SAMPLE, Leaves, Rollout  # noqa: E402

from . import tiny  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

ARGUMENTS: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "report_to": [],
    "disable_tqdm": True,
    "save_strategy": "no",
    "gradient_checkpointing": False,
}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("start"))


def options(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return ARGUMENTS | {"output_dir": str(tmp_path)} | more


# sampling methods

PROMPTS = ["a b", "c d e", "f"]
COMPLETIONS = [
    "c d e <eos>", "f <eos>", "g h i j k l", "a",
    "e e <eos>", "f g h i <eos>", "m", "a a a",
    "b c <eos>", "d <eos>", "e f", "g <eos>",
]  # fmt: skip
REWARDS = torch.tensor(
    [1.0, 0, 0, 1, 0.5, -0.3, 0.1, 0.7, 1, 1, 1, 1]
)  # the last prompt: no variance
GROUP, LIMIT = 4, 6


def sampling(folder: Path, **arguments: Any) -> dict[str, Any]:
    """The options of a trainer that samples its own completions."""
    return options(
        folder, num_generations=GROUP, per_device_train_batch_size=len(COMPLETIONS),
        max_completion_length=LIMIT, steps_per_generation=1, **arguments,
    )  # fmt: skip


def built(kind: Any, start: Path, args: Any, data: dict[str, Any], **more: Any) -> Any:
    """One of TRL's trainers, on the model in `start`."""
    return kind(
        model=tiny.load(start), args=args, train_dataset=datasets.Dataset.from_dict(data),
        processing_class=tiny.tokenizer(start), **more,
    )  # fmt: skip


def no_reward(completions: list[str], **_: Any) -> list[float]:
    return [0.0] * len(completions)


def fed(trainer: Any, tokenizer: Any, old_first: bool, sampled: Any = None) -> dict[str, Any]:
    """TRL's own scoring of the given completions: its advantages, reference and old log-probs."""
    ids = [tokenizer(p)["input_ids"] for p in PROMPTS for _ in range(GROUP)]
    answers = [tokenizer(c)["input_ids"] for c in COMPLETIONS]
    result = (ids, answers, None, COMPLETIONS, sampled, {}, None, None)
    trainer._generate = lambda _: result if old_first else (ids, answers, COMPLETIONS)
    trainer._calculate_rewards = lambda *_, **__: REWARDS[:, None].clone()
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer._generate_and_score_completions(
        [{"prompt": p} for p in PROMPTS for _ in range(GROUP)]
    )


def rollout(mask_NT: torch.Tensor, **known: torch.Tensor) -> Rollout:
    """Ours of the same completions."""
    group_N = torch.arange(len(REWARDS)) // GROUP
    return tiny.rollout(mask_NT, reward_N=REWARDS, group_N=group_N, max_tokens=LIMIT, **known)


def scored(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    mask = torch.cat([torch.zeros_like(batch["prompt_mask"]), batch["completion_mask"]], 1)
    return tiny.logp(model, ids, attention, mask)


@pytest.fixture(scope="module")
def grpo(start, tmp_path_factory):
    arguments = sampling(tmp_path_factory.mktemp("grpo"), beta=0.04)
    args, data = trl.GRPOConfig(**arguments), {"prompt": PROMPTS}
    return built(trl.GRPOTrainer, start, args, data, reward_funcs=no_reward)


CLIP = {"epsilon_low": 0.2, "epsilon_high": 0.2}
GRPO_CASES = [
    ("grpo", {}, {"loss_type": "grpo", **CLIP}),
    ("grpo", {"aggregation": "token_mean"}, {"loss_type": "bnpo", **CLIP}),
    ("grpo", {"aggregation": "token_mean", "clip_high": 0.28},
     {"loss_type": "dapo", "epsilon_low": 0.2, "epsilon_high": 0.28}),
    ("dr-grpo", {}, {"loss_type": "dr_grpo", "scale_rewards": "none", **CLIP}),
    ("gspo", {}, {"loss_type": "grpo", "importance_sampling_level": "sequence",
                  "epsilon_low": 3e-4, "epsilon_high": 4e-4}),
    ("gspo", {"clip": 0.1, "clip_high": 0.2},
     {"loss_type": "grpo", "importance_sampling_level": "sequence",
      "epsilon_low": 0.1, "epsilon_high": 0.2}),
    ("cispo", {"absolute_cap": True, "epsilon_high": 1.05},
     {"loss_type": "cispo", "epsilon_high": 1.05}),
    ("cispo", {"absolute_cap": True, "epsilon_high": 5.0},
     {"loss_type": "cispo", "epsilon_high": 5.0}),
]  # fmt: skip


def configure(trainer: Any, settings: dict[str, Any]) -> None:
    defaults = {"importance_sampling_level": "token", "scale_rewards": "group"}
    for key, value in {**defaults, **settings}.items():
        assert hasattr(trainer, key)
        setattr(trainer, key, value)


@pytest.mark.parametrize("later", [False, True], ids=["first update", "later update"])
@pytest.mark.parametrize(("kl", "correction"), [(0.0, False), (0.04, False), (0.04, True)])
@pytest.mark.parametrize(("name", "fields", "theirs"), GRPO_CASES, ids=str)
def test_grpo_family(grpo, start, name, fields, theirs, kl, correction, later):
    configure(grpo, {**theirs, "beta": kl})
    grpo.args.use_bias_correction_kl = correction
    grpo.model.load_state_dict(tiny.load(start).state_dict())
    tiny.disturb(grpo.model, seed=1)  # the policy has left the reference
    batch = fed(grpo, tiny.tokenizer(start), old_first=True)
    with torch.no_grad():
        old_NT, mask_NT = scored(grpo.model, batch)
        ref_NT, _ = scored(tiny.load(start), batch)
    if later:
        batch["old_per_token_logps"] = old_NT
        tiny.disturb(grpo.model, seed=2, size=0.05)
    expected = grpo._compute_loss(grpo.model, batch)
    logp_NT, _ = scored(grpo.model, batch)
    r = rollout(mask_NT, old_logp_NT=old_NT, ref_logp_NT=ref_NT)
    method = methods.get(name, kl=kl, kl_correction=correction, **fields)
    advantage = method.signal(r).advantage_NT
    assert advantage is not None
    torch.testing.assert_close(advantage[:, 0], batch["advantages"], rtol=1e-5, atol=1e-6)
    found = tiny.ours(method, r, logp_NT)
    if later and kl == 0:  # the clip must be at work for the comparison to mean anything
        assert 0 < found.metrics["clip_fraction"] < 1 or fields.get("epsilon_high") == 5.0
    tiny.agree(found.value, expected, grpo.model)


@pytest.mark.parametrize("how", ["token_truncate", "sequence_truncate"])
def test_importance_weights_of_an_engines_samples(grpo, start, how, monkeypatch):
    """The engine's log-probs are off by noise; TRL makes its weights of them, we make ours."""
    configure(grpo, {"loss_type": "grpo", "beta": 0.04, **CLIP})
    settings = {"use_vllm": True, "vllm_importance_sampling_correction": True,
                "vllm_importance_sampling_mode": how, "vllm_importance_sampling_clip_max": 1.3,
                "vllm_importance_sampling_clip_min": None}  # fmt: skip
    grpo.args.use_bias_correction_kl = False
    grpo.model.load_state_dict(tiny.load(start).state_dict())
    tiny.disturb(grpo.model, seed=1)
    batch = fed(grpo, tiny.tokenizer(start), old_first=True)
    with torch.no_grad():
        old_NT, mask_NT = scored(grpo.model, batch)
        ref_NT, _ = scored(tiny.load(start), batch)
    noise = torch.randn(old_NT.shape, generator=torch.Generator().manual_seed(3))
    sampler_NT = (old_NT + 0.3 * noise) * mask_NT
    lists = [row[:n].tolist() for row, n in zip(sampler_NT, mask_NT.sum(-1), strict=True)]
    for key, value in settings.items():
        assert hasattr(grpo, key)
        monkeypatch.setattr(grpo, key, value)
    batch = fed(grpo, tiny.tokenizer(start), old_first=True, sampled=lists)
    tiny.disturb(grpo.model, seed=2, size=0.05)
    expected = grpo._compute_loss(grpo.model, batch)
    logp_NT, _ = scored(grpo.model, batch)
    r = rollout(mask_NT, old_logp_NT=old_NT, ref_logp_NT=ref_NT, sampler_logp_NT=sampler_NT)
    method = methods.get("grpo", kl=0.04)
    signal, metrics = Correction(how, 1.3)(old_NT, r, method.signal(r), method.weighted)
    assert metrics["sampler_weight"] < 1.2 and metrics["sampler_drift"] > 0.1
    found = method.loss(Leaves(logp_NT), r, signal)
    tiny.agree(found.value, expected, grpo.model)


def test_dapo_is_trls_on_the_groups_with_variance(grpo, start):
    """TRL does not drop the group without variance; without it in the batch both agree."""
    configure(grpo, {"loss_type": "dapo", "epsilon_low": 0.2, "epsilon_high": 0.28, "beta": 0.0})
    grpo.model.load_state_dict(tiny.load(start).state_dict())
    batch = fed(grpo, tiny.tokenizer(start), old_first=True)
    with torch.no_grad():
        old_NT, mask_NT = scored(grpo.model, batch)
    batch["old_per_token_logps"] = old_NT
    tiny.disturb(grpo.model, seed=2, size=0.05)
    live = 2 * GROUP
    kept = {k: v[:live] if v.ndim else v for k, v in batch.items()}
    kept["num_items_in_batch"] = mask_NT[:live].sum()
    expected = grpo._compute_loss(grpo.model, kept)
    logp_NT, _ = scored(grpo.model, batch)
    r = rollout(mask_NT, old_logp_NT=old_NT)
    found = tiny.ours(methods.get("dapo", overlong_penalty=0.0), r, logp_NT)
    tiny.agree(found.value, expected, grpo.model)


@pytest.mark.parametrize("later", [False, True], ids=["first update", "later update"])
@pytest.mark.parametrize("kl", [0.0, 0.1])
def test_rloo(start, tmp_path, kl, later):
    arguments = sampling(tmp_path, beta=kl, epsilon=0.2)
    args, data = trl.RLOOConfig(**arguments), {"prompt": PROMPTS}
    trainer = built(trl.RLOOTrainer, start, args, data, reward_funcs=no_reward)
    tiny.disturb(trainer.model, seed=1)
    batch = fed(trainer, tiny.tokenizer(start), old_first=False)
    with torch.no_grad():
        old_NT, mask_NT = scored(trainer.model, batch)
        ref_NT, _ = scored(tiny.load(start), batch)
    if later:
        tiny.disturb(trainer.model, seed=2, size=0.05)
    expected = trainer._compute_loss(trainer.model, batch)
    logp_NT, _ = scored(trainer.model, batch)
    r = rollout(mask_NT, old_logp_NT=old_NT, ref_logp_NT=ref_NT)
    found = tiny.ours(methods.get("rloo", kl=kl, clip=0.2), r, logp_NT)
    theirs = tiny.gradient(expected, trainer.model)
    tiny.same(found.value, tiny.gradient(found.value, trainer.model), expected, theirs)
    if not later:  # the paper's form has another value and the same gradient
        logp_NT, _ = scored(trainer.model, batch)
        plain = tiny.ours(methods.get("rloo", kl=kl), r, logp_NT).value
        tiny.same(expected, theirs, expected, tiny.gradient(plain, trainer.model))


# demonstrations, pairs, labels


@pytest.mark.parametrize(("name", "loss_type"), [("sft", "nll"), ("dft", "dft")])
def test_supervised(start, tmp_path, name, loss_type):
    data = {"prompt": PROMPTS, "completion": [" c d e", " f", " g h i j k"]}
    args = trl.SFTConfig(**options(tmp_path, per_device_train_batch_size=3, loss_type=loss_type))
    trainer = built(trl.SFTTrainer, start, args, data)
    batch = next(iter(trainer.get_train_dataloader()))
    model = trainer.model
    logp_NT, mask_NT = tiny.logp(
        model, batch["input_ids"], batch["attention_mask"], batch["labels"] != -100
    )
    expected = trainer.compute_loss(model, dict(batch))
    r = tiny.rollout(mask_NT, kind_N=torch.full((3,), GOLD))
    found = tiny.ours(methods.get(name), r, logp_NT)
    tiny.agree(found.value, expected, model)


@pytest.mark.parametrize(
    ("name", "fields", "theirs"),
    [
        ("dpo", {"beta": 0.3}, {"loss_type": ["sigmoid"], "beta": 0.3}),
        ("ipo", {"beta": 0.2, "average": True}, {"loss_type": ["ipo"], "beta": 0.2}),
    ],
)
def test_pairs(start, tmp_path, name, fields, theirs):
    data = {
        "prompt": PROMPTS,
        "chosen": [" c d e", " f", " g h i j k"],
        "rejected": [" a", " b b b", " m l"],
    }
    args = trl.DPOConfig(**options(tmp_path, per_device_train_batch_size=3, **theirs))
    trainer = built(trl.DPOTrainer, start, args, data, ref_model=tiny.load(start))
    tiny.disturb(trainer.model, seed=3)
    batch = next(iter(trainer.get_train_dataloader()))
    inputs = (batch["input_ids"], batch["attention_mask"], batch["completion_mask"])
    logp_NT, mask_NT = tiny.logp(trainer.model, *inputs)
    with torch.no_grad():
        ref_NT, _ = tiny.logp(tiny.load(start), *inputs)
    expected = trainer._compute_loss(trainer.model, dict(batch), return_outputs=False)
    r = tiny.rollout(
        mask_NT,
        group_N=torch.arange(6) % 3,
        correct_N=torch.arange(6) < 3,
        ref_logp_NT=ref_NT,
    )
    found = tiny.ours(methods.get(name, **fields), r, logp_NT)
    tiny.agree(found.value, expected, trainer.model)


@pytest.mark.parametrize(("move", "floored"), [(16, False), (7, True)])
def test_kto(start, tmp_path, move, floored):
    data = {
        "prompt": [*PROMPTS, "g h"],
        "completion": [" c d e", " f", " g h i j k", " a a"],
        "label": [True, False, True, False],
    }
    arguments = {"beta": 0.5, "desirable_weight": 1.0, "undesirable_weight": 0.7}
    args = trl.KTOConfig(**options(tmp_path, per_device_train_batch_size=4, **arguments))
    trainer = built(trl.KTOTrainer, start, args, data, ref_model=tiny.load(start))
    tiny.disturb(trainer.model, seed=move, size=0.1)
    batch = next(iter(trainer.get_train_dataloader()))

    def all_rows(model) -> tuple[torch.Tensor, torch.Tensor]:
        parts = [
            tiny.logp(
                model, *(batch[p + k] for k in ("input_ids", "attention_mask", "completion_mask"))
            )
            for p in ("", "KL_")
        ]
        width = max(logp.shape[1] for logp, _ in parts)

        def wide(x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.pad(x, (0, width - x.shape[1]))

        return torch.cat([wide(a) for a, _ in parts]), torch.cat([wide(m) for _, m in parts])

    logp_NT, mask_NT = all_rows(trainer.model)
    with torch.no_grad():
        ref_NT, _ = all_rows(tiny.load(start))
    expected = trainer._compute_loss(trainer.model, dict(batch), return_outputs=False)
    label = torch.as_tensor(batch["label"], dtype=torch.bool)
    r = tiny.rollout(
        mask_NT,
        group_N=torch.arange(8) % 4,
        kind_N=torch.tensor([SAMPLE] * 4 + [MISMATCHED] * 4),
        correct_N=torch.cat([label, torch.zeros(4, dtype=torch.bool)]),
        ref_logp_NT=ref_NT,
    )
    method = methods.get("kto", beta=0.5, desirable=1.0, undesirable=0.7)
    found = tiny.ours(method, r, logp_NT)
    assert (found.metrics["z0"] == 0) == floored
    tiny.agree(found.value, expected, trainer.model)


def test_simpo_and_orpo_on_their_own_arithmetic():
    """Their trainers are experimental; the loss functions alone, on the same mean log-probs."""
    cpo = pytest.importorskip("trl.experimental.cpo").CPOTrainer
    orpo = pytest.importorskip("trl.experimental.orpo").ORPOTrainer
    device = SimpleNamespace(device="cpu")
    better, worse = torch.tensor([-0.4, -1.3]), torch.tensor([-0.9, -0.7])
    logp_NT = torch.cat([better, worse])[:, None]
    mask_NT = torch.ones(4, 1, dtype=torch.bool)
    r = tiny.rollout(mask_NT, group_N=torch.arange(4) % 2, correct_N=torch.arange(4) < 2)

    stub = SimpleNamespace(
        beta=2.0, simpo_gamma=1.0, alpha=0.0, loss_type="simpo", label_smoothing=0.0,
        accelerator=device,
    )  # fmt: skip
    expected = cpo.cpo_loss(stub, better, worse)[0].mean()
    found = tiny.ours(methods.get("simpo", beta=2.0, gamma=1.0), r, logp_NT).value
    torch.testing.assert_close(found, expected)

    stub = SimpleNamespace(beta=0.3, accelerator=device)
    ratio = orpo.odds_ratio_loss(stub, better, worse)[0]
    expected = (-better - ratio).mean()
    found = tiny.ours(methods.get("orpo", lam=0.3), r, logp_NT).value
    torch.testing.assert_close(found, expected)
