"""The values of functions and of whole expression trees, in the form of `algebra`."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from tasks.answers.algebra import (
    E_ATOM,
    HALF,
    I_ATOM,
    I_VALUE,
    ONE,
    ONE_POLY,
    PI_ATOM,
    PI_VALUE,
    UNIT,
    ZERO,
    Atom,
    Budget,
    F,
    Monomial,
    Structured,
    Value,
    absolute_poly,
    add,
    argument_key,
    atom,
    check_bits,
    constant,
    content_of,
    equal,
    factorize,
    has_names,
    inverse,
    key,
    mul,
    negate,
    quotient,
    rational,
    rational_power,
    spelling,
    subtract,
)
from tasks.answers.lexer import AnswerError, LimitError
from tasks.answers.numeric import evaluate
from tasks.answers.parser import Node
from tasks.answers.vocabulary import words

MAX_FACTORIAL = 2_500


def power(base: Value, exponent: Value, budget: Budget) -> Value:
    """base ** exponent."""
    fixed = rational(exponent)
    if fixed is not None:
        return rational_power(base, fixed, budget)
    return _symbolic_power(base, exponent, budget)


def _symbolic_power(base: Value, exponent: Value, budget: Budget) -> Value:
    """b^(r m + ...) as a product over the exponent's monomials m, each an atom to the power r."""
    if exponent.den != ONE_POLY:
        keys = ("f", "pow", (key(base.num), key(base.den)), (key(exponent.num), key(exponent.den)))
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
                for p, count in factorize(part):
                    core = ("P", ("p", p), monomial)
                    result = mul(result, atom(core, coefficient * count * sign), budget)
        return result
    if not base.num:
        return ZERO
    top = atom(("P", ("S", key(base.num)), monomial), coefficient)
    if base.den != ONE_POLY:
        top = mul(top, atom(("P", ("S", key(base.den)), monomial), -coefficient), budget)
    return top


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
            monomial, coefficient = min(angle.num.items(), key=spelling)
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
    return atom(("f", name, argument_key(angle)))


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
            for p, count in factorize(part):
                piece = atom(("f", "ln", (key({UNIT: F(p)}),)))
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
                    piece = atom(("f", "ln", (key({frozenset(((name, F(1)),)): F(1)}),)))
                result = add(result, mul(constant(exponent), piece, budget), budget)
            return result
    content = content_of(value.num)
    if content != 1:
        rest = Value({m: c / content for m, c in value.num.items()}, ONE_POLY)
        return add(logarithm(constant(content), budget), logarithm(rest, budget), budget)
    return atom(("f", "ln", (key(value.num),)))


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
            result = atom(("f", "fact", argument_key(base)))
            for k in range(1, int(shift) + 1):
                result = mul(result, add(base, constant(k), budget), budget)
            for k in range(0, -int(shift)):
                result = quotient(result, add(base, constant(-k), budget), budget)
            return result
    return atom(("f", "fact", argument_key(value)))


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
        approximate = evaluate(value)
        if approximate is not None and abs(approximate[0].imag) <= approximate[1] < abs(
            approximate[0].real
        ):
            return value if approximate[0].real > 0 else negate(value)
    top = absolute_poly(value.num)
    return top if value.den == ONE_POLY else quotient(top, absolute_poly(value.den), budget)


def _step(name: str, value: Value, budget: Budget) -> Value:
    """floor and ceil."""
    number = rational(value)
    if number is not None:
        return constant(math.floor(number) if name == "floor" else math.ceil(number))
    if not has_names(value) and (approximate := evaluate(value)) is not None:
        real, error = approximate[0].real, approximate[1]
        low, high = math.floor(real - error), math.floor(real + error)
        if low == high and abs(real) < 2**50 and low != real:
            return constant(low if name == "floor" else low + 1)
    return atom(("f", name, argument_key(value)))


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
        measured = [evaluate(value) for value in keep]
        if all(m is not None and abs(m[0].imag) <= m[1] for m in measured):
            spans = sorted(
                ((m[0].real, m[1], n) for n, m in enumerate(measured) if m), reverse=name == "max"
            )
            if abs(spans[0][0] - spans[1][0]) > spans[0][1] + spans[1][1]:
                return keep[spans[0][2]]
    return atom(("f", name, frozenset(argument_key(value) for value in keep)))


def _common(name: str, values: list[Value], budget: Budget) -> Value:
    """gcd and lcm of rationals."""
    numbers = [rational(value) for value in values]
    if any(number is None for number in numbers):
        return atom(("f", name, frozenset(argument_key(value) for value in values)))
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
        check_bits(result)
    return constant(result)


_RECIPROCAL = {"sec": "cos", "csc": "sin"}


_ANGLES = {  # arc functions at the values whose angle is a nice multiple of pi
    "asin": {F(0): F(0), HALF: F(1, 6), F(1): HALF},
    "acos": {F(0): HALF, HALF: F(1, 3), F(1): F(0)},
    "atan": {F(0): F(0), F(1): F(1, 4)},
}


_HYPERBOLIC = words("sinh cosh tanh coth sech csch")


def _hyperbolic(name: str, value: Value, budget: Budget) -> Value:
    """By their definition from e^x."""
    e = atom(E_ATOM)
    up, down = power(e, value, budget), power(e, negate(value), budget)
    sine, cosine = subtract(up, down, budget), add(up, down, budget)  # times 2
    if name == "tanh":
        return quotient(sine, cosine, budget)
    if name == "coth":
        return quotient(cosine, sine, budget)
    half = constant(HALF) if name in ("sinh", "cosh") else constant(2)
    double = sine if name in ("sinh", "csch") else cosine
    return mul(half, double if name in ("sinh", "cosh") else inverse(double, budget), budget)


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
    if name in _HYPERBOLIC:
        return _hyperbolic(name, first, budget)
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
    return atom(("f", name, *(argument_key(argument) for argument in arguments)))


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
        return mul(
            value_of(args[0], budget, log10), mul(constant(F(1, 180)), PI_VALUE, budget), budget
        )
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
    return atom(("f", f"big {kind}", *(argument_key(part) for part in parts)))
