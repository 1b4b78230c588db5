"""Search spaces: which settings of an objective are tuned, in which range, by which source.

Every objective is tuned in its learning rate and in at most two settings of its own; updates a
rollout batch are one of them where the objective allows several. The names are those of `space`:

    lr           the learning rate, in units of the recipe's
    critic_lr    the critic's learning rate, in units of the policy's
    minibatches  updates a rollout batch
    other names  fields of the objective (`Method.search`)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Method

Value = float | str
OUTER = 0.1  # a value this share of the range from one of its ends is at the edge


@dataclass(frozen=True)
class Between:
    """A positive number, uniform in its logarithm."""

    low: float
    high: float
    source: str

    def at(self, share: float) -> float:
        """The value at `share` of the range, 0 to 1, rounded to three digits."""
        return float(f"{self.low * (self.high / self.low) ** share:.3g}")

    def edge(self, value: Value) -> str:
        """low or high, where a value is so close to that end that a better one may lie beyond."""
        share = math.log(float(value) / self.low) / math.log(self.high / self.low)
        return "low" if share < OUTER else "high" if share > 1 - OUTER else ""

    @property
    def ends(self) -> tuple[Value, ...]:
        return self.low, self.high

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class OneOf:
    """One of a few values, all alike."""

    values: tuple[Value, ...]
    source: str

    def at(self, share: float) -> Value:
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def edge(self, value: Value) -> str:
        return ""  # the list is all there is

    @property
    def ends(self) -> tuple[Value, ...]:
        return self.values

    def __str__(self) -> str:
        return "|".join(f"{v:g}" if isinstance(v, int | float) else v for v in self.values)


Range = Between | OneOf
LR = Between(0.1, 10, "a decade to each side of the recipe's rate; the same for every objective")
CRITIC_LR = Between(1, 100, "public PPO configurations take 10 (1e-5 beside 1e-6)")
MINIBATCHES = OneOf((1, 4), "1 as TRL's defaults, 4 as the papers of GIFT and DAPO")
OWN = 2  # settings beside the learning rate


def space(method: Method) -> dict[str, Range]:
    """All that is tuned of an objective: name -> range."""
    needs = method.needs()
    most = needs.max_updates_per_rollout
    found: dict[str, Range] = {"lr": LR}
    if most is None or most >= max(map(float, MINIBATCHES.values)):
        found["minibatches"] = MINIBATCHES
    if needs.critic:
        found["critic_lr"] = CRITIC_LR
    return {**found, **method.search()}


def problems(method: Method) -> Mapping[str, str]:
    """What is wrong with an objective's space: name -> reason. Empty where nothing is."""
    found = {}
    own = [name for name in space(method) if name != "lr"]
    if len(own) > OWN:
        found[", ".join(own)] = f"more than {OWN} settings beside the learning rate"
    for name, values in method.search().items():
        if name not in type(method).model_fields:
            found[name] = f"no field of {type(method).__name__}"
            continue
        if not values.source:
            found[name] = "no source"
        for value in values.ends:
            try:
                type(method)(**{**method.model_dump(), name: value})
            except ValueError:  # of pydantic
                found[name] = f"{value!r} is in the range, and the objective refuses it"
    return found
