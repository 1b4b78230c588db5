"""Sines and cosines, in the form of `algebra`; the other functions are quotients of them."""

from fractions import Fraction

from tasks.answers.values import algebra
from tasks.answers.values.algebra import HALF, Effort, F, Value, add, applied, constant, mul, negate
from tasks.answers.values.roots import rational_power
from tasks.answers.words.lexer import LimitError

# cos of k/60 turns of pi, where it is a sum of square roots: {k: ((coefficient, radicand), ...)}
_COSINES = {
    0: ((F(1), 1),), 10: ((HALF, 3),), 15: ((HALF, 2),), 20: ((HALF, 1),), 30: (),
    5: ((F(1, 4), 6), (F(1, 4), 2)),
    25: ((F(1, 4), 6), (F(-1, 4), 2)),
    12: ((F(1, 4), 1), (F(1, 4), 5)),
    24: ((F(-1, 4), 1), (F(1, 4), 5)),
}  # fmt: skip


def _pi_multiple(angle: Value) -> Fraction | None:
    if not angle.num:
        return F(0)
    if angle.den == algebra.ONE_POLY and len(angle.num) == 1:
        ((monomial, coefficient),) = angle.num.items()
        if monomial == frozenset(((algebra.PI_ATOM, F(1)),)):
            return coefficient
    return None


def cosine_of_pi(turns: Fraction, effort: Effort) -> Value:
    """cos(turns * pi), with the angle brought into the first octants."""
    turns %= 2
    if turns > 1:
        turns = 2 - turns
    sign = 1
    if turns > HALF:
        turns, sign = 1 - turns, -1
    sixtieths = turns * 60
    if sixtieths.denominator == 1 and int(sixtieths) in _COSINES:
        value = algebra.ZERO
        for coefficient, radicand in _COSINES[int(sixtieths)]:
            root = rational_power(constant(radicand), HALF, effort)
            value = add(value, mul(constant(coefficient), root, effort), effort)
    elif sixtieths.denominator == 1 and int(sixtieths) in (6, 18):
        # cos 18 and cos 54 degrees: sqrt((5 +- sqrt 5)/8)
        five = rational_power(constant(5), HALF, effort)
        inside = add(constant(5), five if int(sixtieths) == 6 else negate(five), effort)
        value = rational_power(mul(constant(F(1, 8)), inside, effort), HALF, effort)
    else:
        value = applied("cos", mul(constant(turns), algebra.PI_VALUE, effort))
    return value if sign > 0 else negate(value)


def trigonometric(name: str, angle: Value, effort: Effort) -> Value:
    """sin and cos; all other functions are quotients of them. Sums and multiples are expanded."""
    turns = _pi_multiple(angle)
    if turns is not None:
        if turns.denominator > 10**6:
            raise LimitError("an angle of too many digits")
        return cosine_of_pi(turns if name == "cos" else HALF - turns, effort)
    if angle.den == algebra.ONE_POLY:
        if 1 < len(angle.num) <= 4:
            monomial, coefficient = min(angle.num.items(), key=algebra.spelling)
            one = Value({monomial: coefficient})
            rest = Value({m: c for m, c in angle.num.items() if m != monomial})
            sin1, cos1, sin2, cos2 = (
                trigonometric(f, part, effort) for part in (one, rest) for f in ("sin", "cos")
            )
            if name == "sin":
                return add(mul(sin1, cos2, effort), mul(cos1, sin2, effort), effort)
            return algebra.subtract(mul(cos1, cos2, effort), mul(sin1, sin2, effort), effort)
        if len(angle.num) == 1:
            ((monomial, coefficient),) = angle.num.items()
            if coefficient < 0:
                flipped = trigonometric(name, negate(angle), effort)
                return flipped if name == "cos" else negate(flipped)
            times = coefficient.numerator
            if 1 < times <= 12:
                base = Value({monomial: F(1, coefficient.denominator)})
                sine, cosine = (trigonometric(f, base, effort) for f in ("sin", "cos"))
                s, c = sine, cosine
                for _ in range(times - 1):
                    s, c = (
                        add(mul(s, cosine, effort), mul(c, sine, effort), effort),
                        algebra.subtract(mul(c, cosine, effort), mul(s, sine, effort), effort),
                    )
                return s if name == "sin" else c
    return applied(name, angle)
