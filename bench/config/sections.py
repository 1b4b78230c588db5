"""What a run and a suite are: the sections of a recipe, each with its fields and their bounds."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pydantic
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler

import methods
import tasks
from methods.search import LR
from results.specification import Specification

from . import entrants
from .entrants import ENTRANTS, Entrant
from .errors import ConfigError
from .plugins import plugin_code

Axis = Literal["updates", "samples", "tokens", "flops", "seconds"]
Backend = Literal["hf", "vllm", "local-completions"]  # of `evenbench eval`
Attention = Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"]
BackboneName = Literal["auto", "packed", "transformers"]

LATER = "later"  # marks a field that runs from before it lack: `Annotated[int, LATER] = 3`


class Section(BaseModel):
    """A part of the configuration.

    A field marked LATER is written only where it differs from its default. So a new key changes
    neither the ids nor the recorded configs of runs that do not use it, old or new, and they still
    count as one treatment. The default of such a field must therefore never change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @pydantic.model_serializer(mode="wrap")
    def _without_later_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = write(self)
        for name, field in type(self).model_fields.items():
            if LATER in field.metadata and getattr(self, name) == field.get_default():
                content.pop(name, None)
        return content


class Pretrain(Section):
    steps: int = Field(default=700, ge=0)
    batch: int = Field(default=64, ge=1)
    lr: float = Field(default=5e-3, gt=0)
    length: int = Field(default=128, ge=8)  # prompts and responses are cut to that many tokens
    seed: int = 0


class Lora(Section):
    """Train low-rank adapters (peft) instead of all weights. The reference policy is the model with
    the adapters switched off."""

    r: int = Field(default=32, ge=1)
    alpha: float = Field(default=64.0, gt=0)
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"  # names of modules
    dropout: float = Field(default=0.0, ge=0, le=0)  # both passes must see one function
    seed: int = Field(default=0, ge=0)  # for the adapters' first weights: the same in all runs


class Model(Section):
    """A folder or hub id (`path`); else a small Llama that is built and trained on the task's
    corpus."""

    path: str | None = None
    revision: str | None = None
    chat: Literal["none", "template", "plain"] = "none"  # template: the model's own
    chat_options: dict[str, Any] = {}  # variables of the template, e.g. enable_thinking = false
    system: str | None = None
    stop: tuple[str, ...] = ()  # strings that end a response, besides the task's
    attention: Attention | None = None  # of transformers; None: its choice
    # which forward pass: ours (bench/model/packed.py), the model's own, or what suits the model and
    # the device (bench/model/choice.py)
    backbone: Annotated[BackboneName, LATER] = "auto"
    checkpointing: bool = False  # recompute activations in the backward pass; changes no result
    lora: Lora | None = None
    hidden: int = Field(default=96, ge=8)
    layers: int = Field(default=3, ge=1)
    heads: int = Field(default=3, ge=1)
    intermediate: int = Field(default=256, ge=8)
    positions: int = Field(default=2048, ge=16)
    # of a byte-level BPE, where the task has no word pattern
    vocabulary: int = Field(default=512, ge=300)
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    pretrain: Pretrain = Pretrain()

    @pydantic.field_validator("path")
    @classmethod
    def _home(cls, path: str | None) -> str | None:
        return str(Path(path).expanduser()) if path and path.startswith("~") else path

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Model:
        twice = 2 * self.heads
        if self.hidden % twice:
            raise ValueError(f"hidden = {self.hidden} must be a multiple of 2 * heads = {twice}")
        if self.chat == "none" and (self.system or self.chat_options):
            raise ValueError("system and chat_options need chat = 'template' or 'plain'")
        if self.attention and self.backbone == "packed":
            raise ValueError(
                f"attention = {self.attention!r} is an option of transformers' own forward, and "
                "backbone = 'packed' is another one; allowed: 'auto' or 'transformers'"
            )
        return self

    @property
    def forward(self) -> BackboneName:
        """`backbone`, but a named attention needs transformers' forward."""
        return "transformers" if self.attention else self.backbone

    def starting_point(self) -> str:
        """JSON of the fields that a built model's weights depend on."""
        use = {"chat", "chat_options", "system", "stop", "checkpointing", "lora"}
        return self.model_dump_json(exclude={*use, "attention", "backbone"})


class RolloutShape(Section):
    prompts: int = Field(default=16, ge=1)  # Q
    group: int = Field(default=8, ge=1)  # G
    minibatches: int = Field(default=1, ge=1)
    epochs: int = Field(default=1, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    max_tokens: int | None = Field(default=None, ge=1)  # None: the task's
    refill_cap: int = Field(default=4, ge=1)  # rollout batches drawn at most to fill one (DAPO)

    @property
    def updates(self) -> int:
        return self.minibatches * self.epochs

    @pydantic.model_validator(mode="after")
    def _minibatches_hold_prompts(self) -> RolloutShape:
        parts, prompts = self.minibatches, self.prompts
        if parts > prompts:
            raise ValueError(f"minibatches = {parts} must be at most prompts = {prompts}")
        return self


class Optimizer(Section):
    """AdamW."""

    lr: float = Field(default=1e-4, gt=0)
    critic_lr: float | None = Field(default=None, gt=0)  # None: lr
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: float = Field(default=0.0, ge=0, lt=1)  # share of the budget

    def lr_at(self, progress: float) -> float:
        """Multiplier of the learning rates when `progress` (0..1) of the budget is spent."""
        if progress < self.warmup:
            return max(progress, 1e-3) / self.warmup
        left = 1 - min((progress - self.warmup) / (1 - self.warmup), 1.0)
        by_name = {"linear": left, "cosine": 0.5 * (1 - math.cos(math.pi * left))}
        return by_name.get(self.schedule, 1.0)


class Decoding(NamedTuple):
    """One way to draw the answers of an evaluation."""

    label: str  # column `decoding` of an evaluation's rows
    temperature: float  # 0: greedy
    samples: int  # answers to each question


class Evaluation(Section):
    """`points` evaluations after the start, evenly on the budget axis. The last one is `final`."""

    points: int = Field(default=6, ge=1)
    curve: dict[str, int] = {"test": 256, "validation": 128}  # split: questions (0: all)
    final: dict[str, int] | None = None  # None: all questions of every split but train
    # of the train split, at the end: the generalisation gap
    train_questions: int = Field(default=128, ge=0)
    samples: int = Field(default=4, ge=0)  # K, at each temperature
    # One, or several of which the first is the headline. The others are drawn on the task's
    # headline split, at the start and at the end. A single one is held and written as a number.
    temperature: float | tuple[float, ...] = 1.0
    greedy: bool = True

    @pydantic.field_validator("temperature", mode="wrap")
    @classmethod
    def _temperatures(cls, given: Any, read: pydantic.ValidatorFunctionWrapHandler) -> Any:
        listed = [*given] if isinstance(given, list | tuple) else [given]
        good = bool(listed) and all(_positive(t) for t in listed)
        if not good or len({f"{t:g}" for t in listed}) < len(listed):
            raise ValueError("allowed: a number above 0, or a list of different numbers above 0")
        return read(listed[0] if len(listed) == 1 else listed)

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The headline first."""
        return self.temperature if isinstance(self.temperature, tuple) else (self.temperature,)

    @property
    def decodings(self) -> tuple[Decoding, ...]:
        """`greedy`, `sampled` at the headline temperature, then `T=0.6` and the like."""
        drawn = enumerate(self.temperatures if self.samples else ())
        sampled = [Decoding(f"T={t:g}" if i else "sampled", t, self.samples) for i, t in drawn]
        return (*[Decoding("greedy", 0.0, 1)] * self.greedy, *sampled)

    @property
    def curve_decodings(self) -> tuple[Decoding, ...]:
        """Those of the evaluations between the start and the end."""
        return self.decodings[: self.greedy + bool(self.samples)]

    def asked(self, splits: Sequence[str], final: bool) -> dict[str, int]:
        """Questions by split (0: all) at a point of the curve, or at the end."""
        if not final:
            return dict(self.curve)
        rest = {s: 0 for s in splits if s != "train"} if self.final is None else dict(self.final)
        return {**rest, "train": self.train_questions} if self.train_questions else rest

    @pydantic.model_validator(mode="after")
    def _something(self) -> Evaluation:
        if not (self.samples or self.greedy):
            raise ValueError("samples = 0 and greedy = false leave nothing to evaluate")
        return self


Correct = Literal["none", "token_truncate", "sequence_truncate"]


class SamplerSection(Section):
    """What draws the training samples: this process, or vLLM."""

    name: Literal["hf", "vllm"] = "hf"
    mode: Literal["colocate", "server"] = "colocate"
    server: str | None = None  # address of a server
    tensor_parallel: int = Field(default=1, ge=1)  # colocate; a server has its own
    memory: float = Field(default=0.3, gt=0, le=1)  # share of the GPU's; colocate
    sleep: bool = False  # free the engine's memory while training; colocate
    engine: dict[str, Any] = {}  # more arguments of vllm.LLM, e.g. dtype; colocate
    evaluate: bool = False  # also for evaluations: faster, but with its own seeds
    correction: Correct = "token_truncate"  # bench/train/correction.py
    limit: float = Field(default=3.0, ge=1)  # of an importance weight

    @pydantic.model_validator(mode="after")
    def _fits(self) -> SamplerSection:
        if self.name == "hf" and (changed := self.model_dump(exclude_defaults=True)):
            raise ValueError(f"{', '.join(sorted(changed))}: only with name = 'vllm'")
        if (self.mode == "server") != (self.server is not None):
            raise ValueError("mode = 'server' and server = 'http://...' go together")
        return self


class Budget(Section):
    axis: Axis = "updates"
    amount: float = Field(default=120, gt=0)


class Phase(Section):
    """One objective and its share of the budget; SFT-then-GRPO is two phases."""

    method: str
    fields: dict[str, Any] = {}
    share: float = Field(default=1.0, gt=0, le=1)
    source: methods.base.SourceName | None = None  # None: the objective's own


class RunConfig(Section):
    """One training run, everything that determines its result."""

    method: str  # label, unique in a suite
    phases: tuple[Phase, ...]
    task: dict[str, Any]
    seed: int
    model: Model = Model()
    rollout: RolloutShape = RolloutShape()
    optimizer: Optimizer = Optimizer()
    budget: Budget = Budget()
    eval: Evaluation = Evaluation()
    plugins: dict[str, str] = {}  # code from outside: its name, the hash of its file
    sampler: SamplerSection = SamplerSection()
    reward: str = "correct"  # correct | format | random | path.py:function | an installed one
    replay_rollouts: int | None = Field(default=None, ge=1)  # None: as many as a policy run draws
    # the models a run keeps: the last one, also the best on validation questions, or all evaluated
    checkpoint: Literal["last", "none", "best", "all"] = "last"
    keep_rollouts: bool = False  # for `evenbench anatomy`; costs a copy of the start and two passes
    track: Literal["tensorboard", "wandb", "trackio"] | None = None  # also send the numbers there
    # padded tokens of a micro-batch; changes no result
    micro_tokens: int = Field(default=65536, ge=1)

    @pydantic.field_validator("phases")
    @classmethod
    def _shares(cls, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        if abs(sum(p.share for p in phases) - 1) > 1e-9:
            raise ValueError("the phases' shares must add up to 1")
        return phases

    def build_task(self) -> tasks.Task:
        return tasks.get(**self.task)

    def build_methods(self) -> list[methods.Method | Entrant]:
        """The objectives, or the one entrant. Raises KeyError and ValidationError."""
        places = [entrants if p.method in ENTRANTS else methods for p in self.phases]
        return [at.get(p.method, **p.fields) for at, p in zip(places, self.phases, strict=True)]

    def source(self, phase: int) -> methods.base.SourceName:
        return self.phases[phase].source or self.build_methods()[phase].needs().source

    @property
    def max_tokens(self) -> int:
        return self.rollout.max_tokens or self.build_task().max_tokens

    @property
    def rollouts(self) -> int | None:
        """How many rollout batches a policy run of this budget draws, which is the size of a replay
        set; None where the axis does not determine it."""
        shape = self.rollout
        each = {"updates": shape.updates, "samples": shape.prompts * shape.group}
        if self.replay_rollouts or self.budget.axis not in each:
            return self.replay_rollouts
        return -(-int(self.budget.amount) // each[self.budget.axis])

    def plugin_code(self) -> dict[str, str]:
        """What `plugins` must hold now. Raises ConfigError: no such file or name."""
        return plugin_code([p.method for p in self.phases], self.task["name"], self.reward)

    def check_plugins(self) -> None:
        """Raises ConfigError where a file of code from outside is missing or has changed since the
        recipe was read: a result must not be filed under other code."""
        now = self.plugin_code() if self.plugins else {}
        for name, code in self.plugins.items():
            if now.get(name) != code:
                raise ConfigError(
                    f"{name}: the file has changed since the suite was started; with "
                    "`evenbench run` the runs that use it start again"
                )

    def digest(self) -> str:
        """Eight hex digits of what determines the result."""
        never = ("micro_tokens", "checkpoint", "keep_rollouts", "track", "method")
        unused: dict[str, Any] = {**dict.fromkeys(never, True), "model": {"checkpointing"}}
        if not self.plugins:
            unused["plugins"] = True
        if self.sampler == SamplerSection():  # ids are older than it
            unused["sampler"] = True
        content = self.model_dump(mode="json", exclude=unused)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        return f"{_slug(self.method)}-{_slug(self.task['name'])}-s{self.seed}-{self.digest()}"


class Hardware(Section):
    """The machine that a recipe is meant for; `evenbench plan` estimates for it."""

    name: str  # e.g. "H100 80 GB"
    gpus: int = Field(default=1, ge=1)
    gpus_per_run: int = Field(default=1, ge=1)
    memory_gb: float = Field(gt=0)  # of one GPU
    teraflops: float = Field(gt=0)  # of one GPU, dense bfloat16
    bandwidth: float = Field(gt=0)  # TB/s of one GPU's memory


class Tuning(Section):
    """How `evenbench tune` searches; every method gets the same. It changes no run."""

    trials: int = Field(default=12, ge=1)  # random settings of each method
    seeds: int = Field(default=3, ge=1)  # of each trial
    # range of the learning rate, in units of the recipe's `optimizer.lr`
    lr: tuple[float, float] = (LR.low, LR.high)
    # every range of every method reaches this factor further at both ends: the extension where a
    # best value stands at an edge, made for all alike
    widen: float = Field(default=1.0, ge=1)
    fixed: dict[str, tuple[str, ...]] = {}  # by label: what belongs to the row and is not searched
    log: str | None = None  # the trials that chose this recipe's settings: a file beside it

    @pydantic.model_validator(mode="after")
    def _ascending(self) -> Tuning:
        if not 0 < self.lr[0] < self.lr[1]:
            raise ValueError(f"lr = {list(self.lr)}: expected two factors, 0 < low < high")
        return self


class Suite(Section):
    name: str
    runs: tuple[RunConfig, ...]
    control: str | None = None  # the method that the others are compared with
    margin: float = Field(default=0.02, gt=0)  # equivalence margin, in accuracy
    primary: Annotated[Specification, LATER] = Specification()  # what verdicts are about
    about: str = ""
    expected: str = ""  # cost as the recipe states it
    plan_only: str = ""  # why this version cannot run the recipe; `run` and `tune` then refuse it
    hardware: Hardware | None = None
    tune: Annotated[Tuning, LATER] = Tuning()


def _positive(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


def _slug(text: str) -> str:
    text = text.rpartition(":")[2] if ".py:" in text else text
    return "".join(c if c.isalnum() or c in "+._" else "-" for c in text)
