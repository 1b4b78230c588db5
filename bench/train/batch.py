"""A rollout batch: graded responses become token rows and the Rollout that an objective reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd
import torch
from torch import Tensor

from bench.config import RunConfig
from bench.core import rng
from bench.model.policy import Policy
from bench.model.rows import Rows, pad
from methods import GOLD, MISMATCHED, SAMPLE, Needs, Rollout, Signal
from methods.base import SourceName
from tasks import Example, Grade, Task

from .rewards import Reward

GOLD_GRADE = Grade(True, True, "ok", "reference", extracted=None, format_ok=True)


@dataclass(frozen=True)
class Response:
    """A graded answer of a model."""

    ids: list[int]  # closed by the end token where the model gave it
    text: str
    grade: Grade
    finished: bool
    logp: list[float] | None = None  # as the sampler reported it


@dataclass(frozen=True)
class Group:
    """One prompt with its samples; none for a demonstration."""

    example: Example
    responses: list[Response]


@dataclass(frozen=True)
class TrainingRow:
    """One row of a batch before padding."""

    prompt: int  # index of its group
    kind: int  # SAMPLE, GOLD or MISMATCHED
    response: Response
    reward: float


@dataclass(frozen=True)
class Batch:
    """N rows: samples, and gold or mismatched rows where the objective needs them."""

    tokens: Rows
    rollout: Rollout
    groups: list[Group]


OldLogp = Literal["none", "own_pass", "scored", "start"]
"""Where a batch's old log-probs come from.

| value | old log-probs |
|---|---|
| none | nobody reads them |
| own_pass | the first update's own forward pass, detached: log-ratios are exactly 0 |
| scored | a forward pass of the policy before the first update |
| start | the frozen starting model, which sampled the replay set |
"""


def old_logp(needs: Needs, source: SourceName, updates: int, corrected: bool = False) -> OldLogp:
    """The one place where this is decided. `updates` are those of a rollout batch; `corrected`:
    a correction of the sampling engine reads old log-probs, whatever the objective does."""
    single = source == "policy" and updates == 1
    if needs.old == "no":
        return "own_pass" if corrected and single else "none"
    if source == "replay":
        return "start"
    return "own_pass" if single and needs.old == "loss" else "scored"


@dataclass(frozen=True)
class ScoredBatch:
    """A batch, or a minibatch of it, ready for an update."""

    tokens: Rows
    rollout: Rollout
    signal: Signal
    old: OldLogp

    def select(self, rows: Tensor) -> ScoredBatch:
        """Some rows (int64 indices): whole prompts."""
        return ScoredBatch(
            self.tokens.select(rows), self.rollout.select(rows), self.signal.select(rows), self.old
        )


@dataclass(frozen=True)
class Assembler:
    """Makes the batches of one run."""

    run: RunConfig
    task: Task
    policy: Policy
    reward: Reward

    def reward_of(self, group: Group, sample: int, rollout: int) -> float:
        """The run's reward of a group's response; its random key is a function of the run's seed,
        the rollout batch, the question and the sample."""
        response = group.responses[sample]
        key = rng.key(self.run.seed, "reward", rollout, group.example.id, sample)
        return self.reward(group.example, response.text, response.grade, key)

    def batch(
        self,
        groups: list[Group],
        needs: Needs,
        *,
        rollout: int,
        progress: float,
        gold_only: bool = False,
    ) -> Batch:
        """The batch of some groups. `rollout` counts the run's batches, `progress` is the share of
        the budget spent; `gold_only` asks for reference answers whatever the objective needs."""
        rows: list[TrainingRow] = []
        for p, group in enumerate(groups):
            for k, response in enumerate(group.responses):
                rows.append(TrainingRow(p, SAMPLE, response, self.reward_of(group, k, rollout)))
            if (needs.gold or gold_only) and (text := group.example.solution):
                gold = Response(self.policy.encode_response(text), text, GOLD_GRADE, finished=True)
                rows.append(TrainingRow(p, GOLD, gold, self.task.gold_reward))
            if needs.mismatched and not gold_only:
                others = groups[(p + 1) % len(groups)].responses
                rows += [TrainingRow(p, MISMATCHED, other, 0.0) for other in others]
        prompts = [self.policy.encode_prompt(group.example.prompt) for group in groups]
        tokens = self._padded(prompts, rows)
        return Batch(tokens, self._rollout(tokens, rows, progress), groups)

    def _padded(self, prompts: list[list[int]], rows: list[TrainingRow]) -> Rows:
        """Log-probs are taken at the sampling temperature, of reference answers at 1."""
        temperature = self.run.rollout.temperature
        return pad(
            prompts,
            prompt_N=[row.prompt for row in rows],
            responses=[row.response.ids for row in rows],
            temperature_N=[1.0 if row.kind == GOLD else temperature for row in rows],
            pad_id=self.policy.pad_id,
        )

    def _rollout(self, tokens: Rows, rows: list[TrainingRow], progress: float) -> Rollout:
        reported_NT = torch.zeros(tokens.mask_NT.shape)
        for n, row in enumerate(rows):
            if row.kind == SAMPLE and row.response.logp is not None:
                reported_NT[n, : len(row.response.logp)] = torch.tensor(row.response.logp)
        device = self.policy.device
        return Rollout(
            mask_NT=tokens.mask_NT.to(device),
            reward_N=torch.tensor([row.reward for row in rows], dtype=torch.float32).to(device),
            group_N=tokens.prompt_N.to(device),
            kind_N=torch.tensor([row.kind for row in rows]).to(device),
            correct_N=torch.tensor([row.response.grade.correct for row in rows]).to(device),
            finished_N=torch.tensor([row.response.finished for row in rows]).to(device),
            format_ok_N=torch.tensor([row.response.grade.format_ok for row in rows]).to(device),
            max_tokens=self.run.max_tokens,
            progress=progress,
            sampler_logp_NT=reported_NT.to(device),
        )


def batch_metrics(rollout: Rollout, signal: Signal | None = None) -> dict[str, float]:
    """Means over the sampled rows of a rollout batch, or over its gold rows where it has no others,
    and the signal's own metrics. `sampler_entropy`, nats a token: minus the mean log-prob that the
    sampler gave to what it drew, an unbiased estimate unless top-p or top-k cuts it."""
    sampled_N = rollout.kind_N == SAMPLE
    drawn_NT = rollout.mask_NT & sampled_N[:, None]
    if not sampled_N.any():
        sampled_N = rollout.kind_N == GOLD
    columns = {
        "reward_mean": rollout.reward_N,
        "accuracy": rollout.correct_N,
        "finished": rollout.finished_N,
        "format_ok": rollout.format_ok_N,
        "response_tokens": rollout.mask_NT.sum(-1),
    }
    means = {name: float(x[sampled_N].double().mean()) for name, x in columns.items()}
    if rollout.sampler_logp_NT is not None and rollout.sampler_logp_NT[drawn_NT].any():
        means["sampler_entropy"] = -float(rollout.sampler_logp_NT[drawn_NT].double().nanmean())
    own = signal.metrics if signal else {}
    return {**means, **{name: float(value) for name, value in own.items()}}


def rollout_frame(batch: Batch, source: str, policy_NT: Tensor, ref_NT: Tensor) -> pd.DataFrame:
    """A row a sample or reference answer, with the columns of results.records.RolloutRow.
    Mismatched rows are left out: they stand elsewhere as samples. The log-probs are [N, T]."""
    r = batch.rollout
    drawn = iter((k, x) for g in batch.groups for k, x in enumerate(g.responses))
    rows = []
    for n, (p, kind) in enumerate(zip(r.group_N.tolist(), r.kind_N.tolist(), strict=True)):
        if kind == MISMATCHED:
            continue
        example, length = batch.groups[p].example, int(r.mask_NT[n].sum())
        ids = batch.tokens.response_NT[n, :length].tolist()
        reference = (-1, Response(ids, example.solution or "", GOLD_GRADE, finished=True))
        k, answer = next(drawn) if kind == SAMPLE else reference
        values = None if r.old_value_NT is None else r.old_value_NT[n, :length].tolist()
        rows.append({
            "question_id": example.id, "group": p, "sample": k, "kind": kind, "source": source,
            "prompt": example.prompt, "response": answer.text, "gold": example.gold,
            "reward": float(r.reward_N[n]), "correct": answer.grade.correct,
            "strict": answer.grade.strict, "finished": answer.finished,
            "format_ok": answer.grade.format_ok, "max_tokens": r.max_tokens, "tokens": ids,
            "logp": answer.logp, "policy_logp": policy_NT[n, :length].tolist(),
            "ref_logp": ref_NT[n, :length].tolist(), "value": values,
        })  # fmt: skip
    return pd.DataFrame(rows)
