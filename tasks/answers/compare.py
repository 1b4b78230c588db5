"""Whether two answer trees mean the same. Every rule is symmetric in its two sides.

The order of the rules: equal trees; units; relations; texts; lists, sets, tuples, intervals;
matrices; numerals in a base; ratios; and scalars last, by exact values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import chain
from typing import Any, Literal

from tasks.answers import algebra, functions, numeric, worker
from tasks.answers.algebra import Budget, Structured, Value
from tasks.answers.lexer import AnswerError
from tasks.answers.matrices import Matrices, column
from tasks.answers.options import Options
from tasks.answers.parser import Node
from tasks.answers.reals import RealSets
from tasks.answers.trees import (
    ORDER_SIGNS,
    assignment,
    condition_of,
    decimal_of,
    flat,
    has_zero,
    have_distinct_names,
    is_equation,
    is_graph,
    is_inequalities,
    is_number_set,
    is_plain_fraction,
    is_reduced,
    items_of,
    leaves_of,
    letters_of,
    measures_of,
    numeral_digits,
    same_name,
    significant_digits,
    spelled,
    steps_of,
    terminates,
    without_common_name,
)
from tasks.answers.units import COMPOUND, conflicting, unit_key

MAX_MATCHED = 60  # items of a list that are matched in any order
COLLECTIONS = frozenset(("list", "set", "seq", "setop"))


class Comparison:
    """One comparison of two answers under the options; `log10` fixes the base of a bare \\log."""

    def __init__(self, options: Options, log10: bool = False) -> None:
        self.options = options
        self.log10 = log10
        self.budget = Budget()
        self.values: dict[int, tuple[Node, Value | None]] = {}
        self.used = "structure"  # the last rule that compared
        self.stopped: Literal["", "timeout", "limit"] = ""  # why a question stayed open
        self.real_sets = RealSets(self.value, self.budget)
        self.matrix = Matrices(self.value, self.budget)

    # Scalars

    def value(self, node: Node) -> Value | None:
        """The scalar value of a tree, None where it is none."""
        known = self.values.get(id(node))
        if known is not None:
            return known[1]
        try:
            value = functions.value_of(node, self.budget, self.log10)
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
        worker.prepare()
        if numeric.differ(one, two):
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
        if self.options.fractions == "reduced" and is_reduced(one) != is_reduced(two):
            return False
        if self.equal_values(left, right):
            return True
        return self.rounded(one, left, two, right)

    def rounded(self, one: Node, left: Value, two: Node, right: Value) -> bool:
        """A decimal equals what rounds to it, where it has enough digits to mean that."""
        options = self.options
        first, second = decimal_of(one), decimal_of(two)
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
        digits = significant_digits(value, places)
        if target is not None and _is_float_of((first, second), target):
            self.used = "rounding"
            return True
        half = Fraction(1, 2 * 10**places)
        self.used = "rounding"
        if target is not None:
            if first is None or second is None:
                if terminates(target):
                    return False  # a short decimal form is exact, so no other rounds to it
                digits += 1  # a fraction is known by fewer digits than an arbitrary real
            return digits >= options.min_digits and abs(value - target) <= half
        if digits < options.min_digits:
            return False
        if algebra.has_names(other):
            return False
        measured = numeric.evaluate(other)
        if measured is None or abs(measured[0].imag) > measured[1]:
            return False
        return abs(float(value) - measured[0].real) <= float(half) + measured[1] + 1e-16 * abs(
            measured[0]
        )

    def _within(self, left: Value, right: Value) -> bool:
        one, two = algebra.rational(left), algebra.rational(right)
        if one is not None and two is not None:
            return abs(one - two) <= Fraction(self.options.rel_tol) * max(abs(one), abs(two))
        a, b = numeric.evaluate(left), numeric.evaluate(right)
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
        if self.options.percent == "either" and (
            is_plain_fraction(inner) != is_plain_fraction(other)
        ):
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
            one, two = without_common_name(one), without_common_name(two)
            ops = (one.op, two.op)
        if "rel" in ops:
            return self.relations(one, two)
        if "builder" in ops:
            return self.same(condition_of(one), condition_of(two))
        if "text" in ops:
            return self.texts(one, two)
        if not COLLECTIONS.isdisjoint(ops) or is_number_set(one) or is_number_set(two):
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
        if "matrix" in ops:
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
        if COMPOUND.search(left) or COMPOUND.search(right):  # 1 hour 30 minutes
            first, second = measures_of(one), measures_of(two)
            if first and second:
                return self.same(first, second)
            return flat(left) == flat(right) and self.same(one.args[0], two.args[0])
        if self.options.units == "strict":
            known = unit_key(left)
            if known != unit_key(right) or (known is None and flat(left) != flat(right)):
                return False
        elif self.options.units == "lenient" and left and right and conflicting(left, right):
            return False
        inner = (one.args[0] if left else one), (two.args[0] if right else two)
        if left and right and inner[0].op == inner[1].op == "ratio":
            return inner[0] == inner[1]  # times of the day
        return self.same(*inner)

    def texts(self, one: Node, two: Node) -> bool:
        self.used = "text"
        left, right = letters_of(one), letters_of(two)
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
            return not has_zero(ratio) and self.same(Node("div", ratio.args), other)
        if len(one.args) != len(two.args):
            return False
        if all(self.same(a, b) for a, b in zip(one.args, two.args, strict=True)):
            return True
        if has_zero(one) or has_zero(two):
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
            return one.args[1] == two.args[1] and numeral_digits(one) == numeral_digits(two)
        base, other = (one, two) if one.op == "base" else (two, one)
        if self.options.bases == "strict" and base.args[1] != 10:
            return False
        return other.op == "num" and numeral_digits(base) == spelled(other)

    # Relations

    def relations(self, one: Node, two: Node) -> bool:
        left, right = assignment(one), assignment(two)
        if one.op == two.op and one.args[0] == two.args[0] and "~" in one.args[0]:
            return all(self.same(a, b) for a, b in zip(one.args[1], two.args[1], strict=True))
        if left and right and left[0] is not None and right[0] is not None:
            if same_name(left[0], right[0]) or is_graph(one, two):
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
            if is_equation(one) and is_equation(two):
                return self.equations(one, two)
            if (left or right) and ("in",) in (one.args[0], two.args[0]):
                return self.as_real_sets(one, two)
            if is_equation(one) or is_equation(two):
                return False
            return self.inequalities(one, two)
        if left or right:
            relation, other = (left, two) if one.op == "rel" else (right, one)
            assert relation is not None
            return self.same(relation[1], other)
        relation, other = (one, two) if one.op == "rel" else (two, one)
        if relation.args[0] == ("=",) and other.op == "sym":  # "x = n" beside n
            return relation.args[1][0].op == "sym" and relation.args[1][1] == other
        if is_equation(relation):
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
            return straight or all(
                self.same(a, b) for a, b in zip(pairs[0], pairs[1][::-1], strict=True)
            )
        self.used = "equation"
        a, b, c, d = (side for side in sides if side is not None)
        f, g = algebra.subtract(a, b, self.budget), algebra.subtract(c, d, self.budget)
        ratio = _proportion(f, g, self.budget)
        if ratio is None:
            return False
        return self.equal_values(
            algebra.mul(f, ratio[1], self.budget), algebra.mul(g, ratio[0], self.budget)
        )

    def inequalities(self, one: Node, two: Node) -> bool:
        try:
            return self.as_real_sets(one, two, strict=True)
        except AnswerError:
            pass
        self.used = "inequality"
        left, right = steps_of(one), steps_of(two)
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
        if (
            any(value is None for value in values)
            or sign1 not in ORDER_SIGNS
            or sign2 not in ORDER_SIGNS
        ):
            return False
        va, vb, vc, vd = (value for value in values if value is not None)
        f, g = algebra.subtract(va, vb, self.budget), algebra.subtract(vc, vd, self.budget)
        ratio = _proportion(f, g, self.budget)
        if ratio is None:
            return False
        scale = numeric.evaluate(algebra.quotient(ratio[0], ratio[1], self.budget))
        if scale is None or abs(scale[0].imag) > scale[1] or abs(scale[0].real) <= scale[1]:
            return False
        if (sign2 if scale[0].real > 0 else ORDER_SIGNS[sign2]) != sign1:
            return False
        return self.equal_values(
            algebra.mul(f, ratio[1], self.budget), algebra.mul(g, ratio[0], self.budget)
        )

    # Collections

    def collections(self, one: Node, two: Node) -> bool:
        if one.op == two.op == "seq":
            return self.sequences(one, two)
        for several, other in ((one, two), (two, one)):
            alternatives = several.op == "list" and several.args[0] == "or"
            if alternatives and other.op not in COLLECTIONS and not is_inequalities(several):
                return all(self.same(item, other) for item in several.args[1])  # x + 1 or 1 + x
        plain = {"list", "set"}
        if one.op in plain and two.op in plain:
            if is_inequalities(one) and is_inequalities(two):
                return self.as_real_sets(one, two)
            return self.unordered(one, two)
        if {one.op, two.op} <= {"list", "set", "seq"}:
            sequence, other = (one, two) if one.op == "seq" else (two, one)
            items = items_of(other)
            if is_inequalities(other):
                return self.as_real_sets(one, two)
            if len(items) == 1:
                return other.op == "set" and self.same(items[0], sequence)
            if len(items) != len(sequence.args[2]):
                return False
            if len(items) == 2 and sequence.args[:2] != ("(", ")"):
                return False  # an interval
            return all(self.same(a, b) for a, b in zip(items, sequence.args[2], strict=True))
        for container, other in ((one, two), (two, one)):
            single = container.op == "set" and len(container.args) == 1
            if single and other.op not in COLLECTIONS:
                return self.same(container.args[0], other)
        if "matrix" in (one.op, two.op):
            return self.matrices(one, two)
        if "setop" in (one.op, two.op) or is_number_set(one) or is_number_set(two):
            try:
                return self.as_real_sets(one, two, strict=True)
            except AnswerError:
                return self.set_operations(one, two)
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
        left, right = list(items_of(one)), list(items_of(two))
        if not left or not right:
            return not left and not right
        if "set" in (one.op, two.op) or left[0].op == right[0].op == "seq":
            left, right = self._distinct(left), self._distinct(right)
        if len(left) != len(right) or len(left) > MAX_MATCHED:
            return False
        fixed = have_distinct_names(left) != have_distinct_names(right)
        if (self.options.list_order == "same" and one.op == two.op == "list") or fixed:
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
            if item not in kept:
                kept.append(item)
        return kept + items[MAX_MATCHED:]

    def set_operations(self, one: Node, two: Node) -> bool:
        if one.op != "setop" or two.op != "setop" or one.args[0] != two.args[0]:
            return False
        if one.args[0] == "minus":
            return self.same(one.args[1], two.args[1]) and self.same(one.args[2], two.args[2])
        left, right = leaves_of(one), leaves_of(two)
        return self.unordered(Node("list", (",", left)), Node("list", (",", right)))

    # Sets of reals

    def as_real_sets(self, one: Node, two: Node, strict: bool = False) -> bool:
        """Compares as unions of intervals; `strict` raises AnswerError where one is no such set."""
        try:
            left, name1 = self.real_sets.read(one)
            right, name2 = self.real_sets.read(two)
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

    # Matrices

    def matrices(self, one: Node, two: Node) -> bool:
        self.used = "matrix"
        left, right = self.matrix.read(one), self.matrix.read(two)
        if left is None or right is None:
            return False
        if isinstance(left, Value) or isinstance(right, Value):
            both = isinstance(left, Value) and isinstance(right, Value)
            return both and self.equal_values(left, right)
        if (one.op == "seq") != (two.op == "seq") and 1 in (len(left), len(left[0])):
            left, right = column(left), column(right)
        if len(left) != len(right) or len(left[0]) != len(right[0]):
            return False
        cells = zip(chain(*left), chain(*right), strict=True)
        return all(self.same_cells(a, b) for a, b in cells)

    def same_cells(self, one: Node | Value, two: Node | Value) -> bool:
        """Cells are trees where a matrix stands as written, values where it was computed."""
        if isinstance(one, Node) and isinstance(two, Node):
            return self.same(one, two)
        left = self.value(one) if isinstance(one, Node) else one
        right = self.value(two) if isinstance(two, Node) else two
        return left is not None and right is not None and self.equal_values(left, right)


def _is_float_of(decimals: Sequence[tuple[Fraction, int] | None], target: Fraction) -> bool:
    """Whether a decimal of 15 digits or more is a computer's number for the target."""
    longest = max((d for d in decimals if d is not None), key=lambda d: d[1])
    value, places = longest
    other = next((d[0] for d in decimals if d is not None and d is not longest), target)
    return significant_digits(value, places) >= 15 and abs(value - other) <= abs(other) / 10**12


_CHOICE = re.compile(r"(?:option |choice |answer )?([a-j])(?: .+)?")


def _choice(text: str) -> str | None:
    match = _CHOICE.fullmatch(text)
    return match.group(1) if match else None


def _proportion(f: Value, g: Value, budget: Budget) -> tuple[Value, Value] | None:
    """(p, q), free of names, with f : g = p : q if f and g are proportional by a constant."""
    if not f.num or not g.num:
        return (algebra.ONE, algebra.ONE) if not f.num and not g.num else None
    one, two = _by_names(f.num), _by_names(g.num)
    if one.keys() != two.keys():
        return None
    lead = min(one, key=repr)
    if not lead and len(one) == 1:
        return None  # two constants: 3 = 0 and 5 = 0
    return Value(one[lead], f.den), Value(two[lead], g.den)


def _by_names(poly: algebra.Poly) -> dict[frozenset[Any], algebra.Poly]:
    parts: dict[frozenset[Any], algebra.Poly] = {}
    for monomial, coefficient in poly.items():
        named = frozenset(item for item in monomial if any(True for _ in algebra.names_in(item[0])))
        parts.setdefault(named, {})[monomial - named] = coefficient
    return parts
