"""Whether two answer trees mean the same. Every rule is symmetric in its two sides.

The order of the rules: equal trees; units; relations; texts; lists, sets, tuples, intervals;
matrices; numerals in a base; ratios; and scalars last, by exact values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal, NamedTuple

from tasks.answers import algebra, worker
from tasks.answers.algebra import Budget, Structured, Value, constant
from tasks.answers.lexer import AnswerError, LimitError
from tasks.answers.options import Options
from tasks.answers.parser import EMPTY, Node

MAX_MATCHED = 60

ORDER_SIGNS = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "!=": "!="}
EQUAL_SIGNS = frozenset(("=", "~", "==", "to"))

# Units by dimension word; synonyms on one line. Unknown words are no units: they are ignored.
_UNITS = (
    "cm centimeter centimeters centimetre centimetres", "mm millimeter millimeters millimetre",
    "m meter meters metre metres", "km kilometer kilometers kilometre kilometres kms",
    "inch inches in", "ft foot feet", "yard yards yd yds", "mile miles mi",
    "g gram grams gm gms", "kg kilogram kilograms kgs", "mg milligram milligrams",
    "lb lbs pound pounds", "oz ounce ounces", "ton tons tonne tonnes",
    "s sec second seconds secs", "min minute minutes mins", "hour hours hr hrs h", "day days",
    "week weeks", "month months", "year years yr yrs",
    "l liter liters litre litres", "ml milliliter milliliters millilitre", "gallon gallons gal",
    "quart quarts", "pint pints", "cup cups",
    "dollar dollars usd buck bucks", "cent cents", "euro euros eur", "rupee rupees",
    "degree degrees deg", "radian radians rad", "am", "pm", "acre acres",
    "percent", "hz", "joule joules j", "newton newtons n", "watt watts w", "volt volts v",
)  # fmt: skip
UNITS = {word: words.split()[0] for words in _UNITS for word in words.split()}
_COMPOUND = re.compile(r"(?<![\^{\d-])\d")  # a number in a unit's text that is no exponent
_UNIT_TOKEN = re.compile(r"[a-z]+|\^\s*\{?\s*-?\s*\d+\s*\}?|/")


def unit_key(words: str) -> tuple[tuple[str, int], ...] | None:
    """A unit as (name, power) pairs, None where a word is not a known unit."""
    text = words.lower().replace(".", "").replace("$", "").strip()
    text = text.replace("mph", "mile/hour").replace("kph", "km/hour").replace("kmh", "km/hour")
    powers: dict[str, int] = {}
    sign, factor, last = 1, 1, ""
    for token in _UNIT_TOKEN.findall(text):
        if token == "/" or token == "per":
            sign = -1
        elif token in ("square", "sq"):
            factor = 2
        elif token in ("cubic", "cu"):
            factor = 3
        elif token == "squared" or token == "cubed":
            if last:
                powers[last] = powers[last] * (2 if token == "squared" else 3)
        elif token[0] == "^":
            if last:
                powers[last] = powers.get(last, 1) * int(re.sub(r"[^\d-]", "", token) or 1)
        else:
            last = UNITS.get(token, "")
            if token in ("unit", "units"):
                last = "unit"
            if not last:
                return None
            powers[last] = powers.get(last, 0) + sign * factor
            factor = 1
    return tuple(sorted(powers.items()))


def conflicting(one: str, two: str) -> bool:
    """Whether two unit texts name different known units."""
    left, right = unit_key(one), unit_key(two)
    if left is None or right is None:
        return False
    if left == right:
        return False
    if [power for _, power in left] == [power for _, power in right] and any(
        name == "unit" for name, _ in (*left, *right)
    ):
        return False  # "square units" beside "cm^2"
    return True


def flat(text: str) -> str:
    """A text reduced to its letters, digits and points inside numbers, without case."""
    text = text.casefold()
    text = re.sub(r"\\[a-z]+", " ", text)
    words = re.findall(r"\d+(?:\.\d+)?|[^\W\d_]+|[-+*/=<>^_]", text)
    return " ".join(word for word in words if word not in ("a", "an", "the") or len(words) == 1)


class Interval(NamedTuple):
    low: Value | None  # None for minus infinity
    low_closed: bool
    high: Value | None
    high_closed: bool


class Comparison:
    """One comparison of two answers under the options; `log10` fixes the base of a bare \\log."""

    def __init__(self, options: Options, log10: bool = False) -> None:
        self.options = options
        self.log10 = log10
        self.budget = Budget()
        self.values: dict[int, tuple[Node, Value | None]] = {}
        self.used = "structure"  # the last rule that compared
        self.stopped: Literal["", "timeout", "limit"] = ""  # why a question stayed open

    # Scalars

    def value(self, node: Node) -> Value | None:
        """The scalar value of a tree, None where it is none."""
        known = self.values.get(id(node))
        if known is not None:
            return known[1]
        try:
            value = algebra.value_of(node, self.budget, self.log10)
        except Structured:
            value = None
        self.values[id(node)] = (node, value)
        return value

    def equal_values(self, one: Value, two: Value) -> bool:
        if algebra.equal(one, two, self.budget):
            self.used = "value"
            return True
        if not (algebra.is_hard(one) or algebra.is_hard(two)):
            self.used = "value"
            return False
        if algebra.differ(one, two):
            self.used = "evaluation"
            return False
        self.used = "algebra system"
        outcome = worker.ask(one, two, self.options.timeout)
        if outcome == "timeout" or outcome == "limit":
            self.stopped = outcome
        return outcome == "proved"

    def scalars(self, one: Node, two: Node) -> bool:
        left, right = self.value(one), self.value(two)
        if left is None or right is None:
            return self.matrices(one, two)
        if self.options.fractions == "reduced" and _reduced(one) != _reduced(two):
            return False
        if self.equal_values(left, right):
            return True
        return self.rounded(one, left, two, right)

    def rounded(self, one: Node, left: Value, two: Node, right: Value) -> bool:
        """A decimal equals what rounds to it, where it has enough digits to mean that."""
        options = self.options
        first, second = _decimal(one), _decimal(two)
        if first is None and second is None:
            return False
        if options.rel_tol and self._within(left, right):
            self.used = "tolerance"
            return True
        if options.rounding == "off":
            return False
        if first is not None and second is not None:
            short, long = sorted((first, second), key=lambda d: d[1])
            target = long[0]
        elif first is not None:
            short, target = first, algebra.rational(right)
            other = right
        else:
            assert second is not None
            short, target = second, algebra.rational(left)
            other = left
        value, places = short
        digits = _significant(value, places)
        if target is not None and _is_float_of((first, second), target):
            self.used = "rounding"
            return True
        half = Fraction(1, 2 * 10**places)
        self.used = "rounding"
        if target is not None:
            if first is None or second is None:
                if _terminates(target):
                    return False  # a short decimal form is exact, so no other rounds to it
                digits += 1  # a fraction is known by fewer digits than an arbitrary real
            return digits >= options.min_digits and abs(value - target) <= half
        if digits < options.min_digits:
            return False
        if algebra.has_names(other):
            return False
        measured = algebra.evaluate(other, {})
        if measured is None or abs(measured[0].imag) > measured[1]:
            return False
        return abs(float(value) - measured[0].real) <= float(half) + measured[1] + 1e-16 * abs(measured[0])

    def _within(self, left: Value, right: Value) -> bool:
        one, two = algebra.rational(left), algebra.rational(right)
        if one is not None and two is not None:
            return abs(one - two) <= Fraction(self.options.rel_tol) * max(abs(one), abs(two))
        a, b = algebra.evaluate(left, {}), algebra.evaluate(right, {})
        if a is None or b is None:
            return False
        return abs(a[0] - b[0]) <= self.options.rel_tol * max(abs(a[0]), abs(b[0]))

    def percents(self, one: Node, two: Node) -> bool:
        """x% beside a number without the sign: x/100, or x where both are written alike."""
        if one.op == two.op == "percent":
            return self.same(one.args[0], two.args[0])
        percent, other = (one, two) if one.op == "percent" else (two, one)
        inner = percent.args[0]
        if self.options.percent in ("either", "value") and self.scalars(percent, other):
            return True
        if self.options.percent == "value":
            return False
        if self.options.percent == "either" and (_is_fraction(inner) != _is_fraction(other)):
            return False
        return self.same(inner, other)

    def degrees(self, one: Node, two: Node) -> bool:
        """A degree sign is a unit; an angle also equals its measure in radians."""
        if one.op == two.op:
            return self.same(one.args[0], two.args[0])
        angle, other = (one, two) if one.op == "deg" else (two, one)
        if self.options.units != "strict" and self.same(angle.args[0], other):
            return True
        return self.scalars(angle, other)

    # Dispatch

    def same(self, one: Node, two: Node) -> bool:
        self.budget.spend(1)
        if one == two:
            return True
        ops = (one.op, two.op)
        if "unit" in ops:
            return self.units(one, two)
        if "list" in ops:
            one, two = _named_list(one), _named_list(two)
            ops = (one.op, two.op)
        if "rel" in ops:
            return self.relations(one, two)
        if "builder" in ops:
            return self.same(_condition(one), _condition(two))
        if "text" in ops:
            return self.texts(one, two)
        if "list" in ops or "set" in ops or "seq" in ops or "setop" in ops or _is_number_set(one) or _is_number_set(two):
            return self.collections(one, two)
        if "ratio" in ops:
            return self.ratios(one, two)
        if "base" in ops:
            return self.bases(one, two)
        if "percent" in ops:
            return self.percents(one, two)
        if "deg" in ops:
            return self.degrees(one, two)
        if ops == ("sym", "sym"):
            return self.names(one.args[0], two.args[0])
        if ops[0] in ("matrix",) or ops[1] in ("matrix",):
            return self.matrices(one, two)
        return self.scalars(one, two)

    def names(self, one: str, two: str) -> bool:
        if one == two:
            return True
        if self.options.choices and len(one) == len(two) == 1:
            return one.lower() == two.lower() and one.lower() in "abcdefghij"
        return False

    def units(self, one: Node, two: Node) -> bool:
        left = one.args[1] if one.op == "unit" else ""
        right = two.args[1] if two.op == "unit" else ""
        if _COMPOUND.search(left) or _COMPOUND.search(right):  # 1 hour 30 minutes
            return flat(left) == flat(right) and self.same(one.args[0], two.args[0])
        if self.options.units == "strict":
            if unit_key(left) != unit_key(right) or unit_key(left) is None and flat(left) != flat(right):
                return False
        elif self.options.units == "lenient" and left and right and conflicting(left, right):
            return False
        inner = (one.args[0] if left else one), (two.args[0] if right else two)
        if left and right and inner[0].op == inner[1].op == "ratio":
            return inner[0] == inner[1]  # times of the day
        return self.same(*inner)

    def texts(self, one: Node, two: Node) -> bool:
        self.used = "text"
        left, right = _letters(one), _letters(two)
        if left is None or right is None:
            return False
        if left == right or left.replace(" ", "") == right.replace(" ", ""):
            return True
        if self.options.choices:
            return _choice(left) is not None and _choice(left) == _choice(right)
        return False

    def ratios(self, one: Node, two: Node) -> bool:
        if one.op != two.op:
            ratio, other = (one, two) if one.op == "ratio" else (two, one)
            if len(ratio.args) != 2 or other.op in ("base", "matrix"):
                return False
            return self.same(Node("div", ratio.args), other) if not _has_zero(ratio) else False
        if len(one.args) != len(two.args):
            return False
        if all(self.same(a, b) for a, b in zip(one.args, two.args, strict=True)):
            return True
        if _has_zero(one) or _has_zero(two):
            return False
        first = (one.args[0], two.args[0])
        return all(
            self.same(Node("mul", (a, first[1])), Node("mul", (b, first[0])))
            for a, b in zip(one.args[1:], two.args[1:], strict=True)
        )

    def bases(self, one: Node, two: Node) -> bool:
        """Numerals: the same base and digits; a bare number by its digits."""
        self.used = "base"
        if one.op == two.op:
            return one.args[1] == two.args[1] and _digits(one) == _digits(two)
        base, other = (one, two) if one.op == "base" else (two, one)
        if self.options.bases == "strict" and base.args[1] != 10:
            return False
        return other.op == "num" and _digits(base) == _spelled(other)

    # Relations

    def relations(self, one: Node, two: Node) -> bool:
        left, right = _assignment(one), _assignment(two)
        if one.op == two.op and one.args[0] == two.args[0] and "~" in one.args[0]:
            return all(self.same(a, b) for a, b in zip(one.args[1], two.args[1], strict=True))
        if left and right and left[0] is not None and right[0] is not None:
            if _same_name(left[0], right[0]):
                return self.same(left[1], right[1])
            if left[0].op == "text" or right[0].op == "text":
                return self.same(left[1], right[1])
            return self.equations(one, two)
        if left and right:
            if left[0] is right[0] is None:  # 0.56 = 56%
                pairs = zip(one.args[1][::-1], two.args[1][::-1], strict=False)
                return all(self.same(a, b) for a, b in pairs)
            return self.same(left[1], right[1])
        if one.op == two.op == "rel":
            if _is_equation(one) and _is_equation(two):
                return self.equations(one, two)
            if (left or right) and ("in",) in (one.args[0], two.args[0]):
                return self.as_real_sets(one, two)
            if _is_equation(one) or _is_equation(two):
                return False
            return self.inequalities(one, two)
        if left or right:
            relation, other = (left, two) if one.op == "rel" else (right, one)
            assert relation is not None
            return self.same(relation[1], other)
        relation, other = (one, two) if one.op == "rel" else (two, one)
        if relation.args[0] == ("=",) and other.op == "sym":  # "x = n" beside n
            return relation.args[1][0].op == "sym" and relation.args[1][1] == other
        if _is_equation(relation):
            return False
        return self.as_real_sets(one, two)

    def equations(self, one: Node, two: Node) -> bool:
        """f = 0 and g = 0 are the same equation where f = c g for a constant c."""
        if len(one.args[1]) != 2 or len(two.args[1]) != 2:
            return len(one.args[1]) == len(two.args[1]) and all(
                self.same(a, b) for a, b in zip(one.args[1], two.args[1], strict=True)
            )
        sides = [self.value(side) for side in (*one.args[1], *two.args[1])]
        if any(side is None for side in sides):
            pairs = one.args[1], two.args[1]
            straight = all(self.same(a, b) for a, b in zip(*pairs, strict=True))
            return straight or all(self.same(a, b) for a, b in zip(pairs[0], pairs[1][::-1], strict=True))
        self.used = "equation"
        a, b, c, d = (side for side in sides if side is not None)
        f, g = algebra.subtract(a, b, self.budget), algebra.subtract(c, d, self.budget)
        ratio = _proportion(f, g, self.budget)
        if ratio is None:
            return False
        return self.equal_values(algebra.mul(f, ratio[1], self.budget), algebra.mul(g, ratio[0], self.budget))

    def inequalities(self, one: Node, two: Node) -> bool:
        try:
            return self.as_real_sets(one, two, strict=True)
        except AnswerError:
            pass
        self.used = "inequality"
        left, right = _steps(one), _steps(two)
        if len(left) != len(right):
            return False
        rest = list(right)
        for step in left:
            for other in rest:
                if self._same_step(step, other):
                    rest.remove(other)
                    break
            else:
                return False
        return True

    def _same_step(self, one: tuple[str, Node, Node], two: tuple[str, Node, Node]) -> bool:
        sign1, a, b = one
        sign2, c, d = two
        if sign1 == sign2 and self.same(a, c) and self.same(b, d):
            return True
        if ORDER_SIGNS.get(sign1) == sign2 and self.same(a, d) and self.same(b, c):
            return True
        values = [self.value(side) for side in (a, b, c, d)]
        if any(value is None for value in values) or sign1 not in ORDER_SIGNS or sign2 not in ORDER_SIGNS:
            return False
        va, vb, vc, vd = (value for value in values if value is not None)
        f, g = algebra.subtract(va, vb, self.budget), algebra.subtract(vc, vd, self.budget)
        ratio = _proportion(f, g, self.budget)
        if ratio is None:
            return False
        scale = algebra.evaluate(algebra.quotient(ratio[0], ratio[1], self.budget), {})
        if scale is None or abs(scale[0].imag) > scale[1] or abs(scale[0].real) <= scale[1]:
            return False
        if (sign2 if scale[0].real > 0 else ORDER_SIGNS[sign2]) != sign1:
            return False
        return self.equal_values(algebra.mul(f, ratio[1], self.budget), algebra.mul(g, ratio[0], self.budget))

    # Collections

    def collections(self, one: Node, two: Node) -> bool:
        if one.op == two.op == "seq":
            if self.sequences(one, two):
                return True
            return False
        for several, other in ((one, two), (two, one)):
            if several.op == "list" and several.args[0] == "or" and other.op not in ("list", "set", "seq"):
                if not _orders(several):  # "x + 11 or 11 + x"
                    return all(self.same(item, other) for item in several.args[1])
        plain = {"list", "set"}
        if one.op in plain and two.op in plain:
            if one.op == two.op == "list" and _orders(one) and _orders(two) and not self._has_sets(one, two):
                return self.as_real_sets(one, two)
            return self.unordered(one, two)
        if {one.op, two.op} <= {"list", "set", "seq"}:
            sequence, other = (one, two) if one.op == "seq" else (two, one)
            items = _items(other)
            if _orders(other):
                return self.as_real_sets(one, two)
            if len(items) == 1:
                return other.op == "set" and self.same(items[0], sequence)
            if len(items) != len(sequence.args[2]):
                return False
            if len(items) == 2 and sequence.args[:2] != ("(", ")"):
                return False  # an interval
            return all(self.same(a, b) for a, b in zip(items, sequence.args[2], strict=True))
        for container, other in ((one, two), (two, one)):
            if container.op == "set" and len(container.args) == 1 and other.op not in ("setop", "seq"):
                return self.same(container.args[0], other)
        if "matrix" in (one.op, two.op):
            return self.matrices(one, two)
        if "setop" in (one.op, two.op) or _is_number_set(one) or _is_number_set(two):
            try:
                return self.as_real_sets(one, two, strict=True)
            except AnswerError:
                return self.set_operations(one, two)
        return False

    def _has_sets(self, one: Node, two: Node) -> bool:
        return False

    def sequences(self, one: Node, two: Node) -> bool:
        left, right = one.args[2], two.args[2]
        if len(left) != len(right):
            return False
        if len(left) == 2 and one.args[:2] != two.args[:2]:
            return False
        return all(self.same(a, b) for a, b in zip(left, right, strict=True))

    def unordered(self, one: Node, two: Node) -> bool:
        """Lists and sets: the same items; in any order unless the option says otherwise."""
        left, right = list(_items(one)), list(_items(two))
        if not left or not right:
            return not left and not right
        if "set" in (one.op, two.op) or left[0].op == "seq" and right and right[0].op == "seq":
            left, right = self._distinct(left), self._distinct(right)
        if len(left) != len(right) or len(left) > MAX_MATCHED:
            return False
        fixed = _distinct_names(left) != _distinct_names(right)
        if self.options.list_order == "same" and one.op == two.op == "list" or fixed:
            return all(self.same(a, b) for a, b in zip(left, right, strict=True))
        for item in left:
            for n, other in enumerate(right):
                if self.same(item, other):
                    del right[n]
                    break
            else:
                return False
        return True

    def _distinct(self, items: list[Node]) -> list[Node]:
        kept: list[Node] = []
        for item in items[:MAX_MATCHED]:
            if item in kept:
                continue
            kept.append(item)
        return kept + items[MAX_MATCHED:]

    def set_operations(self, one: Node, two: Node) -> bool:
        if one.op != "setop" or two.op != "setop" or one.args[0] != two.args[0]:
            return False
        if one.args[0] == "minus":
            return self.same(one.args[1], two.args[1]) and self.same(one.args[2], two.args[2])
        left, right = _flatten(one), _flatten(two)
        return self.unordered(Node("list", (",", left)), Node("list", (",", right)))

    # Sets of reals

    def as_real_sets(self, one: Node, two: Node, strict: bool = False) -> bool:
        """Compares as unions of intervals; `strict` raises AnswerError where one is no such set."""
        try:
            left, name1 = self.real_set(one)
            right, name2 = self.real_set(two)
        except AnswerError:
            if strict:
                raise
            return False
        self.used = "interval"
        if name1 and name2 and name1 != name2:
            return False
        if len(left) != len(right):
            return False
        return all(
            a.low_closed == b.low_closed
            and a.high_closed == b.high_closed
            and self._same_end(a.low, b.low)
            and self._same_end(a.high, b.high)
            for a, b in zip(left, right, strict=True)
        )

    def _same_end(self, one: Value | None, two: Value | None) -> bool:
        if one is None or two is None:
            return one is two
        return self.equal_values(one, two)

    def real_set(self, node: Node) -> tuple[list[Interval], str]:
        """The set of reals that a tree describes, and the name of its variable if it has one."""
        op, args = node
        if op == "seq" and len(args[2]) == 2:
            low, high = self.end(args[2][0]), self.end(args[2][1])
            return self.ordered(low, args[0] == "[", high, args[1] == "]"), ""
        if op == "set":
            points = [self.end(item) for item in args]
            return self.union([i for p in points for i in self.ordered(p, True, p, True)]), ""
        if op == "setop":
            (left, _), (right, _) = self.real_set(args[1]), self.real_set(args[2])
            if args[0] == "union":
                return self.union(left + right), ""
            if args[0] == "inter":
                return self.intersection(left, right), ""
            return self.intersection(left, self.complement(right)), ""
        if op == "const" and args[0] == "Reals":
            return [Interval(None, False, None, False)], ""
        if op == "builder":
            return self.real_set(_condition(node))
        if op == "list" and _orders(node):
            parts = [self.real_set(item) for item in args[1]]
            names = {name for _, name in parts if name}
            if len(names) > 1:
                raise AnswerError("inequalities of several variables")
            if args[0] != "or":
                common = parts[0][0]
                for part, _ in parts[1:]:
                    common = self.intersection(common, part)
                if common:
                    return common, names.pop() if names else ""
            return self.union([i for part, _ in parts for i in part]), names.pop() if names else ""
        if op == "rel":
            assigned = _assignment(node)
            if assigned and node.args[0] == ("in",):
                return self.real_set(assigned[1])[0], _name_key(assigned[0]) if assigned[0] else ""
            if not _is_equation(node):
                return self.solution(node)
        raise AnswerError("no set of reals")

    def end(self, node: Node) -> tuple[float, Value | None]:
        """An end of an interval: its place on the line, and its value (None if infinite)."""
        value = self.value(node)
        if value is None:
            raise AnswerError("an end that is no number")
        for sign, place in ((1, float("inf")), (-1, float("-inf"))):
            if value.num == {m: sign * c for m, c in algebra.OO_VALUE.num.items()}:
                return place, None
        if algebra.has_names(value):
            raise AnswerError("an end with a name in it")
        measured = algebra.evaluate(value, {})
        if measured is None or abs(measured[0].imag) > 1e-12 + measured[1]:
            raise AnswerError("an end that is no real number")
        return measured[0].real, value

    def ordered(
        self, low: tuple[float, Value | None], low_closed: bool, high: tuple[float, Value | None], high_closed: bool
    ) -> list[Interval]:
        if low[0] > high[0]:
            raise AnswerError("an interval whose ends are in the wrong order")
        if low[0] == float("inf") or high[0] == float("-inf"):
            raise AnswerError("an interval at infinity")
        if low[0] == high[0] and not (low_closed and high_closed):
            return []
        return [Interval(low[1], low_closed and low[1] is not None, high[1], high_closed and high[1] is not None)]

    def place(self, value: Value | None, infinite: float) -> float:
        if value is None:
            return infinite
        measured = algebra.evaluate(value, {})
        if measured is None:
            raise AnswerError("an end that is no number")
        return measured[0].real

    def union(self, parts: Sequence[Interval]) -> list[Interval]:
        low, high = float("-inf"), float("inf")
        ordered = sorted(parts, key=lambda i: (self.place(i.low, low), not i.low_closed))
        merged: list[Interval] = []
        for part in ordered:
            if merged:
                last = merged[-1]
                end, start = self.place(last.high, high), self.place(part.low, low)
                if start < end or start == end and (last.high_closed or part.low_closed):
                    stop = self.place(part.high, high)
                    if stop > end or stop == end and part.high_closed:
                        merged[-1] = Interval(last.low, last.low_closed, part.high, part.high_closed)
                    continue
            merged.append(part)
        return merged

    def intersection(self, one: Sequence[Interval], two: Sequence[Interval]) -> list[Interval]:
        low, high = float("-inf"), float("inf")
        parts: list[Interval] = []
        for a in one:
            for b in two:
                starts = sorted((a, b), key=lambda i: (self.place(i.low, low), not i.low_closed))
                ends = sorted((a, b), key=lambda i: (self.place(i.high, high), i.high_closed))
                start, stop = starts[1], ends[0]
                first, last = self.place(start.low, low), self.place(stop.high, high)
                if first < last or first == last and start.low_closed and stop.high_closed:
                    parts.append(Interval(start.low, start.low_closed, stop.high, stop.high_closed))
        return self.union(parts)

    def complement(self, parts: Sequence[Interval]) -> list[Interval]:
        result: list[Interval] = []
        low: Value | None = None
        closed = False
        for n, part in enumerate(self.union(parts)):
            if n or part.low is not None:
                result.append(Interval(low, closed, part.low, not part.low_closed))
            if part.high is None:
                return result
            low, closed = part.high, not part.high_closed
        return [*result, Interval(low, closed, None, False)]

    def solution(self, node: Node) -> tuple[list[Interval], str]:
        """The set that a chain of linear inequalities in one variable describes."""
        parts: list[Interval] | None = None
        found = ""
        for sign, left, right in _steps(node):
            step, name = self._solve(sign, left, right)
            if found and name != found:
                raise AnswerError("inequalities of several variables")
            found = name
            parts = step if parts is None else self.intersection(parts, step)
        if parts is None:
            raise AnswerError("no inequality")
        return parts, found

    def _solve(self, sign: str, left: Node, right: Node) -> tuple[list[Interval], str]:
        for a, b, s in ((left, right, sign), (right, left, ORDER_SIGNS.get(sign, ""))):
            if a.op == "fn" and a.args[0] in ("apply", "abs") and s and len(a.args) >= 2:
                bound = self.end(b)
                if a.args[0] == "apply":
                    return self._ray(s, bound), _name_key(a)
                if a.args[1].op == "sym" and bound[1] is not None and bound[0] >= 0:
                    upper = self._ray(s, bound)
                    mirrored = [
                        Interval(_minus(i.high), i.high_closed, _minus(i.low), i.low_closed) for i in upper
                    ]
                    if s in ("<", "<=", "!="):
                        return self.intersection(upper, mirrored), a.args[1].args[0]
                    return self.union(upper + mirrored), a.args[1].args[0]
        one, two = self.value(left), self.value(right)
        if one is None or two is None or sign not in ORDER_SIGNS:
            raise AnswerError("no inequality of numbers")
        if any(name == algebra.OO_ATOM for v in (one, two) for name in algebra.atoms(v)):
            for a, b, s in ((left, right, sign), (right, left, ORDER_SIGNS[sign])):
                if a.op == "sym":
                    place = self.end(b)
                    if place[0] == float("inf") and s[0] == "<" or place[0] == float("-inf") and s[0] == ">":
                        return [Interval(None, False, None, False)], a.args[0]
            raise AnswerError("an inequality at infinity")
        f = algebra.subtract(one, two, self.budget)
        found = sorted(set(algebra.names(f)))
        if len(found) != 1 or f.den != algebra.ONE_POLY:
            raise AnswerError("no linear inequality")
        slope: algebra.Poly = {}
        rest: algebra.Poly = {}
        variable = (("s", found[0]), Fraction(1))
        for monomial, coefficient in f.num.items():
            if variable in monomial:
                slope[monomial - {variable}] = coefficient
            else:
                rest[monomial] = coefficient
        if set(algebra.names(Value(slope, rest or algebra.ONE_POLY))):
            raise AnswerError("no linear inequality")
        factor = algebra.evaluate(Value(slope, algebra.ONE_POLY), {})
        if factor is None or abs(factor[0].imag) > factor[1] or abs(factor[0].real) <= factor[1]:
            raise AnswerError("an inequality of no fixed direction")
        bound = algebra.quotient(
            algebra.negate(Value(rest, algebra.ONE_POLY)), Value(slope, algebra.ONE_POLY), self.budget
        )
        measured = algebra.evaluate(bound, {})
        if measured is None or abs(measured[0].imag) > 1e-12 + measured[1]:
            raise AnswerError("a bound that is no real number")
        if factor[0].real < 0:
            sign = ORDER_SIGNS[sign]
        return self._ray(sign, (measured[0].real, bound)), found[0]

    def _ray(self, sign: str, bound: tuple[float, Value | None]) -> list[Interval]:
        if bound[1] is None:
            raise AnswerError("an inequality at infinity")
        if sign == "!=":
            return [Interval(None, False, bound[1], False), Interval(bound[1], False, None, False)]
        if sign in ("<", "<="):
            return [Interval(None, False, bound[1], sign == "<=")]
        return [Interval(bound[1], sign == ">=", None, False)]

    # Matrices

    def matrices(self, one: Node, two: Node) -> bool:
        self.used = "matrix"
        left, right = self.matrix(one), self.matrix(two)
        if left is None or right is None:
            return False
        if isinstance(left, Value) or isinstance(right, Value):
            return isinstance(left, Value) and isinstance(right, Value) and self.equal_values(left, right)
        if _vector(one) != _vector(two) and 1 in (len(left), len(left[0])):
            left, right = _column(left), _column(right)
        if len(left) != len(right) or len(left[0]) != len(right[0]):
            return False
        for row1, row2 in zip(left, right, strict=True):
            for a, b in zip(row1, row2, strict=True):
                if isinstance(a, Node) and isinstance(b, Node):
                    if not self.same(a, b):
                        return False
                else:
                    values = [self.value(cell) if isinstance(cell, Node) else cell for cell in (a, b)]
                    if values[0] is None or values[1] is None or not self.equal_values(values[0], values[1]):
                        return False
        return True

    def matrix(self, node: Node) -> Any:
        """Rows of cells (trees where they stand as written, else values), or a scalar Value."""
        op, args = node
        budget = self.budget
        if op == "matrix":
            return [list(row) for row in args]
        if op == "seq":
            if all(item.op == "seq" for item in args[2]):
                rows = [list(item.args[2]) for item in args[2]]
                return rows if len({len(row) for row in rows}) == 1 else None
            return [[item] for item in args[2]]
        if op in ("add", "neg", "mul", "div", "pow", "fn"):
            if op == "fn" and args[0] == "det":
                return self._determinant(self.matrix(args[1]))
            if op == "fn" and args[0] != "prime9":
                return self.value(node)
            parts = [self.matrix(part) for part in (args[1:] if op == "fn" else args)]
            if any(part is None for part in parts):
                return None
            values = [self._values(part) for part in parts]
            if any(part is None for part in values):
                return None
            if op == "fn":
                return [list(row) for row in zip(*values[0], strict=True)] if not isinstance(values[0], Value) else None
            if op == "neg":
                return self._scale(values[0], constant(-1))
            if op == "div":
                return self._scale(values[0], algebra.inverse(values[1], budget)) if isinstance(values[1], Value) else None
            if op == "pow":
                return self._matrix_power(values[0], values[1])
            total = values[0]
            for part in values[1:]:
                total = self._sum(total, part) if op == "add" else self._product(total, part)
                if total is None:
                    return None
            return total
        return self.value(node)

    def _values(self, part: Any) -> Any:
        if part is None or isinstance(part, Value):
            return part
        rows = [[self.value(cell) if isinstance(cell, Node) else cell for cell in row] for row in part]
        return None if any(cell is None for row in rows for cell in row) else rows

    def _scale(self, part: Any, by: Value) -> Any:
        if isinstance(part, Value):
            return algebra.mul(part, by, self.budget)
        return [[algebra.mul(cell, by, self.budget) for cell in row] for row in part]

    def _sum(self, one: Any, two: Any) -> Any:
        if isinstance(one, Value) or isinstance(two, Value):
            if isinstance(one, Value) and isinstance(two, Value):
                return algebra.add(one, two, self.budget)
            return None
        if len(one) != len(two) or len(one[0]) != len(two[0]):
            return None
        return [
            [algebra.add(a, b, self.budget) for a, b in zip(r, s, strict=True)] for r, s in zip(one, two, strict=True)
        ]

    def _product(self, one: Any, two: Any) -> Any:
        if isinstance(one, Value):
            return self._scale(two, one)
        if isinstance(two, Value):
            return self._scale(one, two)
        if len(one[0]) != len(two):
            return None
        rows = []
        for row in one:
            cells = []
            for column in range(len(two[0])):
                total = algebra.ZERO
                for n, cell in enumerate(row):
                    total = algebra.add(total, algebra.mul(cell, two[n][column], self.budget), self.budget)
                cells.append(total)
            rows.append(cells)
        return rows

    def _matrix_power(self, part: Any, power: Any) -> Any:
        if not isinstance(power, Value):
            return None
        if isinstance(part, Value):
            return algebra.power(part, power, self.budget)
        times = algebra.rational(power)
        if times is None and algebra.names(power) is not None:
            if list(algebra.names(power)) in (["T"], ["\\top"]):
                return [list(row) for row in zip(*part, strict=True)]
            return None
        if times is None or times.denominator != 1 or len(part) != len(part[0]) or not 0 < times <= 64:
            return None
        result = part
        for _ in range(int(times) - 1):
            result = self._product(result, part)
        return result

    def _determinant(self, part: Any) -> Any:
        part = self._values(part)
        if part is None or isinstance(part, Value) or len(part) != len(part[0]) or len(part) > 4:
            return None
        if len(part) == 1:
            return part[0][0]
        total = algebra.ZERO
        for n, cell in enumerate(part[0]):
            minor = [row[:n] + row[n + 1 :] for row in part[1:]]
            term = algebra.mul(cell, self._determinant(minor), self.budget)
            total = algebra.add(total, algebra.negate(term) if n % 2 else term, self.budget)
        return total


# Helpers on trees


def _items(node: Node) -> tuple[Node, ...]:
    return node.args[1] if node.op == "list" else node.args


def _is_number_set(node: Node) -> bool:
    return node.op == "const" and node.args[0] in ("Reals", "Integers", "Naturals", "Rationals", "Complexes")


def _decimal(node: Node) -> tuple[Fraction, int] | None:
    """Value and decimals of a literal decimal (with sign, percent or degrees)."""
    sign, shift = 1, 0
    while node.op in ("neg", "deg", "percent"):
        if node.op == "neg":
            sign = -sign
        elif node.op == "percent":
            shift += 2
        node = node.args[0]
    if node.op == "num" and (node.args[1] or shift):
        return sign * node.args[0] / 10**shift, node.args[1] + shift
    return None


def _significant(value: Fraction, places: int) -> int:
    return len(str(abs(int(value * 10**places)))) if value else 0


def _is_float_of(decimals: Sequence[tuple[Fraction, int] | None], target: Fraction) -> bool:
    """Whether a decimal of 15 digits or more is a computer's number for the target."""
    longest = max((d for d in decimals if d is not None), key=lambda d: d[1])
    value, places = longest
    other = next((d[0] for d in decimals if d is not None and d is not longest), target)
    return _significant(value, places) >= 15 and abs(value - other) <= abs(other) / 10**12


def _terminates(value: Fraction) -> bool:
    """Whether a fraction has a decimal form of at most six places."""
    return 10**6 % value.denominator == 0


def _is_fraction(node: Node) -> bool:
    """A quotient of two whole numbers, as written."""
    if node.op == "neg":
        node = node.args[0]
    return node.op == "div" and all(part.op == "num" for part in node.args)


def _reduced(node: Node) -> bool:
    if not _is_fraction(node):
        return True
    top, bottom = ((node.args[0] if node.op == "neg" else node).args)
    value = Fraction(top.args[0]) / bottom.args[0] if bottom.args[0] else Fraction(0)
    return abs(top.args[0]) == abs(value.numerator)


def _has_zero(node: Node) -> bool:
    return any(part.op == "num" and not part.args[0] for part in node.args)


def _spelled(node: Node) -> str:
    value, places = node.args
    scaled = value * 10**places
    if scaled.denominator != 1 or value < 0:
        return "?"
    digits = str(int(scaled)).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits


def _digits(node: Node) -> str:
    return node.args[0].lstrip("0").lower() or "0"


def _letters(node: Node) -> str | None:
    """The text of a tree that is a word, or a product of one-letter names that may be one."""
    if node.op == "text":
        return flat(node.args[0])
    if node.op == "unit":
        inner = _letters(node.args[0])
        return None if inner is None else f"{inner} {flat(node.args[1])}"
    if node.op == "sym" or node.op == "const":
        return flat(node.args[0])
    if node.op == "num":
        return _spelled(node)
    if node.op == "mul":
        parts = [_letters(part) for part in node.args]
        return None if any(part is None for part in parts) else "".join(part or "" for part in parts)
    if node.op == "seq" and len(node.args[2]) == 1:
        return _letters(node.args[2][0])
    return None


_CHOICE = re.compile(r"(?:option |choice |answer )?([a-j])(?: .+)?")


def _choice(text: str) -> str | None:
    match = _CHOICE.fullmatch(text)
    return match.group(1) if match else None


def _named_list(node: Node) -> Node:
    """`n = 1, 2, 3` is the list 1, 2, 3: the name stands for every item."""
    if node.op != "list":
        return node
    joint, items = node.args
    first = items[0]
    if first.op == "rel" and len(items) > 1 and all(item.op != "rel" for item in items[1:]):
        assigned = _assignment(first)
        if assigned and assigned[0] is not None and first.args[0] in (("=",), ("in",), ("~",)):
            return Node("list", (joint, (assigned[1], *items[1:])))
    return node


def _is_equation(node: Node) -> bool:
    return all(sign in EQUAL_SIGNS or sign in ("in",) for sign in node.args[0])


def _is_closed(node: Node) -> bool:
    """An expression without names."""
    if node.op == "sym" or node.op == "text":
        return False
    if node.op in ("num", "const", "base"):
        return True
    return all(_closed_part(part) for part in node.args)


def _closed_part(part: Any) -> bool:
    if isinstance(part, Node):
        return _is_closed(part)
    return all(_closed_part(inner) for inner in part) if isinstance(part, tuple) else True


def _is_name(node: Node) -> bool:
    """What may stand left of "=" as the name of a quantity: x, f(x), AB, |z|, a:b, (x, y)."""
    op, args = node
    if op in ("sym", "text"):
        return True
    if op == "const":
        return args[0] in ("e", "i", "dots")
    if op == "fn":
        if args[0] in ("apply", "abs", "sub", "lim", "int", "sum", "prod"):
            return True
        return args[0] in ("det", "sgn", "arg", "dim", "rank", "tr", "gcd", "lcm", "max", "min") or all(
            isinstance(part, Node) and _is_name(part) for part in args[1:]
        )
    if op == "big":
        return True
    if op == "mul" or op == "div" or op == "ratio":
        return all(_is_name(part) or op == "mul" and _is_raised_name(part) for part in args)
    if op == "seq":
        return all(_is_name(part) for part in args[2])
    if op == "deg":
        return _is_name(args[0])
    return False


def _is_derivative(node: Node) -> bool:
    """dy/dx"""
    return node.op == "div" and all(
        part.op == "mul" and part.args[0] == Node("sym", ("d",)) for part in node.args
    )


def _is_raised_name(node: Node) -> bool:
    """The last factor of AB^2, the first of f^{-1}(x)."""
    if node.op != "pow" or node.args[0].op != "sym" or not _is_closed(node.args[1]):
        return False
    name = node.args[0].args[0]
    return name.isupper() or name in "fgh"


def _name_key(node: Node) -> str:
    op, args = node
    if op == "fn" and args[0] == "apply":
        return str(args[1].args[0])
    if op in ("sym", "const"):
        return str(args[0])
    if op == "mul" and len(args) == 2 and args[0].op == "sym" and args[1].op in ("sym", "seq"):
        if args[0].args[0].isupper() and args[1].op == "sym" and args[1].args[0].islower():
            return str(args[0].args[0])  # W(n)
    return repr(node)


def _same_name(one: Node, two: Node) -> bool:
    return one == two or _name_key(one).lower() == _name_key(two).lower()


def _assignment(node: Node) -> tuple[Node | None, Node] | None:
    """(name, value) of `x = 5`, `5 = x`, `x = 2 + 3 = 5`, `x \\approx 5`, `x \\in S`; else None."""
    if node.op != "rel":
        return None
    signs, sides = node.args
    if signs == ("in",):
        return (sides[0], sides[1]) if _is_name(sides[0]) else None
    if any(sign not in EQUAL_SIGNS for sign in signs):
        return None
    if "~" in signs:
        cut = signs.index("~")
        if cut:
            signs, sides = signs[:cut], sides[: cut + 1]
        elif _is_closed(sides[0]) and not _is_name(sides[0]):
            return None, sides[0]
    first, last = sides[0], sides[-1]
    if len(sides) == 1:
        return None, first
    if len(sides) > 2:
        return (first if _is_name(first) else None), last
    if _is_name(first) and not (_is_name(last) and first.op == last.op == "sym"):
        if first.op in ("mul", "div") and not _is_closed(last) and not _is_derivative(first):
            return None
        return first, last
    if _is_name(last) and last.op in ("sym", "fn", "text") and not (first.op == last.op == "sym"):
        return last, first
    if _is_closed(first) and _is_closed(last):
        return None, last
    return None


def _orders(node: Node) -> bool:
    """A list of inequalities."""
    return node.op == "list" and all(
        item.op == "rel" and not _is_equation(item) for item in node.args[1]
    )


def _steps(node: Node) -> list[tuple[str, Node, Node]]:
    signs, sides = node.args
    return [(sign, sides[n], sides[n + 1]) for n, sign in enumerate(signs)]


def _condition(node: Node) -> Node:
    """The relation of `{x : ...}`; other trees stay."""
    if node.op != "builder":
        return node
    head, tail = node.args
    if tail.op == "list" and len(tail.args[1]) == 1:
        return tail.args[1][0]
    del head
    return tail


def _flatten(node: Node) -> tuple[Node, ...]:
    if node.op != "setop":
        return (node,)
    return tuple(
        leaf
        for part in node.args[1:]
        for leaf in (_flatten(part) if part.op == "setop" and part.args[0] == node.args[0] else (part,))
    )


def _distinct_names(items: Sequence[Node]) -> bool:
    """Whether every item is named, by names that differ."""
    names = []
    for item in items:
        assigned = _assignment(item)
        if not assigned or assigned[0] is None:
            return False
        names.append(_name_key(assigned[0]))
    return len(names) > 1 and len(set(names)) == len(names)


def _proportion(f: Value, g: Value, budget: Budget) -> tuple[Value, Value] | None:
    """(p, q), free of names, with f : g = p : q if f and g are proportional by a constant."""
    if not f.num or not g.num:
        return (algebra.ONE, algebra.ONE) if not f.num and not g.num else None
    one, two = _by_names(f.num), _by_names(g.num)
    if one.keys() != two.keys():
        if len(one) != len(two):
            return None
        return None
    lead = min(one, key=repr)
    if not lead and len(one) == 1:
        return None  # two constants: 3 = 0 and 5 = 0
    return Value(one[lead], f.den), Value(two[lead], g.den)


def _by_names(poly: algebra.Poly) -> dict[frozenset[Any], algebra.Poly]:
    parts: dict[frozenset[Any], algebra.Poly] = {}
    for monomial, coefficient in poly.items():
        named = frozenset(item for item in monomial if any(True for _ in algebra._names(item[0])))
        parts.setdefault(named, {})[monomial - named] = coefficient
    return parts


def _minus(value: Value | None) -> Value | None:
    return None if value is None else algebra.negate(value)


def _vector(node: Node) -> bool:
    return node.op == "seq"


def _column(rows: list[list[Any]]) -> list[list[Any]]:
    if len(rows) == 1 or len(rows[0]) == 1:
        return [[cell] for row in rows for cell in row]
    return rows


def expand_signs(node: Node) -> Node:
    r"""`a \pm b` as the list a + b, a - b; inside of lists and sets the items are spread out."""
    if not _has_pm(node):
        return node
    op, args = node
    if op == "list" or op == "set":
        items: list[Node] = []
        for item in _items(node):
            spread = expand_signs(item)
            items.extend(spread.args[1] if spread.op == "list" and item.op != "list" else (spread,))
        return Node("list", (args[0], tuple(items))) if op == "list" else Node("set", tuple(items))
    if op == "unit":
        inner = expand_signs(args[0])
        if inner.op == "list":
            return Node("list", ("or", tuple(Node("unit", (item, args[1])) for item in inner.args[1])))
    return Node("list", ("or", (_choose(node, "pm"), _choose(node, "mp"))))


def _has_pm(part: Any) -> bool:
    if isinstance(part, Node):
        return part.op == "pm" or any(_has_pm(inner) for inner in part.args)
    return any(_has_pm(inner) for inner in part) if isinstance(part, tuple) else False


def _choose(part: Any, upper: str) -> Any:
    if isinstance(part, Node):
        if part.op == "pm":
            left, right = _choose(part.args[0], upper), _choose(part.args[1], upper)
            right = right if part.args[2] == upper else Node("neg", (right,))
            return Node("add", (left, right))
        return Node(part.op, tuple(_choose(inner, upper) for inner in part.args))
    if isinstance(part, tuple):
        return tuple(_choose(inner, upper) for inner in part)
    return part


__all__ = ["EMPTY", "Comparison", "LimitError", "expand_signs", "flat"]
