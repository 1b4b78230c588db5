"""Exact values of expressions: quotients of polynomials over Q in roots, constants and names.

A polynomial is a dict {monomial: Fraction}, a monomial a frozenset of (atom, exponent). Atoms are

    (NAME, name)
    (CONSTANT, name)              pi, e, i or oo (infinity)
    (PRIME, prime)                under a fractional exponent: roots of integers are their products
    (ROOT, key)                   a sum under a fractional exponent, that is a root of a sum
    (HIGH_POWER, key)             a sum under an exponent too large to expand
    (POWER, base, monomial)       base ** monomial, an exponent with a name in it; the base is an
                                  atom, or (MINUS_ONE, -1), which stands nowhere else
    (FUNCTION, name, key, ...)    a function of canonical arguments

Reductions (i^2, p^(1/2) p^(1/2), sin^2) keep the form canonical for numbers with roots and for
rational functions, so that there equality is a comparison of dictionaries. Everything is bounded
before it is built: bits of a coefficient, terms of a polynomial, steps of a comparison.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from tasks.answers.words.lexer import AnswerError, LimitError

MAX_TERMS = 400
MAX_BITS = 20_000
MAX_STEPS = 20_000  # monomial products of one comparison

# The first entry of an atom says what it is, see above.
NAME, CONSTANT, PRIME, MINUS_ONE = "s", "c", "p", "n"
ROOT, HIGH_POWER, POWER, FUNCTION = "S", "B", "P", "f"
OPEN_FORMS = frozenset((ROOT, HIGH_POWER, POWER, FUNCTION))  # equal ones may differ in form

Atom = tuple[Any, ...]
Monomial = frozenset[tuple[Atom, Fraction]]
Poly = dict[Monomial, Fraction]
F = Fraction

UNIT: Monomial = frozenset()  # the monomial of a constant term
ONE_POLY: Poly = {UNIT: F(1)}
HALF = F(1, 2)
I_ATOM: Atom = (CONSTANT, "i")
E_ATOM: Atom = (CONSTANT, "e")
PI_ATOM: Atom = (CONSTANT, "pi")
OO_ATOM: Atom = (CONSTANT, "oo")


class Structured(Exception):
    """The node is no scalar: a matrix, a set, a relation, a text."""


class Value(NamedTuple):
    """A quotient of two polynomials; the denominator is never the zero polynomial."""

    num: Poly
    den: Poly = ONE_POLY


class Effort:
    """Counts the work of one comparison."""

    __slots__ = ("steps",)

    def __init__(self) -> None:
        self.steps = 0

    def spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise LimitError("too many steps")


def constant(value: Fraction | int) -> Value:
    return Value({UNIT: F(value)} if value else {})


def applied(name: str, *arguments: Value) -> Value:
    """A function of canonical arguments that is left as it stands."""
    return atom((FUNCTION, name, *map(argument_key, arguments)))


def atom(name: Atom, exponent: Fraction | int = 1) -> Value:
    return Value({frozenset(((name, F(exponent)),)): F(1)})


ZERO, ONE = constant(0), constant(1)
I_VALUE, PI_VALUE, OO_VALUE = atom(I_ATOM), atom(PI_ATOM), atom(OO_ATOM)


def key(poly: Poly) -> frozenset[tuple[Monomial, Fraction]]:
    return frozenset(poly.items())


def check_bits(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
        raise LimitError(f"a number of more than {MAX_BITS} bits")
    return value


def _add_into(total: Poly, other: Poly, scale: Fraction | int = 1) -> None:
    for monomial, coefficient in other.items():
        new = total.get(monomial, 0) + coefficient * scale
        if new:
            total[monomial] = new
        else:
            total.pop(monomial, None)
    if len(total) > MAX_TERMS:
        raise LimitError(f"more than {MAX_TERMS} terms")


def is_algebraic(name: Atom) -> bool:
    """Atoms whose powers reduce, so that their exponents are kept in [0, 1) or {0, 1}."""
    tag = name[0]
    return tag == ROOT or (tag == FUNCTION and name[1] in ("sin", "abs"))


def _merge(one: Monomial, two: Monomial) -> tuple[Fraction, Monomial, list[tuple[Poly, int]]]:
    """The product of two monomials: a rational factor, a monomial, and powers of polynomials."""
    exponents = dict(one)
    for name, exponent in two:
        exponents[name] = exponents.get(name, 0) + exponent
    return reduced(exponents)


def reduced(exponents: dict[Atom, Fraction]) -> tuple[Fraction, Monomial, list[tuple[Poly, int]]]:
    factor = F(1)
    extra: list[tuple[Poly, int]] = []
    kept: list[tuple[Atom, Fraction]] = []
    for name, exponent in exponents.items():
        if not exponent:
            continue
        tag = name[0]
        if tag == PRIME:
            whole = math.floor(exponent)
            if whole:
                if abs(whole) * name[1].bit_length() > MAX_BITS:
                    raise LimitError("a power of too many digits")
                factor = check_bits(factor * F(name[1]) ** whole)
                exponent -= whole
        elif name == I_ATOM and exponent.denominator == 1:
            turn = exponent.numerator % 4
            if turn >= 2:
                factor = -factor
            exponent = F(turn % 2)
        elif tag == ROOT:
            whole = math.floor(exponent)
            if whole:
                extra.append((dict(name[1]), whole))
                exponent -= whole
        elif tag == FUNCTION and exponent.denominator == 1 and name[1] in ("sin", "abs"):
            pairs, rest = divmod(exponent.numerator, 2)
            if pairs:
                if name[1] == "sin":
                    cosine = (FUNCTION, "cos", name[2])
                    square: Poly = {UNIT: F(1), frozenset(((cosine, F(2)),)): F(-1)}
                else:
                    inner = dict(name[2][0])
                    square = mul_poly(inner, inner, Effort()).num
                extra.append((square, pairs))
                exponent = F(rest)
        if exponent:
            kept.append((name, exponent))
    return factor, frozenset(kept), extra


def mul_poly(one: Poly, two: Poly, effort: Effort) -> Value:
    """The product of two polynomials (a quotient only where a reduction makes one)."""
    if len(one) == 1 and UNIT in one:
        scale = one[UNIT]
        return Value({m: c * scale for m, c in two.items()})
    if len(two) == 1 and UNIT in two:
        scale = two[UNIT]
        return Value({m: c * scale for m, c in one.items()})
    effort.spend(len(one) * len(two))
    total: Poly = {}
    special: list[Value] = []
    for m1, c1 in one.items():
        for m2, c2 in two.items():
            coefficient = c1 * c2
            if not m1:
                monomial = m2
            elif not m2:
                monomial = m1
            else:
                factor, monomial, extra = _merge(m1, m2)
                if factor != 1:
                    coefficient = check_bits(coefficient * factor)
                if extra:
                    special.append(_expand(coefficient, monomial, extra, effort))
                    continue
            new = total.get(monomial, 0) + coefficient
            if new:
                total[monomial] = new
            else:
                del total[monomial]
        if len(total) > MAX_TERMS:
            raise LimitError(f"more than {MAX_TERMS} terms")
    result = Value(total)
    for value in special:
        result = add(result, value, effort)
    return result


def _expand(
    coefficient: Fraction, monomial: Monomial, extra: list[tuple[Poly, int]], effort: Effort
) -> Value:
    value = Value({monomial: coefficient})
    for poly, power in extra:
        value = mul(value, integer_power(Value(poly), power, effort), effort)
    return value


def add(one: Value, two: Value, effort: Effort) -> Value:
    if one.den == two.den:
        total = dict(one.num)
        _add_into(total, two.num)
        return Value(total, one.den if total else ONE_POLY)
    if len(one.den) == 1 and UNIT in one.den and len(two.den) == 1 and UNIT in two.den:
        scale1, scale2 = 1 / one.den[UNIT], 1 / two.den[UNIT]
        total = {m: c * scale1 for m, c in one.num.items()}
        _add_into(total, two.num, scale2)
        return Value(total)
    left = mul_poly(one.num, two.den, effort)
    right = mul_poly(two.num, one.den, effort)
    den = mul_poly(one.den, two.den, effort)
    return quotient(add(left, right, effort), den, effort)


def negate(value: Value) -> Value:
    return Value({m: -c for m, c in value.num.items()}, value.den)


def subtract(one: Value, two: Value, effort: Effort) -> Value:
    return add(one, negate(two), effort)


def mul(one: Value, two: Value, effort: Effort) -> Value:
    top = mul_poly(one.num, two.num, effort)
    if one.den is ONE_POLY and two.den is ONE_POLY:
        return top
    return quotient(top, mul_poly(one.den, two.den, effort), effort)


def inverse(value: Value, effort: Effort) -> Value:
    if not value.num:
        raise AnswerError("division by zero")
    if len(value.num) == 1:
        ((monomial, coefficient),) = value.num.items()
        if not monomial:
            return Value({m: c / coefficient for m, c in value.den.items()})
        factor, inverted, extra = reduced({name: -exponent for name, exponent in monomial})
        if all(not is_algebraic(name) for name, _ in monomial):
            top = Value({inverted: check_bits(factor / coefficient)})
            return mul_poly(top.num, value.den, effort) if value.den is not ONE_POLY else top
        # 1/sqrt(S) = sqrt(S)/S: the extra factors with negative power are the new denominator
        top, den = Value({inverted: factor / coefficient}), ONE
        for poly, power in extra:
            piece = integer_power(Value(poly), abs(power), effort)
            if power > 0:
                top = mul(top, piece, effort)
            else:
                den = mul(den, piece, effort)
        top = mul_poly(top.num, value.den, effort)
        if not den.num:
            raise AnswerError("division by zero")
        return Value(top.num, den.num)
    return Value(value.den, value.num)


def quotient(one: Value, two: Value, effort: Effort) -> Value:
    if not two.num:
        raise AnswerError("division by zero")
    if two.num == ONE_POLY and two.den is ONE_POLY:
        return one
    if len(two.num) == 1 and UNIT in two.num:
        scale = 1 / two.num[UNIT]
        top = one if two.den == ONE_POLY else mul(one, Value(two.den), effort)
        return Value({m: check_bits(c * scale) for m, c in top.num.items()}, top.den)
    flipped = inverse(two, effort)
    top = mul_poly(one.num, flipped.num, effort)
    den = mul_poly(one.den, flipped.den, effort)
    if top.den is ONE_POLY and den.den is ONE_POLY:
        if len(den.num) == 1 and UNIT in den.num:
            scale = 1 / den.num[UNIT]
            return Value({m: c * scale for m, c in top.num.items()})
        return Value(top.num, den.num)
    return Value(mul_poly(top.num, den.den, effort).num, mul_poly(den.num, top.den, effort).num)


def integer_power(value: Value, power: int, effort: Effort) -> Value:
    if power < 0:
        return integer_power(inverse(value, effort), -power, effort)
    if power == 0:
        return ONE
    if len(value.num) == 1 and value.den is ONE_POLY:
        ((monomial, coefficient),) = value.num.items()
        bits = max(coefficient.numerator.bit_length(), coefficient.denominator.bit_length())
        if coefficient in (1, -1):
            scale = coefficient ** (power % 2)
        elif bits * power > MAX_BITS:
            raise LimitError("a power of too many digits")
        else:
            scale = coefficient**power
        factor, rest, extra = reduced({name: e * power for name, e in monomial})
        result = Value({rest: check_bits(scale * factor)})
        for poly, times in extra:
            result = mul(result, integer_power(Value(poly), times, effort), effort)
        return result
    for poly in value:
        if len(poly) > 1:
            if power > 60 or math.comb(len(poly) + power - 1, power) > MAX_TERMS:
                top, bottom = (_unexpanded(part, power, effort) for part in value)
                return quotient(top, bottom, effort)
            bits = max(c.numerator.bit_length() + c.denominator.bit_length() for c in poly.values())
            if bits * power > MAX_BITS:
                raise LimitError("a power of too many digits")
    result, square = ONE, value
    while power:
        if power & 1:
            result = mul(result, square, effort)
        power >>= 1
        if power:
            square = mul(square, square, effort)
    return result


def _unexpanded(poly: Poly, power: int, effort: Effort) -> Value:
    """A power of too many terms as an atom, with a canonical sign and its content outside."""
    if len(poly) == 1:
        return integer_power(Value(poly), power, effort)
    content = content_of(poly)
    if min(poly.items(), key=spelling)[1] < 0:
        content = -content
    name = (HIGH_POWER, key({m: c / content for m, c in poly.items()}))
    return mul(integer_power(constant(content), power, effort), atom(name, power), effort)


def rational(value: Value) -> Fraction | None:
    """The value as a Fraction where it is one."""
    if not value.num:
        return F(0)
    if len(value.num) == 1 and UNIT in value.num and len(value.den) == 1 and UNIT in value.den:
        return value.num[UNIT] / value.den[UNIT]
    return None


def spelling(item: tuple[Monomial, Fraction]) -> str:
    """A total order of monomials (by spelling), for canonical choices of sign."""
    return repr(sorted((repr(name), exponent) for name, exponent in item[0]))


def content_of(poly: Poly) -> Fraction:
    top = math.gcd(*(c.numerator for c in poly.values()))
    return F(top, math.lcm(*(c.denominator for c in poly.values())))


def absolute_poly(poly: Poly) -> Value:
    """|poly| with a canonical sign and its rational content outside."""
    if not poly:
        return ZERO
    content = content_of(poly)
    if min(poly.items(), key=spelling)[1] < 0:
        content = -content
    primitive = {m: c / content for m, c in poly.items()}
    inner = applied("abs", Value(primitive))
    return Value({m: c * abs(content) for m, c in inner.num.items()})


def argument_key(value: Value) -> tuple[Any, ...]:
    """A canonical key of a value: one polynomial, or numerator and denominator scaled."""
    if value.den == ONE_POLY:
        return (key(value.num),)
    content = content_of(value.den)
    if min(value.den.items(), key=spelling)[1] < 0:
        content = -content
    return tuple(key({m: c / content for m, c in poly.items()}) for poly in value)


def equal(one: Value, two: Value, effort: Effort) -> bool:
    """Equality of the canonical forms: exact, but where atoms are hard not complete."""
    if one.den == two.den:
        return one.num == two.num
    left = mul_poly(one.num, two.den, effort)
    right = mul_poly(two.num, one.den, effort)
    if left.den == right.den:
        return left.num == right.num
    return mul_poly(left.num, right.den, effort).num == mul_poly(right.num, left.den, effort).num


def atoms(value: Value) -> Iterator[Atom]:
    for poly in value:
        for monomial in poly:
            for name, _ in monomial:
                yield name


def is_hard(value: Value) -> bool:
    """Whether different canonical forms may still be equal."""
    return any(name[0] in OPEN_FORMS for name in atoms(value))


def has_names(value: Value) -> bool:
    return any(True for _ in names(value))


def names(value: Value) -> Iterator[str]:
    for name in atoms(value):
        yield from names_in(name)


def names_in(part: Any) -> Iterator[str]:
    if isinstance(part, tuple) and len(part) == 2 and part[0] == NAME and isinstance(part[1], str):
        yield part[1]
    elif isinstance(part, (tuple, frozenset)):
        for inner in part:
            yield from names_in(inner)
