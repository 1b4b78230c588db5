"""Questions that stand in two places, found by normalised text and listed: nothing is removed.

"Normalised" is one of three things, from strict to loose; a count means nothing without its name:

    exact            the text as it is
    space-case       white space removed, lower case
    letters-digits   only letters and digits, lower case (formulas that differ in a sign become
                     equal, so read what it lists)
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import combinations
from typing import NamedTuple

from .base import Example, Task
from .files import letters_and_digits

NORMALISATIONS: dict[str, Callable[[str], str]] = {
    "exact": lambda text: text,
    "space-case": lambda text: re.sub(r"\s+", "", text).lower(),
    "letters-digits": letters_and_digits,
}


class Overlap(NamedTuple):
    splits: tuple[str, str]
    first: Example
    second: Example


def overlaps(
    first: Iterable[Example], second: Iterable[Example], normalisation: str = "letters-digits"
) -> list[tuple[Example, Example]]:
    """Pairs, one of each, whose prompts are equal when normalised. For questions of two tasks give
    both the same prompt template, e.g. `get("math", prompt="{question}")`."""
    normal = NORMALISATIONS[normalisation]
    known = defaultdict(list)
    for example in first:
        known[normal(example.prompt)].append(example)
    return [(one, other) for other in second for one in known.get(normal(other.prompt), ())]


def split_overlaps(task: Task, normalisation: str = "letters-digits") -> list[Overlap]:
    """Every question of a task that stands in two of its splits."""
    return [
        Overlap((a, b), one, other)
        for a, b in combinations(task.splits, 2)
        for one, other in overlaps(task.examples(a), task.examples(b), normalisation)
    ]
