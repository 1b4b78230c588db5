"""Whether two answer trees mean the same. Every rule is symmetric in its two sides.

The order of the rules: equal trees; units; relations; texts; lists, sets, tuples, intervals;
matrices; numerals in a base; ratios; and scalars last, by exact values.
"""

import re
from itertools import chain

from tasks.answers.comparison.relations import Relations
from tasks.answers.expressions import trees
from tasks.answers.expressions.node import Node
from tasks.answers.expressions.trees import flat, has_zero, is_inequalities, is_number_set, items_of
from tasks.answers.options import Options
from tasks.answers.values.algebra import Value
from tasks.answers.values.matrices import Matrices, column
from tasks.answers.words.lexer import AnswerError
from tasks.answers.words.units import COMPOUND, conflicting, unit_key

MAX_MATCHED = 60  # items of a list that are matched in any order
COLLECTIONS = frozenset(("list", "set", "seq", "setop"))


class Comparer(Relations):
    """One comparison of two answers under the options; `log10` fixes the base of a bare \\log.

    A comparison of a kind of tree is a method; `same` decides which one applies.
    """

    def __init__(self, options: Options, log10: bool = False) -> None:
        super().__init__(options, log10)
        self.matrix = Matrices(self.value, self.effort)

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
        alike = trees.is_plain_fraction(inner) == trees.is_plain_fraction(other)
        if self.options.percent == "either" and not alike:
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
        self.effort.spend(1)
        if one == two:
            return True
        ops = (one.op, two.op)
        if "unit" in ops:
            return self.units(one, two)
        if "list" in ops:
            one, two = trees.without_common_name(one), trees.without_common_name(two)
            ops = (one.op, two.op)
        if "rel" in ops:
            return self.relations(one, two)
        if "builder" in ops:
            return self.same(trees.condition_of(one), trees.condition_of(two))
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
            first, second = trees.measures_of(one), trees.measures_of(two)
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
        left, right = trees.letters_of(one), trees.letters_of(two)
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
            digits = trees.numeral_digits(one)
            return one.args[1] == two.args[1] and digits == trees.numeral_digits(two)
        base, other = (one, two) if one.op == "base" else (two, one)
        if self.options.bases == "strict" and base.args[1] != 10:
            return False
        return other.op == "num" and trees.numeral_digits(base) == trees.spelled(other)

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
        if len(left) != len(right) or (len(left) == 2 and one.args[:2] != two.args[:2]):
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
        fixed = trees.have_distinct_names(left) != trees.have_distinct_names(right)
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
        left, right = (tuple(trees.leaves_of(node, node.args[0])) for node in (one, two))
        return self.unordered(Node("list", (",", left)), Node("list", (",", right)))

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


_CHOICE = re.compile(r"(?:option |choice |answer )?([a-j])(?: .+)?")


def _choice(text: str) -> str | None:
    match = _CHOICE.fullmatch(text)
    return match.group(1) if match else None
