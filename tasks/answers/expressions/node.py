"""The tree that an answer is parsed into, and the numbers at its leaves."""

import re
from fractions import Fraction
from typing import Any, NamedTuple

from tasks.answers.words.lexer import AnswerError, LimitError

MAX_EXPONENT = 5_000  # of ten, in 1e5000


class Node(NamedTuple):
    """An operation and its arguments.

    Expressions: num(value, places) sym(name) const(name) neg add mul div pow root(n, x)
    fn(name, ...) mixed(whole, top, bottom) pm(left, right, sign) percent deg
    big(kind, body, var, low, high) matrix(rows) base(digits, base). Structures: set(items)
    seq(open, close, items) list(joint, items) setop(op, a, b) rel(signs, sides) ratio(items)
    unit(x, words) text(words) builder(x, condition).
    """

    op: str
    args: tuple[Any, ...]


def integer(value: int) -> Node:
    return Node("num", (Fraction(value), 0))


ONE, ZERO = integer(1), integer(0)
EMPTY = Node("set", ())
REALS = Node("const", ("Reals",))
KNOWN_TEXTS = {  # words that name a set
    "all real numbers": REALS, "all reals": REALS,
    "real numbers": REALS, "all real": REALS,
    "the real numbers": REALS, "empty set": EMPTY,
    "the empty set": EMPTY, "no solution": EMPTY,
    "no solutions": EMPTY, "no real solution": EMPTY,
    "no real solutions": EMPTY, "there is no solution": EMPTY,
    "does not exist": Node("text", ("dne",)),
}  # fmt: skip

_NUM = re.compile(r"([^.eE]*)(?:\.(\d+))?(?:[eE]([+-]?\d+))?")
_REPEAT = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar|dot)\s*\{(\d+)\}")


def number(text: str) -> Node:
    """A number token's exact value, with its count of decimals."""
    match = _NUM.fullmatch(text)
    if match is None:
        raise AnswerError(f"no number: {text[:20]!r}")
    whole, point, power = match.groups()
    digits = "".join(c for c in whole if c.isdigit()) + (point or "")
    places = len(point) if point else 0
    value = Fraction(int(digits or "0"), 10**places)
    if power:
        shift = int(power)
        if abs(shift) > MAX_EXPONENT:
            raise LimitError("exponent too large")
        value = value * 10**shift if shift >= 0 else value / 10**-shift
        places = max(places - shift, 0)
    return Node("num", (value, places))


def repeating(text: str) -> Node:
    whole, start, cycle = _REPEAT.fullmatch(text).groups()  # type: ignore[union-attr]
    scale = 10 ** len(start)
    value = Fraction(int((whole or "0") + start), scale)
    value += Fraction(int(cycle), (10 ** len(cycle) - 1) * scale)
    return Node("num", (value, 0))


def numeral(value: Fraction, places: int) -> str:
    digits = str(int(value * 10**places)).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits
