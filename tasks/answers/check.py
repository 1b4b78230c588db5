"""check, grade and grade_many: the checker's public functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from tasks.answers.extract import Style, boxes, extract, last_boxed, unescape
from tasks.answers.options import Options, Verdict, resolve

_PLAIN = re.compile(r"\s*\$?\s*(-?)\s*\$?(\d{1,3}(?:,\d{3})+|\d{1,300})(\.\d{1,300})?\s*\$?\.?\s*")
_FRACTION = re.compile(
    r"\s*\$?\s*(-?)\s*(?:\\[dt]?frac\s*\{\s*)?(\d{1,300})\s*(?:/|\}\s*\{)\s*(\d{1,300})\s*\}?\s*\$?\.?\s*"
)


def _plain_number(text: str) -> tuple[Fraction, int] | None:
    """Value and number of decimals of a plain integer or decimal, None for anything else."""
    match = _PLAIN.fullmatch(text)
    if match is None:
        if fraction := _FRACTION.fullmatch(text):
            sign, top, bottom = fraction.group(1), int(fraction.group(2)), int(fraction.group(3))
            return (Fraction(-top if sign else top, bottom), 0) if bottom else None
        return None
    sign, whole, point = match.groups()
    digits = whole.replace(",", "") + (point[1:] if point else "")
    places = len(point) - 1 if point else 0
    value = Fraction(int(digits), 10**places)
    return (-value if sign else value), places


def check(answer: str, gold: str, options: Options | None = None, **named: Any) -> Verdict:
    """Whether `answer` means the same as `gold`. Options by name as in `Options`."""
    chosen = resolve(options, named)
    if boxes(gold):
        gold = last_boxed(unescape(gold), chosen.boxes == "join", unclosed=True) or gold
    if boxes(answer):
        answer = last_boxed(unescape(answer), chosen.boxes == "join", unclosed=True) or answer
    one, two = _plain_number(answer), _plain_number(gold)
    if one and two:
        correct = one[0] == two[0]
        return Verdict(correct, "ok" if correct else "wrong", "number", answer)
    if answer.strip() and answer.strip() == gold.strip():
        return Verdict(True, "ok", "string", answer)
    return Verdict(False, "unparsable_answer", "parse", answer)


def grade(
    response: str,
    gold: str,
    style: Style = "auto",
    options: Options | None = None,
    **named: Any,
) -> Verdict:
    """Finds the answer of a response under a protocol and checks it."""
    chosen = resolve(options, named)
    answer = extract(response, style, chosen.boxes == "join")
    if answer is None:
        return Verdict(False, "unparsable_answer", "no answer found", None)
    return check(answer, gold, chosen)


def grade_many(
    pairs: Iterable[Sequence[str]],
    workers: int = 1,
    style: Style = "auto",
    options: Options | None = None,
    progress: bool = False,
    **named: Any,
) -> list[Verdict]:
    """Grades (response, gold) pairs, in order."""
    chosen = resolve(options, named)
    return [grade(response, gold, style, chosen) for response, gold in pairs]
