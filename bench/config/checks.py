"""What is refused before anything is spent, and how a refusal is worded."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import chain
from typing import Any

from pydantic import ValidationError

import methods
import tasks
from methods import Method

from .entrants import ENTRANTS, Entrant
from .errors import ConfigError, nearest
from .plugins import installed_rewards
from .sections import RunConfig, Suite


def check(run: RunConfig, origin: str, data: bool) -> None:
    """Raises ConfigError where a run cannot work as the recipe asks."""
    where = f"{origin}: method.{run.method}"
    with explaining(where):
        built = run.build_methods()
    wrong = chain(_of_methods(run, built, data), _of_reward(run, built), _of_settings(run))
    if problem := next(wrong, None):
        raise ConfigError(f"{where}: {problem}")


def _of_methods(run: RunConfig, built: list[Method | Entrant], data: bool) -> Iterator[str]:
    """What is wrong with the objectives, their data sources and their batches."""
    task, shape = run.build_task(), run.rollout
    for i, (phase, method) in enumerate(zip(run.phases, built, strict=True)):
        name, needs, source = phase.method, method.needs(), run.source(i)
        if isinstance(method, Entrant) and (problem := method.problem(run, task)):
            yield f"{name}: {problem}"
        if source not in needs.sources:
            yield f"source = {source!r}: {name} takes {' or '.join(needs.sources)}"
        least, most = needs.group_min, needs.max_updates_per_rollout
        if shape.group < least and source != "demonstrations":
            yield f"rollout.group = {shape.group}: {name} needs groups of at least {least}"
        if most is not None and shape.updates > most:
            allowed = f"{name} allows at most {most} update(s) per rollout batch"
            yield f"rollout.minibatches * rollout.epochs = {shape.updates}: {allowed}"
        if source == "replay" and run.rollouts is None:
            missing = "does not determine the size of the replay set; set replay_rollouts"
            yield f"budget.axis = {run.budget.axis!r} {missing}"
        gold = data and (needs.gold or source == "demonstrations")
        if gold and not any(e.solution for e in task.examples("train")):
            yield f"{name} needs reference answers; task {run.task['name']!r} has none"


def _of_reward(run: RunConfig, built: list[Method | Entrant]) -> Iterator[str]:
    known = ("correct", "format", "random", *installed_rewards())
    if run.reward not in known and ".py:" not in run.reward:
        yield f"reward = {run.reward!r}{nearest(run.reward, known)}; or path.py:function"
    for phase, method in zip(run.phases, built, strict=True):
        blind = isinstance(method, Method) and method.needs().learns_from == ("verdict",)
        if blind and run.reward != "correct":
            pairs = " and has no rule for pairs by reward" if method.needs().pairs else ""
            why = f"{phase.method} learns from the checker's verdict{pairs}"
            yield f"reward = {run.reward!r}: {why}, so this reward would change nothing"


def _of_settings(run: RunConfig) -> Iterator[str]:
    """What is not installed, and what the evaluation lacks."""
    if run.sampler.name == "vllm" and not (find_spec("vllm") and find_spec("trl")):
        install = "pip install -c constraints-vllm.txt 'evenbench[vllm]'"
        yield f"sampler.name = 'vllm': not installed; {install}, in a separate environment"
    if run.track and find_spec(run.track) is None:
        what = "'evenbench[track]'" if run.track == "tensorboard" else run.track
        yield f"track = {run.track!r}: not installed; pip install {what}"
    if run.model.lora and find_spec("peft") is None:
        yield "model.lora: peft is not installed; pip install evenbench[lora]"
    if run.checkpoint == "best" and "validation" not in run.eval.curve:
        yield "checkpoint = 'best': eval.curve has no validation questions"
    splits = run.build_task().splits
    for split in (*run.eval.curve, *(run.eval.final or ())):
        if split not in splits:
            yield f"eval: unknown split {split!r}{nearest(split, splits)}"


def check_primary(suite: Suite, origin: str) -> None:
    """Raises ConfigError where a run would not evaluate what the verdicts are to be about."""
    primary, where = suite.primary, f"{origin}: primary"
    for run in suite.runs:
        asked = run.eval
        decodings = [decoding.label for decoding in asked.decodings]
        if primary.decoding and primary.decoding not in decodings:
            raise ConfigError(
                f"{where}.decoding: {primary.decoding!r} is not evaluated by {run.method}; [eval]"
                f" gives {', '.join(decodings)}"
            )
        splits = [s for s in asked.asked(run.build_task().splits, final=True)
                  if s not in ("train", "validation")]  # fmt: skip
        if primary.split and primary.split not in splits:
            raise ConfigError(
                f"{where}.split: {primary.split!r} is not evaluated at the end of {run.method};"
                f" allowed: {', '.join(splits)}"
            )
        if primary.checkpoint == "selected" and "validation" not in asked.curve:
            raise ConfigError(f"{where}.checkpoint: 'selected' needs eval.curve.validation")


@contextmanager
def explaining(where: str) -> Iterator[None]:
    """Unknown names (KeyError) and wrong values of the block become a ConfigError."""
    try:
        yield
    except KeyError as error:
        raise ConfigError(f"{where}: {error.args[0]}") from None
    except ValidationError as error:
        raise ConfigError(explain(error, where)) from None


def explain(error: ValidationError, origin: str) -> str:
    """pydantic's errors, one per line: the key's path, what was found, what is allowed or near."""
    lines = []
    for finding in error.errors():
        path = ".".join(str(part) for part in finding["loc"])
        text = finding["msg"].removeprefix("Value error, ")
        if finding["type"] == "extra_forbidden":
            known = _fields_at(error.title, finding["loc"])
            text = "unknown key" + (nearest(str(finding["loc"][-1]), known) if known else "")
            lines.append(f"{origin}: {path}: {text}")
        elif path and not isinstance(finding["input"], dict):
            lines.append(f"{origin}: {path}: {text} (found {finding['input']!r})")
        else:
            lines.append(f"{origin}: {path}: {text}" if path else f"{origin}: {text}")
    return "\n".join(lines)


def _fields_at(title: str, location: tuple[Any, ...]) -> list[str]:
    """The field names that are allowed where an unknown key was found."""
    classes = [RunConfig, Suite, *ENTRANTS.values()]
    classes += [registry.entry(n).cls for registry in (methods, tasks) for n in registry.names()]
    model: Any = next((cls for cls in classes if cls.__name__ == title), None)
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field else None
    return list(getattr(model, "model_fields", ()))
