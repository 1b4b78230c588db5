"""The contract of a task, as checks: `check_task(task)` lists the violations.

It is for plug-ins (and runs on the project's own tasks in its tests). Each check can fail on a
task that looks right: grades that raise on odd text, ids that are positions, data that change from
call to call, a corpus that holds test questions.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from itertools import combinations, islice
from typing import NamedTuple, get_args

from tasks.answers.options import Status

from .base import Example, Grade, Task, TaskError

# A task must grade anything that a model can write.
HOSTILE = (
    "", " ", "\x00", "\ud800", "####", "#### ", "\\boxed{", "\\boxed{}", "}" * 50, "{" * 2000,
    "9" * 5000, "9**9**9", "1/0", "\\frac{1}{0}", "__import__('os').abort()", "\u0663\u0661",
    "a" * 20000,
)  # fmt: skip


class Violation(NamedTuple):
    rule: str
    found: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.found}"


def check_task(task: Task, sample: int = 20) -> list[Violation]:
    """Findings, empty where the task keeps the contract. Grades `sample` questions a split.
    Data that are not there are one finding, which ends the check."""
    checks: tuple[Callable[[Task, int], Iterator[Violation]], ...] = (
        _examples, _disjoint, _grades, _corpus, _tokenizer, _fingerprint,
    )  # fmt: skip
    found: list[Violation] = []
    for check in checks:
        try:
            found += check(task, sample)
        except TaskError as error:
            return [*found, Violation("data", str(error))]
        except Exception as error:
            found.append(Violation(check.__name__.strip("_"), f"raised {error!r}"))
    return found


def _examples(task: Task, sample: int) -> Iterator[Violation]:
    if not task.splits:
        yield Violation("splits", "none")
    if task.headline not in task.splits:
        yield Violation("splits", f"the headline {task.headline!r} is none of {task.splits}")
    again = type(task)(**task.model_dump())
    for split in task.splits:
        examples = list(task.examples(split))
        if not examples:
            yield Violation("examples", f"{split} is empty")
        if examples != list(task.examples(split)) or examples != list(again.examples(split)):
            yield Violation("examples", f"{split} differs from call to call")
        if len({e.id for e in examples}) < len(examples):
            yield Violation("examples", f"{split} holds an id twice")
        for example in examples:
            yield from _one_example(split, example)
    try:
        task.examples("no such split")
    except TaskError:
        pass
    else:
        yield Violation("examples", "an unknown split does not raise TaskError")


def _one_example(split: str, example: Example) -> Iterator[Violation]:
    texts = (example.id, example.prompt, example.gold)
    if not all(isinstance(text, str) and text.strip() for text in texts):
        yield Violation("examples", f"{split}: id, prompt or gold is no text or blank: {example}")
    elif example.id.isdigit() and len(example.id) < 8:
        yield Violation("examples", f"{split}: the id {example.id!r} is like a position: hash it")
    if example.solution is not None and not example.solution.strip():
        yield Violation("examples", f"{split}: a blank solution: {example.id}")
    as_json = json.dumps(example.meta, default=lambda value: f"not JSON: {value}")
    if json.loads(as_json) != example.meta:
        yield Violation("examples", f"{split}: meta does not survive JSON: {example.meta}")


def _disjoint(task: Task, sample: int) -> Iterator[Violation]:
    for a, b in combinations(task.splits, 2):
        first, second = task.examples(a), task.examples(b)
        for what in ("id", "prompt"):
            shared = {getattr(e, what) for e in first} & {getattr(e, what) for e in second}
            if shared:
                said = f"{a} and {b} share {len(shared)} {what}s: {min(shared)!r}"
                yield Violation("disjoint", said)


def _grades(task: Task, sample: int) -> Iterator[Violation]:
    for split in task.splits:
        for example in task.examples(split)[:sample]:
            solution = [] if example.solution is None else [example.solution]
            responses = [*solution, *HOSTILE]
            grades = task.grade(example, responses)
            where = f"{split} {example.id}"
            if len(grades) != len(responses):
                yield Violation("grades", f"{where}: {len(grades)} for {len(responses)} responses")
                continue
            for grade in grades:
                yield from _one_grade(where, grade)
            if task.grade(example, responses[::-1])[::-1] != grades:
                yield Violation("grades", f"{where}: depend on the order or on the call")
            if task.grade(example, []) != []:
                yield Violation("grades", f"{where}: no responses, yet grades")
            if grades[len(solution)].correct:
                yield Violation("grades", f"{where}: an empty response is correct")
            if solution and grades[0].reward is None and not grades[0].correct:
                yield Violation("grades", f"{where}: the task's own solution is wrong: {grades[0]}")


def _one_grade(where: str, grade: Grade) -> Iterator[Violation]:
    if grade.status not in get_args(Status):
        yield Violation("grades", f"{where}: status {grade.status!r} is none of {get_args(Status)}")
    elif grade.correct != (grade.status == "ok"):
        yield Violation("grades", f"{where}: correct and status disagree: {grade}")
    for name in ("correct", "strict", "format_ok"):
        if not isinstance(getattr(grade, name), bool):
            yield Violation("grades", f"{where}: {name} is no bool: {grade}")
    if grade.reward is not None and not math.isfinite(grade.reward):
        yield Violation("grades", f"{where}: the reward is not finite: {grade}")


def _corpus(task: Task, sample: int, texts: int = 2000) -> Iterator[Violation]:
    if "train" not in task.splits:
        return  # evaluation only: nothing is trained on it
    first = list(islice(task.corpus(0), texts))
    if first != list(islice(task.corpus(0), texts)):
        yield Violation("corpus", "differs from call to call")
    if len(first) < texts:
        yield Violation("corpus", f"ends after {len(first)} texts")
    if not all(isinstance(part, str) and part for text in first for part in text):
        yield Violation("corpus", "yields something else than (prompt, response) texts")
    prompts = {prompt for prompt, _ in first}
    for split in set(task.splits) - {"train"}:
        shared = prompts & {e.prompt for e in task.examples(split)}
        if shared:
            yield Violation("corpus", f"holds {len(shared)} prompts of {split}: {min(shared)!r}")


def _tokenizer(task: Task, sample: int) -> Iterator[Violation]:
    if task.word_pattern is None:
        return
    known, pattern = set(task.vocabulary()), re.compile(task.word_pattern)
    texts = [example.prompt for split in task.splits for example in task.examples(split)]
    for prompt, response in islice(task.corpus(0), 500):
        texts += [prompt, response]
    for text in texts:
        words = pattern.findall(text)
        if "".join(words) != text:
            yield Violation("tokenizer", f"word_pattern loses text: {text!r}")
            return
        if unknown := set(words) - known:
            yield Violation("tokenizer", f"not in the vocabulary: {sorted(unknown)} in {text!r}")
            return


def _fingerprint(task: Task, sample: int) -> Iterator[Violation]:
    found = task.fingerprint()
    if not found:
        yield Violation("fingerprint", "is empty, so a change of the data would go unseen")
    if found != task.fingerprint():
        yield Violation("fingerprint", "differs from call to call")
    if not all(isinstance(part, str) for item in found.items() for part in item):
        yield Violation("fingerprint", f"holds something else than text: {found}")
