"""Each rule of the contract finds the task that breaks it, and only that."""

from collections.abc import Callable
from dataclasses import replace
from itertools import cycle, islice
from typing import Any, ClassVar

import pytest

import tasks
from tasks import Example, Grade, Task, TaskError, content_id
from tasks.contract import check_task


class Good(Task):
    """Repeat the word."""

    word_pattern: ClassVar[str | None] = r"\w+| "

    def examples(self, split):
        if split not in self.splits:
            raise TaskError(f"no split {split!r}")
        prompts = [f"say {split} {i}" for i in range(3)]
        return [Example(content_id(p), p, p[4:], p[4:]) for p in prompts]

    def grade(self, example, responses):
        same = [response == example.gold for response in responses]
        return [Grade(s, s, "ok" if s else "wrong", "equal", None, s) for s in same]

    def corpus(self, seed):
        return cycle(("say train " + str(i), "train " + str(i)) for i in range(3))

    def vocabulary(self):
        return ("say", "train", "validation", "test", "0", "1", "2", " ")

    def fingerprint(self):
        return {"all": "0"}


calls = iter(range(10**6))


def changed(change: Callable[[Example], Example]) -> Callable[..., Any]:
    return lambda self, split: [change(e) for e in Good.examples(self, split)]


def grades(change: Callable[[Grade], Grade]) -> Callable[..., Any]:
    return lambda self, example, responses: [
        change(g) for g in Good.grade(self, example, responses)
    ]


def raising(*_: Any) -> Any:
    raise RuntimeError("odd text")


BROKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "no splits": ("splits: none", {"splits": ()}),
    "headline": ("headline 'exam' is none of", {"headline": "exam"}),
    "empty": ("train is empty", {"examples": lambda self, split: []}),
    "same questions": (
        "train and test share 3 prompts",
        {"examples": lambda self, split: Good.examples(self, "train")},
    ),
    "changing data": (
        "differs from call to call",
        {"examples": changed(lambda e: replace(e, gold=str(next(calls))))},
    ),
    "id twice": ("holds an id twice", {"examples": changed(lambda e: replace(e, id="an id"))}),
    "positions": (
        "is like a position", {"examples": changed(lambda e: replace(e, id=e.prompt[-1]))},
    ),
    "blank gold": ("is no text or blank", {"examples": changed(lambda e: replace(e, gold=" "))}),
    "blank solution": (
        "a blank solution", {"examples": changed(lambda e: replace(e, solution=""))},
    ),
    "meta": (
        "meta does not survive JSON", {"examples": changed(lambda e: replace(e, meta={"a": {1}}))},
    ),
    "unknown split": (
        "does not raise TaskError",
        {"examples": lambda self, s: Good.examples(self, s if s in self.splits else "test")},
    ),
    "own solution": (
        "the task's own solution is wrong",
        {"examples": changed(lambda e: replace(e, solution="no"))},
    ),
    "raises": ("grades: raised RuntimeError('odd text')", {"grade": raising}),
    "too few": ("for 18 responses", {"grade": lambda self, e, r: Good.grade(self, e, r)[:3]}),
    "all right": (
        "an empty response is correct",
        {"grade": grades(lambda g: replace(g, correct=True, status="ok"))},
    ),
    "status": ("status 'good' is none of", {"grade": grades(lambda g: replace(g, status="good"))}),
    "status and correct": (
        "correct and status disagree", {"grade": grades(lambda g: replace(g, status="wrong"))},
    ),
    "no bool": (
        "strict is no bool", {"grade": grades(lambda g: replace(g, strict=int(g.strict)))},
    ),
    "reward": (
        "the reward is not finite", {"grade": grades(lambda g: replace(g, reward=float("inf")))},
    ),
    "order": (
        "depend on the order",
        {"grade": grades(lambda g: replace(g, how=str(next(calls))))},
    ),
    "corpus ends": (
        "ends after 5 texts", {"corpus": lambda self, s: islice(Good.corpus(self, s), 5)},
    ),
    "corpus changes": (
        "corpus: differs",
        {"corpus": lambda self, s: (("say train 0", str(next(calls))) for _ in range(5000))},
    ),
    "corpus of the test": (
        "holds 1 prompts of test: 'say test 0'",
        {"corpus": lambda self, s: cycle([("say test 0", "0")])},
    ),
    "vocabulary": ("not in the vocabulary", {"vocabulary": lambda self: ("say", " ", "train")}),
    "lossy": ("word_pattern loses text", {"word_pattern": r"\w+"}),
    "no fingerprint": ("fingerprint: is empty", {"fingerprint": lambda self: {}}),
}  # fmt: skip


def test_a_good_task_has_no_findings():
    assert check_task(Good()) == []


@pytest.mark.parametrize("name", BROKEN)
def test_each_rule_finds_its_offender(name):
    message, members = BROKEN[name]
    annotations = {k: ClassVar for k in members if not callable(members[k])}
    task = type("Bad", (Good,), {**members, "__annotations__": annotations})()
    assert any(message in str(finding) for finding in check_task(task)), check_task(task)


def test_missing_data_are_one_finding(tmp_path):
    (finding,) = check_task(tasks.get("gsm8k", data_dir=tmp_path))
    assert finding.rule == "data" and f"no file {tmp_path}" in finding.found


@pytest.mark.parametrize("name", ["arithmetic", "fractions"])
def test_embedded_tasks_keep_the_contract(name):
    assert check_task(tasks.get(name)) == []
