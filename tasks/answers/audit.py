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
from typing import Any, NamedTuple

from tasks.answers import pipes, worker
from tasks.answers.check import check, final_answer, grade
from tasks.answers.options import GRADER_VERSION, Options, Verdict
from tasks.answers.protocols import gsm8k_strict, math_strict
from tasks.answers.variants import mutants, reformatted

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
    verdict: Verdict


@dataclass
class Protocol:
    """An official score on responses beside the checker's verdict; it compares strings."""

    cases: int = 0
    missed: int = 0  # right for the checker alone
    only: int = 0  # right for the protocol alone
    false_positives: int = 0


@dataclass
class Audit:
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
                    kind, policy = row.get("kind") or "pair", row.get("policy") or ""
                    case = Case(row["gold"], row["pred"], bool(row["equal"]), kind, policy, where)
                else:
                    correct = bool(row["correct"])
                    case = Case(row["gold"], row["response"], correct, "solution", "", where)
            except (KeyError, TypeError, json.JSONDecodeError) as error:
                raise ValueError(f"{path}:{number}: no case: {error!r}") from error
            cases.append(case)
    return cases


def default_files() -> list[Path]:
    """The case files of EVENBENCH_DATA where it is set, and the project's own cases."""
    folder = Path(os.environ.get("EVENBENCH_DATA", "")) / "checker"
    files = [folder / name for name in ("cases.jsonl", "model_solutions.jsonl")]
    return [
        OWN_CASES,
        *(file for file in files if os.environ.get("EVENBENCH_DATA") and file.is_file()),
    ]


def _judge(case: Case, options: Options) -> Verdict:
    if case.kind in RESPONSES:
        return grade(case.answer, case.gold, "auto", options)
    return check(case.answer, case.gold, options)


def _count(score: Score, case: Case, verdict: Verdict) -> None:
    score.cases += 1
    score.negatives += not case.equal
    score.false_negatives += case.equal and not verdict.correct
    score.false_positives += verdict.correct and not case.equal
    score.unparsable += verdict.status.startswith("unparsable")


def audit(
    files: Sequence[Path], options: Options | None = None, against: str | None = None
) -> Audit:
    """Judges all cases of the files; with `against`, also by a second opinion.

    Raises ValueError for a file of another form or a second opinion that is not known.
    """
    if against is not None and against not in SECOND_OPINIONS:
        raise ValueError(f"against={against!r}: allowed are {', '.join(SECOND_OPINIONS)}")
    chosen = options or Options()
    found = Audit(["/".join(file.parts[-2:]) for file in files], chosen, against=against)
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


def _compare(found: Audit, cases: Iterable[Case], options: Options) -> None:
    with SecondOpinion() as second:
        for case in cases:
            said = second.ask(case.answer, case.gold, case.kind in RESPONSES)
            found.stuck += said is None
            verdict = _judge(case, options)
            score = found.opinion.setdefault(case.group, Score())
            _count(score, case, Verdict(bool(said), "ok", "", None))
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


def _shorten(text: str, size: int = 60) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= size else f"...{flat[-size:]}"


def tables(found: Audit, examples: int = 20) -> list[Any]:
    """The audit as rich tables, to be printed."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    title = f"Checker {found.version} on {', '.join(found.files)}"
    scores = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in (
        "cases",
        "n",
        "negative",
        "accuracy",
        "false neg.",
        "false pos.",
        "unread",
    ):
        first = heading == "cases"
        scores.add_column(heading, justify="left" if first else "right", overflow="fold")

    def add(parts: dict[str, Score], title: str) -> None:
        if parts and title:
            scores.add_row(title)
        for name, score in sorted(parts.items()):
            counts = (score.false_negatives, score.false_positives, score.unparsable)
            shown = (score.cases, score.negatives, f"{100 * score.accuracy:.1f} %", *counts)
            scores.add_row("  " * bool(title) + name, *map(str, shown))
        scores.add_section()

    add(found.groups, "")
    add(found.policies, "by policy")
    add(found.opinion, found.against or "")

    facts = Table(show_header=False, title="Speed, symmetry, protocols")
    facts.add_column()
    facts.add_column(justify="right")
    facts.add_row("checks a second, one process", f"{found.throughput:,.0f}")
    for share in (0.5, 0.99):
        facts.add_row(f"p{100 * share:.0f}", f"{1e3 * found.quantile(share):.3f} ms")
    facts.add_row("slowest", f"{1e3 * max(found.seconds, default=0.0):.1f} ms")
    facts.add_row("check(a, b) != check(b, a)", str(len(found.asymmetric)))
    for name, part in found.official.items():
        agree = part.cases - part.missed - part.only
        facts.add_row(f"verdict as by {name}", f"{agree} of {part.cases}")
        facts.add_row(f"  right for {name} alone", str(part.only))
        facts.add_row(f"  against the label, {name}", f"{part.false_positives} false pos.")
    for status, count in found.statuses.most_common():
        facts.add_row(f"status {status}", str(count))
    for rule, count in found.rules.most_common():
        facts.add_row(f"decided by {escape(rule)}", str(count))
    result: list[Any] = [scores, facts]
    if found.misses:
        result.append(_listing("Against the label", found.misses[:examples], len(found.misses)))
    if found.against:
        title = (
            f"Other than {found.against} (the label is on its side in {found.lost}; "
            f"{found.stuck} without its answer)"
        )
        shown = found.disagreements[:examples]
        result.append(_listing(title, shown, len(found.disagreements)))
    return result


def _listing(title: str, misses: Sequence[Miss], total: int) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=f"{title}: {total}" + (f", the first {len(misses)}" if total > len(misses) else "")
    )
    for heading in ("where", "kind", "label", "gold", "answer", "verdict"):
        table.add_column(heading, overflow="fold")
    for case, verdict in misses:
        answer = verdict.extracted if verdict.extracted is not None else case.answer
        cells = (case.where, case.policy or case.kind, "equal" if case.equal else "different")
        said = f"{verdict.status} ({verdict.how})"
        table.add_row(*cells, escape(_shorten(case.gold)), escape(_shorten(answer)), escape(said))
    return table


def robustness_table(found: Robustness) -> Any:
    """The robustness as a rich table."""
    from rich.table import Table

    table = Table(show_header=False, title=f"Variants of {found.golds:,} gold answers")
    table.add_column()
    table.add_column(justify="right")
    table.add_row("golds that do not equal themselves", str(len(found.not_itself)))
    table.add_row(
        "one digit or sign changed: accepted", f"{len(found.accepted)} of {found.mutants:,}"
    )
    share = 100 * len(found.rejected) / found.reformatted if found.reformatted else 0.0
    table.add_row(
        "other notation: rejected",
        f"{len(found.rejected)} of {found.reformatted:,} ({share:.3f} %)",
    )
    table.add_row("check(a, b) != check(b, a)", str(len(found.asymmetric)))
    ordered = sorted(found.seconds)
    if ordered:
        table.add_row("checks a second, one process", f"{len(ordered) / sum(ordered):,.0f}")
        table.add_row("p50", f"{1e3 * ordered[len(ordered) // 2]:.3f} ms")
        table.add_row("p99", f"{1e3 * ordered[int(0.99 * len(ordered))]:.3f} ms")
    return table
