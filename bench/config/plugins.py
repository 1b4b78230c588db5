"""Code from outside the project that a run uses: found, and known by the hash of its file."""

import hashlib
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import methods
import tasks
from tasks.registry import load_plugin

from .entrants import ENTRANTS
from .errors import ConfigError


def plugin_code(objectives: Sequence[str], task: str, reward: str) -> dict[str, str]:
    """The hash of the file of each objective, task and reward function that comes from outside the
    project, by name. Raises ConfigError: no such file or name."""
    found = {}
    try:
        used: dict[str, type] = {n: methods.entry(n).cls for n in objectives if n not in ENTRANTS}
        for name, cls in [*used.items(), (task, tasks.entry(task).cls)]:
            if cls.__module__.partition(".")[0] not in ("methods", "tasks"):
                found[name] = Path(str(sys.modules[cls.__module__].__file__))
        if ".py:" in reward:
            module, function, found[reward] = load_plugin(reward)
            if not callable(getattr(module, function, None)):
                raise ConfigError(f"reward = {reward!r}: the file has no function {function!r}")
        elif point := installed_rewards().get(reward):
            point.load()
            found[reward] = Path(str(sys.modules[point.module].__file__))
        return {k: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for k, path in found.items()}
    except KeyError as error:
        raise ConfigError(error.args[0]) from None
    except FileNotFoundError as error:  # deleted since it was loaded
        raise ConfigError(f"no file {error.filename}") from None


def installed_rewards() -> dict[str, EntryPoint]:
    """Reward functions of other packages, by name."""
    return {point.name: point for point in entry_points(group="evenbench.rewards")}
