"""TRL's training step on the same work, alternating with ours."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

import tasks
from bench.config import Model
from bench.model import start
from bench.train.batch import Group

from .work import WARM_UP, Work, synchronize, timed

PEERS = ("grpo", "dpo", "sft")


class Transient:
    """Peak memory in bytes that steps took on a GPU above what was held before them."""

    def __init__(self, device: str):
        self.device, self.bytes, self.before = device, 0, 0

    def begin(self) -> None:
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()

    def end(self) -> None:
        if self.device == "cuda":
            self.bytes = max(self.bytes, torch.cuda.max_memory_allocated() - self.before)


class SideBySide(NamedTuple):
    """By side: "trl" and the names of ours."""

    seconds: dict[str, list[float]]  # of each counted step
    bytes: dict[str, int]  # peak of a step (Transient)


def alternate(trainer: Any, ours: dict[str, Callable[[], None]], device: str) -> SideBySide:
    """Train with TRL; after each of its steps make one of each of ours."""
    from transformers import PrinterCallback, TrainerCallback

    seconds: dict[str, list[float]] = {"trl": [], **{name: [] for name in ours}}
    taken = {name: Transient(device) for name in seconds}

    class Alternate(TrainerCallback):
        mark, turn = 0.0, tuple(ours)

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            taken["trl"].begin()
            self.mark = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            synchronize(device)
            seconds["trl"].append(time.perf_counter() - self.mark)
            taken["trl"].end()
            self.turn = self.turn[::-1]  # whoever comes first has TRL's data in the caches
            for name in self.turn:
                taken[name].begin()
                seconds[name].append(timed(ours[name]))
                taken[name].end()
            self.on_train_begin()

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Alternate())
    trainer.train()
    counted = {name: values[WARM_UP:] for name, values in seconds.items()}
    return SideBySide(counted, {name: most.bytes for name, most in taken.items()})


def peer(kind: str, work: Work, steps: int, scratch: str, *, groups: Sequence[Group] = ()) -> Any:
    """TRL's trainer for the same work, with everything switched off that is not part of it."""
    from importlib import import_module

    import datasets
    import huggingface_hub.constants

    trl: Any = import_module("trl")  # its classes are exported lazily
    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    datasets.disable_progress_bars()
    task = tasks.get("arithmetic")
    model = Model(path=work.model, dtype=work.dtype)  # pyright: ignore[reportArgumentType]
    policy = start.load(start.ensure(model, task), model, work.device)
    common: dict[str, Any] = {
        "output_dir": scratch, "max_steps": WARM_UP + steps, "learning_rate": 1e-7,
        "lr_scheduler_type": "constant", "max_grad_norm": 1.0, "adam_beta2": 0.95,
        "use_cpu": work.device == "cpu", "bf16": False, "gradient_checkpointing": False,
        "report_to": [], "logging_strategy": "no", "save_strategy": "no", "disable_tqdm": True,
        "optim": "adamw_torch_fused" if work.device == "cuda" else "adamw_torch",
    }  # fmt: skip
    parts: dict[str, Any] = {"model": policy.model, "processing_class": policy.tokenizer}
    if kind == "grpo":
        examples = task.examples("train")
        by_prompt = {e.prompt: e for e in examples}
        micro = min(work.rows, max(work.group, work.micro_tokens // (work.tokens + 32)))
        while work.rows % micro:
            micro -= 1
        config = trl.GRPOConfig(
            **common, per_device_train_batch_size=micro, num_generations=work.group,
            gradient_accumulation_steps=work.rows // micro, steps_per_generation=work.rows // micro,
            max_completion_length=work.tokens, beta=0.0, loss_type="grpo", temperature=1.0,
            generation_kwargs={"min_new_tokens": work.tokens} if work.full else None,
        )  # fmt: skip

        def judge(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
            if work.full:  # a coin, as on our side: the texts are noise
                return torch.randint(2, (len(prompts),)).double().tolist()
            pairs = zip(prompts, completions, strict=True)
            return [float(task.grade(by_prompt[p], [c])[0].correct) for p, c in pairs]

        data = datasets.Dataset.from_dict({"prompt": [e.prompt for e in examples]})
        return trl.GRPOTrainer(reward_funcs=judge, args=config, train_dataset=data, **parts)
    rows = [_record(kind, g) for g in groups]
    data = datasets.Dataset.from_list(rows)
    size = {**common, "per_device_train_batch_size": len(rows), "max_length": None}
    parts["train_dataset"] = data
    if kind == "dpo":
        return trl.DPOTrainer(args=trl.DPOConfig(**size, beta=0.1), **parts)
    return trl.SFTTrainer(args=trl.SFTConfig(**size), **parts)


def _record(kind: str, group: Group) -> dict[str, str]:
    prompt = group.example.prompt
    if kind == "sft":
        return {"prompt": prompt, "completion": group.example.solution or ""}
    chosen, rejected = (response.text for response in group.responses)
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}
