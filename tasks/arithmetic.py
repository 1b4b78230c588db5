"""The embedded task: running sums in words, small enough to align a model on a laptop's CPU.

    Tom has 3 coins. buys 10. gets 9. now?     ->     3+10=13;13+9=22####22

What makes it worth comparing methods on is the base model, and the base is made by `corpus`: a
noisy "web" in which 27 % of the answers are worked out correctly, 13 % hold one slip that is
carried on to the end, and 60 % are a direct guess, 95 % of these off by 1 to 9. So guessing is
hopeless, and what alignment can gain is reasoning. (With errors of 1 to 3, a model that blurs its
guess is right in a fifth of them.) A model of that text mostly guesses, yet it can reason: sampled
once it is right in about a fifth of the cases, and one of four samples in more than half. Alignment
can bring it out. (A base that is merely undertrained does not improve, and one of easier text
is at 90 % after 20 updates and separates nothing.)
"""

import random
from collections.abc import Iterator, Sequence
from functools import cache
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from . import register
from .base import Example, Grade, Task, TaskError, content_id
from .embedded import (
    NAMES,
    THINGS,
    WORD_PATTERN,
    below,
    digest,
    grade_integer,
    home,
    pick,
    rng,
)  # fmt: skip

GAIN = (" gets", " buys", " finds", " wins", " makes", " earns", " picks")
LOSS = (" loses", " sells", " gives", " drops", " eats", " breaks", " lends")
SYMBOLS = (*"0123456789", " ", "+", "-", "=", ";", ".", "?", "####", " has", " now")


class ChainKind(NamedTuple):
    """A family of problems; bounds are inclusive. Changes are 1 to 9; no result is negative."""

    steps: tuple[int, int]
    start: tuple[int, int]


# 2-3 steps from at most 20 are what the base knows best, and 5 steps are longer than any text that
# it has seen; larger starts and 4 steps occur in 15 % of its text.
ALIGN = ChainKind(steps=(2, 3), start=(1, 20))
WIDE = ChainKind(steps=(2, 4), start=(1, 30))
SPLITS: dict[str, tuple[ChainKind, int, str]] = {  # split: kind, size, home (see embedded.py)
    "validation": (ALIGN, 256, "validation"),
    "test": (ALIGN, 512, "test"),
    "ood-start": (ChainKind(steps=(2, 3), start=(21, 30)), 256, "test"),
    "ood-4": (ChainKind(steps=(4, 4), start=(1, 20)), 256, "test"),
    "ood-5": (ChainKind(steps=(5, 5), start=(1, 20)), 256, "test"),
}


class Chain(NamedTuple):
    """A problem without its words."""

    start: int
    changes: tuple[int, ...]  # signed

    @property
    def numbers(self) -> str:
        return str(self.start) + "".join(f"{change:+d}" for change in self.changes)

    @property
    def answer(self) -> int:
        return self.start + sum(self.changes)


@register("arithmetic")
class Arithmetic(Task):
    """Running sums in words; embedded, needs no data and no download."""

    pool: int = Field(1024, ge=1, le=8192)
    """Training prompts, shared by all methods: finite, as real data are."""
    gold_answers: int = Field(128, ge=0)
    """Only the first that many prompts of the pool carry a `solution`. With all of them SFT alone
    solves the task; with 32 or 64 it overfits."""
    gold_style: Literal["own", "sum", "terse"] = "own"
    """own: `3+10=13;13+9=22####22`, as the base writes. sum: `3+10+9=22####22` and terse: `####22`
    are an ablation: they measure the mismatch of styles and little else."""
    data_seed: int = 0

    splits: ClassVar[tuple[str, ...]] = ("train", *SPLITS)
    max_tokens: ClassVar[int] = 48  # five steps worked out take at most 43, end token included
    word_pattern: ClassVar[str | None] = WORD_PATTERN

    def examples(self, split: str) -> Sequence[Example]:
        if split == "train":
            drawn = _draw("train", ALIGN, self.pool, "train", seed=self.data_seed)
            solved, rest = drawn[: self.gold_answers], drawn[self.gold_answers :]
            first = [self._example(*d, solved=True) for d in solved]
            return first + [self._example(*d, solved=False) for d in rest]
        if split not in SPLITS:
            raise TaskError(f"arithmetic has no split {split!r}; allowed: {', '.join(self.splits)}")
        drawn = _draw(split, *SPLITS[split], self.data_seed)
        return [self._example(prompt, chain, solved=False) for prompt, chain in drawn]

    def _example(self, prompt: str, chain: Chain, solved: bool) -> Example:
        solution = None
        if solved:
            lines = {"own": work(chain), "sum": f"{chain.numbers}={chain.answer}", "terse": ""}
            solution = f"{lines[self.gold_style]}####{chain.answer}"
        meta = {"steps": len(chain.changes)}
        return Example(content_id(prompt), prompt, str(chain.answer), solution, meta=meta)

    def grade(self, example: Example, responses: Sequence[str]) -> list[Grade]:
        return [grade_integer(response, example.gold) for response in responses]

    def corpus(self, seed: int) -> Iterator[tuple[str, str]]:
        """The noisy web. It shares no chain of numbers with any split, the pool included: so the
        base knows training and test prompts equally well, and is the same for every pool."""
        draw = rng("arithmetic", 1, "corpus", self.data_seed, seed)
        while True:
            chain = _chain(draw, ALIGN if draw.random() < 0.85 else WIDE)
            if home(chain.numbers) == "corpus":
                yield _words(draw, chain), web_answer(draw, chain)

    def vocabulary(self) -> tuple[str, ...]:
        return (*SYMBOLS, *NAMES, *THINGS, *GAIN, *LOSS)

    def fingerprint(self) -> dict[str, str]:
        return {split: digest(self.examples(split)) for split in self.splits}


def work(chain: Chain, slip_at: int | None = None, slip: int = 0) -> str:
    """`3+10=13;13+9=22`; with a slip added to the result of one step and carried on."""
    value, lines = chain.start, []
    for i, change in enumerate(chain.changes):
        result = value + change + (slip if i == slip_at else 0)
        lines.append(f"{value}{change:+d}={result}")
        value = result
    return ";".join(lines)


def web_answer(draw: random.Random, chain: Chain) -> str:
    """What the web answers: 27 % right work, 13 % with a slip, 60 % a guess, 95 % of these off."""
    style = draw.random()
    if style < 0.27:
        return f"{work(chain)}####{chain.answer}"
    if style < 0.40:
        at = below(draw, len(chain.changes))
        rest = [chain.start + sum(chain.changes[: i + 1]) for i in range(at, len(chain.changes))]
        slip = _off(draw, least=min(rest), most=3)
        return f"{work(chain, at, slip)}####{chain.answer + slip}"
    error = _off(draw, least=chain.answer, most=9) if draw.random() < 0.95 else 0
    return f"####{chain.answer + error}"


def _off(draw: random.Random, least: int, most: int) -> int:
    """An error of 1 to `most` up or down; only up where it would take a value below zero."""
    size = 1 + below(draw, most)
    return -size if draw.random() < 0.5 and size <= least else size


def _chain(draw: random.Random, kind: ChainKind) -> Chain:
    start = kind.start[0] + below(draw, kind.start[1] - kind.start[0] + 1)
    steps = kind.steps[0] + below(draw, kind.steps[1] - kind.steps[0] + 1)
    value, changes = start, []
    for _ in range(steps):
        change = 1 + below(draw, 9)
        if draw.random() < 0.5 and change <= value:
            change = -change
        value += change
        changes.append(change)
    return Chain(start, tuple(changes))


def _words(draw: random.Random, chain: Chain) -> str:
    said = [f"{pick(draw, NAMES)} has {chain.start}{pick(draw, THINGS)}."]
    said += [f"{pick(draw, GAIN if n > 0 else LOSS)} {abs(n)}." for n in chain.changes]
    return " ".join((*(part.strip() for part in said), "now?"))


@cache
def _draw(
    purpose: str, kind: ChainKind, size: int, where: str, seed: int
) -> list[tuple[str, Chain]]:
    """Prompts of distinct chains. (Beyond a pool of about 2,500 the chains of two steps run out,
    and three steps make up the rest.)"""
    draw, found = rng("arithmetic", 1, purpose, seed), {}
    while len(found) < size:
        chain = _chain(draw, kind)
        if chain not in found and home(chain.numbers) == where:
            found[chain] = _words(draw, chain)
    return [(prompt, chain) for chain, prompt in found.items()]
