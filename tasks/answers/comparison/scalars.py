"""Whether two scalars are equal: by exact values, by evaluation, by rounding."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from tasks.answers.expressions.node import Node
from tasks.answers.expressions.trees import decimal_of, is_reduced, significant_digits, terminates
from tasks.answers.options import Options
from tasks.answers.values import algebra, numeric
from tasks.answers.values.algebra import Effort, Structured, Value
from tasks.answers.values.evaluate import value_of
from tasks.answers.workers import worker


class Scalars(ABC):
    """The state of one comparison and its rules for scalars; see compare.py."""

    def __init__(self, options: Options, log10: bool = False) -> None:
        self.options = options
        self.log10 = log10
        self.effort = Effort()
        self.values: dict[int, tuple[Node, Value | None]] = {}
        self.used = "structure"  # the last rule that compared
        self.stopped: Literal["", "timeout", "limit"] = ""  # why a question stayed open

    @abstractmethod
    def same(self, one: Node, two: Node) -> bool:
        """Whether two trees of any kind mean the same."""

    @abstractmethod
    def matrices(self, one: Node, two: Node) -> bool: ...

    def value(self, node: Node) -> Value | None:
        """The scalar value of a tree, None where it is none."""
        known = self.values.get(id(node))
        if known is not None:
            return known[1]
        try:
            value = value_of(node, self.effort, self.log10)
        except Structured:
            value = None
        self.values[id(node)] = (node, value)
        return value

    def equal_values(self, one: Value, two: Value) -> bool:
        if algebra.equal(one, two, self.effort):
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
        self.used = "rounding"
        if target is not None and _is_float_of((first, second), target):
            return True
        half = Fraction(1, 2 * 10**places)
        if target is not None:
            if first is None or second is None:
                if terminates(target):
                    return False  # a short decimal form is exact, so no other rounds to it
                digits += 1  # a fraction is known by fewer digits than an arbitrary real
            return digits >= options.min_digits and abs(value - target) <= half
        if digits < options.min_digits or algebra.has_names(other):
            return False
        measured = numeric.evaluate(other)
        if measured is None or not measured.is_real:
            return False
        slack = float(half) + measured.error + 1e-16 * abs(measured.value)
        return abs(float(value) - measured.value.real) <= slack

    def _within(self, left: Value, right: Value) -> bool:
        one, two = algebra.rational(left), algebra.rational(right)
        if one is not None and two is not None:
            return abs(one - two) <= Fraction(self.options.rel_tol) * max(abs(one), abs(two))
        a, b = numeric.evaluate(left), numeric.evaluate(right)
        if a is None or b is None:
            return False
        return abs(a[0] - b[0]) <= self.options.rel_tol * max(abs(a[0]), abs(b[0]))


def _is_float_of(decimals: Sequence[tuple[Fraction, int] | None], target: Fraction) -> bool:
    """Whether a decimal of 15 digits or more is a computer's number for the target."""
    longest = max((d for d in decimals if d is not None), key=lambda d: d[1])
    value, places = longest
    other = next((d[0] for d in decimals if d is not None and d is not longest), target)
    return significant_digits(value, places) >= 15 and abs(value - other) <= abs(other) / 10**12
