"""Exact values of expressions: quotients of polynomials over Q in roots, constants and names.

A polynomial is a dict {monomial: Fraction}, a monomial a frozenset of (atom, exponent). Atoms are

    ("s", name)                a name                ("c", name)   pi, e, i or oo (infinity)
    ("p", prime)               under a fractional exponent: roots of integers are products of these
    ("S", key)                 a sum under a fractional exponent, that is a root of a sum
    ("B", key)                 a sum under an exponent too large to expand
    ("P", base, monomial)      base ** monomial, a power whose exponent has a name in it
    ("f", name, key, ...)      a function of canonical arguments

Reductions (i^2, p^(1/2) p^(1/2), sin^2) keep the form canonical for numbers with roots and for
rational functions, so that there equality is a comparison of dictionaries. Everything is bounded
before it is built: bits of a coefficient, terms of a polynomial, steps of a comparison.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from tasks.answers.lexer import AnswerError, LimitError

MAX_TERMS = 400


MAX_BITS = 20_000


MAX_STEPS = 20_000  # monomial products of one comparison


TRIAL = 2_000  # primes up to this bound are divided out of a radicand


Atom = tuple[Any, ...]


Monomial = frozenset[tuple[Atom, Fraction]]


Poly = dict[Monomial, Fraction]


F = Fraction


UNIT: Monomial = frozenset()


I_ATOM: Atom = ("c", "i")


E_ATOM: Atom = ("c", "e")


PI_ATOM: Atom = ("c", "pi")


OO_ATOM: Atom = ("c", "oo")


HALF = F(1, 2)


class Structured(Exception):
    """The node is no scalar: a matrix, a set, a relation, a text."""


class Value(NamedTuple):
    """A quotient of two polynomials; the denominator is never the zero polynomial."""

    num: Poly
    den: Poly


class Budget:
    """Counts the work of one comparison."""

    __slots__ = ("steps",)

    def __init__(self) -> None:
        self.steps = 0

    def spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise LimitError("too many steps")


ONE_POLY: Poly = {UNIT: F(1)}


def constant(value: Fraction | int) -> Value:
    return Value({UNIT: F(value)} if value else {}, ONE_POLY)


def atom(name: Atom, exponent: Fraction | int = 1) -> Value:
    return Value({frozenset(((name, F(exponent)),)): F(1)}, ONE_POLY)


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


def _algebraic(name: Atom) -> bool:
    """Atoms whose powers reduce, so that their exponents are kept in [0, 1) or {0, 1}."""
    tag = name[0]
    return tag == "S" or (tag == "f" and name[1] in ("sin", "abs"))


def _merge(one: Monomial, two: Monomial) -> tuple[Fraction, Monomial, list[tuple[Poly, int]]]:
    """The product of two monomials: a rational factor, a monomial, and powers of polynomials."""
    exponents = dict(one)
    for name, exponent in two:
        exponents[name] = exponents.get(name, 0) + exponent
    return _reduce(exponents)


def _reduce(exponents: dict[Atom, Fraction]) -> tuple[Fraction, Monomial, list[tuple[Poly, int]]]:
    factor = F(1)
    extra: list[tuple[Poly, int]] = []
    kept: list[tuple[Atom, Fraction]] = []
    for name, exponent in exponents.items():
        if not exponent:
            continue
        tag = name[0]
        if tag == "p":
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
        elif tag == "S":
            whole = math.floor(exponent)
            if whole:
                extra.append((dict(name[1]), whole))
                exponent -= whole
        elif tag == "f" and exponent.denominator == 1 and name[1] in ("sin", "abs"):
            pairs, rest = divmod(exponent.numerator, 2)
            if pairs:
                square: Poly = (
                    {UNIT: F(1), frozenset(((("f", "cos", name[2]), F(2)),)): F(-1)}
                    if name[1] == "sin"
                    else _poly_square(dict(name[2][0]))
                )
                extra.append((square, pairs))
                exponent = F(rest)
        if exponent:
            kept.append((name, exponent))
    return factor, frozenset(kept), extra


def _poly_square(poly: Poly) -> Poly:
    return mul_poly(poly, poly, Budget()).num


def mul_poly(one: Poly, two: Poly, budget: Budget) -> Value:
    """The product of two polynomials (a quotient only where a reduction makes one)."""
    if len(one) == 1 and UNIT in one:
        scale = one[UNIT]
        return Value({m: c * scale for m, c in two.items()}, ONE_POLY)
    if len(two) == 1 and UNIT in two:
        scale = two[UNIT]
        return Value({m: c * scale for m, c in one.items()}, ONE_POLY)
    budget.spend(len(one) * len(two))
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
                    special.append(_expand(coefficient, monomial, extra, budget))
                    continue
            new = total.get(monomial, 0) + coefficient
            if new:
                total[monomial] = new
            else:
                del total[monomial]
        if len(total) > MAX_TERMS:
            raise LimitError(f"more than {MAX_TERMS} terms")
    result = Value(total, ONE_POLY)
    for value in special:
        result = add(result, value, budget)
    return result


def _expand(
    coefficient: Fraction, monomial: Monomial, extra: list[tuple[Poly, int]], budget: Budget
) -> Value:
    value = Value({monomial: coefficient}, ONE_POLY)
    for poly, power in extra:
        value = mul(value, integer_power(Value(poly, ONE_POLY), power, budget), budget)
    return value


def add(one: Value, two: Value, budget: Budget) -> Value:
    if one.den == two.den:
        total = dict(one.num)
        _add_into(total, two.num)
        return Value(total, one.den if total else ONE_POLY)
    if len(one.den) == 1 and UNIT in one.den and len(two.den) == 1 and UNIT in two.den:
        scale1, scale2 = 1 / one.den[UNIT], 1 / two.den[UNIT]
        total = {m: c * scale1 for m, c in one.num.items()}
        _add_into(total, two.num, scale2)
        return Value(total, ONE_POLY)
    left = mul_poly(one.num, two.den, budget)
    right = mul_poly(two.num, one.den, budget)
    den = mul_poly(one.den, two.den, budget)
    top = add(left, right, budget)
    return quotient(top, den, budget)


def negate(value: Value) -> Value:
    return Value({m: -c for m, c in value.num.items()}, value.den)


def subtract(one: Value, two: Value, budget: Budget) -> Value:
    return add(one, negate(two), budget)


def mul(one: Value, two: Value, budget: Budget) -> Value:
    top = mul_poly(one.num, two.num, budget)
    if one.den is ONE_POLY and two.den is ONE_POLY:
        return top
    return quotient(top, mul_poly(one.den, two.den, budget), budget)


def inverse(value: Value, budget: Budget) -> Value:
    if not value.num:
        raise AnswerError("division by zero")
    if len(value.num) == 1:
        ((monomial, coefficient),) = value.num.items()
        if not monomial:
            return Value({m: c / coefficient for m, c in value.den.items()}, ONE_POLY)
        factor, inverted, extra = _reduce({name: -exponent for name, exponent in monomial})
        if all(not _algebraic(name) for name, _ in monomial):
            top = Value({inverted: check_bits(factor / coefficient)}, ONE_POLY)
            return mul_poly(top.num, value.den, budget) if value.den is not ONE_POLY else top
        # 1/sqrt(S) = sqrt(S)/S: the extra factors with negative power are the new denominator
        top, den = Value({inverted: factor / coefficient}, ONE_POLY), ONE
        for poly, power in extra:
            piece = integer_power(Value(poly, ONE_POLY), abs(power), budget)
            if power > 0:
                top = mul(top, piece, budget)
            else:
                den = mul(den, piece, budget)
        top = mul_poly(top.num, value.den, budget)
        if not den.num:
            raise AnswerError("division by zero")
        return Value(
            top.num, den.num if den.den is ONE_POLY else mul_poly(den.num, ONE_POLY, budget).num
        )
    return Value(value.den, value.num)


def quotient(one: Value, two: Value, budget: Budget) -> Value:
    if not two.num:
        raise AnswerError("division by zero")
    if two.num == ONE_POLY and two.den is ONE_POLY:
        return one
    if len(two.num) == 1 and UNIT in two.num:
        scale = 1 / two.num[UNIT]
        top = one if two.den == ONE_POLY else mul(one, Value(two.den, ONE_POLY), budget)
        return Value({m: check_bits(c * scale) for m, c in top.num.items()}, top.den)
    flipped = inverse(two, budget)
    top = mul_poly(one.num, flipped.num, budget)
    den = mul_poly(one.den, flipped.den, budget)
    if top.den is ONE_POLY and den.den is ONE_POLY:
        if len(den.num) == 1 and UNIT in den.num:
            scale = 1 / den.num[UNIT]
            return Value({m: c * scale for m, c in top.num.items()}, ONE_POLY)
        return Value(top.num, den.num)
    return Value(mul_poly(top.num, den.den, budget).num, mul_poly(den.num, top.den, budget).num)


def integer_power(value: Value, power: int, budget: Budget) -> Value:
    if power < 0:
        return integer_power(inverse(value, budget), -power, budget)
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
        factor, reduced, extra = _reduce({name: e * power for name, e in monomial})
        result = Value({reduced: check_bits(scale * factor)}, ONE_POLY)
        for poly, times in extra:
            result = mul(result, integer_power(Value(poly, ONE_POLY), times, budget), budget)
        return result
    for poly in value:
        if len(poly) > 1:
            if power > 60 or math.comb(len(poly) + power - 1, power) > MAX_TERMS:
                top, bottom = (_unexpanded(part, power, budget) for part in value)
                return quotient(top, bottom, budget)
            bits = max(c.numerator.bit_length() + c.denominator.bit_length() for c in poly.values())
            if bits * power > MAX_BITS:
                raise LimitError("a power of too many digits")
    result, square = ONE, value
    while power:
        if power & 1:
            result = mul(result, square, budget)
        power >>= 1
        if power:
            square = mul(square, square, budget)
    return result


def _unexpanded(poly: Poly, power: int, budget: Budget) -> Value:
    """A power of too many terms as an atom, with a canonical sign and its content outside."""
    if len(poly) == 1:
        return integer_power(Value(poly, ONE_POLY), power, budget)
    content = content_of(poly)
    if min(poly.items(), key=spelling)[1] < 0:
        content = -content
    name = ("B", key({m: c / content for m, c in poly.items()}))
    return mul(integer_power(constant(content), power, budget), atom(name, power), budget)


def rational(value: Value) -> Fraction | None:
    """The value as a Fraction where it is one."""
    if not value.num:
        return F(0)
    if len(value.num) == 1 and UNIT in value.num and len(value.den) == 1 and UNIT in value.den:
        return value.num[UNIT] / value.den[UNIT]
    return None


@lru_cache(maxsize=4096)
def factorize(n: int) -> tuple[tuple[int, int], ...]:
    """(prime, exponent) pairs of n > 0; a cofactor too large for trial division stays whole."""
    factors: list[tuple[int, int]] = []
    for p in _PRIMES:
        if p * p > n:
            break
        count = 0
        while n % p == 0:
            n //= p
            count += 1
        if count:
            factors.append((p, count))
    if n > 1:
        root = math.isqrt(n)
        if root * root == n:
            factors.extend((p, 2 * k) for p, k in factorize(root))
        else:
            factors.append((n, 1))
    return tuple(factors)


def _sieve(bound: int) -> list[int]:
    marks = bytearray([1]) * (bound + 1)
    for n in range(2, math.isqrt(bound) + 1):
        if marks[n]:
            marks[n * n :: n] = bytes(len(marks[n * n :: n]))
    return [n for n in range(2, bound + 1) if marks[n]]


_PRIMES = _sieve(TRIAL)


def _rational_root(value: Fraction, exponent: Fraction, budget: Budget) -> Value:
    """value ** exponent for value > 0 as a product of primes under fractional exponents."""
    if value.numerator.bit_length() + value.denominator.bit_length() > 2_000:
        raise LimitError("a root of too many digits")
    if abs(exponent) > MAX_BITS:
        raise LimitError("a power of too many digits")
    exponents: dict[Atom, Fraction] = {}
    for part, sign in ((value.numerator, 1), (value.denominator, -1)):
        for p, count in factorize(part):
            name = ("p", p)
            exponents[name] = exponents.get(name, F(0)) + sign * count * exponent
    factor, monomial, _ = _reduce(exponents)
    return Value({monomial: factor}, ONE_POLY)


def rational_power(base: Value, fixed: Fraction, budget: Budget) -> Value:
    """base ** fixed; real roots of negative numbers where the denominator is odd."""
    if fixed.denominator == 1:
        if abs(fixed.numerator) > MAX_BITS:
            raise LimitError("an exponent too large")
        return integer_power(base, fixed.numerator, budget)
    if fixed.denominator > 1_000:
        raise LimitError("a root of too high an order")
    number = rational(base)
    if number is not None:
        if number > 0:
            return _rational_root(number, fixed, budget)
        if number == 0:
            if fixed < 0:
                raise AnswerError("division by zero")
            return ZERO
        if fixed.denominator % 2:
            root = _rational_root(-number, fixed, budget)
            return negate(root) if fixed.numerator % 2 else root
        root = _rational_root(-number, fixed, budget)
        if fixed.denominator == 2:
            return mul(root, integer_power(I_VALUE, fixed.numerator, budget), budget)
        return mul(root, atom(("S", key({UNIT: F(-1)})), fixed % 1), budget)
    if base.den != ONE_POLY:
        # sqrt(N/D) = sqrt(N D)/D for square roots: one radicand, whatever the notation
        if fixed.denominator == 2:
            den = Value(base.den, ONE_POLY)
            inside = mul(Value(base.num, ONE_POLY), den, budget)
            top = rational_power(inside, fixed, budget)
            shift = (
                integer_power(den, -2 * fixed.numerator // 2, budget)
                if fixed.numerator > 0
                else (integer_power(den, -fixed.numerator, budget))
            )
            return mul(top, shift, budget)
        top = rational_power(Value(base.num, ONE_POLY), fixed, budget)
        return quotient(top, rational_power(Value(base.den, ONE_POLY), fixed, budget), budget)
    if len(base.num) == 1:
        return _monomial_root(base, fixed, budget)
    return _sum_root(base, fixed, budget)


def _monomial_root(base: Value, fixed: Fraction, budget: Budget) -> Value:
    ((monomial, coefficient),) = base.num.items()
    result = rational_power(constant(coefficient), fixed, budget)
    for name, exponent in monomial:
        real = name[0] == "s" or name == OO_ATOM
        if name == I_ATOM:
            part = atom(("S", key({frozenset(((I_ATOM, F(1)),)): F(1)})), fixed % 1)
            part = mul(part, integer_power(I_VALUE, math.floor(fixed), budget), budget)
        elif (
            real and fixed.denominator % 2 == 0 and exponent.denominator == 1 and exponent % 2 == 0
        ):
            # sqrt(x^2) = |x|; sqrt(x^4) = x^2
            new = exponent * fixed
            if new.denominator == 1 and new % 2:
                inner = ("f", "abs", (key({frozenset(((name, F(1)),)): F(1)}),))
                part = integer_power(atom(inner), int(new), budget)
            else:
                part = atom(name, new)
        elif _algebraic(name):
            part = atom(("S", key({frozenset(((name, exponent),)): F(1)})), fixed % 1)
            whole = math.floor(fixed)
            part = mul(part, integer_power(atom(name, exponent), whole, budget), budget)
        else:
            _, reduced, _ = _reduce({name: exponent * fixed})
            part = Value({reduced: F(1)}, ONE_POLY)
            if name[0] == "p":
                part = _rational_root(F(name[1]), exponent * fixed, budget)
        result = mul(result, part, budget)
    return result


def _sum_root(base: Value, fixed: Fraction, budget: Budget) -> Value:
    """The root of a sum: its rational content is drawn out, nested square roots are undone."""
    poly = base.num
    if fixed.denominator == 2 and len(poly) == 2 and (simple := _denest(poly, budget)) is not None:
        return integer_power(simple, fixed.numerator, budget)
    content = content_of(poly)
    primitive = {m: c / content for m, c in poly.items()}
    if fixed.denominator % 2 and min(primitive.items(), key=spelling)[1] < 0:
        primitive = {m: -c for m, c in primitive.items()}
        sign = F(-1) if fixed.numerator % 2 else F(1)
    else:
        sign = F(1)
    if fixed.denominator == 2 and (root := _square_root(primitive, budget)) is not None:
        inner = absolute_poly(root)
        outer = _rational_root(content, fixed, budget)
        return mul(outer, integer_power(inner, fixed.numerator, budget), budget)
    whole = math.floor(fixed)
    result = atom(("S", key(primitive)), fixed - whole)
    if whole:
        result = mul(result, integer_power(Value(primitive, ONE_POLY), whole, budget), budget)
    result = mul(result, _rational_root(content, fixed, budget), budget)
    return negate(result) if sign < 0 else result


def spelling(item: tuple[Monomial, Fraction]) -> str:
    """A total order of monomials (by spelling), for canonical choices of sign."""
    return repr(sorted((repr(name), exponent) for name, exponent in item[0]))


def content_of(poly: Poly) -> Fraction:
    top, bottom = 0, 1
    for c in poly.values():
        top = math.gcd(top, c.numerator)
        bottom = bottom * c.denominator // math.gcd(bottom, c.denominator)
    return F(top, bottom)


def _denest(poly: Poly, budget: Budget) -> Value | None:
    """sqrt(a + b sqrt(c)) = sqrt((a+d)/2) + sign(b) sqrt((a-d)/2), where d^2 = a^2 - b^2 c."""
    if UNIT not in poly:
        return None
    a = poly[UNIT]
    ((monomial, b),) = ((m, c) for m, c in poly.items() if m)
    if any(name[0] != "p" or exponent != HALF for name, exponent in monomial):
        return None
    c = math.prod(name[1] for name, _ in monomial)
    square = a * a - b * b * c
    if a <= 0 or square < 0:
        return None
    top, bottom = math.isqrt(square.numerator), math.isqrt(square.denominator)
    if top * top != square.numerator or bottom * bottom != square.denominator:
        return None
    d = F(top, bottom)
    plus = rational_power(constant((a + d) / 2), HALF, budget)
    minus = rational_power(constant((a - d) / 2), HALF, budget)
    return add(plus, minus if b > 0 else negate(minus), budget)


def _square_root(poly: Poly, budget: Budget) -> Poly | None:
    """A polynomial whose square is `poly`, for short polynomials in names (x^2 + 2xy + y^2)."""
    if not 3 <= len(poly) <= 6 or any(
        name[0] not in ("s",) or exponent.denominator != 1 or exponent < 0
        for monomial in poly
        for name, exponent in monomial
    ):
        return None
    squares: list[tuple[Monomial, Fraction]] = []
    for monomial, c in poly.items():
        if c > 0 and all(exponent % 2 == 0 for _, exponent in monomial):
            top, bottom = math.isqrt(c.numerator), math.isqrt(c.denominator)
            if top * top == c.numerator and bottom * bottom == c.denominator:
                squares.append((frozenset((n, e / 2) for n, e in monomial), F(top, bottom)))
    if len(squares) < 2 or len(squares) > 3:
        return None
    for flips in range(1 << (len(squares) - 1)):
        trial = {m: (-c if flips >> n & 1 else c) for n, (m, c) in enumerate(squares)}
        if mul_poly(trial, trial, budget).num == poly:
            return trial
    return None


def absolute_poly(poly: Poly) -> Value:
    """|poly| with a canonical sign and its rational content outside."""
    if not poly:
        return ZERO
    content = content_of(poly)
    if min(poly.items(), key=spelling)[1] < 0:
        content = -content
    primitive = {m: c / content for m, c in poly.items()}
    inner = atom(("f", "abs", (key(primitive),)))
    return Value({m: c * abs(content) for m, c in inner.num.items()}, ONE_POLY)


def argument_key(value: Value) -> tuple[Any, ...]:
    """A canonical key of a value: one polynomial, or numerator and denominator scaled."""
    if value.den == ONE_POLY:
        return (key(value.num),)
    content = content_of(value.den)
    lead = min(value.den.items(), key=spelling)[1]
    if lead < 0:
        content = -content
    return (
        key({m: c / content for m, c in value.num.items()}),
        key({m: c / content for m, c in value.den.items()}),
    )


def equal(one: Value, two: Value, budget: Budget) -> bool:
    """Equality of the canonical forms: exact, but where atoms are hard not complete."""
    if one.num == two.num and one.den == two.den:
        return True
    if one.den == two.den:
        return False
    left = mul_poly(one.num, two.den, budget)
    right = mul_poly(two.num, one.den, budget)
    if left.den == right.den:
        return left.num == right.num
    return mul_poly(left.num, right.den, budget).num == mul_poly(right.num, left.den, budget).num


def atoms(value: Value) -> Iterator[Atom]:
    for poly in value:
        for monomial in poly:
            for name, _ in monomial:
                yield name


def is_hard(value: Value) -> bool:
    """Whether different canonical forms may still be equal."""
    return any(name[0] in "SBPf" for name in atoms(value))


def has_names(value: Value) -> bool:
    return any(True for _ in names(value))


def names(value: Value) -> Iterator[str]:
    for name in atoms(value):
        yield from names_in(name)


def names_in(part: Any) -> Iterator[str]:
    if isinstance(part, (tuple, frozenset)):
        if (
            isinstance(part, tuple)
            and len(part) == 2
            and part[0] == "s"
            and isinstance(part[1], str)
        ):
            yield part[1]
        else:
            for inner in part:
                yield from names_in(inner)
