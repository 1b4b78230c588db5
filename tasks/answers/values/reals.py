"""Sets of reals as unions of intervals, from intervals, sets, inequalities and conditions."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

from tasks.answers.expressions import trees
from tasks.answers.expressions.node import Node
from tasks.answers.expressions.trees import ORDER_SIGNS
from tasks.answers.values import algebra, numeric
from tasks.answers.values.algebra import Effort, Value
from tasks.answers.words.lexer import AnswerError


class Span(NamedTuple):
    low: Value | None  # None for minus infinity
    low_closed: bool
    high: Value | None
    high_closed: bool


class End(NamedTuple):
    """Of an interval: its place on the line, and its value (None if infinite)."""

    place: float
    value: Value | None


class RealSets:
    """Reads trees as sets of reals; `value` gives a tree's scalar value, None if it has none."""

    def __init__(self, value: Callable[[Node], Value | None], effort: Effort) -> None:
        self.value = value
        self.effort = effort

    def read(self, node: Node) -> tuple[list[Span], str]:
        """The set of reals that a tree describes, and the name of its variable if it has one."""
        op, args = node
        if op == "seq" and len(args[2]) == 2:
            low, high = self.end(args[2][0]), self.end(args[2][1])
            return self.ordered(low, args[0] == "[", high, args[1] == "]"), ""
        if op == "set":
            points = [self.end(item) for item in args]
            return self.union([i for p in points for i in self.ordered(p, True, p, True)]), ""
        if op == "setop":
            (left, _), (right, _) = self.read(args[1]), self.read(args[2])
            if args[0] == "union":
                return self.union(left + right), ""
            if args[0] == "inter":
                return self.intersection(left, right), ""
            return self.intersection(left, self.complement(right)), ""
        if op == "const" and args[0] == "Reals":
            return [Span(None, False, None, False)], ""
        if op == "builder":
            return self.read(trees.condition_of(node))
        if op == "list" and trees.is_inequalities(node):
            parts = [self.read(item) for item in args[1]]
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
            assigned = trees.assignment(node)
            if assigned and node.args[0] == ("in",):
                return self.read(assigned[1])[0], trees.name_key(assigned[0]) if assigned[0] else ""
            if not trees.is_equation(node):
                return self.solution(node)
        raise AnswerError("no set of reals")

    def end(self, node: Node) -> End:
        value = self.value(node)
        if value is None:
            raise AnswerError("an end that is no number")
        for sign, place in ((1, float("inf")), (-1, float("-inf"))):
            if value.num == {m: sign * c for m, c in algebra.OO_VALUE.num.items()}:
                return End(place, None)
        if algebra.has_names(value):
            raise AnswerError("an end with a name in it")
        measured = numeric.evaluate(value)
        if measured is None or abs(measured.value.imag) > 1e-12 + measured.error:
            raise AnswerError("an end that is no real number")
        return End(measured.value.real, value)

    def ordered(self, low: End, low_closed: bool, high: End, high_closed: bool) -> list[Span]:
        if low.place > high.place:
            raise AnswerError("an interval whose ends are in the wrong order")
        if low.place == float("inf") or high.place == float("-inf"):
            raise AnswerError("an interval at infinity")
        if low.place == high.place and not (low_closed and high_closed):
            return []
        low_closed = low_closed and low.value is not None
        high_closed = high_closed and high.value is not None
        return [Span(low.value, low_closed, high.value, high_closed)]

    def place(self, value: Value | None, infinite: float) -> float:
        if value is None:
            return infinite
        measured = numeric.evaluate(value)
        if measured is None:
            raise AnswerError("an end that is no number")
        return measured.value.real

    def union(self, parts: Sequence[Span]) -> list[Span]:
        low, high = float("-inf"), float("inf")
        ordered = sorted(parts, key=lambda i: (self.place(i.low, low), not i.low_closed))
        merged: list[Span] = []
        for part in ordered:
            if merged:
                last = merged[-1]
                end, start = self.place(last.high, high), self.place(part.low, low)
                if start < end or (start == end and (last.high_closed or part.low_closed)):
                    stop = self.place(part.high, high)
                    if stop > end or (stop == end and part.high_closed):
                        merged[-1] = Span(last.low, last.low_closed, part.high, part.high_closed)
                    continue
            merged.append(part)
        return merged

    def intersection(self, one: Sequence[Span], two: Sequence[Span]) -> list[Span]:
        low, high = float("-inf"), float("inf")
        parts: list[Span] = []
        for a in one:
            for b in two:
                starts = sorted((a, b), key=lambda i: (self.place(i.low, low), not i.low_closed))
                ends = sorted((a, b), key=lambda i: (self.place(i.high, high), i.high_closed))
                start, stop = starts[1], ends[0]
                first, last = self.place(start.low, low), self.place(stop.high, high)
                if first < last or (first == last and start.low_closed and stop.high_closed):
                    parts.append(Span(start.low, start.low_closed, stop.high, stop.high_closed))
        return self.union(parts)

    def complement(self, parts: Sequence[Span]) -> list[Span]:
        result: list[Span] = []
        low: Value | None = None
        closed = False
        for n, part in enumerate(self.union(parts)):
            if n or part.low is not None:
                result.append(Span(low, closed, part.low, not part.low_closed))
            if part.high is None:
                return result
            low, closed = part.high, not part.high_closed
        return [*result, Span(low, closed, None, False)]

    def solution(self, node: Node) -> tuple[list[Span], str]:
        """The set that a chain of linear inequalities in one variable describes."""
        parts: list[Span] | None = None
        found = ""
        for sign, left, right in trees.steps_of(node):
            step, name = self._solve(sign, left, right)
            if found and name != found:
                raise AnswerError("inequalities of several variables")
            found = name
            parts = step if parts is None else self.intersection(parts, step)
        if parts is None:
            raise AnswerError("no inequality")
        return parts, found

    def _solve(self, sign: str, left: Node, right: Node) -> tuple[list[Span], str]:
        for a, b, s in ((left, right, sign), (right, left, ORDER_SIGNS.get(sign, ""))):
            if a.op == "fn" and a.args[0] in ("apply", "abs") and s and len(a.args) >= 2:
                if a.args[0] == "apply":
                    return self._ray(s, self.end(b)), trees.name_key(a)
                inner = a.args[1]  # |u| < c: u < c and -u < c; |u| > c: one of them
                one, name = self._solve(s, inner, b)
                two, _ = self._solve(s, Node("neg", (inner,)), b)
                if s in ("<", "<=", "!="):
                    return self.intersection(one, two), name
                return self.union([*one, *two]), name
        one, two = self.value(left), self.value(right)
        if one is None or two is None or sign not in ORDER_SIGNS:
            raise AnswerError("no inequality of numbers")
        if any(name == algebra.OO_ATOM for v in (one, two) for name in algebra.atoms(v)):
            for a, b, s in ((left, right, sign), (right, left, ORDER_SIGNS[sign])):
                everything = ((float("inf"), "<"), (float("-inf"), ">"))
                if a.op == "sym" and (self.end(b).place, s[0]) in everything:
                    return [Span(None, False, None, False)], a.args[0]
            raise AnswerError("an inequality at infinity")
        f = algebra.subtract(one, two, self.effort)
        found = sorted(set(algebra.names(f)))
        if len(found) != 1 or f.den != algebra.ONE_POLY:
            raise AnswerError("no linear inequality")
        slope: algebra.Poly = {}
        rest: algebra.Poly = {}
        variable = ((algebra.NAME, found[0]), Fraction(1))
        for monomial, coefficient in f.num.items():
            if variable in monomial:
                slope[monomial - {variable}] = coefficient
            else:
                rest[monomial] = coefficient
        if set(algebra.names(Value(slope, rest or algebra.ONE_POLY))):
            raise AnswerError("no linear inequality")
        factor = numeric.evaluate(Value(slope))
        if factor is None or not factor.is_real or abs(factor.value.real) <= factor.error:
            raise AnswerError("an inequality of no fixed direction")
        bound = algebra.quotient(algebra.negate(Value(rest)), Value(slope), self.effort)
        measured = numeric.evaluate(bound)
        if measured is None or abs(measured.value.imag) > 1e-12 + measured.error:
            raise AnswerError("a bound that is no real number")
        if factor.value.real < 0:
            sign = ORDER_SIGNS[sign]
        return self._ray(sign, End(measured.value.real, bound)), found[0]

    def _ray(self, sign: str, bound: End) -> list[Span]:
        if bound.value is None:
            raise AnswerError("an inequality at infinity")
        if sign == "!=":
            return [Span(None, False, bound.value, False), Span(bound.value, False, None, False)]
        if sign in ("<", "<="):
            return [Span(None, False, bound.value, sign == "<=")]
        return [Span(bound.value, sign == ">=", None, False)]
