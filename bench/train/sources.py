"""Where the groups of a rollout batch come from: fresh samples of the policy, or reference answers
(demonstrations). Samples that the starting model drew once for all methods are in replay.py.

All sources walk through the prompts in one seeded order, so methods of a seed see equal prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

from bench.config import RunConfig
from bench.core import rng
from bench.model.policy import Policy
from bench.record.ledger import Flops, Ledger
from bench.sampling.hf import Sampler
from methods.base import SourceName
from tasks import Example, Task

from .batch import Assembler, Group, Response


class Drawn(NamedTuple):
    groups: list[Group]
    cursor: int  # the next position in the order of prompts


def count_seen(
    run: RunConfig, task: Task, source: SourceName, *, cursor: int, references: int, ledger: Ledger
) -> None:
    """Charge what a batch showed: `references` reference answers, and how many prompts and such
    answers were different so far. That follows from the position in the order of prompts alone, so
    a resumed run counts alike."""
    examples = task.examples("train")
    if source == "demonstrations":
        examples = [e for e in examples if e.solution]
    if source == "replay" and run.rollouts is not None:  # the set is used again from its start
        cursor = min(cursor, run.rollouts * run.rollout.prompts)
    drawn = min(cursor, len(examples))
    ledger.prompts_distinct = max(ledger.prompts_distinct, drawn)
    ledger.references += references
    if references:
        order = rng.prompt_order(run.seed, len(examples), 0, drawn)
        distinct = sum(bool(examples[i].solution) for i in order)
        ledger.references_distinct = max(ledger.references_distinct, distinct)


def trained_on(run: RunConfig, task: Task, distinct: int) -> list[Example]:
    """The prompts that a run has trained on, in its order; `distinct` as in the ledger. Of a run
    with several phases, those of the first."""
    examples = task.examples("train")
    if run.source(0) == "demonstrations":
        examples = [e for e in examples if e.solution]
    distinct = min(distinct, len(examples))
    return [examples[i] for i in rng.prompt_order(run.seed, len(examples), 0, distinct)]


class Source(Protocol):
    """What the loop asks for the groups of a batch."""

    def draw(self, rollout: int, cursor: int, ledger: Ledger, refill: bool) -> Drawn:
        """The groups of the run's batch number `rollout`, from position `cursor` in the order of
        prompts on; the ledger is charged. `refill`: see PolicySource."""
        ...


@dataclass(frozen=True)
class Drawer:
    """Draws and grades samples, and charges for both."""

    run: RunConfig
    task: Task
    policy: Policy
    flops: Flops
    sampler: Sampler

    def groups(self, examples: Sequence[Example], rollout: int, ledger: Ledger) -> list[Group]:
        """`rollout.group` fresh samples of each prompt."""
        G, seed = self.run.rollout.group, self.run.seed
        with ledger.phase("sample"):
            prompts = [self.policy.encode_prompt(e.prompt) for e in examples]
            keys = [rng.key(seed, "sample", rollout, e.id, g) for e in examples for g in range(G)]
            drawn = self.sampler(
                self.policy,
                prompts,
                G,
                keys,
                max_tokens=self.run.max_tokens,
                temperature=self.run.rollout.temperature,
                stop=self.task.stop,
            )
            ids_N = drawn.response_ids()
            logp_N = drawn.logp_NT.tolist()
            finished_N = drawn.finished_N.tolist()
            texts_N = self.policy.decode_many(ids_N)
        with ledger.phase("grade"):
            groups = []
            for p, example in enumerate(examples):
                at = range(p * G, (p + 1) * G)
                grades = self.task.grade(example, [texts_N[n] for n in at])
                rows = [
                    Response(
                        ids_N[n], texts_N[n], grade, finished_N[n], logp=logp_N[n][: len(ids_N[n])]
                    )
                    for n, grade in zip(at, grades, strict=True)
                ]
                groups.append(Group(example, rows))
        self.charge(ledger, [len(p) for p in prompts], [len(i) for i in ids_N])
        return groups

    def charge(self, ledger: Ledger, prompt_P: list[int], length_N: list[int]) -> None:
        """Count the drawing and grading of a group of samples for each prompt; the lists hold
        tokens."""
        ledger.prompts += len(prompt_P)
        ledger.samples += len(length_N)
        ledger.verifier_calls += len(length_N)
        ledger.tokens_prompt += sum(prompt_P)
        ledger.tokens_sampled += sum(length_N)
        length, prompt = torch.tensor(length_N).double(), torch.tensor(prompt_P).double()
        each = prompt.repeat_interleave(self.run.rollout.group)
        ledger.flops_sample += self.flops.forward_lengths(prompt, each, length)


class PolicySource:
    """Fresh samples of the policy as it stands."""

    def __init__(self, drawer: Drawer, assembler: Assembler):
        self.drawer, self.assembler = drawer, assembler
        self.examples = drawer.task.examples("train")

    def draw(self, rollout: int, cursor: int, ledger: Ledger, refill: bool) -> Drawn:
        """Q groups. With `refill`, groups whose samples all earn the same are dropped and further
        prompts drawn, up to `refill_cap` batches. What is then missing is made up from the dropped
        groups, which have no signal."""
        run = self.drawer.run
        Q = run.rollout.prompts
        live: list[Group] = []
        dead: list[Group] = []
        with ledger.phase("sample"):
            self.drawer.sampler.sync()
        for _ in range(run.rollout.refill_cap if refill else 1):
            at = rng.prompt_order(run.seed, len(self.examples), cursor, Q)
            cursor += Q
            ledger.samples_policy += Q * run.rollout.group
            for group in self.drawer.groups([self.examples[i] for i in at], rollout, ledger):
                (dead if refill and self._uniform(group, rollout) else live).append(group)
            if len(live) >= Q:
                break
        return Drawn((live + dead)[:Q], cursor)

    def _uniform(self, group: Group, rollout: int) -> bool:
        samples = range(len(group.responses))
        return len({self.assembler.reward_of(group, k, rollout) for k in samples}) == 1


class DemonstrationSource:
    """Reference answers: as many rows as a policy run has samples."""

    def __init__(self, run: RunConfig, task: Task):
        self.run = run
        self.examples = [e for e in task.examples("train") if e.solution]

    def draw(self, rollout: int, cursor: int, ledger: Ledger, refill: bool) -> Drawn:
        rows = self.run.rollout.prompts * self.run.rollout.group
        at = rng.prompt_order(self.run.seed, len(self.examples), cursor, rows)
        ledger.prompts += rows
        ledger.samples += rows
        return Drawn([Group(self.examples[i], []) for i in at], cursor + rows)
