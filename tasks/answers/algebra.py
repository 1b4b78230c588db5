"""Exact values of expressions: quotients of polynomials over Q in roots, constants and names.

A polynomial is a dict {monomial: Fraction}, a monomial a frozenset of (atom, exponent). Atoms are
names, primes under a fractional exponent (square roots of integers become products of these), pi,
e, i, roots of sums, symbolic powers, and functions of canonical arguments. Reductions keep the form
canonical for numbers with roots and for rational functions, so that equality is a dictionary
comparison; where it is not canonical (`hard` atoms: nested roots, logarithms, trigonometry of
several angles) inequality is shown by evaluating both sides with an error bound, and equality is
left to the computer algebra system.

Everything is bounded before it is built: bits of a coefficient, terms of a polynomial, factorials.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from tasks.answers.lexer import AnswerError, LimitError
from tasks.answers.parser import Node

MAX_TERMS = 400
MAX_BITS = 20_000
MAX_FACTORIAL = 2_500
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


def _key(poly: Poly) -> frozenset[tuple[Monomial, Fraction]]:
    return frozenset(poly.items())


def _check(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
        raise LimitError(f"a number of more than {MAX_BITS} bits")
    return value


def _add_into(total: Poly, other: Poly, scale: Fraction = F(1)) -> None:
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
    return tag == "S" or tag == "f" and name[1] in ("sin", "abs")


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
                factor = _check(factor * F(name[1]) ** whole)
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
    return _mul_poly(poly, poly, Budget()).num


def _mul_poly(one: Poly, two: Poly, budget: Budget) -> Value:
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
                    coefficient = _check(coefficient * factor)
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


def _expand(coefficient: Fraction, monomial: Monomial, extra: list[tuple[Poly, int]], budget: Budget) -> Value:
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
    left = _mul_poly(one.num, two.den, budget)
    right = _mul_poly(two.num, one.den, budget)
    den = _mul_poly(one.den, two.den, budget)
    top = add(left, right, budget)
    return quotient(top, den, budget)


def negate(value: Value) -> Value:
    return Value({m: -c for m, c in value.num.items()}, value.den)


def subtract(one: Value, two: Value, budget: Budget) -> Value:
    return add(one, negate(two), budget)


def mul(one: Value, two: Value, budget: Budget) -> Value:
    top = _mul_poly(one.num, two.num, budget)
    if one.den is ONE_POLY and two.den is ONE_POLY:
        return top
    return quotient(top, _mul_poly(one.den, two.den, budget), budget)


def inverse(value: Value, budget: Budget) -> Value:
    if not value.num:
        raise AnswerError("division by zero")
    if len(value.num) == 1:
        ((monomial, coefficient),) = value.num.items()
        if not monomial:
            return Value({m: c / coefficient for m, c in value.den.items()}, ONE_POLY)
        factor, inverted, extra = _reduce({name: -exponent for name, exponent in monomial})
        if all(not _algebraic(name) for name, _ in monomial):
            top = Value({inverted: _check(factor / coefficient)}, ONE_POLY)
            return _mul_poly(top.num, value.den, budget) if value.den is not ONE_POLY else top
        # 1/sqrt(S) = sqrt(S)/S: the extra factors with negative power are the new denominator
        top, den = Value({inverted: factor / coefficient}, ONE_POLY), ONE
        for poly, power in extra:
            piece = integer_power(Value(poly, ONE_POLY), abs(power), budget)
            if power > 0:
                top = mul(top, piece, budget)
            else:
                den = mul(den, piece, budget)
        top = _mul_poly(top.num, value.den, budget)
        if not den.num:
            raise AnswerError("division by zero")
        return Value(top.num, den.num if den.den is ONE_POLY else _mul_poly(den.num, ONE_POLY, budget).num)
    return Value(value.den, value.num)


def quotient(one: Value, two: Value, budget: Budget) -> Value:
    if not two.num:
        raise AnswerError("division by zero")
    if two.num == ONE_POLY and two.den is ONE_POLY:
        return one
    if len(two.num) == 1 and UNIT in two.num:
        scale = 1 / two.num[UNIT]
        top = one if two.den == ONE_POLY else mul(one, Value(two.den, ONE_POLY), budget)
        return Value({m: _check(c * scale) for m, c in top.num.items()}, top.den)
    flipped = inverse(two, budget)
    top = _mul_poly(one.num, flipped.num, budget)
    den = _mul_poly(one.den, flipped.den, budget)
    if top.den is ONE_POLY and den.den is ONE_POLY:
        if len(den.num) == 1 and UNIT in den.num:
            scale = 1 / den.num[UNIT]
            return Value({m: c * scale for m, c in top.num.items()}, ONE_POLY)
        return Value(top.num, den.num)
    return Value(_mul_poly(top.num, den.den, budget).num, _mul_poly(den.num, top.den, budget).num)


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
        result = Value({reduced: _check(scale * factor)}, ONE_POLY)
        for poly, times in extra:
            result = mul(result, integer_power(Value(poly, ONE_POLY), times, budget), budget)
        return result
    for poly in value:
        if len(poly) > 1:
            if power > 60 or math.comb(len(poly) + power - 1, power) > 40 * MAX_TERMS:
                raise LimitError("a power of too many terms")
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


def rational(value: Value) -> Fraction | None:
    """The value as a Fraction where it is one."""
    if not value.num:
        return F(0)
    if len(value.num) == 1 and UNIT in value.num and len(value.den) == 1 and UNIT in value.den:
        return value.num[UNIT] / value.den[UNIT]
    return None


@lru_cache(maxsize=4096)
def _factor(n: int) -> tuple[tuple[int, int], ...]:
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
            factors.extend((p, 2 * k) for p, k in _factor(root))
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
        for p, count in _factor(part):
            name = ("p", p)
            exponents[name] = exponents.get(name, F(0)) + sign * count * exponent
    factor, monomial, _ = _reduce(exponents)
    return Value({monomial: factor}, ONE_POLY)


def power(base: Value, exponent: Value, budget: Budget) -> Value:
    """base ** exponent; real roots of negative numbers for odd denominators."""
    fixed = rational(exponent)
    if fixed is None:
        return _symbolic_power(base, exponent, budget)
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
        return mul(root, atom(("S", _key({UNIT: F(-1)})), fixed % 1), budget)
    if base.den != ONE_POLY:
        # sqrt(N/D) = sqrt(N D)/D for square roots: one radicand, whatever the notation
        if fixed.denominator == 2:
            den = Value(base.den, ONE_POLY)
            inside = mul(Value(base.num, ONE_POLY), den, budget)
            top = power(inside, constant(fixed), budget)
            shift = integer_power(den, -2 * fixed.numerator // 2, budget) if fixed.numerator > 0 else (
                integer_power(den, -fixed.numerator, budget)
            )
            return mul(top, shift, budget)
        top = power(Value(base.num, ONE_POLY), exponent, budget)
        return quotient(top, power(Value(base.den, ONE_POLY), exponent, budget), budget)
    if len(base.num) == 1:
        return _monomial_root(base, fixed, budget)
    return _sum_root(base, fixed, budget)


def _monomial_root(base: Value, fixed: Fraction, budget: Budget) -> Value:
    ((monomial, coefficient),) = base.num.items()
    result = power(constant(coefficient), constant(fixed), budget)
    for name, exponent in monomial:
        real = name[0] == "s" or name == OO_ATOM
        if name == I_ATOM:
            part = atom(("S", _key({frozenset(((I_ATOM, F(1)),)): F(1)})), fixed % 1)
            part = mul(part, integer_power(I_VALUE, math.floor(fixed), budget), budget)
        elif real and fixed.denominator % 2 == 0 and exponent.denominator == 1 and exponent % 2 == 0:
            # sqrt(x^2) = |x|; sqrt(x^4) = x^2
            new = exponent * fixed
            if new.denominator == 1 and new % 2:
                inner = ("f", "abs", (_key({frozenset(((name, F(1)),)): F(1)}),))
                part = integer_power(atom(inner), int(new), budget)
            else:
                part = atom(name, new)
        elif _algebraic(name):
            part = atom(("S", _key({frozenset(((name, exponent),)): F(1)})), fixed % 1)
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
    content = _content(poly)
    primitive = {m: c / content for m, c in poly.items()}
    if fixed.denominator % 2 and min(primitive.items(), key=_order)[1] < 0:
        primitive = {m: -c for m, c in primitive.items()}
        sign = F(-1) if fixed.numerator % 2 else F(1)
    else:
        sign = F(1)
    if fixed.denominator == 2 and (root := _square_root(primitive, budget)) is not None:
        inner = _abs_of(root)
        outer = _rational_root(content, fixed, budget)
        return mul(outer, integer_power(inner, fixed.numerator, budget), budget)
    whole = math.floor(fixed)
    result = atom(("S", _key(primitive)), fixed - whole)
    if whole:
        result = mul(result, integer_power(Value(primitive, ONE_POLY), whole, budget), budget)
    result = mul(result, _rational_root(content, fixed, budget), budget)
    return negate(result) if sign < 0 else result


def _order(item: tuple[Monomial, Fraction]) -> str:
    """A total order of monomials (by spelling), for canonical choices of sign."""
    return repr(sorted((repr(name), exponent) for name, exponent in item[0]))


def _content(poly: Poly) -> Fraction:
    top, bottom = 0, 1
    for c in poly.values():
        top = math.gcd(top, c.numerator)
        bottom = bottom * c.denominator // math.gcd(bottom, c.denominator)
    return F(top, bottom)


def _denest(poly: Poly, budget: Budget) -> Value | None:
    """sqrt(a + b sqrt(c)) = sqrt((a+d)/2) + sign(b) sqrt((a-d)/2), d^2 = a^2 - b^2 c, d rational."""
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
    plus = power(constant((a + d) / 2), constant(HALF), budget)
    minus = power(constant((a - d) / 2), constant(HALF), budget)
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
        if _mul_poly(trial, trial, budget).num == poly:
            return trial
    return None


def _abs_of(poly: Poly) -> Value:
    """|poly| with a canonical sign and its rational content outside."""
    if not poly:
        return ZERO
    content = _content(poly)
    if min(poly.items(), key=_order)[1] < 0:
        content = -content
    primitive = {m: c / content for m, c in poly.items()}
    inner = atom(("f", "abs", (_key(primitive),)))
    return Value({m: c * abs(content) for m, c in inner.num.items()}, ONE_POLY)


def _symbolic_power(base: Value, exponent: Value, budget: Budget) -> Value:
    """b^(r m + ...) as a product over the exponent's monomials m, each an atom to the power r."""
    if exponent.den != ONE_POLY:
        keys = ("f", "pow", (_key(base.num), _key(base.den)), (_key(exponent.num), _key(exponent.den)))
        return atom(keys)
    if len(exponent.num) > 12:
        raise LimitError("an exponent of too many terms")
    result = ONE
    for monomial, coefficient in exponent.num.items():
        if not monomial:
            part = power(base, constant(coefficient), budget)
        else:
            part = _power_by(base, monomial, coefficient, budget)
        result = mul(result, part, budget)
    return result


def _power_by(base: Value, monomial: Monomial, coefficient: Fraction, budget: Budget) -> Value:
    if base.den == ONE_POLY and len(base.num) == 1:
        ((inner, scale),) = base.num.items()
        if not inner and scale == 1:
            return ONE
        if inner == frozenset(((E_ATOM, F(1)),)) and scale == 1:
            turn = frozenset(((I_ATOM, F(1)), (PI_ATOM, F(1))))
            if monomial == turn:  # e^(i pi r) = cos(pi r) + i sin(pi r)
                angle = Value({frozenset(((PI_ATOM, F(1)),)): coefficient}, ONE_POLY)
                sine = mul(I_VALUE, trigonometric("sin", angle, budget), budget)
                return add(trigonometric("cos", angle, budget), sine, budget)
            log = frozenset(monomial)
            if len(log) == 1:
                ((name, one),) = log
                if name[0] == "f" and name[1] == "ln" and one == 1:
                    return power(Value(dict(name[2][0]), ONE_POLY), constant(coefficient), budget)
        result = ONE
        for name, e in inner:
            core: Atom = ("P", name, monomial)
            result = mul(result, atom(core, coefficient * e), budget)
        if scale != 1:
            if scale < 0:
                core = ("P", ("n", -1), monomial)
                result = mul(result, atom(core, coefficient), budget)
            size = abs(scale)
            if size.numerator.bit_length() + size.denominator.bit_length() > 2_000:
                raise LimitError("a power of too many digits")
            for part, sign in ((size.numerator, 1), (size.denominator, -1)):
                for p, count in _factor(part):
                    core = ("P", ("p", p), monomial)
                    result = mul(result, atom(core, coefficient * count * sign), budget)
        return result
    if not base.num:
        return ZERO
    top = atom(("P", ("S", _key(base.num)), monomial), coefficient)
    if base.den != ONE_POLY:
        top = mul(top, atom(("P", ("S", _key(base.den)), monomial), -coefficient), budget)
    return top


# Functions

# cos of k/60 turns of pi, where it is a sum of square roots: {k: ((coefficient, radicand), ...)}
_COSINES = {
    0: ((F(1), 1),),
    10: ((HALF, 3),),
    15: ((HALF, 2),),
    20: ((HALF, 1),),
    30: (),
    5: ((F(1, 4), 6), (F(1, 4), 2)),
    25: ((F(1, 4), 6), (F(-1, 4), 2)),
    12: ((F(1, 4), 1), (F(1, 4), 5)),
    24: ((F(-1, 4), 1), (F(1, 4), 5)),
}


def _pi_multiple(angle: Value) -> Fraction | None:
    if not angle.num:
        return F(0)
    if angle.den == ONE_POLY and len(angle.num) == 1:
        ((monomial, coefficient),) = angle.num.items()
        if monomial == frozenset(((PI_ATOM, F(1)),)):
            return coefficient
    return None


def _cosine_of_pi(turns: Fraction, budget: Budget) -> Value:
    """cos(turns * pi), with the angle brought into the first octants."""
    turns %= 2
    if turns > 1:
        turns = 2 - turns
    sign = 1
    if turns > HALF:
        turns, sign = 1 - turns, -1
    sixtieths = turns * 60
    if sixtieths.denominator == 1 and int(sixtieths) in _COSINES:
        value = ZERO
        for coefficient, radicand in _COSINES[int(sixtieths)]:
            root = power(constant(radicand), constant(HALF), budget)
            value = add(value, mul(constant(coefficient), root, budget), budget)
    elif sixtieths.denominator == 1 and int(sixtieths) in (6, 18):
        # cos 18 and cos 54 degrees: sqrt((5 +- sqrt 5)/8)
        five = power(constant(5), constant(HALF), budget)
        inside = add(constant(5), five if int(sixtieths) == 6 else negate(five), budget)
        value = power(mul(constant(F(1, 8)), inside, budget), constant(HALF), budget)
    else:
        value = atom(("f", "cos", ((frozenset(((frozenset(((PI_ATOM, F(1)),)), turns),)),))))
    return value if sign > 0 else negate(value)


def trigonometric(name: str, angle: Value, budget: Budget) -> Value:
    """sin and cos; all other functions are quotients of them. Sums and multiples are expanded."""
    turns = _pi_multiple(angle)
    if turns is not None:
        if turns.denominator > 10**6:
            raise LimitError("an angle of too many digits")
        return _cosine_of_pi(turns if name == "cos" else HALF - turns, budget)
    if angle.den == ONE_POLY:
        if len(angle.num) > 1:
            if len(angle.num) > 4:
                raise LimitError("an angle of too many terms")
            monomial, coefficient = min(angle.num.items(), key=_order)
            one = Value({monomial: coefficient}, ONE_POLY)
            rest = Value({m: c for m, c in angle.num.items() if m != monomial}, ONE_POLY)
            parts = [trigonometric(f, a, budget) for a in (one, rest) for f in ("sin", "cos")]
            sin1, cos1, sin2, cos2 = parts
            if name == "sin":
                return add(mul(sin1, cos2, budget), mul(cos1, sin2, budget), budget)
            return subtract(mul(cos1, cos2, budget), mul(sin1, sin2, budget), budget)
        ((monomial, coefficient),) = angle.num.items()
        if coefficient < 0:
            flipped = trigonometric(name, negate(angle), budget)
            return flipped if name == "cos" else negate(flipped)
        times = coefficient.numerator
        if 1 < times <= 12:
            base = Value({monomial: F(1, coefficient.denominator)}, ONE_POLY)
            sine, cosine = trigonometric("sin", base, budget), trigonometric("cos", base, budget)
            s, c = sine, cosine
            for _ in range(times - 1):
                s, c = (
                    add(mul(s, cosine, budget), mul(c, sine, budget), budget),
                    subtract(mul(c, cosine, budget), mul(s, sine, budget), budget),
                )
            return s if name == "sin" else c
    return atom(("f", name, _argument(angle, budget)))


def _argument(value: Value, budget: Budget) -> tuple[Any, ...]:
    """A canonical key of a value: one polynomial, or numerator and denominator scaled."""
    if value.den == ONE_POLY:
        return (_key(value.num),)
    content = _content(value.den)
    lead = min(value.den.items(), key=_order)[1]
    if lead < 0:
        content = -content
    return (
        _key({m: c / content for m, c in value.num.items()}),
        _key({m: c / content for m, c in value.den.items()}),
    )


def logarithm(value: Value, budget: Budget) -> Value:
    """The natural logarithm, products and powers taken apart."""
    number = rational(value)
    if number is not None and number <= 0:
        if not number:
            raise AnswerError("logarithm of zero")
        return add(logarithm(constant(-number), budget), mul(I_VALUE, PI_VALUE, budget), budget)
    if number is not None:
        if number.numerator.bit_length() + number.denominator.bit_length() > 2_000:
            raise LimitError("a logarithm of too many digits")
        result = ZERO
        for part, sign in ((number.numerator, 1), (number.denominator, -1)):
            for p, count in _factor(part):
                piece = atom(("f", "ln", (_key({UNIT: F(p)}),)))
                result = add(result, mul(constant(sign * count), piece, budget), budget)
        return result
    if value.den != ONE_POLY:
        top = logarithm(Value(value.num, ONE_POLY), budget)
        return subtract(top, logarithm(Value(value.den, ONE_POLY), budget), budget)
    if len(value.num) == 1:
        ((monomial, coefficient),) = value.num.items()
        result = logarithm(constant(coefficient), budget) if coefficient > 0 else None
        if result is not None:
            for name, exponent in monomial:
                if name == E_ATOM:
                    piece = ONE
                elif name[0] == "p":
                    piece = logarithm(constant(name[1]), budget)
                elif name[0] == "P" and name[1] == E_ATOM:
                    piece = Value({name[2]: F(1)}, ONE_POLY)
                elif name[0] == "S":
                    piece = logarithm(Value(dict(name[1]), ONE_POLY), budget)
                else:
                    piece = atom(("f", "ln", (_key({frozenset(((name, F(1)),)): F(1)}),)))
                result = add(result, mul(constant(exponent), piece, budget), budget)
            return result
    content = _content(value.num)
    if content != 1:
        rest = Value({m: c / content for m, c in value.num.items()}, ONE_POLY)
        return add(logarithm(constant(content), budget), logarithm(rest, budget), budget)
    return atom(("f", "ln", (_key(value.num),)))


def factorial(value: Value, budget: Budget) -> Value:
    number = rational(value)
    if number is not None:
        if number.denominator != 1 or number < 0:
            raise AnswerError("factorial of no natural number")
        if number > MAX_FACTORIAL:
            raise LimitError(f"a factorial above {MAX_FACTORIAL}")
        return constant(math.factorial(int(number)))
    if value.den == ONE_POLY:  # (n + k)! = (n + k)...(n + 1) n!
        shift = value.num.get(UNIT, F(0))
        if shift.denominator == 1 and 0 < abs(shift) <= 12:
            base = Value({m: c for m, c in value.num.items() if m}, ONE_POLY)
            result = atom(("f", "fact", _argument(base, budget)))
            for k in range(1, int(shift) + 1):
                result = mul(result, add(base, constant(k), budget), budget)
            for k in range(0, -int(shift)):
                result = quotient(result, add(base, constant(-k), budget), budget)
            return result
    return atom(("f", "fact", _argument(value, budget)))


def absolute(value: Value, budget: Budget) -> Value:
    number = rational(value)
    if number is not None:
        return constant(abs(number))
    i_terms = {m for m in value.num if (I_ATOM, F(1)) in m}
    if i_terms and value.den == ONE_POLY:  # |a + bi| = sqrt(a^2 + b^2)
        real = Value({m: c for m, c in value.num.items() if m not in i_terms}, ONE_POLY)
        imaginary = Value(
            {m - {(I_ATOM, F(1))}: c for m, c in value.num.items() if m in i_terms}, ONE_POLY
        )
        square = add(mul(real, real, budget), mul(imaginary, imaginary, budget), budget)
        return power(square, constant(HALF), budget)
    if not has_names(value):
        approximate = evaluate(value, {})
        if approximate is not None and abs(approximate[0].imag) <= approximate[1] < abs(approximate[0].real):
            return value if approximate[0].real > 0 else negate(value)
    top = _abs_of(value.num)
    return top if value.den == ONE_POLY else quotient(top, _abs_of(value.den), budget)


def _step(name: str, value: Value, budget: Budget) -> Value:
    """floor and ceil."""
    number = rational(value)
    if number is not None:
        return constant(math.floor(number) if name == "floor" else math.ceil(number))
    if not has_names(value) and (approximate := evaluate(value, {})) is not None:
        real, error = approximate[0].real, approximate[1]
        low, high = math.floor(real - error), math.floor(real + error)
        if low == high and abs(real) < 2**50 and low != real:
            return constant(low if name == "floor" else low + 1)
    return atom(("f", name, _argument(value, budget)))


def _extreme(name: str, values: list[Value], budget: Budget) -> Value:
    """max and min."""
    numbers = [rational(value) for value in values]
    if all(number is not None for number in numbers):
        return constant((max if name == "max" else min)(n for n in numbers if n is not None))
    keep: list[Value] = []
    for value in values:
        if not any(equal(value, other, budget) for other in keep):
            keep.append(value)
    if len(keep) == 1:
        return keep[0]
    if not any(has_names(value) for value in keep):
        measured = [evaluate(value, {}) for value in keep]
        if all(m is not None and abs(m[0].imag) <= m[1] for m in measured):
            spans = sorted(((m[0].real, m[1], n) for n, m in enumerate(measured) if m), reverse=name == "max")
            if abs(spans[0][0] - spans[1][0]) > spans[0][1] + spans[1][1]:
                return keep[spans[0][2]]
    return atom(("f", name, frozenset(_argument(value, budget) for value in keep)))


def _common(name: str, values: list[Value], budget: Budget) -> Value:
    """gcd and lcm of rationals."""
    numbers = [rational(value) for value in values]
    if any(number is None for number in numbers):
        return atom(("f", name, frozenset(_argument(value, budget) for value in values)))
    result = F(0) if name == "gcd" else F(1)
    for n, number in enumerate(numbers):
        number = abs(number or F(0))
        if n == 0:
            result = number
        elif name == "gcd":
            den = math.lcm(result.denominator, number.denominator)
            result = F(math.gcd(int(result * den), int(number * den)), den)
        elif not result or not number:
            result = F(0)
        else:
            den = math.lcm(result.denominator, number.denominator)
            result = F(math.lcm(int(result * den), int(number * den)), den)
        _check(result)
    return constant(result)


_RECIPROCAL = {"sec": "cos", "csc": "sin"}
_ANGLES = {  # arc functions at the values whose angle is a nice multiple of pi
    "asin": {F(0): F(0), HALF: F(1, 6), F(1): HALF},
    "acos": {F(0): HALF, HALF: F(1, 3), F(1): F(0)},
    "atan": {F(0): F(0), F(1): F(1, 4)},
}


def function(name: str, arguments: list[Value], budget: Budget) -> Value:
    """The value of a named function at scalar arguments."""
    if not arguments:
        raise AnswerError(f"{name} without an argument")
    first = arguments[0]
    if name in ("sin", "cos"):
        return trigonometric(name, first, budget)
    if name in ("tan", "cot"):
        sine, cosine = trigonometric("sin", first, budget), trigonometric("cos", first, budget)
        return quotient(sine, cosine, budget) if name == "tan" else quotient(cosine, sine, budget)
    if name in _RECIPROCAL:
        return inverse(trigonometric(_RECIPROCAL[name], first, budget), budget)
    if name == "ln":
        return logarithm(first, budget)
    if name == "lg":
        return quotient(logarithm(first, budget), logarithm(constant(10), budget), budget)
    if name == "logb":
        return quotient(logarithm(arguments[1], budget), logarithm(first, budget), budget)
    if name == "abs":
        return absolute(first, budget)
    if name == "fact":
        return factorial(first, budget)
    if name in ("floor", "ceil"):
        return _step(name, first, budget)
    if name in ("max", "min"):
        return _extreme(name, arguments, budget)
    if name in ("gcd", "lcm"):
        return _common(name, arguments, budget)
    if name == "binom" and len(arguments) == 2:
        n, k = rational(first), rational(arguments[1])
        if n is not None and k is not None and n.denominator == k.denominator == 1 and n >= 0:
            if n > 20_000 or min(k, n - k) > 2_000:
                raise LimitError("a binomial coefficient too large")
            return constant(math.comb(int(n), int(k)) if 0 <= k <= n else 0)
        if k is not None and k.denominator == 1 and 0 <= k <= 12:
            result = ONE
            for j in range(int(k)):
                factor = mul(add(first, constant(-j), budget), constant(F(1, j + 1)), budget)
                result = mul(result, factor, budget)
            return result
    if name == "modf" and len(arguments) == 2:
        a, b = rational(first), rational(arguments[1])
        if a is not None and b:
            return constant(a - b * math.floor(a / b))
        ratio = quotient(first, arguments[1], budget)
        whole = rational(_step("floor", ratio, budget))
        if whole is not None:
            return subtract(first, mul(constant(whole), arguments[1], budget), budget)
    if name in _ANGLES and (number := rational(first)) is not None and abs(number) in _ANGLES[name]:
        turns = _ANGLES[name][abs(number)]
        if number < 0:
            turns = 1 - turns if name == "acos" else -turns
        return mul(constant(turns), PI_VALUE, budget)
    if name in _ANGLES and len(first.num) == 1 and first.den == ONE_POLY:
        known = _arc_of_root(name, first, budget)
        if known is not None:
            return known
    if name == "sgn" and (number := rational(first)) is not None:
        return constant((number > 0) - (number < 0))
    if name == "cis":
        sine = mul(I_VALUE, trigonometric("sin", first, budget), budget)
        return add(trigonometric("cos", first, budget), sine, budget)
    return atom(("f", name, *(_argument(argument, budget) for argument in arguments)))


def _arc_of_root(name: str, value: Value, budget: Budget) -> Value | None:
    for k in (10, 15, 20):  # cos of pi k/60 = sqrt(3)/2, sqrt(2)/2
        turns = F(k, 60)
        for sign in (1, -1):
            for angle in (turns, HALF - turns):
                if name == "atan":
                    candidate = function("tan", [mul(constant(angle), PI_VALUE, budget)], budget)
                    result = angle
                else:
                    candidate = _cosine_of_pi(angle, budget)
                    result = angle if name == "acos" else HALF - angle
                if sign < 0:
                    candidate = negate(candidate)
                    result = 1 - result if name == "acos" else -result
                if candidate == value:
                    return mul(constant(result), PI_VALUE, budget)
    return None


# From trees to values


def value_of(node: Node, budget: Budget, log10: bool = False) -> Value:
    """The value of an expression tree. Raises Structured where the tree is no scalar."""
    budget.spend(1)
    op, args = node
    if op == "num":
        return constant(args[0])
    if op == "sym":
        return atom(("s", args[0]))
    if op == "const":
        name = args[0]
        if name in ("pi", "e", "i", "oo"):
            return atom(("c", name))
        return atom(("s", f"\\{name}"))
    if op == "neg":
        return negate(value_of(args[0], budget, log10))
    if op == "add":
        total = value_of(args[0], budget, log10)
        for part in args[1:]:
            total = add(total, value_of(part, budget, log10), budget)
        return total
    if op == "mul":
        total = value_of(args[0], budget, log10)
        for part in args[1:]:
            total = mul(total, value_of(part, budget, log10), budget)
        return total
    if op == "div":
        return quotient(value_of(args[0], budget, log10), value_of(args[1], budget, log10), budget)
    if op == "pow":
        return power(value_of(args[0], budget, log10), value_of(args[1], budget, log10), budget)
    if op == "root":
        order = rational(value_of(args[0], budget, log10))
        if order is None or not order:
            raise AnswerError("a root of no fixed order")
        return power(value_of(args[1], budget, log10), constant(1 / order), budget)
    if op == "mixed":
        whole, top, bottom = (part.args[0] for part in args)
        return constant(whole + F(top, bottom))
    if op == "percent":
        return mul(value_of(args[0], budget, log10), constant(F(1, 100)), budget)
    if op == "deg":
        return mul(value_of(args[0], budget, log10), mul(constant(F(1, 180)), PI_VALUE, budget), budget)
    if op == "fn":
        name = args[0]
        if name == "log":
            name = "lg" if log10 else "ln"
        if name in ("det",) or any(part.op == "matrix" for part in args[1:]):
            raise Structured(op)
        return function(name, [value_of(part, budget, log10) for part in args[1:]], budget)
    if op == "big":
        return _big(node, budget, log10)
    if op == "set" and len(args) == 1:
        return value_of(args[0], budget, log10)
    if op == "seq" and len(args[2]) == 1:
        return value_of(args[2][0], budget, log10)
    if op == "unit":
        return value_of(args[0], budget, log10)
    raise Structured(op)


def substitute(node: Node, name: str, by: Node) -> Node:
    """The tree with a name replaced."""
    if node.op == "sym":
        return by if node.args[0] == name else node
    if node.op == "const":
        return by if node.args[0] == name else node
    if node.op in ("num", "text", "base"):
        return node
    return Node(node.op, tuple(_substitute(part, name, by) for part in node.args))


def _substitute(part: Any, name: str, by: Node) -> Any:
    if isinstance(part, Node):
        return substitute(part, name, by)
    if isinstance(part, tuple):
        return tuple(_substitute(inner, name, by) for inner in part)
    return part


def _big(node: Node, budget: Budget, log10: bool) -> Value:
    """Sums and products: computed where the limits are numbers, else a function of their parts."""
    kind, body, name, low, high = node.args
    start, stop = value_of(low, budget, log10), value_of(high, budget, log10)
    first, last = rational(start), rational(stop)
    if kind in ("sum", "prod") and first is not None and last is not None:
        if first.denominator != 1 or last.denominator != 1:
            raise AnswerError("limits of a sum are whole numbers")
        if last - first > 300:
            raise LimitError("a sum of too many terms")
        total = ZERO if kind == "sum" else ONE
        for n in range(int(first), int(last) + 1):
            term = value_of(substitute(body, name, Node("num", (F(n), 0))), budget, log10)
            total = add(total, term, budget) if kind == "sum" else mul(total, term, budget)
        return total
    bound = value_of(substitute(body, name, Node("sym", ("\\bound",))), budget, log10)
    parts = (bound, start, stop)
    return atom(("f", f"big {kind}", *(_argument(part, budget) for part in parts)))


# Comparing values


def equal(one: Value, two: Value, budget: Budget) -> bool:
    """Equality of the canonical forms: exact, but where atoms are hard not complete."""
    if one.num == two.num and one.den == two.den:
        return True
    if one.den == two.den:
        return False
    left = _mul_poly(one.num, two.den, budget)
    right = _mul_poly(two.num, one.den, budget)
    if left.den == right.den:
        return left.num == right.num
    return _mul_poly(left.num, right.den, budget).num == _mul_poly(right.num, left.den, budget).num


def atoms(value: Value) -> Iterator[Atom]:
    for poly in value:
        for monomial in poly:
            for name, _ in monomial:
                yield name


def is_hard(value: Value) -> bool:
    """Whether different canonical forms may still be equal."""
    return any(name[0] in "SPf" for name in atoms(value))


def has_names(value: Value) -> bool:
    return any(True for _ in names(value))


def names(value: Value) -> Iterator[str]:
    for name in atoms(value):
        yield from _names(name)


def _names(part: Any) -> Iterator[str]:
    if isinstance(part, (tuple, frozenset)):
        if isinstance(part, tuple) and len(part) == 2 and part[0] == "s" and isinstance(part[1], str):
            yield part[1]
        else:
            for inner in part:
                yield from _names(inner)


Measured = tuple[complex, float]  # a value and a bound of its error
EPS = 4e-16
_FUNCTIONS: dict[str, Any] = {
    "sin": cmath.sin, "cos": cmath.cos, "ln": cmath.log, "asin": cmath.asin, "acos": cmath.acos,
    "atan": cmath.atan, "sinh": cmath.sinh, "cosh": cmath.cosh, "tanh": cmath.tanh,
    "asinh": cmath.asinh, "acosh": cmath.acosh, "atanh": cmath.atanh,
}  # fmt: skip
_KNOWN = frozenset(  # functions with a meaning that evaluation leaves to the algebra system
    "abs floor ceil gcd lcm max min fact fact2 binom modf sgn arg conj acot asec acsc coth sech csch "
    "pow".split()
)


def evaluate(value: Value, at: dict[str, complex]) -> Measured | None:
    """A floating-point value with an error bound; None where it cannot be had."""
    try:
        top = _evaluate_poly(value.num.items(), at)
        if value.den == ONE_POLY:
            result = top
        else:
            bottom = _evaluate_poly(value.den.items(), at)
            size = abs(bottom[0])
            if size <= 2 * bottom[1]:
                return None
            quotient_ = top[0] / bottom[0]
            error = (top[1] + abs(quotient_) * bottom[1]) / (size - bottom[1]) + EPS * abs(quotient_)
            result = quotient_, error
    except (OverflowError, ValueError, ZeroDivisionError, KeyError, RecursionError):
        return None
    if not (cmath.isfinite(result[0]) and math.isfinite(result[1])):
        return None
    return result


def _evaluate_poly(items: Iterable[tuple[Monomial, Fraction]], at: dict[str, complex]) -> Measured:
    total, error = 0j, 0.0
    for monomial, coefficient in items:
        term, relative = complex(float(coefficient)), EPS
        for name, exponent in monomial:
            base, base_error = _evaluate_atom(name, at)
            if base == 0:
                if base_error or exponent < 0:
                    raise ValueError
                term = 0j
                break
            e = float(exponent)
            if exponent.denominator % 2 and exponent.denominator > 1 and base.imag == 0 > base.real:
                part = complex(abs(base.real) ** e * (-1 if exponent.numerator % 2 else 1))
            elif exponent.denominator == 1 and abs(e) <= 64:
                part = base ** exponent.numerator
            else:
                part = base**e
            share = base_error / abs(base)
            if share > 0.1:
                raise ValueError
            relative += abs(e) * share * 1.3 + 2 * EPS
            term *= part
        total += term
        error += abs(term) * relative
    return total, error + EPS * abs(total)


def _evaluate_atom(name: Atom, at: dict[str, complex]) -> Measured:
    tag = name[0]
    if tag == "p":
        return complex(name[1]), 0.0
    if tag == "s":
        return complex(at[name[1]]), 0.0
    if tag == "c":
        if name[1] == "oo":
            raise ValueError
        value = {"pi": math.pi, "e": math.e, "i": 1j}[name[1]]
        return complex(value), EPS * abs(value)
    if tag == "n":
        return complex(name[1]), 0.0
    if tag == "S":
        return _evaluate_poly(name[1], at)
    if tag == "P":
        base, base_error = _evaluate_atom(name[1], at)
        power_, power_error = _evaluate_poly([(name[2], F(1))], at)
        if base == 0:
            raise ValueError
        log = cmath.log(base)
        result = cmath.exp(power_ * log)
        spread = abs(power_) * base_error / abs(base) + abs(log) * power_error + EPS * (1 + abs(power_ * log))
        if spread > 0.1:
            raise ValueError
        return result, abs(result) * spread * 1.2
    kind = name[1]
    if kind == "pow" and len(name) == 4:
        base = evaluate(Value(*map(dict, name[2])), at)
        power_ = evaluate(Value(*map(dict, name[3])), at)
        if base is None or power_ is None or base[0] == 0:
            raise ValueError
        log = cmath.log(base[0])
        result = cmath.exp(power_[0] * log)
        spread = abs(power_[0]) * base[1] / abs(base[0]) + abs(log) * power_[1] + EPS * (1 + abs(power_[0] * log))
        if spread > 0.1:
            raise ValueError
        return result, abs(result) * spread * 1.2
    if kind not in _FUNCTIONS and kind not in _KNOWN:
        return _evaluate_unknown(name[2:], at)
    if len(name) != 3 or isinstance(name[2], frozenset):
        raise ValueError
    keys = name[2]
    value = Value(dict(keys[0]), dict(keys[1]) if len(keys) > 1 else ONE_POLY)
    inner = evaluate(value, at)
    if inner is None:
        raise ValueError
    x, error = inner
    if kind == "abs":
        return complex(abs(x)), error
    if kind not in _FUNCTIONS:
        raise ValueError
    call = _FUNCTIONS[kind]
    result = call(x)
    if error:
        step = max(error, 1e-9 * (1 + abs(x)))
        slope = abs(call(x + step) - result) / step
        error = error * (2 * slope + 1e-6)
    return result, error + 4 * EPS * (abs(result) + (abs(x) if kind in ("sin", "cos") else 0.0))


def _evaluate_unknown(arguments: Iterable[Any], at: dict[str, complex]) -> Measured:
    """An unknown function as some fixed smooth one: where it tells two apart, they differ."""
    phase, error = 0.4 + 0j, 0.0
    for n, keys in enumerate(arguments):
        value = Value(dict(keys[0]), dict(keys[1]) if len(keys) > 1 else ONE_POLY)
        inner = evaluate(value, at)
        if inner is None:
            raise ValueError
        phase += inner[0] * (1.7 + 0.9 * n)
        error += inner[1] * (1.7 + 0.9 * n)
    result = cmath.cos(phase) + phase * phase / 7
    return result, error * (2 + abs(phase)) + 8 * EPS * (1 + abs(phase) ** 2)


_SAMPLES = (
    (0.731, 1.137, 0.377, 1.613, 0.893, 2.171, 1.339, 0.619),
    (2.357, 0.451, 1.777, 3.119, 0.577, 1.291, 2.713, 0.887),
    (-0.613, 1.471, -1.913, 0.829, -2.377, 0.347, 1.187, -0.791),
    (1.9, -0.7, 0.35, -1.45, 2.6, -0.21, -0.93, 3.3),
    (17.3, 5.9, 9.1, 12.7, 7.7, 21.1, 14.9, 6.3),
    (-8.3, -13.9, 6.7, -5.1, -19.3, 4.7, -11.3, 10.1),
)


def differ(one: Value, two: Value) -> bool:
    """Whether evaluation shows that two values are different functions or numbers."""
    found = sorted(set(names(one)) | set(names(two)))
    if len(found) > 8:
        return False
    for sample in _SAMPLES if found else _SAMPLES[:1]:
        at: dict[str, complex] = dict(zip(found, map(complex, sample), strict=False))
        left, right = evaluate(one, at), evaluate(two, at)
        if left is None or right is None:
            continue
        if found and abs(left[0].imag) > 1e-9 * abs(left[0]) and abs(right[0].imag) > 1e-9 * abs(right[0]):
            continue  # outside of the common real domain the branches are a matter of convention
        if abs(left[0] - right[0]) > 8 * (left[1] + right[1]):
            return True
    return False
