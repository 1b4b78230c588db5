"""`evenbench speed`: a step of ours beside a step of TRL's on the same work, and how both grow.

One of TRL's trainers runs; after each of its steps ours takes one, so that whatever else the
machine does falls on both. The same model, prompts, rows, optimiser and threads; TRL's time is all
that passes between the end of our step and the end of its own. The floor is what the counted FLOPs
take at the rate of this machine's matrix products: of torch's, and of the fastest.

Growth is measured in a process of its own a point, since a process's peak memory never falls.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import tasks
from bench.config import Model, Run, Suite, build_suite
from bench.core import memory
from bench.model import start
from bench.model.linear import linear
from bench.record.ledger import Ledger
from bench.record.store import RunFolder
from bench.train.batch import Group, Response
from bench.train.loop import Loop
from bench.train.session import Session
from bench.train.sources import Drawn
from methods import Method, Rollout, Signal
from tasks import Example

PEERS = ("grpo", "dpo", "sft")
WARM_UP = 2  # steps that are not counted
QUICK = ("sft", "rft", "rift", "dpo", "una", "ppo", "grpo", "grao", "gift")

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

    def run(self, method: str, **sections: Any) -> Run:
        # steps that hardly move the weights, so that all of them do the same work
        model = {"path": self.model, "dtype": self.dtype} if self.model else {}
        recipe = {
            "methods": [method],
            "seeds": 1,
            "model": model,
            "rollout": {
                "prompts": self.prompts,
                "group": self.group,
                "max_tokens": self.tokens,
            },
            "optimizer": {"lr": 1e-7},
            "micro_tokens": self.micro_tokens,
            **sections,
        }
        suite: Suite = build_suite(recipe, "speed")
        return suite.runs[0]


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
        self, run: Run, folder: Path, work: Work, source: Fixed | None = None, drop: bool = True
    ):
        (folder / run.name).mkdir(parents=True, exist_ok=True)
        self.session = Session(run, RunFolder(folder / run.name), "speed", work.device)
        if work.full and source is None:  # what is given has its end already
            self.session.policy.stop_ids = []
        own = [m for m in self.session.objectives if isinstance(m, Method)]
        self.loop = Loop(
            self.session,
            methods=own if drop else [undropped(m) for m in own],
            sources={self.session.sources[0]: source} if source else None,
        )
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
    """The same work on a model of public dimensions with random weights: every response goes to its
    limit, rewards are coins; bfloat16 on a GPU."""
    dtype = "bfloat16" if work.device == "cuda" else "float32"
    path = build(SHAPES[name], folder, getattr(torch, dtype))
    return replace(work, model=str(path), full=True, dtype=dtype)


def conditions(work: dict[str, Any], steps: int, shape: str | None) -> dict[str, Any]:
    from bench.record.provenance import hardware, packages

    return {
        "work": work,
        "shape": shape,
        "steps": steps,
        "hardware": hardware(torch.device(work["device"])),
        "packages": packages(),
    }


def timed(step: Callable[[], Any]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def rate(threads: int, device: str = "cpu", multiply: Callable[..., Any] = torch.mm) -> float:
    """FLOP/s of matrix products, the best of several tries: float32 with so many threads of the
    CPU, bfloat16 on a GPU."""
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
    """Rows as a replay set holds them: `group` responses a prompt, right and wrong in turn."""
    task = tasks.get("arithmetic")
    policy = start.load(start.ensure(Model(path=work.model), task), Model(path=work.model))
    out = []
    for example in [e for e in task.examples("train") if e.solution][: work.prompts]:
        right = example.solution or ""
        texts = [right if k % 2 == 0 else _slip(right, k) for k in range(group)]
        grades = task.grade(example, texts)
        ids = [policy.encode_response(t)[: work.tokens] for t in texts]
        out.append(
            Group(
                example,
                [
                    Response(i, t, g, True, [-1.0] * len(i))
                    for i, t, g in zip(ids, texts, grades, strict=True)
                ],
            )
        )
    return out


def _slip(solution: str, k: int) -> str:
    """The same text with a wrong final digit."""
    last = solution[-1]
    return solution[:-1] + str((int(last) + 1 + k % 8) % 10) if last.isdigit() else solution + "1"


# TRL's side


class Transient:
    """The most memory that a GPU's steps took above what was held before them, in bytes."""

    def __init__(self, device: str):
        self.device, self.bytes, self.before = device, 0, 0

    def begin(self) -> None:
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()

    def end(self) -> None:
        if self.device == "cuda":
            self.bytes = max(self.bytes, torch.cuda.max_memory_allocated() - self.before)


def alternate(
    trainer: Any, ours: dict[str, Callable[[], None]], device: str
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Train with TRL; after each of its steps one of each of ours. Seconds a step, and bytes that
    it took (Transient)."""
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
            self.turn = self.turn[::-1]  # who comes first finds TRL's data in the caches
            for name in self.turn:
                taken[name].begin()
                seconds[name].append(timed(ours[name]))
                taken[name].end()
            self.on_train_begin()

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Alternate())
    trainer.train()
    counted = {name: values[WARM_UP:] for name, values in seconds.items()}
    return counted, {name: most.bytes for name, most in taken.items()}


def peer(kind: str, work: Work, steps: int, scratch: str, groups: Sequence[Group] = ()) -> Any:
    """TRL's trainer for the same work, with nothing on that costs time and is not the work."""
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
            if work.full:  # a coin, as ours: the texts are noise
                return torch.randint(2, (len(prompts),)).double().tolist()
            return [
                float(task.grade(by_prompt[p], [c])[0].correct)
                for p, c in zip(prompts, completions, strict=True)
            ]

        data = datasets.Dataset.from_dict({"prompt": [e.prompt for e in examples]})
        return trl.GRPOTrainer(reward_funcs=judge, args=config, train_dataset=data, **parts)
    rows = [_record(kind, g.example, g) for g in groups]
    data = datasets.Dataset.from_list(rows)
    size = {**common, "per_device_train_batch_size": len(rows), "max_length": None}
    if kind == "dpo":
        config = trl.DPOConfig(**size, beta=0.1)
        return trl.DPOTrainer(args=config, train_dataset=data, **parts)
    config = trl.SFTConfig(**size)
    return trl.SFTTrainer(args=config, train_dataset=data, **parts)


def _record(kind: str, example: Example, group: Group) -> dict[str, str]:
    if kind == "sft":
        return {"prompt": example.prompt, "completion": example.solution or ""}
    chosen, rejected = (group.responses[k].text for k in (0, 1))
    return {"prompt": example.prompt, "chosen": chosen, "rejected": rejected}


@dataclass(frozen=True)
class Row:
    """Medians of one pairing, with the lower and upper quartile of the ratios. Rows with zero
    advantage get no pass in ours and do in TRL's; "all rows" has them in both."""

    work: str
    threads: int
    ours: float  # seconds a step
    trl: float
    ratio: float  # TRL's seconds / ours, of neighbours
    ratio_low: float
    ratio_high: float
    floor: float  # seconds that the counted FLOPs take at the rate of torch.mm
    over_floor: float
    over_lowest: float  # than at the best rate: on a CPU that of torch.mm or of oneDNN
    steps: int
    tokens_per_second: float  # response tokens; TRL's side is the same work in its time
    trl_tokens_per_second: float
    utilisation: float  # share of the best matrix rate, recomputed passes not counted
    trl_utilisation: float
    bytes: int | None  # that a step takes above what is held between steps; None: no GPU
    trl_bytes: int | None


def compare(kind: str, work: Work, threads: int, steps: int) -> list[Row]:
    """One kind of step beside TRL's, alternating in this process."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder, groups = Path(scratch), []
        if kind == "grpo":
            run = work.run("grpo", reward="random" if work.full else "correct")
            ours = {
                "grpo": Ours(run, folder, work),
                "grpo, all rows": Ours(run, folder, work, drop=False),
            }
        else:  # 64 pairs of answers, or 64 answers
            one = replace(work, prompts=64, group=2 if kind == "dpo" else 1)
            groups = answers(one, 2)
            feed = Fixed([Group(g.example, []) for g in groups] if kind == "sft" else groups)
            ours = {kind: Ours(one.run(kind, replay_rollouts=1), folder, one, feed)}
        found, taken = alternate(peer(kind, work, steps, scratch, groups), dict(ours), work.device)
    plain = rate(threads, work.device)
    top = max(plain, rate(threads, work.device, linear))
    rows = []
    for name, step in ours.items():
        ratios = [a / b for a, b in zip(found["trl"], found[name], strict=True)]
        low, middle, high = _quartiles(ratios)
        seconds, theirs = statistics.median(found[name]), statistics.median(found["trl"])
        floor = step.flops / plain
        rows.append(
            Row(
                name, threads, seconds, theirs, middle, low, high, floor, seconds / floor,
                seconds * top / step.flops, len(ratios),
                step.tokens / seconds, step.tokens / theirs,
                step.useful / top / seconds, step.useful / top / theirs,
                taken[name] or None, taken["trl"] or None,
            )
        )  # fmt: skip
    return rows


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def objectives(work: Work, steps: int) -> pd.DataFrame:
    """Seconds an update of each objective on equal rows, without sampling, beside GRPO's in turn.

    `forwards` are the FLOPs in units of GRPO's (a critic, a reference and a pass for old log-probs
    are more); `ratio` is the time over GRPO's, `per_forward` the same with these taken out.
    """
    torch.set_num_threads(1)
    groups = answers(work, work.group)
    with tempfile.TemporaryDirectory() as scratch:
        ours = {}
        for name in QUICK:
            run = work.run(name, replay_rollouts=1)
            gold = run.source(0) == "demonstrations"
            rows = [Group(g.example, []) for g in groups for _ in g.responses] if gold else groups
            ours[name] = Ours(run, Path(scratch), work, Fixed(rows))
        seconds: dict[str, list[float]] = {name: [] for name in ours}
        for _ in range(WARM_UP + steps):
            for name, step in ours.items():
                seconds[name].append(timed(step))
    median = {name: statistics.median(values[WARM_UP:]) for name, values in seconds.items()}
    rows = []
    for name, step in ours.items():
        forwards = step.flops / ours["grpo"].flops
        ratio = median[name] / median["grpo"]
        rows.append((name, median[name], forwards, ratio, ratio / forwards))
    return pd.DataFrame(rows, columns=["method", "seconds", "forwards", "ratio", "per_forward"])


def sampler(work: Work, rows: int = 512, tries: int = 5) -> float:
    """Tokens a second of the sampler alone on one thread, at the rows of an evaluation batch and,
    as in a suite's workers, with freed memory kept (by this process, from here on)."""
    from bench.sampling.hf import sample

    memory.keep_freed()
    torch.set_num_threads(1)
    task = tasks.get("arithmetic")
    model = Model(path=work.model)
    policy = start.load(start.ensure(model, task), model)
    examples = task.examples("train")[: rows // work.group]
    prompts = [policy.encode_prompt(e.prompt) for e in examples]
    best = 0.0
    for k in range(tries):
        keys = [k * rows + i for i in range(len(prompts) * work.group)]
        began = time.perf_counter()
        drawn = sample(policy, prompts, work.group, keys, work.tokens)
        best = max(best, drawn.sampled_tokens / (time.perf_counter() - began))
    return best


# growth


@dataclass(frozen=True)
class Point:
    """One measurement of growth: a step of GRPO, by `who`, with `value` on the axis."""

    axis: str
    value: float
    who: str  # evenbench | trl
    work: Work
    shape: dict[str, Any]  # of a random Llama


SIZES = ((96, 3), (160, 4), (256, 6), (384, 8), (512, 10))  # width, layers: 0.4 to 32 M


def points(peers: bool) -> Iterator[Point]:
    """All measurements, each series from one common point."""
    small = Work(prompts=4, group=8, tokens=36, full=True, micro_tokens=8192)
    for group in (4, 8, 16, 32, 64):
        for who in ("evenbench", "trl") if peers else ("evenbench",):
            yield Point("samples a prompt", group, who, replace(small, group=group), SMALL)
    for prompts in (4, 8, 16, 32, 64):
        for who in ("evenbench", "trl") if peers else ("evenbench",):
            work = replace(small, prompts=prompts)
            yield Point("rows", work.rows, who, work, SMALL)
    for tokens in (32, 64, 128, 256, 512, 1024):
        work = replace(small, group=4, tokens=tokens)
        yield Point("response tokens", tokens, "evenbench", work, SMALL)
    for words in (512, 2048, 8192, 32768, 151_936):
        yield Point("vocabulary", words, "evenbench", small, {**SMALL, "vocab_size": words})
    for width, layers in SIZES:
        shape = {
            "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": width // 32,
            "intermediate_size": width * 8 // 3 // 32 * 32, "vocab_size": 512,
        }  # fmt: skip
        weights = layers * (4 * width**2 + 3 * width * shape["intermediate_size"]) + 512 * width
        yield Point("parameters", weights, "evenbench", small, shape)


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


def measure(point: Point, steps: int = 2) -> dict[str, Any]:
    """Seconds a step and the peak of memory above what the loaded process held; in this process."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        work = replace(point.work, model=str(build(point.shape, Path(scratch) / "model")))
        if point.who == "trl":
            trainer = peer("grpo", work, steps, scratch)
            memory.forget_peak()
            before = memory.peak()
            seconds = alternate(trainer, {}, "cpu")[0]["trl"]
        else:
            step = Ours(work.run("grpo", reward="random"), Path(scratch), work)
            memory.forget_peak()
            before = memory.peak()
            seconds = [timed(step) for _ in range(1 + steps)][1:]
    return {
        "axis": point.axis, "value": point.value, "who": point.who,
        "seconds": statistics.median(seconds), "memory": memory.peak() - before,
    }  # fmt: skip


def growth(peers: bool, done: Callable[[int, int, str], None] | None = None) -> pd.DataFrame:
    """Every point of `points`, each in a process of its own."""
    todo = list(points(peers))
    rows = []
    for k, point in enumerate(todo):
        if done:
            done(k, len(todo), f"{point.axis} {point.value:g}, {point.who}")
        command = [sys.executable, "-m", "bench.tools.speed", json.dumps(asdict(point))]
        out = subprocess.run(command, capture_output=True, text=True, check=False)
        if out.returncode:
            raise RuntimeError(f"{point.axis} {point.value:g}, {point.who}: {out.stderr[-2000:]}")
        rows.append(json.loads(out.stdout.splitlines()[-1]))
    return pd.DataFrame(rows)


def exponents(frame: pd.DataFrame) -> pd.DataFrame:
    """For each series: by which power of the axis time and memory grow between its ends."""
    import numpy as np

    rows = []
    parts: Any = frame.groupby(["axis", "who"], sort=False)
    for (axis, who), series in parts:
        ends = series.sort_values("value").iloc[[0, -1]]
        span = float(np.log(ends["value"].iloc[1] / ends["value"].iloc[0]))

        def power(column: str, ends: Any = ends, span: float = span) -> float:
            low, high = ends[column].clip(lower=1e-9)
            return float(np.log(high / low)) / span

        rows.append((axis, who, power("seconds"), power("memory")))
    return pd.DataFrame(rows, columns=["axis", "who", "seconds_power", "memory_power"])


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(measure(Point(**{**given, "work": Work(**given["work"])}))))
