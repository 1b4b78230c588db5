"""Whether two equations, inequalities or sets of real numbers are the same."""

from collections.abc import Sequence
from typing import Any

from tasks.answers.comparison.scalars import Scalars
from tasks.answers.expressions.node import Node
from tasks.answers.expressions.trees import (
    ORDER_SIGNS,
    assignment,
    is_equation,
    is_graph,
    same_name,
    steps_of,
)
from tasks.answers.options import Options
from tasks.answers.values import algebra, numeric
from tasks.answers.values.algebra import Effort, Value
from tasks.answers.values.reals import RealSets
from tasks.answers.words.lexer import AnswerError


class Relations(Scalars):
    """The rules for relations; a set of reals may also be written as inequalities."""

    def __init__(self, options: Options, log10: bool = False) -> None:
        super().__init__(options, log10)
        self.real_sets = RealSets(self.value, self.effort)

    def relations(self, one: Node, two: Node) -> bool:
        left, right = assignment(one), assignment(two)
        if one.op == two.op and one.args[0] == two.args[0] and "~" in one.args[0]:
            return self._same_all(one.args[1], two.args[1])
        if left and right and left[0] is not None and right[0] is not None:
            named = same_name(left[0], right[0]) or "text" in (left[0].op, right[0].op)
            if named or is_graph(one, two):
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
        left, right = one.args[1], two.args[1]
        if len(left) != 2 or len(right) != 2:
            return len(left) == len(right) and self._same_all(left, right)
        sides = [value for side in (*left, *right) if (value := self.value(side)) is not None]
        if len(sides) < 4:
            return self._same_all(left, right) or self._same_all(left, right[::-1])
        self.used = "equation"
        a, b, c, d = sides
        f, g = algebra.subtract(a, b, self.effort), algebra.subtract(c, d, self.effort)
        if (ratio := _proportion(f, g, self.effort)) is None:
            return False
        p, q = ratio
        return self.equal_values(algebra.mul(f, q, self.effort), algebra.mul(g, p, self.effort))

    def _same_all(self, one: Sequence[Node], two: Sequence[Node]) -> bool:
        return all(self.same(a, b) for a, b in zip(one, two, strict=True))

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
        sides = [value for side in (a, b, c, d) if (value := self.value(side)) is not None]
        if len(sides) < 4 or sign1 not in ORDER_SIGNS or sign2 not in ORDER_SIGNS:
            return False
        va, vb, vc, vd = sides
        f, g = algebra.subtract(va, vb, self.effort), algebra.subtract(vc, vd, self.effort)
        if (ratio := _proportion(f, g, self.effort)) is None:
            return False
        p, q = ratio
        scale = numeric.evaluate(algebra.quotient(p, q, self.effort))
        if scale is None or not scale.is_real or abs(scale.value.real) <= scale.error:
            return False
        if (sign2 if scale.value.real > 0 else ORDER_SIGNS[sign2]) != sign1:
            return False
        return self.equal_values(algebra.mul(f, q, self.effort), algebra.mul(g, p, self.effort))

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
        if (name1 and name2 and name1 != name2) or len(left) != len(right):
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


def _proportion(f: Value, g: Value, effort: Effort) -> tuple[Value, Value] | None:
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
