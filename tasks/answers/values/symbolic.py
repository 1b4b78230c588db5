"""The last rule: is the difference of two values zero? Runs only in the worker process.

A Value is rebuilt from sympy's own classes, atom by atom; no text is ever given to sympy.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import sympy

from tasks.answers.values import algebra
from tasks.answers.values.algebra import (
    CONSTANT,
    MINUS_ONE,
    NAME,
    ONE_POLY,
    POWER,
    PRIME,
    ROOT,
    Value,
)

DIGITS = 50

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sin": sympy.sin, "cos": sympy.cos, "asin": sympy.asin, "acos": sympy.acos,
    "atan": sympy.atan, "acot": sympy.acot, "asec": sympy.asec, "acsc": sympy.acsc,
    "sinh": sympy.sinh, "cosh": sympy.cosh, "tanh": sympy.tanh, "coth": sympy.coth,
    "sech": sympy.sech, "csch": sympy.csch, "asinh": sympy.asinh, "acosh": sympy.acosh,
    "atanh": sympy.atanh, "ln": sympy.log, "abs": sympy.Abs, "floor": sympy.floor,
    "ceil": sympy.ceiling, "fact": sympy.factorial, "fact2": sympy.factorial2,
    "binom": sympy.binomial, "sgn": sympy.sign, "arg": sympy.arg, "conj": sympy.conjugate,
    "modf": sympy.Mod, "pow": sympy.Pow, "max": sympy.Max, "min": sympy.Min, "gcd": sympy.gcd_list,
    "lcm": sympy.lcm_list,
}  # fmt: skip
_CONSTANTS = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "oo": sympy.oo}


class Builder:
    """Rebuilds values with one assumption on all names."""

    def __init__(self, **assumptions: bool) -> None:
        self.assumptions = assumptions

    def value(self, value: Value) -> Any:
        top = self.poly(value.num)
        return top if value.den == ONE_POLY else top / self.poly(value.den)

    def poly(self, poly: algebra.Poly) -> Any:
        return sympy.Add(*(self.monomial(m, c) for m, c in poly.items()))

    def monomial(self, monomial: Any, coefficient: Fraction) -> Any:
        factors = [self.atom(name) ** self.rational(exponent) for name, exponent in monomial]
        return sympy.Mul(self.rational(coefficient), *factors)

    def rational(self, value: Fraction) -> Any:
        return sympy.Rational(value.numerator, value.denominator)

    def atom(self, name: Any) -> Any:
        tag = name[0]
        if tag in (PRIME, MINUS_ONE):
            return sympy.Integer(name[1])
        if tag == CONSTANT:
            return _CONSTANTS[name[1]]
        if tag == NAME:
            return sympy.Symbol(name[1], **self.assumptions)
        if tag in (ROOT, algebra.HIGH_POWER):
            return self.poly(dict(name[1]))
        if tag == POWER:
            return self.atom(name[1]) ** self.monomial(name[2], Fraction(1))
        unordered = len(name) == 3 and isinstance(name[2], frozenset)
        arguments = [self.argument(part) for part in (name[2] if unordered else name[2:])]
        call = _FUNCTIONS.get(name[1])
        if call is None:
            return sympy.Function(name[1])(*arguments)
        return call(arguments) if name[1] in ("gcd", "lcm") else call(*arguments)

    def argument(self, keys: Any) -> Any:
        return self.value(Value(dict(keys[0]), dict(keys[1]) if len(keys) > 1 else ONE_POLY))


def _number_is_zero(difference: Any, scale: Any) -> bool | None:
    """Disproved by evaluation to many digits, proved by algebra; None where neither works."""
    size = abs(scale.evalf(15, maxn=400))
    value = abs(difference.evalf(DIGITS, maxn=1000))
    measured = value.is_number and size.is_number and value.is_finite
    if measured and value._prec > 1 and value > size * sympy.Float(10) ** (-DIGITS // 2):
        return False
    for step in _NUMBER_STEPS:
        if step(difference) == 0:
            return True
    if difference.has(sympy.atan, sympy.asin, sympy.acos) and measured and value < 1:
        # angles whose difference is below 1 are equal where their tangents are
        return True if sympy.simplify(sympy.expand_trig(sympy.tan(difference))) == 0 else None
    if difference.is_algebraic:
        x = sympy.Symbol("x")
        return bool(sympy.minimal_polynomial(difference, x) == x)
    return None


def _factored_logarithms(expression: Any) -> Any:
    factored = expression.replace(sympy.log, lambda part: sympy.log(sympy.factor(part)))
    return sympy.simplify(sympy.expand_log(factored, force=True))


Step = Callable[[Any], Any]
_NUMBER_STEPS: tuple[Step, ...] = (
    sympy.expand,
    sympy.radsimp,
    sympy.sqrtdenest,
    lambda e: sympy.expand(sympy.expand_trig(e)),
    sympy.simplify,
)
_NAMED_STEPS: tuple[Step, ...] = (
    sympy.expand,
    lambda e: sympy.expand(e.rewrite(sympy.exp)),
    lambda e: sympy.expand(sympy.expand_trig(e)),
    _factored_logarithms,
    sympy.simplify,
    lambda e: sympy.simplify(e.rewrite(sympy.exp)),
)


def is_zero(one: Value, two: Value) -> bool | None:
    """Whether two values are equal: True where proved, False where disproved, else None."""
    if not (algebra.has_names(one) or algebra.has_names(two)):
        builder = Builder()
        left, right = builder.value(one), builder.value(two)
        return _number_is_zero(left - right, sympy.Abs(left) + sympy.Abs(right))
    for assumptions in ({"real": True}, {"positive": True}):
        builder = Builder(**assumptions)
        difference = builder.value(one) - builder.value(two)
        if difference == 0:
            return True
        if _separated(difference):
            return False
        for step in _NAMED_STEPS:
            if step(difference) == 0:
                return True
    return True if _is_constant_zero(difference) else None


def _is_constant_zero(difference: Any) -> bool:
    """Whether all derivatives vanish and the value at one point does."""
    symbols = difference.free_symbols
    if any(sympy.simplify(difference.diff(symbol)) != 0 for symbol in symbols):
        return False
    value = difference.subs({symbol: sympy.Rational(1, 2) for symbol in symbols})
    return _number_is_zero(value, sympy.Integer(1)) is True


def _separated(difference: Any) -> bool:
    """Whether the difference is clearly not zero at two rational points."""
    symbols = sorted(difference.free_symbols, key=str)
    for shift in (0, 1):
        at = {s: sympy.Rational(7 * n + 5 + 4 * shift, 6 + shift) for n, s in enumerate(symbols)}
        value = difference.subs(at).evalf(30, maxn=300)
        if not (value.is_number and value.is_finite and abs(value) > sympy.Float("1e-12")):
            return False
    return True
