"""What a verdict is worth. A reward is a run's, not a task's or an objective's.

    reward = "correct"                  the default: the judge's number, or 1 if correct, else 0
    reward = "path.py:function"         function(example, response, grade) -> float

`format` and `random` are controls: an objective that gains with them gains from something else than
the answers (arXiv:2506.10947).
"""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Callable

from .base import Example, Grade
from .registry import load_plugin

Reward = Callable[[Example, str, Grade], float]


def correct(example: Example, response: str, grade: Grade) -> float:
    """The judge's or reward model's number where there is one; else 1 if correct, 0 if not."""
    return float(grade.correct) if grade.reward is None else grade.reward


def strict(example: Example, response: str, grade: Grade) -> float:
    """1 under the task's official protocol."""
    return float(grade.strict)


def well_formed(example: Example, response: str, grade: Grade) -> float:
    """1 if the answer stands in the form that was asked for, whatever it says."""
    return float(grade.format_ok)


def coin(example: Example, response: str, grade: Grade) -> float:
    """0 or 1 by a hash of question and response: no information, and the same in every run."""
    digest = hashlib.sha256(f"{example.id}\x1f{response}".encode("utf-8", "surrogatepass"))
    return float(digest.digest()[0] & 1)


_NAMED: dict[str, Reward] = {
    "correct": correct,
    "strict": strict,
    "format": well_formed,
    "random": coin,
}


def names() -> list[str]:
    return sorted(_NAMED)


def load(name: str) -> Reward:
    """The reward of that name, or of `path/to/file.py:function`.

    A plug-in's value is checked on every call: TypeError or ValueError where it is no finite
    number, since a NaN reward would spoil a whole batch without a word.

    Raises:
        KeyError: no such reward, file or function; the message names the nearest.
    """
    if ".py:" not in name:
        if name not in _NAMED:
            near = difflib.get_close_matches(name, _NAMED, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(names())}"
            raise KeyError(f"unknown reward {name!r}; {hint} (or path.py:function)")
        return _NAMED[name]
    module, attribute, path = load_plugin(name)
    function = getattr(module, attribute, None)
    if not callable(function):
        raise KeyError(f"reward {name!r}: no function {attribute!r} in {path}")

    def checked(example: Example, response: str, grade: Grade) -> float:
        value = function(example, response, grade)
        if not isinstance(value, int | float):
            raise TypeError(f"reward {name!r} gave {value!r}, not a number")
        if not math.isfinite(value):
            raise ValueError(f"reward {name!r} gave {value!r} on question {example.id}")
        return float(value)

    return checked
