"""What the embedded tasks share: words, a tokenizer's pattern, draws that are equal everywhere, and
the grading of whole numbers."""

import hashlib
import random
import re
from collections.abc import Sequence
from typing import TypeVar

from .base import Example, Grade, content_id

T = TypeVar("T")

# Single digits, so that carrying is learnable and no answer is one token; words with their space.
WORD_PATTERN = r" ?[a-zA-Z]+|####|[\s\S]"

NAMES = ("Tom", "Ann", "Ben", "Eva", "Max", "Mia", "Sam", "Zoe", "Leo", "Ida")
THINGS = (
    " coins", " cards", " books", " nuts", " pens", " shells", " stamps", " apples", " eggs",
    " beads",
)  # fmt: skip

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


_OFFICIAL = re.compile(r"#### ?(-?[0-9.,]+)")  # GSM8K's, its space optional
_NUMBER = re.compile(r"-?\d+")
_FORM = re.compile(r"[^#]*####-?\d+")


def grade_integer(response: str, gold: str) -> Grade:
    """The answers are plain integers, so string equality decides after the extraction.

    strict: the first `#### n`; flexible (the headline): the last number. A minus directly after a
    digit is a subtraction (`13-9`), not a sign.
    """
    official = _OFFICIAL.search(response)
    strict = official is not None and official.group(1).replace(",", "") == gold
    numbers = list(_NUMBER.finditer(response))
    if not numbers:
        status = "unparsable_answer"
        return Grade(False, strict, status, "no-number", extracted=None, format_ok=False)
    last = numbers[-1]
    text = last.group()
    if text[0] == "-" and last.start() and response[last.start() - 1].isdigit():
        text = text[1:]
    correct = text == gold
    return Grade(correct, strict, "ok" if correct else "wrong", "last-number", extracted=text,
                 format_ok=_FORM.fullmatch(response) is not None)  # fmt: skip
