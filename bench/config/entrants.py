"""Trainers of other packages as entrants of a suite: same start, data, budget and evaluation.

Here stands what a recipe needs to know of each without importing its package: its name, its needs,
and its fields, which are the other trainer's hyper-parameters with their names and defaults there.
`bench/entrants/trl.py` drives the trainers; docs/entrants.md says what is equal and what is not.
"""

from __future__ import annotations

import difflib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from methods import Needs

if TYPE_CHECKING:
    from tasks import Task

    from .sections import RunConfig


class Entrant(BaseModel):
    """A specification, as a Method is one. The fields here change speed and memory alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    about: ClassVar[str]
    paper: ClassVar[str] = ""
    package: ClassVar[str] = "trl"
    extra: ClassVar[str] = "evenbench[trl]"

    gradient_checkpointing: bool = False
    """TRL's default is on: less memory, about a fifth slower, the same result."""

    def needs(self) -> Needs:
        raise NotImplementedError

    def warnings(self, updates_per_rollout: int) -> list[str]:
        return []

    def problem(self, run: RunConfig, task: Task) -> str | None:
        """Why it cannot run as the recipe asks; None where it can."""
        if find_spec(self.package) is None:
            return f"needs the package {self.package}: pip install '{self.extra}'"
        if len(run.phases) > 1:
            return "phases: an entrant needs the whole run"
        if run.budget.axis not in ("updates", "samples"):
            return f"budget.axis = {run.budget.axis!r}: an entrant runs by updates or samples"
        return None


class Online(Entrant):
    """A trainer that samples by itself, with its own random numbers."""

    old: ClassVar[Literal["loss", "signal"]] = "loss"  # when old log-probs are scored, see Needs

    micro_batches: int = Field(1, ge=1)
    """Parts into which an update's rows are divided (gradient accumulation)."""
    beta: float = Field(0.0, ge=0)
    epsilon: float = Field(0.2, gt=0)
    epsilon_high: float | None = Field(None, gt=0)

    def needs(self) -> Needs:
        return Needs(sources=("policy",), reference=self.beta > 0, old=self.old, group_min=2)

    def problem(self, run: RunConfig, task: Task) -> str | None:
        shape = run.rollout
        rows, parts = shape.prompts * shape.group, shape.minibatches * self.micro_batches
        if rows % parts:
            wrong = f"is not a multiple of minibatches * micro_batches = {parts}"
            return f"rollout.prompts * rollout.group = {rows} {wrong}"
        if run.sampler.name != "hf":
            return "sampler.name = 'vllm': it samples with transformers"
        if run.model.chat != "none":
            return f"model.chat = {run.model.chat!r}: it uses no chat template"
        if stop := [*task.stop, *run.model.stop]:
            return f"it samples without stop strings, and the task or the model has {stop}"
        if self.beta and run.model.revision:
            return "model.revision: its reference is loaded without one; give a local model.path"
        return super().problem(run, task)


class Offline(Entrant):
    """A trainer that gets its rows."""

    def problem(self, run: RunConfig, task: Task) -> str | None:
        if run.rollout.updates > 1:
            return "rollout.minibatches and epochs: it makes one update per batch of data"
        return super().problem(run, task)


class TrlGRPO(Online):
    about = "TRL's GRPOTrainer"
    paper = "https://arxiv.org/abs/2402.03300"

    loss_type: Literal["dapo", "grpo", "bnpo", "dr_grpo", "cispo"] = "dapo"
    scale_rewards: Literal["group", "batch", "none"] = "group"
    importance_sampling_level: Literal["token", "sequence"] = "token"
    use_bias_correction_kl: bool = True
    mask_truncated_completions: bool = False


class TrlRLOO(Online):
    old = "signal"
    about = "TRL's RLOOTrainer"
    paper = "https://arxiv.org/abs/2402.14740"

    beta: float = Field(0.05, ge=0)
    normalize_advantages: bool = False
    mask_truncated_completions: bool = False


class TrlDPO(Offline):
    about = "TRL's DPOTrainer, on the replay set's pairs"
    paper = "https://arxiv.org/abs/2305.18290"

    beta: float = Field(0.1, gt=0)
    loss_type: Literal["sigmoid", "hinge", "ipo", "robust"] = "sigmoid"
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    pairing: Literal["matched", "all"] = "matched"
    """Pairs of a prompt's right and wrong samples, as this project's dpo makes them."""

    def needs(self) -> Needs:
        return Needs(source="replay", sources=("replay",), reference=True, pairs=True, group_min=2)


class TrlKTO(Offline):
    about = "TRL's KTOTrainer, on the replay set's verdicts"
    paper = "https://arxiv.org/abs/2402.01306"

    beta: float = Field(0.1, gt=0)
    loss_type: Literal["kto", "apo_zero_unpaired"] = "kto"
    desirable_weight: float = Field(1.0, ge=0)
    undesirable_weight: float = Field(1.0, ge=0)

    def needs(self) -> Needs:
        return Needs(source="replay", sources=("replay",), reference=True, mismatched=True)

    def problem(self, run: RunConfig, task: Task) -> str | None:
        if run.rollout.prompts < 2:
            return "rollout.prompts = 1: its reference point needs answers to other prompts"
        return super().problem(run, task)


class TrlSFT(Offline):
    about = "TRL's SFTTrainer, on the reference answers"

    loss_type: Literal["nll", "dft"] = "nll"

    def needs(self) -> Needs:
        return Needs(source="demonstrations", sources=("demonstrations",), gold=True)


ENTRANTS: dict[str, type[Entrant]] = {
    "trl-dpo": TrlDPO,
    "trl-grpo": TrlGRPO,
    "trl-kto": TrlKTO,
    "trl-rloo": TrlRLOO,
    "trl-sft": TrlSFT,
}


def get(name: str, **fields: Any) -> Entrant:
    """Raises KeyError: no such entrant; pydantic's ValidationError: no such field."""
    if name not in ENTRANTS:
        near = difflib.get_close_matches(name, ENTRANTS, n=2, cutoff=0.4)
        raise KeyError(f"unknown entrant {name!r}; known: {', '.join(near or ENTRANTS)}")
    return ENTRANTS[name](**fields)
