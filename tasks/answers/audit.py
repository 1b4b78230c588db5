"""Measures the checker on cases that others wrote and on variants made from gold answers.

A file of cases is JSON lines of one of two forms: {gold, pred, equal, kind?, policy?} with kind
`pair`, `response`, `normalise` or `parse`; or {gold, response, correct} of model solutions.
`policy` marks a case whose label is a convention (percent, rounding, list order, ...): these are
counted apart.
"""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tasks.answers.check import check, final_answer, grade
from tasks.answers.options import GRADER_VERSION, CheckResult, Options
from tasks.answers.protocols import gsm8k_strict, math_strict
from tasks.answers.variants import mutants, reformatted
from tasks.answers.workers import pipes, worker

SECOND_OPINIONS = ("math-verify",)
RESPONSES = ("response", "solution")  # kinds of cases in which the answer must be found first
OWN_CASES = Path(__file__).with_name("cases.jsonl")


class Case(NamedTuple):
    gold: str
    answer: str
    equal: bool
    kind: str  # pair | response | normalise | parse | solution
    policy: str  # the convention that decides the label, "" where none does
    where: str  # file and line

    @property
    def group(self) -> str:
        return f"{self.kind} (policy)" if self.policy else self.kind


@dataclass
class Score:
    """Counts of one group of cases."""

    cases: int = 0
    negatives: int = 0
    false_negatives: int = 0
    false_positives: int = 0
    unparsable: int = 0

    @property
    def accuracy(self) -> float:
        wrong = self.false_negatives + self.false_positives
        return 1 - wrong / self.cases if self.cases else 0.0


class Miss(NamedTuple):
    case: Case
    verdict: CheckResult


@dataclass
class Protocol:
    """An official score on responses beside the checker's verdict; it compares strings."""

    cases: int = 0
    missed: int = 0  # right for the checker alone
    only: int = 0  # right for the protocol alone
    false_positives: int = 0


@dataclass
class CheckerAudit:
    """What an audit found. Seconds are of single checks, in this process."""

    files: list[str]
    options: Options
    groups: dict[str, Score] = field(default_factory=dict)
    policies: dict[str, Score] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    misses: list[Miss] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    asymmetric: list[Case] = field(default_factory=list)
    official: dict[str, Protocol] = field(default_factory=dict)
    against: str | None = None
    opinion: dict[str, Score] = field(default_factory=dict)  # the second opinion's own scores
    disagreements: list[Miss] = field(default_factory=list)  # those that it wins by the label first
    lost: int = 0  # disagreements in which the label is on its side
    stuck: int = 0  # cases on which the second opinion gave no answer
    version: str = GRADER_VERSION

    def quantile(self, share: float) -> float:
        """The time below which a share of the checks stay, in seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    @property
    def throughput(self) -> float:
        """Checks a second in one process."""
        return len(self.seconds) / sum(self.seconds) if self.seconds else 0.0


@dataclass
class Robustness:
    """Variants of gold answers: how many wrong ones pass, how many right ones fail."""

    golds: int = 0
    not_itself: list[str] = field(default_factory=list)
    mutants: int = 0
    accepted: list[tuple[str, str]] = field(default_factory=list)
    reformatted: int = 0
    rejected: list[tuple[str, str, str]] = field(default_factory=list)  # name, gold, variant
    asymmetric: list[tuple[str, str]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def read_cases(path: Path) -> list[Case]:
    """The cases of a file. Raises ValueError with file and line for rows of another form."""
    cases: list[Case] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path.name}:{number}"
            try:
                row = json.loads(line)
                if "pred" in row:
                    gold, answer, equal = row["gold"], row["pred"], row["equal"]
                    kind, policy = row.get("kind") or "pair", row.get("policy") or ""
                else:
                    equal, gold, answer = row["correct"], row["gold"], row["response"]
                    kind, policy = "solution", ""
            except (KeyError, TypeError, json.JSONDecodeError) as error:
                raise ValueError(f"{path}:{number}: no case: {error!r}") from error
            cases.append(Case(gold, answer, bool(equal), kind, policy=policy, where=where))
    return cases


def default_files() -> list[Path]:
    """The case files of EVENBENCH_DATA where it is set, and the project's own cases."""
    data = os.environ.get("EVENBENCH_DATA")
    names = ("cases.jsonl", "model_solutions.jsonl") if data else ()
    files = [Path(data or "", "checker", name) for name in names]
    return [OWN_CASES, *filter(Path.is_file, files)]


def _judge(case: Case, options: Options) -> CheckResult:
    if case.kind in RESPONSES:
        return grade(case.answer, case.gold, "auto", options)
    return check(case.answer, case.gold, options)


def _count(score: Score, case: Case, verdict: CheckResult) -> None:
    score.cases += 1
    score.negatives += not case.equal
    score.false_negatives += case.equal and not verdict.correct
    score.false_positives += verdict.correct and not case.equal
    score.unparsable += verdict.status.startswith("unparsable")


def audit(
    files: Sequence[Path], options: Options | None = None, against: str | None = None
) -> CheckerAudit:
    """Judges all cases of the files; with `against`, also by a second opinion.

    Raises ValueError for a file of another form or a second opinion that is not known.
    """
    if against is not None and against not in SECOND_OPINIONS:
        raise ValueError(f"against={against!r}: allowed are {', '.join(SECOND_OPINIONS)}")
    chosen = options or Options()
    found = CheckerAudit(["/".join(file.parts[-2:]) for file in files], chosen, against=against)
    worker.warm_up()
    cases = [case for file in files for case in read_cases(file)]
    official = {"GSM8K strict": gsm8k_strict, "MATH strict": math_strict}
    for case in cases:
        start = time.perf_counter()
        verdict = _judge(case, chosen)
        found.seconds.append(time.perf_counter() - start)
        _count(found.groups.setdefault(case.group, Score()), case, verdict)
        if case.policy:
            _count(found.policies.setdefault(case.policy, Score()), case, verdict)
        found.statuses[verdict.status] += 1
        found.rules[verdict.how] += 1
        if verdict.correct != case.equal:
            found.misses.append(Miss(case, verdict))
        if case.kind not in RESPONSES:
            if check(case.gold, case.answer, chosen).correct != verdict.correct:
                found.asymmetric.append(case)
        else:
            for name, protocol in official.items():
                said = protocol(case.answer, case.gold)
                score = found.official.setdefault(name, Protocol())
                score.cases += 1
                score.missed += verdict.correct and not said
                score.only += said and not verdict.correct
                score.false_positives += said and not case.equal
    if against is not None:
        _compare(found, cases, chosen)
    return found


def _compare(found: CheckerAudit, cases: Iterable[Case], options: Options) -> None:
    with SecondOpinion() as second:
        for case in cases:
            said = second.ask(case.answer, case.gold, case.kind in RESPONSES)
            found.stuck += said is None
            verdict = _judge(case, options)
            score = found.opinion.setdefault(case.group, Score())
            _count(score, case, CheckResult(bool(said), "ok", "", None))
            if said is not None and said != verdict.correct:
                found.disagreements.append(Miss(case, verdict))
    found.lost = sum(verdict.correct != case.equal for case, verdict in found.disagreements)
    found.disagreements.sort(key=lambda miss: miss.verdict.correct == miss.case.equal)


def robustness(golds: Iterable[str], seed: int = 0, options: Options | None = None) -> Robustness:
    """Judges mutants (to be refused) and reformattings (to be accepted) of gold answers."""
    chosen = options or Options()
    found = Robustness()
    rng = random.Random(seed)
    worker.warm_up()

    def judge(answer: str, gold: str) -> bool:
        start = time.perf_counter()
        correct = check(answer, gold, chosen).correct
        found.seconds.append(time.perf_counter() - start)
        if check(gold, answer, chosen).correct != correct:
            found.asymmetric.append((answer, gold))
        return correct

    for gold in dict.fromkeys(golds):
        found.golds += 1
        if not judge(gold, gold):
            found.not_itself.append(gold)
        for text in mutants(gold, rng):
            found.mutants += 1
            if judge(text, gold):
                found.accepted.append((gold, text))
        for name, text in reformatted(gold):
            found.reformatted += 1
            if not judge(text, gold):
                found.rejected.append((name, gold, text))
    return found


class SecondOpinion:
    """math-verify in a process of its own, killed where it hangs."""

    PATIENCE = 10.0

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> SecondOpinion:
        return self

    def __exit__(self, *details: object) -> None:
        if self.process is not None:
            pipes.stop(self.process)

    def ask(self, answer: str, gold: str, response: bool) -> bool | None:
        """Whether it holds the answer, or the response's, right; None if it took too long."""
        if self.process is None:
            self.process = pipes.start("tasks.answers.audit")
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            pipes.send(self.process.stdin, (answer, gold, response))
            ready, _, _ = select.select([self.process.stdout], [], [], self.PATIENCE)
            if ready:
                return pipes.receive(self.process.stdout)
        except (EOFError, OSError) as error:
            if self.process.poll() == 3:
                raise RuntimeError("math-verify is not installed (extra: eval)") from error
        pipes.stop(self.process)
        self.process = None
        return None


def serve() -> None:
    """math-verify's process: (answer, gold, whether the answer is a whole response) in, its verdict
    out. Ends with 3 where it is absent."""
    requests, replies = pipes.standard_streams()
    try:
        from math_verify import parse, verify
    except ImportError:
        raise SystemExit(3) from None

    def marked(text: str) -> str:
        return text if "$" in text or "\\boxed" in text or "\\(" in text else f"${text}$"

    try:
        while True:
            answer, gold, response = pipes.receive(requests)
            # its parser finds the answer in a response, but wants a bare answer marked as math
            given = answer if response else marked(answer)
            said = verify(parse(marked(final_answer(gold))), parse(given))
            pipes.send(replies, bool(said))
    except (EOFError, BrokenPipeError):
        return
