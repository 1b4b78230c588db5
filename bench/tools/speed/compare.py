"""Our step beside TRL's and beside the arithmetic; each objective beside GRPO."""

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch

import tasks
from bench.config import Model
from bench.core import memory
from bench.model import start
from bench.model.linear import linear
from bench.sampling.hf import sample
from bench.train.batch import Group

from .trl import alternate, peer
from .work import WARM_UP, Fixed, Ours, Work, answers, rate, timed

QUICK = ("sft", "rft", "rift", "dpo", "una", "ppo", "grpo", "grao", "gift")


@dataclass(frozen=True)
class Pairing:
    """One kind of step on both sides: medians, and the quartiles of the ratios. Ours makes no pass
    over rows with zero advantage and TRL's does; in "all rows" both do."""

    work: str
    threads: int
    ours: float  # seconds per step
    trl: float
    ratio: float  # TRL's seconds / ours, of steps that follow each other
    ratio_low: float
    ratio_high: float
    floor: float  # seconds that the counted FLOPs take at the rate of torch.mm
    over_floor: float  # ours / floor
    over_lowest: float  # the same at the best rate: on a CPU the higher of torch.mm's and oneDNN's
    steps: int
    tokens_per_second: float  # response tokens; TRL does the same work
    trl_tokens_per_second: float
    utilisation: float  # share of the best matrix rate, recomputed passes not counted
    trl_utilisation: float
    bytes: int | None  # peak of a step above what is held between steps; None: no GPU
    trl_bytes: int | None


def compare(kind: str, work: Work, threads: int, steps: int) -> list[Pairing]:
    """Time one kind of step on both sides, alternating in this process."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder, groups = Path(scratch), []
        if kind == "grpo":
            run = work.run("grpo", reward="random" if work.full else "correct")
            ours = {"grpo": Ours(run, folder, work)}
            ours["grpo, all rows"] = Ours(run, folder, work, drop=False)
        else:  # 64 pairs of answers, or 64 answers
            one = replace(work, prompts=64, group=2 if kind == "dpo" else 1)
            groups = answers(one, 2)
            feed = Fixed([Group(g.example, []) for g in groups] if kind == "sft" else groups)
            ours = {kind: Ours(one.run(kind, replay_rollouts=1), folder, one, source=feed)}
        trainer = peer(kind, work, steps, scratch, groups=groups)
        found = alternate(trainer, dict(ours), work.device)
    plain = rate(threads, work.device)
    top = max(plain, rate(threads, work.device, linear))
    rows = []
    for name, step in ours.items():
        ratios = [a / b for a, b in zip(found.seconds["trl"], found.seconds[name], strict=True)]
        low, middle, high = _quartiles(ratios)
        seconds, theirs = (statistics.median(found.seconds[side]) for side in (name, "trl"))
        floor = step.flops / plain
        rows.append(
            Pairing(
                work=name, threads=threads, ours=seconds, trl=theirs, steps=len(ratios),
                ratio=middle, ratio_low=low, ratio_high=high,
                floor=floor, over_floor=seconds / floor, over_lowest=seconds * top / step.flops,
                tokens_per_second=step.tokens / seconds, trl_tokens_per_second=step.tokens / theirs,
                utilisation=step.useful / top / seconds,
                trl_utilisation=step.useful / top / theirs,
                bytes=found.bytes[name] or None, trl_bytes=found.bytes["trl"] or None,
            )
        )  # fmt: skip
    return rows


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def objectives(work: Work, steps: int) -> pd.DataFrame:
    """Seconds per update of each objective on equal rows, without sampling, all taking turns.

    `ratio` is the time relative to GRPO's and `forwards` the FLOPs relative to GRPO's (a critic, a
    reference or a pass for old log-probs adds to them); `per_forward` is ratio / forwards.
    """
    torch.set_num_threads(1)
    groups = answers(work, work.group)
    with tempfile.TemporaryDirectory() as scratch:
        ours = {}
        for name in QUICK:
            run = work.run(name, replay_rollouts=1)
            gold = run.source(0) == "demonstrations"
            rows = [Group(g.example, []) for g in groups for _ in g.responses] if gold else groups
            ours[name] = Ours(run, Path(scratch), work, source=Fixed(rows))
        taken = [{name: timed(step) for name, step in ours.items()} for _ in range(WARM_UP + steps)]
    seconds = pd.DataFrame(taken[WARM_UP:]).median()
    flops = pd.Series({name: step.flops for name, step in ours.items()})
    forwards, ratio = flops / flops["grpo"], seconds / seconds["grpo"]
    columns = {"seconds": seconds, "forwards": forwards, "ratio": ratio}
    columns["per_forward"] = ratio / forwards
    return pd.DataFrame(columns).rename_axis("method").reset_index()


def sampler(work: Work, rows: int = 512, tries: int = 5) -> float:
    """Tokens per second of the sampler alone, on one thread, with as many rows as an evaluation
    batch. As in a suite's workers this process keeps freed memory, from here on."""
    memory.keep_freed()
    torch.set_num_threads(1)
    task, model = tasks.get("arithmetic"), Model(path=work.model)
    policy = start.load(start.ensure(model, task), model)
    examples = task.examples("train")[: rows // work.group]
    prompts, best = [policy.encode_prompt(e.prompt) for e in examples], 0.0
    for k in range(tries):
        keys = [k * rows + i for i in range(len(prompts) * work.group)]
        began = time.perf_counter()
        drawn = sample(policy, prompts, work.group, keys, max_tokens=work.tokens)
        best = max(best, drawn.sampled_tokens / (time.perf_counter() - began))
    return best
