"""One training step of ours: what it works on, the model it uses, and how long it takes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import tasks
from bench.config import Model, RunConfig, build_suite
from bench.model import start
from bench.record.ledger import Ledger
from bench.record.store import RunFolder
from bench.train.batch import Group, Response
from bench.train.loop import Loop
from bench.train.session import Session
from bench.train.sources import Drawn
from methods import Method, Rollout, Signal

WARM_UP = 2  # steps that are not counted

# Dimensions for random weights: of the embedded task's base, of a public model.
SMALL = {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 3,
         "intermediate_size": 256, "vocab_size": 512}  # fmt: skip
SHAPES: dict[str, dict[str, Any]] = {
    "embedded": SMALL,
    "qwen2.5-0.5b": {
        "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14,
        "num_key_value_heads": 2, "intermediate_size": 4864, "vocab_size": 151_936,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Work:
    """What a step does: Q prompts, G samples of each with at most `tokens` tokens."""

    prompts: int = 16
    group: int = 8
    tokens: int = 36
    model: str | None = None  # a folder; None: the base of the embedded task
    full: bool = False  # every response goes to its limit
    micro_tokens: int = 65536
    device: str = "cpu"
    dtype: str = "float32"

    @property
    def rows(self) -> int:
        return self.prompts * self.group

    def run(self, method: str, **sections: Any) -> RunConfig:
        model = {"path": self.model, "dtype": self.dtype} if self.model else {}
        shape = {"prompts": self.prompts, "group": self.group, "max_tokens": self.tokens}
        # a learning rate so small that every step does the same work
        fixed = {"seeds": 1, "optimizer": {"lr": 1e-7}, "micro_tokens": self.micro_tokens}
        recipe = {"methods": [method], "model": model, "rollout": shape, **fixed, **sections}
        return build_suite(recipe, "speed").runs[0]


@dataclass(frozen=True)
class Fixed:
    """A source that gives the same rows again and again, and charges nothing."""

    groups: list[Group]

    def draw(self, rollout: int, cursor: int, ledger: Ledger, refill: bool) -> Drawn:
        return Drawn(self.groups, cursor)


def undropped(method: Method) -> Method:
    """The same objective with all rows trained, also those without weight."""
    cls: Any = type(method)

    class Undropped(cls):
        def signal(self, rollout: Rollout) -> Signal:
            signal = super().signal(rollout)
            return replace(signal, trained_N=torch.ones_like(signal.trained_N))

    return Undropped(**method.model_dump())


class Ours:
    """This project's loop, a rollout batch and its updates at a call."""

    def __init__(
        self,
        run: RunConfig,
        folder: Path,
        work: Work,
        *,
        source: Fixed | None = None,
        drop: bool = True,
    ):
        place = folder / run.name
        place.mkdir(parents=True, exist_ok=True)
        self.session = Session(run, RunFolder(place), "speed", work.device)
        if work.full and source is None:  # what is given has its end already
            self.session.policy.stop_ids = []
        own = [m for m in self.session.objectives if isinstance(m, Method)]
        own = own if drop else [undropped(m) for m in own]
        sources = {self.session.sources[0]: source} if source else None
        self.loop = Loop(self.session, methods=own, sources=sources)
        # of the last step: response tokens, and FLOPs without and with recomputed passes
        self.tokens = self.useful = self.flops = 0.0

    def __call__(self) -> None:
        ledger = self.session.ledger
        before = replace(ledger)
        if diverged := self.loop.step():
            raise RuntimeError(diverged)
        synchronize(self.session.policy.device.type)
        drawn = ledger.tokens_sampled - before.tokens_sampled
        self.tokens = drawn or ledger.tokens_trained - before.tokens_trained
        self.useful = ledger.flops - before.flops
        self.flops = self.useful + ledger.flops_recomputed - before.flops_recomputed


def shaped(work: Work, name: str, folder: Path) -> Work:
    """The same work on a model of a public one's dimensions with random weights, in bfloat16 on a
    GPU. Every response then goes to its limit, and rewards are coins."""
    dtype = "bfloat16" if work.device == "cuda" else "float32"
    path = build(SHAPES[name], folder, getattr(torch, dtype))
    return replace(work, model=str(path), full=True, dtype=dtype)


def build(shape: dict[str, Any], folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """A folder with a Llama of random weights and the embedded task's tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer: Any = start.build_tokenizer(Model(), tasks.get("arithmetic"))
    config = LlamaConfig(
        num_key_value_heads=shape.get("num_key_value_heads", shape["num_attention_heads"]),
        max_position_embeddings=2048, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **{k: v for k, v in shape.items() if k != "num_key_value_heads"},
    )  # fmt: skip
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(config)
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def timed(step: Callable[[], Any]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def rate(threads: int, device: str = "cpu", multiply: Callable[..., Any] = torch.mm) -> float:
    """FLOP/s of matrix products, the best of several tries: float32 on so many CPU threads,
    bfloat16 on a GPU."""
    torch.set_num_threads(threads)
    size, dtype = (1024, torch.float32) if device == "cpu" else (8192, torch.bfloat16)
    a, best = torch.randn(size, size, dtype=dtype, device=device), 0.0

    def product() -> None:
        multiply(a, a)
        synchronize(device)

    for _ in range(12):
        best = max(best, 2 * size**3 / timed(product))
    return best


def answers(work: Work, group: int) -> list[Group]:
    """Rows as in a replay set: `group` responses per prompt, right and wrong ones alternating."""
    task, model = tasks.get("arithmetic"), Model(path=work.model)
    policy, groups = start.load(start.ensure(model, task), model), []
    for example in [e for e in task.examples("train") if e.solution][: work.prompts]:
        right = example.solution or ""
        texts = [_slip(right, k) if k % 2 else right for k in range(group)]
        grades = task.grade(example, texts)
        ids = [policy.encode_response(t)[: work.tokens] for t in texts]
        drawn = zip(ids, texts, grades, strict=True)
        rows = [Response(i, t, grade=g, finished=True, logp=[-1.0] * len(i)) for i, t, g in drawn]
        groups.append(Group(example, rows))
    return groups


def _slip(solution: str, k: int) -> str:
    """The same text with a wrong final digit."""
    last = solution[-1]
    return solution[:-1] + str((int(last) + 1 + k % 8) % 10) if last.isdigit() else solution + "1"
