"""What a run and a suite are, read from TOML and checked before anything is spent.

A recipe is one TOML file: a suite's names and the sections of a run. `[method.NAME]` sets fields of
the objective and may hold sections of its own (`[method.gift.optimizer]`) for that entry alone.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

import methods
import tasks
from tasks.registry import load_plugin

from . import entrants
from .entrants import ENTRANTS, Entrant

RECIPES = Path(__file__).parents[1] / "recipes"
Axis = Literal["updates", "samples", "tokens", "flops", "seconds"]
Backend = Literal["hf", "vllm", "local-completions"]  # of `evenbench eval`


class ConfigError(ValueError):
    """The configuration is wrong; the message holds the key's path, what was found and what is
    allowed."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Pretrain(Section):
    steps: int = Field(default=700, ge=0)
    batch: int = Field(default=64, ge=1)
    lr: float = Field(default=5e-3, gt=0)
    length: int = Field(default=128, ge=8)  # prompts and responses are cut to that many tokens
    seed: int = 0


class Lora(Section):
    """Low-rank adapters (peft) instead of all weights; the reference policy is the model with them
    switched off."""

    r: int = Field(default=32, ge=1)
    alpha: float = Field(default=64.0, gt=0)
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"  # names of modules
    dropout: float = Field(default=0.0, ge=0, le=0)  # the exact gradient needs one function
    seed: int = Field(default=0, ge=0)  # of the adapters' start: the same for all runs


class Model(Section):
    """A folder or hub id (`path`), or a Llama built on the spot, pretrained on its corpus."""

    path: str | None = None
    revision: str | None = None
    chat: Literal["none", "template", "plain"] = "none"  # template: the model's own
    chat_options: dict[str, Any] = {}  # variables of the template, e.g. enable_thinking = false
    system: str | None = None
    stop: tuple[str, ...] = ()  # strings that end a response, besides the task's
    attention: (
        Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"] | None
    ) = None  # None: bench.model.packed where the architecture allows it, else transformers' choice
    checkpointing: bool = False  # recompute activations in the backward pass; changes no result
    lora: Lora | None = None
    hidden: int = Field(default=96, ge=8)
    layers: int = Field(default=3, ge=1)
    heads: int = Field(default=3, ge=1)
    intermediate: int = Field(default=256, ge=8)
    positions: int = Field(default=2048, ge=16)
    vocabulary: int = Field(
        default=512, ge=300
    )  # of a byte-level BPE, where the task has no word pattern
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    pretrain: Pretrain = Pretrain()

    @field_validator("path")
    @classmethod
    def _home(cls, path: str | None) -> str | None:
        return str(Path(path).expanduser()) if path and path.startswith("~") else path

    @model_validator(mode="after")
    def _heads_divide(self) -> Model:
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden = {self.hidden} must be a multiple of 2 * heads = {2 * self.heads}"
            )
        return self

    @model_validator(mode="after")
    def _chat_is_used(self) -> Model:
        if self.chat == "none" and (self.system or self.chat_options):
            raise ValueError("system and chat_options need chat = 'template' or 'plain'")
        return self

    def starting_point(self) -> str:
        """JSON of the fields that a model built on the spot depends on."""
        use = {"chat", "chat_options", "system", "stop", "attention", "checkpointing", "lora"}
        return self.model_dump_json(exclude=use)


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

    @model_validator(mode="after")
    def _minibatches_hold_prompts(self) -> RolloutShape:
        if self.minibatches > self.prompts:
            raise ValueError(
                f"minibatches = {self.minibatches} must be at most prompts = {self.prompts}"
            )
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
        import math

        if progress < self.warmup:
            return max(progress, 1e-3) / self.warmup
        left = 1 - min((progress - self.warmup) / (1 - self.warmup), 1.0)
        return {"constant": 1.0, "linear": left, "cosine": 0.5 * (1 - math.cos(math.pi * left))}[
            self.schedule
        ]


class Evaluation(Section):
    """`points` evaluations after the start, evenly on the budget axis. The last one is `final`."""

    points: int = Field(default=6, ge=1)
    curve: dict[str, int] = {"test": 256, "validation": 128}  # split: questions (0: all)
    final: dict[str, int] | None = None  # None: all questions of every split but train
    train_questions: int = Field(
        default=128, ge=0
    )  # of the train split, at the end: the generalisation gap
    samples: int = Field(default=4, ge=0)  # K
    temperature: float = Field(default=1.0, gt=0)
    greedy: bool = True

    def asked(self, splits: Sequence[str], final: bool) -> dict[str, int]:
        """Questions by split (0: all) at a point of the curve, or at the end."""
        if not final:
            return dict(self.curve)
        rest = {s: 0 for s in splits if s != "train"} if self.final is None else dict(self.final)
        return {**rest, "train": self.train_questions} if self.train_questions else rest

    @model_validator(mode="after")
    def _something(self) -> Evaluation:
        if not (self.samples or self.greedy):
            raise ValueError("samples = 0 and greedy = false leave nothing to evaluate")
        return self


Correct = Literal["none", "token_truncate", "sequence_truncate"]


class Sampler(Section):
    """Who draws the training samples: this process, or vLLM."""

    name: Literal["hf", "vllm"] = "hf"
    mode: Literal["colocate", "server"] = "colocate"
    server: str | None = None  # address of a server
    tensor_parallel: int = Field(default=1, ge=1)  # colocate; a server has its own
    memory: float = Field(default=0.3, gt=0, le=1)  # share of the GPU's; colocate
    sleep: bool = False  # gives the engine's memory back while training; colocate
    engine: dict[str, Any] = {}  # more arguments of vllm.LLM, e.g. dtype; colocate
    evaluate: bool = False  # it draws the evaluations' answers too: faster, with its own seeds
    correction: Correct = "token_truncate"  # bench/train/correction.py
    limit: float = Field(default=3.0, ge=1)  # of an importance weight

    @model_validator(mode="after")
    def _fits(self) -> Sampler:
        if self.name == "hf" and (changed := self.model_dump(exclude_defaults=True)):
            raise ValueError(f"{', '.join(sorted(changed))}: only with name = 'vllm'")
        if (self.mode == "server") != (self.server is not None):
            raise ValueError("mode = 'server' and server = 'http://...' go together")
        return self


class Budget(Section):
    axis: Axis = "updates"
    amount: float = Field(default=120, gt=0)


class Phase(Section):
    """One objective and the share of the budget that it has; SFT-then-GRPO is two phases."""

    method: str
    fields: dict[str, Any] = {}
    share: float = Field(default=1.0, gt=0, le=1)
    source: methods.base.Source | None = None  # None: the objective's own


class Run(Section):
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
    plugins: dict[str, str] = {}  # code from outside that the run uses: name and hash of its file
    sampler: Sampler = Sampler()
    reward: str = "correct"  # correct | format | random | path.py:function | an installed one
    replay_rollouts: int | None = Field(default=None, ge=1)  # None: as many as a policy run draws
    # what a run keeps: its end, also its best (on validation questions) or every evaluated point
    checkpoint: Literal["last", "none", "best", "all"] = "last"
    keep_rollouts: bool = False  # for `evenbench anatomy`; costs a copy of the start and two scores
    track: Literal["tensorboard", "wandb", "trackio"] | None = None  # who else gets the numbers
    micro_tokens: int = Field(
        default=65536, ge=1
    )  # padded tokens of a micro-batch; changes no result

    @field_validator("phases")
    @classmethod
    def _shares(cls, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        if abs(sum(p.share for p in phases) - 1) > 1e-9:
            raise ValueError("the phases' shares must add up to 1")
        return phases

    def build_task(self) -> tasks.Task:
        return tasks.get(**self.task)

    def build_methods(self) -> list[methods.Method | Entrant]:
        """The objectives, or the one entrant."""
        return [build(p.method, **p.fields) for p in self.phases]

    def source(self, phase: int) -> methods.base.Source:
        return self.phases[phase].source or self.build_methods()[phase].needs().source

    @property
    def max_tokens(self) -> int:
        return self.rollout.max_tokens or self.build_task().max_tokens

    @property
    def rollouts(self) -> int | None:
        """Rollout batches that a policy run of this budget draws, hence the size of a replay set;
        None where the axis does not tell."""
        if self.replay_rollouts:
            return self.replay_rollouts
        shape = self.rollout
        if self.budget.axis == "updates":
            return -(-int(self.budget.amount) // shape.updates)
        if self.budget.axis == "samples":
            return -(-int(self.budget.amount) // (shape.prompts * shape.group))
        return None

    def check_plugins(self) -> None:
        """Raises ConfigError where code from outside is gone, or is not what it was when the recipe
        was read: a result must not carry the name of other code."""
        for name, code in self.plugins.items():
            now = plugin_code([p.method for p in self.phases], self.task["name"], self.reward)
            if now.get(name) != code:
                raise ConfigError(
                    f"{name}: the file has changed since the suite was started; "
                    "`evenbench run` starts what it concerns anew"
                )

    def digest(self) -> str:
        """Eight hex digits of what determines the result."""
        unused: dict[str, Any] = dict.fromkeys(
            ("micro_tokens", "checkpoint", "keep_rollouts", "track", "method"), True
        )
        unused["model"] = {"checkpointing"}
        if not self.plugins:
            unused["plugins"] = True
        if self.sampler == Sampler():  # ids are older than it
            unused["sampler"] = True
        content = self.model_dump(mode="json", exclude=unused)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        return f"{_slug(self.method)}-{_slug(self.task['name'])}-s{self.seed}-{self.digest()}"


class Hardware(Section):
    """What a recipe is meant for, and what `evenbench plan` reckons with."""

    name: str  # e.g. "H100 80 GB"
    gpus: int = Field(default=1, ge=1)
    gpus_per_run: int = Field(default=1, ge=1)
    memory_gb: float = Field(gt=0)  # of one GPU
    teraflops: float = Field(gt=0)  # of one GPU, dense bfloat16
    bandwidth: float = Field(gt=0)  # TB/s of one GPU's memory


def build(name: str, **fields: Any) -> methods.Method | Entrant:
    """An objective or an entrant by its name. Raises KeyError and ValidationError."""
    return (entrants if name in ENTRANTS else methods).get(name, **fields)


class Suite(Section):
    name: str
    runs: tuple[Run, ...]
    control: str | None = None  # the method that the others are compared with
    margin: float = Field(default=0.02, gt=0)  # equivalence margin, in accuracy
    about: str = ""
    expected: str = ""  # cost as the recipe states it
    hardware: Hardware | None = None


RUN_SECTIONS = (
    "model",
    "rollout",
    "optimizer",
    "budget",
    "eval",
    "sampler",
    "reward",
    "replay_rollouts",
    "checkpoint",
    "keep_rollouts",
    "track",
    "micro_tokens",
)
SUITE_KEYS = (
    "name",
    "methods",
    "seeds",
    "control",
    "margin",
    "about",
    "expected",
    "hardware",
    "task",
    "method",
)


def recipes() -> list[str]:
    return sorted(p.stem for p in RECIPES.glob("*.toml"))


def read_recipe(name: str) -> dict[str, Any]:
    """A packaged recipe by name, or a TOML file by path."""
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    if not path.is_file():
        raise ConfigError(
            f"no recipe {name!r}{_nearest(name, recipes())}; a path must end in .toml"
        )
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def override(recipe: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Apply `a.b.c=value` assignments. Both sides are TOML (a bare word is a string, and a name
    that holds a dot needs quotes: `method."my.py:Loss".lr=1`)."""
    recipe = json.loads(json.dumps(recipe))
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"-o {assignment!r}: expected key=value, e.g. method.gift.beta=2")
        try:
            change = tomllib.loads(f"{key} = {text}")
        except tomllib.TOMLDecodeError:
            try:
                change = tomllib.loads(f"{key} = {json.dumps(text.strip())}")
            except tomllib.TOMLDecodeError as error:
                raise ConfigError(f"-o {assignment!r}: {error}") from None
        _merge(recipe, change, assignment)
    return recipe


def _merge(node: dict[str, Any], change: Mapping[str, Any], assignment: str) -> None:
    """Follow a chain of single keys down to the value, and set it."""
    ((key, value),) = change.items()
    below = node.get(key)
    if (
        isinstance(value, dict)
        and len(value) == 1
        and f"{key}." in assignment.replace('"', "").replace(" ", "")
    ):
        if below is not None and not isinstance(below, dict):
            raise ConfigError(f"-o {assignment!r}: {key!r} is a value, not a section")
        _merge(node.setdefault(key, {}), value, assignment)
    else:
        node[key] = value


def build_suite(recipe: Mapping[str, Any], origin: str = "recipe", data: bool = True) -> Suite:
    """Check a recipe and resolve it to runs; without `data`, questions are not looked at. Raises
    ConfigError, with the key's path."""
    for key in recipe:
        if key not in RUN_SECTIONS + SUITE_KEYS:
            raise ConfigError(
                f"{origin}: unknown key {key!r}{_nearest(key, RUN_SECTIONS + SUITE_KEYS)}"
            )
    labels = _methods(recipe, origin)
    for name, own in recipe.get("method", {}).items():  # others than the chosen ones may be there
        named = isinstance(own, dict) and ("objective" in own or "phases" in own)
        if name not in labels and name not in methods.names() and not named:
            raise ConfigError(
                f"{origin}: method.{name}: no such method"
                + _nearest(name, [*dict.fromkeys([*labels, *methods.names()])])
            )
    seeds = recipe.get("seeds", 5)
    seeds = list(range(seeds)) if isinstance(seeds, int) else seeds
    if (
        not seeds
        or not all(isinstance(s, int) and s >= 0 for s in seeds)
        or len(set(seeds)) != len(seeds)
    ):
        raise ConfigError(
            f"{origin}: seeds = {recipe.get('seeds')!r}: "
            "a count or a list of distinct integers >= 0"
        )
    task = _task(recipe, origin)
    runs = [_run(recipe, label, seed, task, origin) for seed in seeds for label in labels]
    for run in runs[: len(labels)]:
        _check(run, origin, data)
    control = recipe.get("control")
    if control is not None and control not in labels:
        control = None  # the control is not among the chosen methods
    values = {k: recipe[k] for k in ("about", "expected", "margin", "hardware") if k in recipe}
    return _validated(
        Suite,
        {"name": recipe.get("name", "suite"), "runs": runs, "control": control, **values},
        origin,
    )


def plugin_code(objectives: Sequence[str], task: str, reward: str) -> dict[str, str]:
    """Name and hash of the file of each objective, task and reward function that is not the
    project's own. Raises ConfigError: no such file or name."""
    found = {}
    try:
        own = [name for name in objectives if name not in ENTRANTS]
        classes: dict[str, type] = {name: methods.entry(name).cls for name in own}
        for name, cls in [*classes.items(), (task, tasks.entry(task).cls)]:
            if cls.__module__.partition(".")[0] not in ("methods", "tasks"):
                found[name] = Path(str(sys.modules[cls.__module__].__file__))
        if ".py:" in reward:
            module, function, found[reward] = load_plugin(reward)
            if not callable(getattr(module, function, None)):
                raise ConfigError(f"reward = {reward!r}: the file has no function {function!r}")
        elif reward in installed_rewards():
            point = installed_rewards()[reward]
            point.load()
            found[reward] = Path(str(sys.modules[point.module].__file__))
        return {k: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for k, path in found.items()}
    except KeyError as error:
        raise ConfigError(error.args[0]) from None
    except FileNotFoundError as error:  # it was loaded before
        raise ConfigError(f"no file {error.filename}") from None


def _methods(recipe: Mapping[str, Any], origin: str) -> list[str]:
    labels = recipe.get("methods")
    if isinstance(labels, str):
        labels = [part.strip() for part in labels.split(",") if part.strip()]
    if not labels or not isinstance(labels, list):
        raise ConfigError(
            f"{origin}: methods: a list of names; known: {', '.join([*methods.names(), *ENTRANTS])}"
        )
    if len(set(labels)) != len(labels):
        raise ConfigError(f"{origin}: methods: {labels} names one twice")
    return labels


def _task(recipe: Mapping[str, Any], origin: str) -> dict[str, Any]:
    task = recipe.get("task", {"name": "arithmetic"})
    task = {"name": task} if isinstance(task, str) else dict(task)
    try:
        tasks.get(**task)
    except KeyError as error:
        raise ConfigError(f"{origin}: task: {error.args[0]}") from None
    except ValidationError as error:
        raise ConfigError(explain(error, f"{origin}: task")) from None
    return task


def _run(
    recipe: Mapping[str, Any], label: str, seed: int, task: dict[str, Any], origin: str
) -> Run:
    own = dict(recipe.get("method", {}).get(label, {}))
    if not isinstance(own, dict):
        raise ConfigError(f"{origin}: method.{label}: a section of fields")
    sections = {k: recipe[k] for k in RUN_SECTIONS if k in recipe}
    for key in RUN_SECTIONS:
        if key in own:
            value = own.pop(key)
            sections[key] = {**sections.get(key, {}), **value} if isinstance(value, dict) else value
    source = own.pop("source", None)
    phases = own.pop("phases", None)
    beside = [*own, *(["source"] if source else [])]
    if phases and beside:
        raise ConfigError(
            f"{origin}: method.{label}: {', '.join(beside)} beside phases would be ignored; a "
            'phase holds its own, e.g. { method = "grpo", share = 0.5, fields = { clip = 0.1 } }'
        )
    if not phases:
        phases = [{"method": own.pop("objective", label), "fields": own, "source": source}]
    values = {"method": label, "phases": phases, "task": task, "seed": seed, **sections}
    run = _validated(Run, values, f"{origin}: method.{label}")
    try:
        plugins = plugin_code([p.method for p in run.phases], run.task["name"], run.reward)
    except ConfigError as error:
        raise ConfigError(f"{origin}: method.{label}: {error}") from None
    return run.model_copy(update={"plugins": plugins})


def installed_rewards() -> dict[str, EntryPoint]:
    """Reward functions of other packages, by name."""
    return {point.name: point for point in entry_points(group="evenbench.rewards")}


def _check(run: Run, origin: str, data: bool) -> None:
    """Refuse what cannot be run as it stands."""
    where = f"{origin}: method.{run.method}"
    try:
        built = run.build_methods()
    except KeyError as error:
        raise ConfigError(f"{where}: {error.args[0]}") from None
    except ValidationError as error:
        raise ConfigError(explain(error, where)) from None
    task = run.build_task()
    for i, (phase, method) in enumerate(zip(run.phases, built, strict=True)):
        needs, source = method.needs(), run.source(i)
        problem = method.problem(run, task) if isinstance(method, Entrant) else None
        if problem:
            raise ConfigError(f"{where}: {phase.method}: {problem}")
        if source not in needs.sources:
            raise ConfigError(
                f"{where}: source = {source!r}: {phase.method} takes {' or '.join(needs.sources)}"
            )
        if run.rollout.group < needs.group_min and source != "demonstrations":
            raise ConfigError(
                f"{where}: rollout.group = {run.rollout.group}: {phase.method} needs groups of "
                f"at least {needs.group_min}"
            )
        most = needs.max_updates_per_rollout
        if most is not None and run.rollout.updates > most:
            raise ConfigError(
                f"{where}: rollout.minibatches * rollout.epochs = {run.rollout.updates}: "
                f"{phase.method} allows at most {most} update(s) per rollout batch"
            )
        if source == "replay" and run.rollouts is None:
            raise ConfigError(
                f"{where}: budget.axis = {run.budget.axis!r} does not tell the size of the "
                "replay set; set replay_rollouts"
            )
        gold = data and (needs.gold or source == "demonstrations")
        if gold and not any(e.solution for e in task.examples("train")):
            raise ConfigError(
                f"{where}: {phase.method} needs reference answers; "
                f"task {run.task['name']!r} has none"
            )
    known = ("correct", "format", "random", *installed_rewards())
    if run.reward not in known and ".py:" not in run.reward:
        raise ConfigError(
            f"{where}: reward = {run.reward!r}{_nearest(run.reward, known)}; or path.py:function"
        )
    for phase, method in zip(run.phases, built, strict=True):
        if isinstance(method, Entrant) or run.reward == "correct":
            continue
        if method.needs().learns_from == ("verdict",):
            pairs = " and has no rule for pairs by reward" if method.needs().pairs else ""
            raise ConfigError(
                f"{where}: reward = {run.reward!r}: {phase.method} learns from the checker's "
                f"verdict{pairs}, so that this reward would change nothing"
            )
    if run.sampler.name == "vllm" and not (find_spec("vllm") and find_spec("trl")):
        raise ConfigError(
            f"{where}: sampler.name = 'vllm': not installed; pip install -c constraints-vllm.txt "
            "'evenbench[vllm]', in an environment of its own"
        )
    if run.track and find_spec(run.track) is None:
        what = "'evenbench[track]'" if run.track == "tensorboard" else run.track
        raise ConfigError(f"{where}: track = {run.track!r}: not installed; pip install {what}")
    if run.model.lora and find_spec("peft") is None:
        raise ConfigError(
            f"{where}: model.lora: peft is not installed; pip install evenbench[lora]"
        )
    if run.checkpoint == "best" and "validation" not in run.eval.curve:
        raise ConfigError(f"{where}: checkpoint = 'best': eval.curve has no validation questions")
    for split in (*run.eval.curve, *(run.eval.final or ())):
        if split not in task.splits:
            raise ConfigError(
                f"{where}: eval: unknown split {split!r}{_nearest(split, task.splits)}"
            )


def _validated(cls: type[Any], values: Mapping[str, Any], origin: str) -> Any:
    try:
        return cls(**values)
    except ValidationError as error:
        raise ConfigError(explain(error, origin)) from None


def explain(error: ValidationError, origin: str) -> str:
    """pydantic's findings as lines of: path, what was found, what is allowed, the nearest name."""
    lines = []
    for finding in error.errors():
        path = ".".join(str(part) for part in finding["loc"])
        text = finding["msg"].removeprefix("Value error, ")
        if finding["type"] == "extra_forbidden":
            text = "unknown key"
            model = _model_at(error.title, finding["loc"])
            if model:
                text += _nearest(str(finding["loc"][-1]), list(model))
            lines.append(f"{origin}: {path}: {text}")
        else:
            found = (
                f" (found {finding['input']!r})" if not isinstance(finding["input"], dict) else ""
            )
            lines.append(f"{origin}: {path}: {text}{found}" if path else f"{origin}: {text}")
    return "\n".join(lines)


def _model_at(title: str, location: tuple[Any, ...]) -> list[str] | None:
    """Names of the fields that are allowed where an unknown key was found."""
    model: Any = {"Run": Run, "Suite": Suite}.get(title)
    if model is None:
        known = [
            *(methods.entry(n).cls for n in methods.names()),
            *(tasks.entry(n).cls for n in tasks.names()),
            *ENTRANTS.values(),
        ]
        model = next((cls for cls in known if cls.__name__ == title), None)
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field else None
    return list(model.model_fields) if hasattr(model, "model_fields") else None


def _nearest(word: str, options: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, options, n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else f"; allowed: {', '.join(options)}"


def _slug(text: str) -> str:
    text = text.rpartition(":")[2] if ".py:" in text else text
    return "".join(c if c.isalnum() or c in "+._" else "-" for c in text)
