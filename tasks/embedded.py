"""What the embedded tasks share: a word-level tokenizer, and draws that are equal everywhere."""

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

from .base import Example, content_id

T = TypeVar("T")

# Single digits, so that carrying is learnable and no answer is one token; words with their space.
WORD_PATTERN = r" ?[a-zA-Z]+|####|[\s\S]"

# Which split a problem belongs to is a hash of its numbers, so the splits and the pretraining
# corpus are disjoint whatever names and things dress the numbers, and a split's size or the pool's
# never changes another split or the corpus (hence the base model).
_HOMES = ("test", "validation", "train", "train", "corpus", "corpus", "corpus", "corpus")


def home(numbers: str) -> str:
    """test | validation | train | corpus: the only place where problems of these numbers occur."""
    return _HOMES[hashlib.sha256(numbers.encode()).digest()[0] & 7]


def rng(*purpose: object) -> random.Random:
    """A generator that is a function of its purpose. Only `random()` of it is guaranteed to be the
    same in every Python version, so draw with `below` and `pick`."""
    return random.Random("\x1f".join(map(str, purpose)))


def below(draw: random.Random, n: int) -> int:
    return int(draw.random() * n)


def pick(draw: random.Random, options: Sequence[T]) -> T:
    return options[below(draw, len(options))]


def digest(examples: Sequence[Example]) -> str:
    """A hash of all that results depend on in a split."""
    return content_id(*(f"{e.prompt}\x1e{e.gold}\x1e{e.solution}" for e in examples))
