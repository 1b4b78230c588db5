"""The values of functions, in the form of `algebra`."""

import math

from tasks.answers.values import algebra
from tasks.answers.values.algebra import (
    Effort,
    F,
    Value,
    add,
    atom,
    constant,
    mul,
    quotient,
    rational,
)
from tasks.answers.values.numeric import evaluate
from tasks.answers.values.roots import factorize, rational_power
from tasks.answers.values.trigonometry import cosine_of_pi, trigonometric
from tasks.answers.words.lexer import AnswerError, LimitError
from tasks.answers.words.vocabulary import words

MAX_FACTORIAL = 2_500


def power(base: Value, exponent: Value, effort: Effort) -> Value:
    """base ** exponent. With names in the exponent, b^(r m + ...) is a product over the exponent's
    monomials m, each an atom to the power r."""
    fixed = rational(exponent)
    if fixed is not None:
        return rational_power(base, fixed, effort)
    if exponent.den != algebra.ONE_POLY:
        parts = ((algebra.key(part.num), algebra.key(part.den)) for part in (base, exponent))
        return atom((algebra.FUNCTION, "pow", *parts))
    if len(exponent.num) > 12:
        raise LimitError("an exponent of too many terms")
    result = algebra.ONE
    for monomial, coefficient in exponent.num.items():
        if not monomial:
            part = power(base, constant(coefficient), effort)
        else:
            part = _power_by(base, monomial, coefficient, effort)
        result = mul(result, part, effort)
    return result


def _power_by(base: Value, monomial: algebra.Monomial, coefficient: F, effort: Effort) -> Value:
    if base.den == algebra.ONE_POLY and len(base.num) == 1:
        ((inner, scale),) = base.num.items()
        if not inner and scale == 1:
            return algebra.ONE
        if inner == frozenset(((algebra.E_ATOM, F(1)),)) and scale == 1:
            turn = frozenset(((algebra.I_ATOM, F(1)), (algebra.PI_ATOM, F(1))))
            if monomial == turn:  # e^(i pi r) = cos(pi r) + i sin(pi r)
                angle = Value({frozenset(((algebra.PI_ATOM, F(1)),)): coefficient})
                sine = mul(algebra.I_VALUE, trigonometric("sin", angle, effort), effort)
                return add(trigonometric("cos", angle, effort), sine, effort)
            if len(monomial) == 1:
                ((name, one),) = monomial
                if name[0] == algebra.FUNCTION and name[1] == "ln" and one == 1:
                    return power(Value(dict(name[2][0])), constant(coefficient), effort)
        result = algebra.ONE
        for name, e in inner:
            core: algebra.Atom = (algebra.POWER, name, monomial)
            result = mul(result, atom(core, coefficient * e), effort)
        if scale != 1:
            if scale < 0:
                core = (algebra.POWER, (algebra.MINUS_ONE, -1), monomial)
                result = mul(result, atom(core, coefficient), effort)
            size = abs(scale)
            if size.numerator.bit_length() + size.denominator.bit_length() > 2_000:
                raise LimitError("a power of too many digits")
            for part, sign in ((size.numerator, 1), (size.denominator, -1)):
                for p, count in factorize(part):
                    core = (algebra.POWER, (algebra.PRIME, p), monomial)
                    result = mul(result, atom(core, coefficient * count * sign), effort)
        return result
    if not base.num:
        return algebra.ZERO
    top, bottom = ((algebra.ROOT, algebra.key(poly)) for poly in base)
    result = atom((algebra.POWER, top, monomial), coefficient)
    if base.den != algebra.ONE_POLY:
        result = mul(result, atom((algebra.POWER, bottom, monomial), -coefficient), effort)
    return result


def logarithm(value: Value, effort: Effort) -> Value:
    """The natural logarithm, products and powers taken apart."""
    number = rational(value)
    if number is not None and number <= 0:
        if not number:
            raise AnswerError("logarithm of zero")
        turn = mul(algebra.I_VALUE, algebra.PI_VALUE, effort)
        return add(logarithm(constant(-number), effort), turn, effort)
    if number is not None:
        if number.numerator.bit_length() + number.denominator.bit_length() > 2_000:
            raise LimitError("a logarithm of too many digits")
        result = algebra.ZERO
        for part, sign in ((number.numerator, 1), (number.denominator, -1)):
            for p, count in factorize(part):
                piece = algebra.applied("ln", constant(p))
                result = add(result, mul(constant(sign * count), piece, effort), effort)
        return result
    if value.den != algebra.ONE_POLY:
        top = logarithm(Value(value.num), effort)
        return algebra.subtract(top, logarithm(Value(value.den), effort), effort)
    if len(value.num) == 1:
        ((monomial, coefficient),) = value.num.items()
        result = logarithm(constant(coefficient), effort) if coefficient > 0 else None
        if result is not None:
            for name, exponent in monomial:
                if name == algebra.E_ATOM:
                    piece = algebra.ONE
                elif name[0] == algebra.PRIME:
                    piece = logarithm(constant(name[1]), effort)
                elif name[0] == algebra.POWER and name[1] == algebra.E_ATOM:
                    piece = Value({name[2]: F(1)})
                elif name[0] == algebra.ROOT:
                    piece = logarithm(Value(dict(name[1])), effort)
                else:
                    piece = algebra.applied("ln", atom(name))
                result = add(result, mul(constant(exponent), piece, effort), effort)
            return result
    content = algebra.content_of(value.num)
    if content != 1:
        rest = Value({m: c / content for m, c in value.num.items()})
        return add(logarithm(constant(content), effort), logarithm(rest, effort), effort)
    return algebra.applied("ln", value)


def factorial(value: Value, effort: Effort) -> Value:
    number = rational(value)
    if number is not None:
        if number.denominator != 1 or number < 0:
            raise AnswerError("factorial of no natural number")
        if number > MAX_FACTORIAL:
            raise LimitError(f"a factorial above {MAX_FACTORIAL}")
        return constant(math.factorial(int(number)))
    if value.den == algebra.ONE_POLY:  # (n + k)! = (n + k)...(n + 1) n!
        shift = value.num.get(algebra.UNIT, F(0))
        if shift.denominator == 1 and 0 < abs(shift) <= 12:
            base = Value({m: c for m, c in value.num.items() if m})
            result = algebra.applied("fact", base)
            for k in range(1, int(shift) + 1):
                result = mul(result, add(base, constant(k), effort), effort)
            for k in range(0, -int(shift)):
                result = quotient(result, add(base, constant(-k), effort), effort)
            return result
    return algebra.applied("fact", value)


def absolute(value: Value, effort: Effort) -> Value:
    number = rational(value)
    if number is not None:
        return constant(abs(number))
    i_terms = {m for m in value.num if (algebra.I_ATOM, F(1)) in m}
    if i_terms and value.den == algebra.ONE_POLY:  # |a + bi| = sqrt(a^2 + b^2)
        real = Value({m: c for m, c in value.num.items() if m not in i_terms})
        unit = {(algebra.I_ATOM, F(1))}
        imaginary = Value({m - unit: c for m, c in value.num.items() if m in i_terms})
        square = add(mul(real, real, effort), mul(imaginary, imaginary, effort), effort)
        return power(square, constant(algebra.HALF), effort)
    measured = None if algebra.has_names(value) else evaluate(value)
    if measured and measured.is_real and measured.error < abs(measured.value.real):
        return value if measured.value.real > 0 else algebra.negate(value)
    top = algebra.absolute_poly(value.num)
    if value.den == algebra.ONE_POLY:
        return top
    return quotient(top, algebra.absolute_poly(value.den), effort)


def _step(name: str, value: Value, effort: Effort) -> Value:
    """floor and ceil."""
    number = rational(value)
    if number is not None:
        return constant(math.floor(number) if name == "floor" else math.ceil(number))
    if not algebra.has_names(value) and (measured := evaluate(value)) is not None:
        real, error = measured.value.real, measured.error
        low, high = math.floor(real - error), math.floor(real + error)
        if low == high and abs(real) < 2**50 and low != real:
            return constant(low if name == "floor" else low + 1)
    return algebra.applied(name, value)


def _extreme(name: str, values: list[Value], effort: Effort) -> Value:
    """max and min."""
    numbers = [rational(value) for value in values]
    if all(number is not None for number in numbers):
        return constant((max if name == "max" else min)(n for n in numbers if n is not None))
    keep: list[Value] = []
    for value in values:
        if not any(algebra.equal(value, other, effort) for other in keep):
            keep.append(value)
    if len(keep) == 1:
        return keep[0]
    if not any(algebra.has_names(value) for value in keep):
        pairs = [(m, value) for value in keep if (m := evaluate(value)) and m.is_real]
        pairs.sort(key=lambda pair: pair[0].value.real, reverse=name == "max")
        if len(pairs) == len(keep):
            (first, value), (second, _) = pairs[:2]
            if abs(first.value.real - second.value.real) > first.error + second.error:
                return value
    return atom((algebra.FUNCTION, name, frozenset(map(algebra.argument_key, keep))))


def _common(name: str, values: list[Value], effort: Effort) -> Value:
    """gcd and lcm of rationals."""
    numbers = [number for number in map(rational, values) if number is not None]
    if len(numbers) < len(values):
        return atom((algebra.FUNCTION, name, frozenset(map(algebra.argument_key, values))))
    combine = math.gcd if name == "gcd" else math.lcm
    result = algebra.check_bits(abs(numbers[0]))
    for number in numbers[1:]:
        den = math.lcm(result.denominator, number.denominator)
        result = algebra.check_bits(F(combine(int(result * den), int(number * den)), den))
    return constant(result)


_ANGLES = {  # arc functions at the values whose angle is a nice multiple of pi
    "asin": {F(0): F(0), algebra.HALF: F(1, 6), F(1): algebra.HALF},
    "acos": {F(0): algebra.HALF, algebra.HALF: F(1, 3), F(1): F(0)},
    "atan": {F(0): F(0), F(1): F(1, 4)},
}
_HYPERBOLIC = words("sinh cosh tanh coth sech csch")


def _hyperbolic(name: str, value: Value, effort: Effort) -> Value:
    """By their definition from e^x."""
    e = atom(algebra.E_ATOM)
    up, down = power(e, value, effort), power(e, algebra.negate(value), effort)
    sine, cosine = algebra.subtract(up, down, effort), add(up, down, effort)  # times 2
    if name == "tanh":
        return quotient(sine, cosine, effort)
    if name == "coth":
        return quotient(cosine, sine, effort)
    double = sine if name in ("sinh", "csch") else cosine
    if name in ("sinh", "cosh"):
        return mul(constant(algebra.HALF), double, effort)
    return mul(constant(2), algebra.inverse(double, effort), effort)


def function(name: str, arguments: list[Value], effort: Effort) -> Value:
    """The value of a named function at scalar arguments."""
    if not arguments:
        raise AnswerError(f"{name} without an argument")
    first = arguments[0]
    if name in ("sin", "cos"):
        return trigonometric(name, first, effort)
    if name in ("tan", "cot"):
        sine, cosine = trigonometric("sin", first, effort), trigonometric("cos", first, effort)
        return quotient(sine, cosine, effort) if name == "tan" else quotient(cosine, sine, effort)
    if name in ("sec", "csc"):
        below = trigonometric("cos" if name == "sec" else "sin", first, effort)
        return algebra.inverse(below, effort)
    if name in _HYPERBOLIC:
        return _hyperbolic(name, first, effort)
    if name == "ln":
        return logarithm(first, effort)
    if name == "lg":
        return quotient(logarithm(first, effort), logarithm(constant(10), effort), effort)
    if name == "logb":
        return quotient(logarithm(arguments[1], effort), logarithm(first, effort), effort)
    if name == "abs":
        return absolute(first, effort)
    if name == "fact":
        return factorial(first, effort)
    if name in ("floor", "ceil"):
        return _step(name, first, effort)
    if name in ("max", "min"):
        return _extreme(name, arguments, effort)
    if name in ("gcd", "lcm"):
        return _common(name, arguments, effort)
    if name == "binom" and len(arguments) == 2:
        n, k = rational(first), rational(arguments[1])
        if n is not None and k is not None and n.denominator == k.denominator == 1 and n >= 0:
            if n > 20_000 or min(k, n - k) > 2_000:
                raise LimitError("a binomial coefficient too large")
            return constant(math.comb(int(n), int(k)) if 0 <= k <= n else 0)
        if k is not None and k.denominator == 1 and 0 <= k <= 12:
            result = algebra.ONE
            for j in range(int(k)):
                factor = mul(add(first, constant(-j), effort), constant(F(1, j + 1)), effort)
                result = mul(result, factor, effort)
            return result
    if name == "modf" and len(arguments) == 2:
        a, b = rational(first), rational(arguments[1])
        if a is not None and b:
            return constant(a - b * math.floor(a / b))
        ratio = quotient(first, arguments[1], effort)
        whole = rational(_step("floor", ratio, effort))
        if whole is not None:
            return algebra.subtract(first, mul(constant(whole), arguments[1], effort), effort)
    if name in _ANGLES and (number := rational(first)) is not None and abs(number) in _ANGLES[name]:
        turns = _ANGLES[name][abs(number)]
        if number < 0:
            turns = 1 - turns if name == "acos" else -turns
        return mul(constant(turns), algebra.PI_VALUE, effort)
    if name in _ANGLES and len(first.num) == 1 and first.den == algebra.ONE_POLY:
        known = _arc_of_root(name, first, effort)
        if known is not None:
            return known
    if name == "sgn" and (number := rational(first)) is not None:
        return constant((number > 0) - (number < 0))
    if name == "cis":
        sine = mul(algebra.I_VALUE, trigonometric("sin", first, effort), effort)
        return add(trigonometric("cos", first, effort), sine, effort)
    return algebra.applied(name, *arguments)


def _arc_of_root(name: str, value: Value, effort: Effort) -> Value | None:
    for k in (10, 15, 20):  # cos of pi k/60 = sqrt(3)/2, sqrt(2)/2
        turns = F(k, 60)
        for sign in (1, -1):
            for angle in (turns, algebra.HALF - turns):
                if name == "atan":
                    radians = mul(constant(angle), algebra.PI_VALUE, effort)
                    candidate = function("tan", [radians], effort)
                    result = angle
                else:
                    candidate = cosine_of_pi(angle, effort)
                    result = angle if name == "acos" else algebra.HALF - angle
                if sign < 0:
                    candidate = algebra.negate(candidate)
                    result = 1 - result if name == "acos" else -result
                if candidate == value:
                    return mul(constant(result), algebra.PI_VALUE, effort)
    return None
