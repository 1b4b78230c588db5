"""Values in floating point, each with a bound of its error, to show that two values differ.

Where canonical forms differ and an atom is hard (nested roots, logarithms, trigonometry of several
angles), the two may still be equal. If evaluation separates them by more than the error bounds they
are different; if it does not, nothing is decided: exact values are never equal by floating point.
"""

import cmath
import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from tasks.answers.values import algebra
from tasks.answers.values.algebra import (
    CONSTANT,
    MINUS_ONE,
    NAME,
    ONE_POLY,
    POWER,
    PRIME,
    ROOT,
    F,
    Value,
)
from tasks.answers.words.vocabulary import words

EPS = 4e-16  # a little above the relative error of one operation

_FUNCTIONS: dict[str, Any] = {
    "sin": cmath.sin, "cos": cmath.cos, "ln": cmath.log, "asin": cmath.asin, "acos": cmath.acos,
    "atan": cmath.atan, "asinh": cmath.asinh, "acosh": cmath.acosh, "atanh": cmath.atanh,
}  # fmt: skip
_CONSTANTS = {"pi": math.pi, "e": math.e, "i": 1j}
# Functions with a meaning that evaluation leaves to the algebra system.
_KNOWN = words("floor ceil gcd lcm max min fact fact2 binom modf sgn arg conj acot asec acsc")
# Values of the names: of both signs, small and large, so that most domains hold one.
_SAMPLES = (
    (0.731, 1.137, 0.377, 1.613, 0.893, 2.171, 1.339, 0.619),
    (2.357, 0.451, 1.777, 3.119, 0.577, 1.291, 2.713, 0.887),
    (-0.613, 1.471, -1.913, 0.829, -2.377, 0.347, 1.187, -0.791),
    (1.9, -0.7, 0.35, -1.45, 2.6, -0.21, -0.93, 3.3),
    (17.3, 5.9, 9.1, 12.7, 7.7, 21.1, 14.9, 6.3),
    (-8.3, -13.9, 6.7, -5.1, -19.3, 4.7, -11.3, 10.1),
)
_FAILURES = (OverflowError, ValueError, ZeroDivisionError, KeyError, RecursionError)


class Measured(NamedTuple):
    """A value and a bound of its absolute error."""

    value: complex
    error: float

    @property
    def is_real(self) -> bool:
        return abs(self.value.imag) <= self.error


def evaluate(value: Value, at: Mapping[str, float] | None = None) -> Measured | None:
    """The value with its names at given places, None where it cannot be had."""
    return _evaluate(value, at or {}, real=False)


def _evaluate(value: Value, at: Mapping[str, float], real: bool) -> Measured | None:
    try:
        result = _Evaluation(at, real).value(value)
    except _FAILURES:
        return None
    return result if cmath.isfinite(result.value) and math.isfinite(result.error) else None


def differ(one: Value, two: Value) -> bool:
    """Whether evaluation shows that two values are different functions or numbers.

    Functions are compared where all their parts are real, if such places are found: elsewhere the
    branches of roots and logarithms are a matter of convention.
    """
    found = sorted(set(algebra.names(one)) | set(algebra.names(two)))
    if len(found) > len(_SAMPLES[0]):
        return False
    for real in (True, False):
        compared = False
        for sample in _SAMPLES if found else _SAMPLES[:1]:
            at = dict(zip(found, sample, strict=False))
            left, right = _evaluate(one, at, real), _evaluate(two, at, real)
            if left is None or right is None:
                continue
            compared = True
            if abs(left.value - right.value) > 8 * (left.error + right.error):
                return True
        if compared:
            return False
    return False


class _Evaluation:
    """One evaluation; raises one of _FAILURES where a value or its error cannot be had.

    real: raises ValueError as soon as a part is not real.
    """

    def __init__(self, at: Mapping[str, float], real: bool) -> None:
        self.at = at
        self.real = real

    def value(self, value: Value) -> Measured:
        top = self.poly(value.num.items())
        if value.den == ONE_POLY:
            return top
        bottom = self.poly(value.den.items())
        size = abs(bottom.value)
        if size <= 2 * bottom.error:
            raise ZeroDivisionError
        result = top.value / bottom.value
        error = (top.error + abs(result) * bottom.error) / (size - bottom.error)
        return Measured(result, error + EPS * abs(result))

    def poly(self, items: Iterable[tuple[algebra.Monomial, Fraction]]) -> Measured:
        total, error = 0j, 0.0
        for monomial, coefficient in items:
            term, relative = complex(float(coefficient)), EPS
            for name, exponent in monomial:
                base = self.atom(name)
                if base.value == 0:
                    if base.error or exponent < 0:
                        raise ValueError
                    term = 0j
                    break
                share = base.error / abs(base.value)
                if share > 0.1:
                    raise ValueError
                term *= self.power(base.value, exponent)
                relative += abs(float(exponent)) * share * 1.3 + 2 * EPS
            total += term
            error += abs(term) * relative
        return Measured(total, error + EPS * abs(total))

    def power(self, base: complex, exponent: Fraction) -> complex:
        if exponent.denominator == 1 and abs(exponent) <= 64:
            return base**exponent.numerator
        e = float(exponent)
        if base.imag == 0 > base.real and exponent.denominator > 1:
            if exponent.denominator % 2:  # the real root of a negative number
                return complex(abs(base.real) ** e * (-1 if exponent.numerator % 2 else 1))
            if self.real:
                raise ValueError
        return base**e

    def atom(self, name: algebra.Atom) -> Measured:
        tag = name[0]
        if tag == NAME:
            return Measured(complex(self.at[name[1]]), 0.0)
        if tag in (PRIME, MINUS_ONE):
            return Measured(complex(name[1]), 0.0)
        if tag == CONSTANT:
            if name[1] == "oo" or (self.real and name[1] == "i"):
                raise ValueError
            value = complex(_CONSTANTS[name[1]])
            return Measured(value, EPS * abs(value))
        if tag in (ROOT, algebra.HIGH_POWER):
            return self.poly(name[1])
        if tag == POWER:
            return self.raised(self.atom(name[1]), self.poly([(name[2], F(1))]))
        kind, arguments = name[1], name[2:]
        if kind in _KNOWN or any(isinstance(part, frozenset) for part in arguments):
            raise ValueError
        inner = [self.argument(part) for part in arguments]
        if kind == "pow":
            return self.raised(*inner)
        if kind == "abs":
            return Measured(complex(abs(inner[0].value)), inner[0].error)
        if kind in _FUNCTIONS:
            return self.function(_FUNCTIONS[kind], inner[0])
        return self.unknown(inner)

    def argument(self, keys: Any) -> Measured:
        return self.value(Value(dict(keys[0]), dict(keys[1]) if len(keys) > 1 else ONE_POLY))

    def raised(self, base: Measured, power: Measured) -> Measured:
        if self.real and base.value.real < 0:
            raise ValueError
        log = cmath.log(base.value)
        result = cmath.exp(power.value * log)
        spread = abs(power.value) * base.error / abs(base.value) + abs(log) * power.error
        spread += EPS * (1 + abs(power.value * log))
        if spread > 0.1:
            raise ValueError
        return Measured(result, abs(result) * spread * 1.2)

    def function(self, call: Any, inner: Measured) -> Measured:
        x, error = inner
        result = call(x)
        if self.real and abs(result.imag) > 1e-12 * abs(result):
            raise ValueError
        if error:
            step = max(error, 1e-9 * (1 + abs(x)))
            slope = abs(call(x + step) - result) / step
            error *= 2 * slope + 1e-6
        return Measured(result, error + 4 * EPS * (abs(result) + abs(x)))

    def unknown(self, inner: list[Measured]) -> Measured:
        """An unknown function as some fixed smooth one: where it tells two apart, they differ."""
        phase, error = 0.4 + 0j, 0.0
        for n, part in enumerate(inner):
            phase += part.value * (1.7 + 0.9 * n)
            error += part.error * (1.7 + 0.9 * n)
        result = cmath.cos(phase) + phase * phase / 7
        return Measured(result, error * (2 + abs(phase)) + 8 * EPS * (1 + abs(phase) ** 2))
