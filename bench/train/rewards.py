"""What an answer is worth: the task's reward, a control, or a function of a plug-in."""

import math
from collections.abc import Callable
from typing import Any

from bench.config import ConfigError, installed_rewards
from tasks import Example, Grade
from tasks.registry import load_plugin

Reward = Callable[[Example, str, Grade, int], float]
"""Of (example, response, grade, random key)."""


def reward_function(name: str) -> Reward:
    """`correct`, `format`, `random` (a control: a fair coin), a name of the entry-point group
    `evenbench.rewards`, or `path.py:function`, called with (example, response, grade).

    Raises:
        ConfigError: no such function.
        ValueError: by the reward itself, where it raises or is not a finite number.
    """
    function = _reward(name)

    def reward(example: Example, text: str, grade: Grade, key: int) -> float:
        where = f"for question {example.id} (response {text[:80]!r})"
        try:
            value = function(example, text, grade, key)
        except Exception as error:  # of any kind: the function is a plug-in's
            told = f"reward {name!r} raises {type(error).__name__}: {error} {where}"
            raise ValueError(told) from error
        try:
            number = math.nan if isinstance(value, str) else float(value)
        except Exception:  # of any kind: the value is a plug-in's
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"reward {name!r} is {value!r} {where}: it must be a finite number")
        return number

    return reward


def _reward(name: str) -> Callable[[Example, str, Grade, int], Any]:
    match name:
        case "correct":
            return lambda _, text, grade, key: (
                grade.correct if grade.reward is None else grade.reward
            )
        case "format":
            return lambda _, text, grade, key: grade.format_ok
        case "random":
            return lambda _, text, grade, key: key & 1
    if name in installed_rewards():
        function = installed_rewards()[name].load()
    else:
        try:
            module, attribute, path = load_plugin(name)
        except KeyError as error:
            raise ConfigError(f"reward: {error.args[0]}") from None
        function = getattr(module, attribute, None)
        if not callable(function):
            raise ConfigError(f"reward = {name!r}: {path} has no function {attribute!r}")
    return lambda example, text, grade, key: function(example, text, grade)
