"""Values in floating point, each with a bound of its error, to show that two values differ.

Where canonical forms differ and an atom is hard (nested roots, logarithms, trigonometry of several
angles), the two may still be equal. If evaluation separates them by more than the error bounds they
are different; if it does not, nothing is decided: exact values are never equal by floating point.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from tasks.answers.algebra import ONE_POLY, Atom, F, Monomial, Value, names
from tasks.answers.vocabulary import words

Measured = tuple[complex, float]  # a value and a bound of its error


EPS = 4e-16


_FUNCTIONS: dict[str, Any] = {
    "sin": cmath.sin, "cos": cmath.cos, "ln": cmath.log, "asin": cmath.asin, "acos": cmath.acos,
    "atan": cmath.atan, "sinh": cmath.sinh, "cosh": cmath.cosh, "tanh": cmath.tanh,
    "asinh": cmath.asinh, "acosh": cmath.acosh, "atanh": cmath.atanh,
}  # fmt: skip


_KNOWN = words(  # functions with a meaning that evaluation leaves to the algebra system
    "abs floor ceil gcd lcm max min fact fact2 binom modf sgn arg conj acot asec acsc coth sech "
    "csch pow"
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
            error = (top[1] + abs(quotient_) * bottom[1]) / (size - bottom[1]) + EPS * abs(
                quotient_
            )
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
                part = base**exponent.numerator
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
        spread = (
            abs(power_) * base_error / abs(base)
            + abs(log) * power_error
            + EPS * (1 + abs(power_ * log))
        )
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
        spread = (
            abs(power_[0]) * base[1] / abs(base[0])
            + abs(log) * power_[1]
            + EPS * (1 + abs(power_[0] * log))
        )
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
    """Whether evaluation shows that two values are different functions or numbers.

    Functions are compared where both are real, if that happens at all: elsewhere the branches of
    roots and logarithms are a matter of convention.
    """
    found = sorted(set(names(one)) | set(names(two)))
    if len(found) > 8:
        return False
    real = apart = False
    for sample in _SAMPLES if found else _SAMPLES[:1]:
        at: dict[str, complex] = dict(zip(found, map(complex, sample), strict=False))
        left, right = evaluate(one, at), evaluate(two, at)
        if left is None or right is None:
            continue
        separate = abs(left[0] - right[0]) > 8 * (left[1] + right[1])
        if _is_real(left) and _is_real(right):
            if separate:
                return True
            real = True
        apart = apart or separate
    return apart and not real


def _is_real(measured: Measured) -> bool:
    return abs(measured[0].imag) <= 1e-9 * abs(measured[0]) + measured[1]
