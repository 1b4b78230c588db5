"""Powers with fractional exponents, in the form of `algebra`."""

import math
from fractions import Fraction
from functools import lru_cache

from tasks.answers.values import algebra
from tasks.answers.values.algebra import (
    ROOT,
    Effort,
    F,
    Value,
    add,
    atom,
    constant,
    integer_power,
    mul,
)
from tasks.answers.words.lexer import AnswerError, LimitError

TRIAL = 2_000  # primes up to this bound are divided out of a radicand


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


def root_of_rational(value: Fraction, exponent: Fraction, effort: Effort) -> Value:
    """value ** exponent for value > 0 as a product of primes under fractional exponents."""
    if value.numerator.bit_length() + value.denominator.bit_length() > 2_000:
        raise LimitError("a root of too many digits")
    if abs(exponent) > algebra.MAX_BITS:
        raise LimitError("a power of too many digits")
    exponents: dict[algebra.Atom, Fraction] = {}
    for part, sign in ((value.numerator, 1), (value.denominator, -1)):
        for p, count in factorize(part):
            name = (algebra.PRIME, p)
            exponents[name] = exponents.get(name, F(0)) + sign * count * exponent
    factor, monomial, _ = algebra.reduced(exponents)
    return Value({monomial: factor})


def rational_power(base: Value, fixed: Fraction, effort: Effort) -> Value:
    """base ** fixed; real roots of negative numbers where the denominator is odd."""
    if fixed.denominator == 1:
        if abs(fixed.numerator) > algebra.MAX_BITS:
            raise LimitError("an exponent too large")
        return integer_power(base, fixed.numerator, effort)
    if fixed.denominator > 1_000:
        raise LimitError("a root of too high an order")
    number = algebra.rational(base)
    if number is not None:
        if number > 0:
            return root_of_rational(number, fixed, effort)
        if number == 0:
            if fixed < 0:
                raise AnswerError("division by zero")
            return algebra.ZERO
        root = root_of_rational(-number, fixed, effort)
        if fixed.denominator % 2:
            return algebra.negate(root) if fixed.numerator % 2 else root
        if fixed.denominator == 2:
            return mul(root, integer_power(algebra.I_VALUE, fixed.numerator, effort), effort)
        return mul(root, atom((ROOT, algebra.key({algebra.UNIT: F(-1)})), fixed % 1), effort)
    if base.den != algebra.ONE_POLY:
        # sqrt(N/D) = sqrt(N D)/D for square roots: one radicand, whatever the notation
        if fixed.denominator == 2:
            den = Value(base.den)
            inside = mul(Value(base.num), den, effort)
            top = rational_power(inside, fixed, effort)
            return mul(top, integer_power(den, -fixed.numerator, effort), effort)
        top = rational_power(Value(base.num), fixed, effort)
        return algebra.quotient(top, rational_power(Value(base.den), fixed, effort), effort)
    if len(base.num) == 1:
        return _monomial_root(base, fixed, effort)
    return _sum_root(base, fixed, effort)


def _monomial_root(base: Value, fixed: Fraction, effort: Effort) -> Value:
    ((monomial, coefficient),) = base.num.items()
    result = rational_power(constant(coefficient), fixed, effort)
    for name, exponent in monomial:
        real = name[0] == algebra.NAME or name == algebra.OO_ATOM
        squared = exponent.denominator == 1 and exponent % 2 == 0
        if name == algebra.I_ATOM:
            part = atom((ROOT, algebra.key(algebra.I_VALUE.num)), fixed % 1)
            part = mul(part, integer_power(algebra.I_VALUE, math.floor(fixed), effort), effort)
        elif real and squared and fixed.denominator % 2 == 0:  # sqrt(x^2) = |x|; sqrt(x^4) = x^2
            new = exponent * fixed
            if new.denominator == 1 and new % 2:
                part = integer_power(algebra.applied("abs", atom(name)), int(new), effort)
            else:
                part = atom(name, new)
        elif algebra.is_algebraic(name):
            part = atom((ROOT, algebra.key(atom(name, exponent).num)), fixed % 1)
            whole = math.floor(fixed)
            part = mul(part, integer_power(atom(name, exponent), whole, effort), effort)
        else:
            _, root, _ = algebra.reduced({name: exponent * fixed})
            part = Value({root: F(1)})
            if name[0] == algebra.PRIME:
                part = root_of_rational(F(name[1]), exponent * fixed, effort)
        result = mul(result, part, effort)
    return result


def _sum_root(base: Value, fixed: Fraction, effort: Effort) -> Value:
    """The root of a sum: its rational content moves outside, nested square roots are resolved."""
    poly = base.num
    if fixed.denominator == 2 and len(poly) == 2 and (simple := _denest(poly, effort)) is not None:
        return integer_power(simple, fixed.numerator, effort)
    content = algebra.content_of(poly)
    primitive = {m: c / content for m, c in poly.items()}
    flipped = fixed.denominator % 2 and min(primitive.items(), key=algebra.spelling)[1] < 0
    if flipped:
        primitive = {m: -c for m, c in primitive.items()}
    if fixed.denominator == 2 and (root := _square_root(primitive, effort)) is not None:
        inner = algebra.absolute_poly(root)
        outer = root_of_rational(content, fixed, effort)
        return mul(outer, integer_power(inner, fixed.numerator, effort), effort)
    whole = math.floor(fixed)
    result = atom((ROOT, algebra.key(primitive)), fixed - whole)
    if whole:
        result = mul(result, integer_power(Value(primitive), whole, effort), effort)
    result = mul(result, root_of_rational(content, fixed, effort), effort)
    return algebra.negate(result) if flipped and fixed.numerator % 2 else result


def _denest(poly: algebra.Poly, effort: Effort) -> Value | None:
    """sqrt(a + b sqrt(c)) = sqrt((a+d)/2) + sign(b) sqrt((a-d)/2), where d^2 = a^2 - b^2 c."""
    if algebra.UNIT not in poly:
        return None
    a = poly[algebra.UNIT]
    ((monomial, b),) = ((m, c) for m, c in poly.items() if m)
    if any(name[0] != algebra.PRIME or exponent != algebra.HALF for name, exponent in monomial):
        return None
    c = math.prod(name[1] for name, _ in monomial)
    square = a * a - b * b * c
    if a <= 0 or square < 0:
        return None
    top, bottom = math.isqrt(square.numerator), math.isqrt(square.denominator)
    if top * top != square.numerator or bottom * bottom != square.denominator:
        return None
    d = F(top, bottom)
    plus = rational_power(constant((a + d) / 2), algebra.HALF, effort)
    minus = rational_power(constant((a - d) / 2), algebra.HALF, effort)
    return add(plus, minus if b > 0 else algebra.negate(minus), effort)


def _square_root(poly: algebra.Poly, effort: Effort) -> algebra.Poly | None:
    """A polynomial whose square is `poly`, for short polynomials in names (x^2 + 2xy + y^2)."""
    if not 3 <= len(poly) <= 6 or any(
        name[0] != algebra.NAME or exponent.denominator != 1 or exponent < 0
        for monomial in poly
        for name, exponent in monomial
    ):
        return None
    squares: list[tuple[algebra.Monomial, Fraction]] = []
    for monomial, c in poly.items():
        if c > 0 and all(exponent % 2 == 0 for _, exponent in monomial):
            top, bottom = math.isqrt(c.numerator), math.isqrt(c.denominator)
            if top * top == c.numerator and bottom * bottom == c.denominator:
                squares.append((frozenset((n, e / 2) for n, e in monomial), F(top, bottom)))
    if len(squares) < 2 or len(squares) > 3:
        return None
    for flips in range(1 << (len(squares) - 1)):
        trial = {m: (-c if flips >> n & 1 else c) for n, (m, c) in enumerate(squares)}
        if algebra.mul_poly(trial, trial, effort).num == poly:
            return trial
    return None
