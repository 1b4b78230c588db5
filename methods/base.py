"""The contract between an objective and the harness.

A method is a specification (validated hyper-parameters and what it needs) plus one pure function of
a scored batch. Everything that costs compute lives in the harness, and is counted.

Shape suffixes: N rows, T response tokens (right-padded), P prompts, G samples of one prompt, so
`logp_NT` is a log-probability per row and token.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from .search import Range

SourceName = Literal["policy", "replay", "demonstrations"]
# The task's reward (Rollout.reward_N) or the checker's verdict, right or wrong (Rollout.correct_N).
Judgement = Literal["reward", "verdict"]

SAMPLE, GOLD, MISMATCHED = 0, 1, 2  # values of Rollout.kind_N


@dataclass(frozen=True)
class Needs:
    """What a method asks of the harness; it may depend on the method's fields."""

    source: SourceName = "policy"  # the paper's data regime, the default of a run
    sources: tuple[SourceName, ...] = ("policy", "replay")  # every regime that it can consume
    learns_from: tuple[Judgement, ...] = ("reward",)  # (): from reference answers alone
    reference: bool = False  # ref_logp_NT: one forward of the frozen start per row
    critic: bool = False  # value_NT and old_value_NT: a second model
    entropy: bool = False  # entropy_NT among the leaves
    old: Literal["no", "loss", "signal"] = "no"  # who reads old_logp_NT ("signal" implies the loss)
    gold: bool = False  # the task's reference answer joins each group, where the prompt has one
    mismatched: bool = False  # an answer of another prompt joins each group (KTO's z0)
    pairs: bool = False  # learns from (better, worse) pairs inside a group
    group_min: int = 1  # samples a prompt needed at least
    max_updates_per_rollout: int | None = None  # None: any number
    refill: bool = False  # sample on until the batch is full of groups with a signal (DAPO)


@dataclass(frozen=True)
class Rollout:
    """What happened; nothing here depends on theta. Rows of one prompt are never split."""

    mask_NT: Tensor  # bool, response tokens
    reward_N: Tensor  # the task's raw reward: verifier 1/0, judge +1/0/-1, reward model any real
    group_N: Tensor  # int64, rows of one prompt share an id
    kind_N: Tensor  # int64: SAMPLE, GOLD or MISMATCHED
    correct_N: Tensor  # bool, the checker's verdict on the answer; never "reward > 0"
    finished_N: Tensor  # bool, ended by itself rather than cut off
    format_ok_N: Tensor  # bool
    max_tokens: int  # generation limit (T is only the padding width)
    progress: float = 0.0  # share of the budget spent before this batch, 0 to below 1
    old_logp_NT: Tensor | None = None  # of the policy that sampled the rows
    sampler_logp_NT: Tensor | None = None  # as the sampling engine reported it
    ref_logp_NT: Tensor | None = None  # of the frozen starting policy
    old_value_NT: Tensor | None = None  # critic when sampled

    def __len__(self) -> int:
        return self.mask_NT.shape[0]

    def select(self, rows: Tensor) -> Rollout:
        """The given rows (int64 indices or bool mask of shape N), everything else unchanged."""
        return replace(self, **_select(self, rows))


@dataclass(frozen=True)
class Signal:
    """What the rollout is worth: computed once per rollout batch, on ALL rows, without theta."""

    advantage_NT: Tensor | None
    return_NT: Tensor | None
    trained_N: Tensor  # bool: rows that get a forward pass at all
    metrics: dict[str, Tensor] = field(default_factory=dict)  # of the whole rollout batch

    def select(self, rows: Tensor) -> Signal:
        return replace(self, **_select(self, rows))


@dataclass(frozen=True)
class Leaves:
    """What is differentiated. Rows with `trained_N` False hold zeros and must not matter."""

    logp_NT: Tensor  # log pi_theta per token; 0 where masked
    value_NT: Tensor | None = None  # where needs().critic
    entropy_NT: Tensor | None = None  # where needs().entropy, nats


@dataclass(frozen=True)
class Loss:
    value: Tensor  # scalar
    metrics: dict[str, Tensor] = field(default_factory=dict)  # detached scalars


def _select(batch: Rollout | Signal, rows: Tensor) -> dict[str, Tensor]:
    values = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return {k: v[rows] for k, v in values.items() if isinstance(v, Tensor)}


class Method(BaseModel, ABC):
    """An objective. Subclasses declare their hyper-parameters as validated pydantic fields.

    A minibatch always holds whole groups; its `rollout` and `signal` are selected from the batch
    that `signal` was computed on. `loss` is pure: no I/O, no model, no randomness, no change of its
    arguments.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    paper: ClassVar[str] = ""  # address
    unbounded: ClassVar[str] = ""  # reason, where the loss has no bound as logp -> -inf
    coupled: ClassVar[str] = ""  # reason, where a group's gradient depends on its minibatch
    weighted: ClassVar[bool] = False  # each token's term is linear in a factor > 0 of its advantage
    stop_gradients: ClassVar[str] = ""  # declared sg(.): finite differences cannot agree there

    @abstractmethod
    def needs(self) -> Needs: ...

    @abstractmethod
    def signal(self, rollout: Rollout) -> Signal:
        """Group and batch statistics, filters, shaping, GAE. Denominators count what the paper
        counts, whatever is later skipped."""

    @abstractmethod
    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss: ...

    def search(self) -> Mapping[str, Range]:
        """Fields that are tuned beside the learning rate and the updates a rollout batch, with
        their ranges and sources (methods/search.py): one, or two where one update is the limit."""
        return {}

    def warnings(self, updates_per_rollout: int) -> list[str]:
        """Explanations of settings that are allowed but degenerate."""
        return []
