"""check, grade and grade_many: the checker's public functions."""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from tasks.answers.comparison.compare import Comparer
from tasks.answers.expressions.node import Node
from tasks.answers.expressions.parser import parse_tokens
from tasks.answers.expressions.trees import expand_signs
from tasks.answers.extract import Style, boxes, extract, hashes, last_boxed, minerva, unescape
from tasks.answers.options import CheckResult, Options, Status, resolve
from tasks.answers.words.lexer import AnswerError, LimitError, Token, lex, tidy

_PLAIN = re.compile(r"\s*(-?)(\d{1,3}(?:,\d{3})+|\d{1,300})(\.\d{1,300})?\s*")
_FRACTION = re.compile(
    r"\s*(-?)(?:\\[dt]?frac\s?\{(\d{1,300})\}\s?\{(\d{1,300})\}|(\d{1,300})\s?/\s?(\d{1,300}))\s*"
)
USUAL: frozenset[str] = frozenset()


class AnswerReading(NamedTuple):
    """What a text was read as; exactly one of node and failure is set."""

    tokens: tuple[tuple[str, str], ...]
    node: Node | None
    other: frozenset[str]  # the other readings that the text allows
    failure: str  # "", "parse" or "limit"


def _plain_number(text: str) -> tuple[Fraction, int] | None:
    """Value and number of decimals of a plain integer, decimal or fraction; None for all else."""
    if match := _PLAIN.fullmatch(text):
        sign, whole, point = match.groups()
        if whole[0] == "0" and "," in whole:
            return None
        if point is None:
            return Fraction(int(sign + whole.replace(",", ""))), 0
        places = len(point) - 1
        return Fraction(int(sign + whole.replace(",", "") + point[1:]), 10**places), places
    if match := _FRACTION.fullmatch(text):
        sign, top, bottom, top2, bottom2 = match.groups()
        if int(bottom or bottom2):
            value = Fraction(int(top or top2), int(bottom or bottom2))
            return -value if sign else value, 0
    return None


@lru_cache(maxsize=8192)
def _tokens(text: str) -> list[Token] | str:
    try:
        return lex(tidy(text))
    except LimitError:
        return "limit"
    except AnswerError:
        return "parse"


@lru_cache(maxsize=8192)
def _read(text: str, reading: frozenset[str]) -> AnswerReading:
    tokens = _tokens(text)
    if isinstance(tokens, str):
        return AnswerReading(((tokens, " ".join(text.split())),), None, USUAL, tokens)
    shape = tuple((token.kind, token.value) for token in tokens if token.kind != "quad")
    try:
        node, found = parse_tokens(tokens, reading)
    except (LimitError, RecursionError):
        return AnswerReading(shape, None, USUAL, "limit")
    except AnswerError:
        return AnswerReading(shape, None, USUAL, "parse")
    if "pm" in found:
        node = expand_signs(node)
    return AnswerReading(shape, node, frozenset(found - {"pm"}), "")


def final_answer(text: str, join: bool = True) -> str:
    """The answer inside of a text that marks it (a box, `####`, "the final answer is"), else the
    text."""
    if "\\" in text or "\x0c" in text or "\x08" in text:
        text = unescape(text)
        if ("boxed" in text or "fbox" in text) and boxes(text, unclosed=True):
            return last_boxed(text, join, unclosed=True) or ""
    if "####" in text:
        return hashes(text) or text
    if len(text) > 40 and "inal answer" in text:
        return minerva(text) or text
    return text


def check(answer: str, gold: str, options: Options | None = None, **named: Any) -> CheckResult:
    """Whether `answer` means the same as `gold`. Options by name as in `Options`.

    Both sides may be marked answers (`\\boxed{...}`, `#### 5`); then only what is marked counts.
    """
    chosen = resolve(options, named)
    join = chosen.boxes == "join"
    answer, gold = final_answer(answer, join), final_answer(gold, join)
    if chosen.fractions == "any":
        one = _plain_number(answer)
        if one is not None:
            two = _plain_number(gold)
            if two is not None and (one[0] == two[0] or not (one[1] or two[1])):
                correct = one[0] == two[0]
                return CheckResult(correct, "ok" if correct else "wrong", "number", answer)
    left, right = _read(answer, USUAL), _read(gold, USUAL)
    if left.tokens == right.tokens and (left.tokens or answer.split() == gold.split()):
        return CheckResult(True, "ok", "string", answer)
    if chosen.choices and (letter := _choice(left, right)) is not None:
        return CheckResult(letter, "ok" if letter else "wrong", "choice", answer)
    if left.failure == "limit" or right.failure == "limit":
        return CheckResult(False, "limit", "parse", answer)
    if right.failure:
        return CheckResult(False, "unparsable_gold", "parse", answer)
    if left.failure:
        return CheckResult(False, "unparsable_answer", "parse", answer)
    return _compare(answer, left, gold, right, options=chosen)


def _choice(one: AnswerReading, two: AnswerReading) -> bool | None:
    """Where one side is a letter and the other such with its text ("(C) 12"): are they equal?"""
    first, second = _letter(one.tokens), _letter(two.tokens)
    if first is None or second is None or not (first[1] or second[1]):
        return None
    return first[0] == second[0]


def _letter(tokens: tuple[tuple[str, str], ...]) -> tuple[str, bool] | None:
    """(letter, whether it stands alone) of `C`, `(C)`, `(C) 12`, `C. 12`; else None."""
    values = [value for _, value in tokens[:4]]
    if values[:1] == ["("] and values[2:3] == [")"]:
        letter, rest = values[1], len(tokens) - 3
    elif len(tokens) == 1 or values[1:2] == [")"] or (len(tokens) > 2 and values[1] in (".", ":")):
        letter, rest = values[0], len(tokens) - 2
    else:
        return None
    if len(letter) != 1 or letter not in "ABCDEFGHIJ":
        return None
    return letter, rest <= 0


def _alternatives(
    text: str, first: AnswerReading, other: str, options: Options
) -> list[AnswerReading]:
    """The usual reading of a text, then the others that its notation allows."""
    readings = [first]
    for name in sorted(first.other - {"log"}):
        if name == "decimal" and (options.decimal_comma == "never" or "." not in other):
            continue
        second = _read(text, frozenset((name,)))
        if second.node is not None and second.node != first.node:
            readings.append(second)
    return readings


def _compare(
    answer: str, left: AnswerReading, gold: str, right: AnswerReading, options: Options
) -> CheckResult:
    status: Status = "wrong"
    how = "structure"
    bases = (False, True) if "log" in left.other | right.other else (False,)
    for one in _alternatives(answer, left, gold, options):
        for two in _alternatives(gold, right, answer, options):
            for log10 in bases:
                comparer = Comparer(options, log10)
                assert one.node is not None and two.node is not None
                try:
                    if comparer.same(one.node, two.node):
                        return CheckResult(True, "ok", comparer.used, answer)
                except (LimitError, RecursionError):
                    status, how = "limit", "limit"
                    continue
                except AnswerError:
                    continue
                except Exception:  # a defect of the checker must not end a training run
                    status, how = "limit", "error"
                    continue
                if comparer.stopped:
                    status = comparer.stopped
                how = comparer.used
    return CheckResult(False, status, how, answer)


def grade(
    response: str, gold: str, style: Style = "auto", options: Options | None = None, **named: Any
) -> CheckResult:
    """Finds the answer of a response under a protocol and checks it."""
    chosen = resolve(options, named)
    answer = extract(response, style, chosen.boxes == "join")
    if answer is None or not answer.strip():
        return CheckResult(False, "unparsable_answer", "no answer found", None)
    return check(answer, gold, chosen)
