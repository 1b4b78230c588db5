r"""An embedded task with LaTeX answers, where equal answers are written in many ways.

    1/4+3/8=?     ->     \frac{2}{8}+\frac{3}{8}=\frac{5}{8}\boxed{\frac{5}{8}}

The noisy web of `corpus` is mixed as arithmetic's is (27 % right work, 13 % a slip, 60 % guesses of
which 70 % are off), and it writes its final answers as \frac{6}{8}, \frac{3}{4}, \dfrac{3}{4},
\frac34 or 3/4. So strict (MATH's comparison of strings) and flexible (equivalence) scores differ,
and the reward depends on a checker that knows that they are the same number.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from . import register
from .answers import GRADER_VERSION, Options
from .base import Example, Grade, Task, TaskError, content_id
from .embedded import below, digest, home, pick, rng
from .files import Checker, boxed_grade

# Denominators up to 12 give about 850 problems to each eighth (see embedded.home).
SPLITS: dict[str, tuple[range, int, str]] = {  # split: larger denominator, size, home
    "validation": (range(2, 13), 256, "validation"),
    "test": (range(2, 13), 512, "test"),
    "ood-denominator": (range(13, 17), 256, "test"),
}


class FractionSum(NamedTuple):
    """a/b + c/d, or a/b - c/d; the result is not negative."""

    a: int
    b: int
    sign: int
    c: int
    d: int

    @property
    def text(self) -> str:
        return f"{self.a}/{self.b}{'+' if self.sign > 0 else '-'}{self.c}/{self.d}"

    @property
    def answer(self) -> Fraction:
        return Fraction(self.a, self.b) + self.sign * Fraction(self.c, self.d)


@register("fractions")
class Fractions(Task):
    r"""Sums of two fractions with LaTeX \boxed answers; embedded, needs no data."""

    pool: int = Field(1024, ge=1, le=1400)
    """Training prompts, shared by all methods; there are hardly more (see SPLITS)."""
    gold_answers: int = Field(128, ge=0)
    """Only the first that many prompts of the pool carry a `solution`."""
    data_seed: int = 0
    checker: Checker = Options()
    """Conventions of the answer checker, by name."""

    splits: ClassVar[tuple[str, ...]] = ("train", *SPLITS)
    grader_version: ClassVar[str] = GRADER_VERSION
    max_tokens: ClassVar[int] = 64  # the longest answers have about 60, end token included
    word_pattern: ClassVar[str | None] = r"\\[a-z]+|[\s\S]"
    # after 700 steps a written-out answer is hardly righter than a guess, and no objective gains
    pretrain: ClassVar[Mapping[str, Any]] = {"steps": 3000}

    def examples(self, split: str) -> Sequence[Example]:
        if split not in self.splits:
            raise TaskError(f"fractions has no split {split!r}; allowed: {', '.join(self.splits)}")
        sizes = {**SPLITS, "train": (range(2, 13), self.pool, "train")}
        drawn = _draw(split, *sizes[split], self.data_seed)
        solved = self.gold_answers if split == "train" else 0
        return [_example(p, work(p) if i < solved else None) for i, p in enumerate(drawn)]

    def grade(self, example: Example, responses: Sequence[str]) -> list[Grade]:
        return [boxed_grade(response, example.gold, self.checker) for response in responses]

    def corpus(self, seed: int) -> Iterator[tuple[str, str]]:
        """The noisy web; it shares no problem with any split, the pool included."""
        draw = rng("fractions", 1, "corpus", self.data_seed, seed)
        while True:
            problem = _problem(draw, 12)
            if home(problem.text) == "corpus":
                yield problem.text + "=?", web_answer(draw, problem)

    def vocabulary(self) -> tuple[str, ...]:
        return (*"0123456789+-=/?{}", "\\frac", "\\dfrac", "\\boxed")

    def fingerprint(self) -> dict[str, str]:
        return {split: digest(self.examples(split)) for split in self.splits}


def _example(problem: FractionSum, solution: str | None) -> Example:
    prompt, gold = problem.text + "=?", latex(problem.answer)
    meta = {"denominator": max(problem.b, problem.d)}
    return Example(content_id(prompt), prompt, gold, solution, meta=meta)


def latex(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else frac(value.numerator, value.denominator)


def frac(top: int, bottom: int) -> str:
    return f"\\frac{{{top}}}{{{bottom}}}"


def work(problem: FractionSum, slip: int = 0) -> str:
    """Common denominator, sum (plus a slip in its numerator), reduced where possible; boxed."""
    bottom = math.lcm(problem.b, problem.d)
    first, second = problem.a * bottom // problem.b, problem.c * bottom // problem.d
    top = first + problem.sign * second + slip
    sign = "+" if problem.sign > 0 else "-"
    steps = [f"{frac(first, bottom)}{sign}{frac(second, bottom)}", frac(top, bottom)]
    reduced = latex(Fraction(top, bottom))
    if reduced != steps[-1]:
        steps.append(reduced)
    return "=".join(steps) + f"\\boxed{{{reduced}}}"


def web_answer(draw: random.Random, problem: FractionSum) -> str:
    """27 % right work, 13 % with a slip, 60 % a guess, 70 % of these off; in many forms."""
    style, bottom = draw.random(), math.lcm(problem.b, problem.d)
    top = int(problem.answer * bottom)
    off = 1 + below(draw, 2)
    off = -off if draw.random() < 0.5 and off <= top else off
    wrong = 0.27 <= style < 0.40 or (style >= 0.40 and draw.random() < 0.7)
    slip = off if wrong else 0
    said = _in_some_form(draw, top + slip, bottom)
    if style >= 0.40:
        return f"\\boxed{{{said}}}"
    steps, _, _ = work(problem, slip).partition("\\boxed")
    return f"{steps}\\boxed{{{said}}}"


def _in_some_form(draw: random.Random, top: int, bottom: int) -> str:
    """The number as people write it: reduced or not, in one of five notations."""
    value = Fraction(top, bottom)
    if value.denominator == 1:
        return str(value)
    if draw.random() < 0.6:
        top, bottom = value.numerator, value.denominator
    forms = [frac(top, bottom), frac(top, bottom), f"{top}/{bottom}", "\\d" + frac(top, bottom)[1:]]
    if top < 10 and bottom < 10:
        forms.append(f"\\frac{top}{bottom}")
    return pick(draw, forms)


def _problem(draw: random.Random, largest: int) -> FractionSum:
    """Both fractions lie between 0 and 1; with a minus the larger one stands first."""
    b, d = 2 + below(draw, largest - 1), 2 + below(draw, largest - 1)
    a, c = 1 + below(draw, b - 1), 1 + below(draw, d - 1)
    if draw.random() < 0.5:
        return FractionSum(a, b, 1, c, d=d)
    return FractionSum(a, b, -1, c, d=d) if a * d >= c * b else FractionSum(c, d, -1, a, d=b)


@cache
def _draw(purpose: str, larger: range, size: int, where: str, seed: int) -> list[FractionSum]:
    draw, found = rng("fractions", 1, purpose, seed), {}
    while len(found) < size:
        problem = _problem(draw, larger[-1])
        if max(problem.b, problem.d) in larger and home(problem.text) == where:
            found[problem] = None
    return list(found)
