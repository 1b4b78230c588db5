"""The embedded task on which objectives differ in what they learn: known misconceptions at known
shares.

    Tom has 3 coins. gets 4. doubles. now?     ->     3>7;7>14####14

The base model learns from a "web" (`corpus`) in which ordinary steps are always right, and which
has a fixed misconception of each special operation: `doubles` is done rightly in 50 % of the worked
answers and as +2 otherwise; `triples` in 30 %, and so on down to an operation that is never right.
So the operations are the rungs of a ladder of rarity: how often must an objective have seen the
right step to make it the habit? 30 % of the web's answers are guesses, off by 1 to 9.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise, product
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator

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


class Skill(NamedTuple):
    """A special operation on a number v, and the web's misconception of it."""

    word: str
    right: Callable[[int], int]
    misconception: Callable[[int], int]
    about: str


SKILLS = (
    Skill("doubles", lambda v: 2 * v, lambda v: v + 2, "2 v, misread as v + 2"),
    Skill("triples", lambda v: 3 * v, lambda v: v + 3, "3 v, misread as v + 3"),
    Skill("jumps", lambda v: v + 10, lambda v: v + 1, "v + 10, misread as v + 1"),
    Skill("leaps", lambda v: v + 20, lambda v: v + 2, "v + 20, misread as v + 2"),
    Skill("hops", lambda v: v + 5, lambda v: v + 3, "v + 5, misread as v + 3"),
    Skill("skips", lambda v: v, lambda v: max(v - 1, 0), "v, misread as v - 1"),
)
BY_WORD = {skill.word: skill for skill in SKILLS}
SHARES = (0.5, 0.3, 0.15, 0.07, 0.03, 0.0)
PLAIN = {"gets": 1, "buys": 1, "loses": -1, "sells": -1}  # word: sign
SYMBOLS = (
    *"0123456789", " ", "=", ">", ";", ".", "?", "####", " has", " now", " here", " means", " from",
    " to",
)  # fmt: skip
LARGEST = 99
# Of the web's problems this share comes with a definition, and this share of them is worked out by
# it: so the base knows that a definition can matter.
DEFINED, FOLLOWED = 0.08, 0.7
SPLITS = {"validation": 256, "test": 512, "composed": 256, "reversed": 256}  # questions

Behaviour = Literal["right", "misconception", "other", "guess"]


class Step(NamedTuple):
    """One operation: a plain one with its number, or a special one."""

    word: str
    number: int | None = None


class SkillProblem(NamedTuple):
    """A problem without its names and things; `definition` gives a word another's meaning."""

    start: int
    steps: tuple[Step, ...]
    definition: tuple[str, str] | None = None  # (word, the operation that it means here)

    @property
    def numbers(self) -> str:
        steps = "".join(
            s.word if s.number is None else f"{PLAIN[s.word] * s.number:+d}" for s in self.steps
        )
        return f"{self.start}{steps}" + (":".join(self.definition) if self.definition else "")

    @property
    def special(self) -> tuple[int, ...]:
        """Places of the special steps."""
        return tuple(i for i, step in enumerate(self.steps) if step.number is None)

    def meaning(self, word: str) -> Skill:
        changed = self.definition is not None and self.definition[0] == word
        return BY_WORD[self.definition[1] if changed and self.definition else word]

    def after(self, value: int, at: int, how: str = "right") -> int:
        """The value after step `at`. `how`: right; misconception, of the word's usual operation;
        usual, that operation done rightly, whatever the definition says."""
        word, number = self.steps[at]
        if number is not None:
            return value + PLAIN[word] * number
        if how == "right":
            return self.meaning(word).right(value)
        usual = BY_WORD[word]
        return usual.right(value) if how == "usual" else usual.misconception(value)

    def values(self, how: dict[int, str] | None = None) -> list[int]:
        """The start and the value after each step; `how` names the steps that are not right."""
        values = [self.start]
        for at in range(len(self.steps)):
            values.append(self.after(values[-1], at, (how or {}).get(at, "right")))
        return values

    @property
    def answer(self) -> int:
        return self.values()[-1]

    @property
    def clear(self) -> bool:
        """Each wrong way to do a special step shows in its value, and no value leaves 0 to LARGEST,
        whichever steps are wrong."""
        wrong = ("misconception", "usual") if self.definition else ("misconception",)
        ways = product(("right", *wrong), repeat=len(self.special))
        chains = [self.values(dict(zip(self.special, way, strict=True))) for way in ways]
        shows = all(
            self.after(chain[at], at, how) != self.after(chain[at], at)
            for chain in chains
            for at in self.special
            for how in wrong
        )
        return shows and all(0 <= v <= LARGEST for chain in chains for v in chain)


@register("skills")
class Skills(Task):
    """Known misconceptions at known shares: a ladder of rarity; embedded, needs no data."""

    shares: tuple[float, ...] = SHARES
    """Of the web's worked answers, how many do each special operation rightly: a rung each, in the
    order of SKILLS; fewer shares leave the last operations out. From 50 %, which a group of eight
    shows nearly always, to 3 %, which it shows in one of five; what is at 0 only a reference answer
    can teach."""
    guesses: float = Field(0.3, ge=0, lt=1)
    """The web's share of answers without work, off by 1 to 9: a habit that every objective can
    lose, so that nothing but a rung separates them."""
    pool: int = Field(256, ge=1, le=8192)
    """Training prompts, shared by all methods: finite, as real data are."""
    gold_per_rung: int | None = Field(None, ge=0)
    """How many prompts of each rung carry a reference answer (`solution`); None: all of them, as
    GRAO and SFT assume."""
    gold_style: Literal["own", "other"] = "own"
    """own: as the base writes. other: the same steps as another author writes them, `from 3 to 7.`;
    whose answers they are decides what imitation is worth."""
    data_seed: int = 0

    splits: ClassVar[tuple[str, ...]] = ("train", *SPLITS)
    max_tokens: ClassVar[int] = 40  # three steps in the other author's form take at most 31
    word_pattern: ClassVar[str | None] = WORD_PATTERN

    @field_validator("shares")
    @classmethod
    def _rungs(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if not (2 <= len(shares) <= len(SKILLS) and all(0 <= share <= 1 for share in shares)):
            raise ValueError(f"expected 2 to {len(SKILLS)} shares between 0 and 1, one a rung")
        return shares

    @property
    def words(self) -> tuple[str, ...]:
        """The special operations, commonest first."""
        return tuple(skill.word for skill, _ in zip(SKILLS, self.shares, strict=False))

    def examples(self, split: str) -> Sequence[Example]:
        if split not in self.splits:
            raise TaskError(f"skills has no split {split!r}; allowed: {', '.join(self.splits)}")
        return _examples(self, split)  # pyright: ignore[reportArgumentType]: frozen models hash

    def grade(self, example: Example, responses: Sequence[str]) -> list[Grade]:
        return [grade_integer(response, example.gold) for response in responses]

    def behaviour(self, example: Example, response: str) -> Behaviour:
        """What a response does at the first special step, given the value it had reached there.
        other: anything else, in work that cannot be read too; guess: no work at all."""
        problem = read(example.prompt)
        at = problem.special[0]
        written = WRITTEN.findall(response)
        if not written:
            return "guess"
        if len(written) <= at:
            return "other"
        before, after = map(int, written[at])
        if after == problem.after(before, at):
            return "right"
        return "misconception" if after == problem.after(before, at, "misconception") else "other"

    def declared(self, example: Example) -> float:
        """The rung's share."""
        return self.shares[self.words.index(example.meta["skill"])]

    def corpus(self, seed: int) -> Iterator[tuple[str, str]]:
        """The web. It shares no problem with any split, the pool included."""
        draw = rng("skills", 1, "corpus", self.data_seed, seed)
        while True:
            kind = "reversed" if draw.random() < DEFINED else "web"
            problem = _problem(draw, pick(draw, self.words), self.words, kind)
            if home(problem.numbers) == "corpus":
                yield _said(draw, problem), self._web_answer(draw, problem)

    def _web_answer(self, draw: random.Random, problem: SkillProblem) -> str:
        if draw.random() < self.guesses:
            error = 1 + below(draw, 9)
            down = draw.random() < 0.5 and error <= problem.answer
            return f"####{problem.answer + (-error if down else error)}"
        how: dict[int, str] = {}
        for at in problem.special:
            word = problem.steps[at].word
            if problem.definition and draw.random() < FOLLOWED:
                continue
            usual = "usual" if problem.definition else "right"
            right = draw.random() < self.shares[self.words.index(word)]
            how[at] = usual if right else "misconception"
        return work(problem, how)

    def vocabulary(self) -> tuple[str, ...]:
        operations = (f" {word}" for word in (*BY_WORD, *PLAIN))
        return (*SYMBOLS, *NAMES, *THINGS, *operations)

    def fingerprint(self) -> dict[str, str]:
        return {split: digest(self.examples(split)) for split in self.splits}


def work(problem: SkillProblem, how: dict[int, str] | None = None, style: str = "own") -> str:
    """`3>7;7>14####14`, or in the other author's form ` from 3 to 7. from 7 to 14.####14`."""
    values = problem.values(how)
    pairs = list(pairwise(values))
    if style == "other":
        return "".join(f" from {a} to {b}." for a, b in pairs) + f"####{values[-1]}"
    return ";".join(f"{a}>{b}" for a, b in pairs) + f"####{values[-1]}"


WRITTEN = re.compile(r"(\d{1,6})(?:>| to )(\d{1,6})")  # a step in either form


def read(prompt: str) -> SkillProblem:
    """The problem that a prompt of this task states."""
    first, *sentences = prompt.removesuffix(" now?").rstrip(".").split(". ")
    definition = None
    if sentences[0].startswith("here "):
        _, word, _, meaning = sentences.pop(0).split()
        definition = (word, meaning)
    parts = (sentence.partition(" ") for sentence in sentences)
    steps = tuple(Step(word, int(n) if n else None) for word, _, n in parts)
    return SkillProblem(int(first.split()[2]), steps, definition)


def _said(draw: random.Random, problem: SkillProblem) -> str:
    said = [f"{pick(draw, NAMES)} has {problem.start}{pick(draw, THINGS)}."]
    if problem.definition:
        said.append("here {} means {}.".format(*problem.definition))
    said += [f"{s.word}." if s.number is None else f"{s.word} {s.number}." for s in problem.steps]
    return " ".join((*said, "now?"))


def _problem(draw: random.Random, word: str, words: tuple[str, ...], kind: str) -> SkillProblem:
    """2 or 3 steps with the special one `word`. composed: 3 steps, two of them special ones.
    reversed: a definition gives the word the meaning of another one, of the two commonest. web: 1
    to 3 steps, with up to three special ones."""
    others = [other for other in words if other != word]
    while True:
        count = {"composed": 3, "web": 1 + below(draw, 3)}.get(kind, 2 + below(draw, 2))
        special = {below(draw, count): word}
        while kind == "composed" and len(special) < 2:
            special.setdefault(below(draw, count), pick(draw, others))
        for at in range(count if kind == "web" else 0):
            if draw.random() < 0.5:
                special.setdefault(at, pick(draw, others))
        value = start = 2 + below(draw, 14)
        steps: list[Step] = []
        for at in range(count):
            step = Step(special[at]) if at in special else _plain(draw, value)
            steps.append(step)
            value = SkillProblem(value, (step,)).answer
        definition = None
        if kind == "reversed":
            definition = (word, pick(draw, [other for other in words[:2] if other != word]))
        problem = SkillProblem(start, tuple(steps), definition)
        if problem.clear:
            return problem


def _plain(draw: random.Random, value: int) -> Step:
    word, number = pick(draw, tuple(PLAIN)), 1 + below(draw, 9)
    return Step("gets" if PLAIN[word] < 0 and number > value else word, number)


@cache
def _draw(
    split: str, words: tuple[str, ...], size: int, seed: int
) -> list[tuple[str, SkillProblem]]:
    """Prompts of distinct problems of a split; the special operations take turns, so that the first
    questions of a split are of all rungs alike."""
    where = split if split in ("train", "validation") else "test"
    draw = rng("skills", 1, split, seed)
    found: dict[str, tuple[str, SkillProblem]] = {}
    while len(found) < size:
        problem = _problem(draw, words[len(found) % len(words)], words, split)
        if problem.numbers not in found and home(problem.numbers) == where:
            found[problem.numbers] = (_said(draw, problem), problem)
    return list(found.values())


@cache
def _examples(task: Skills, split: str) -> tuple[Example, ...]:
    size = task.pool if split == "train" else SPLITS[split]
    most = task.gold_per_rung if split == "train" else 0
    solved = dict.fromkeys(task.words, 0)  # prompts of each rung with a reference answer
    found = []
    for prompt, problem in _draw(split, task.words, size, task.data_seed):
        rarest = max((problem.steps[i].word for i in problem.special), key=task.words.index)
        share = task.shares[task.words.index(rarest)]
        meta = {"rung": f"{100 * share:g} %", "skill": rarest, "steps": len(problem.steps)}
        shown = most is None or solved[rarest] < most
        solved[rarest] += shown
        solution = work(problem, style=task.gold_style) if shown else None
        gold = str(problem.answer)
        found.append(Example(content_id(prompt), prompt, gold, solution=solution, meta=meta))
    return tuple(found)
