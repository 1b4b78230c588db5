"""Matrices: read from trees, added, multiplied, raised to powers."""

from collections.abc import Callable
from typing import Any

from tasks.answers.expressions.node import Node
from tasks.answers.values import algebra, functions
from tasks.answers.values.algebra import Effort, Value, constant


class Matrices:
    """Reads trees as matrices; `value` gives the scalar value of a tree, None if it has none."""

    def __init__(self, value: Callable[[Node], Value | None], effort: Effort) -> None:
        self.value = value
        self.effort = effort

    def read(self, node: Node) -> Any:
        """Rows of cells (trees where they stand as written, else values), or a scalar Value."""
        op, args = node
        effort = self.effort
        if op == "matrix":
            return [list(row) for row in args]
        if op == "seq":
            if all(item.op == "seq" for item in args[2]):
                rows = [list(item.args[2]) for item in args[2]]
                return rows if len({len(row) for row in rows}) == 1 else None
            return [[item] for item in args[2]]
        if op == "fn" and args[0] == "det":
            return self._determinant(self.read(args[1]))
        transposed = op == "fn" and args[0] == "prime9"
        if op not in ("add", "neg", "mul", "div", "pow") and not transposed:
            return self.value(node)
        parts = [self.read(part) for part in (args[1:] if transposed else args)]
        values = [] if None in parts else [self._values(part) for part in parts]
        if not values or None in values:
            return None
        first, *rest = values
        if transposed:
            return None if isinstance(first, Value) else _transposed(first)
        if op == "neg":
            return self._scale(first, constant(-1))
        if op == "div":
            by = rest[0]
            return self._scale(first, algebra.inverse(by, effort)) if type(by) is Value else None
        if op == "pow":
            return self._power(first, rest[0])
        total = first
        for part in rest:
            total = self._sum(total, part) if op == "add" else self._product(total, part)
            if total is None:
                return None
        return total

    def _values(self, part: Any) -> Any:
        if part is None or isinstance(part, Value):
            return part
        rows = [[self.value(c) if isinstance(c, Node) else c for c in row] for row in part]
        return None if any(cell is None for row in rows for cell in row) else rows

    def _scale(self, part: Any, by: Value) -> Any:
        if isinstance(part, Value):
            return algebra.mul(part, by, self.effort)
        return [[algebra.mul(cell, by, self.effort) for cell in row] for row in part]

    def _sum(self, one: Any, two: Any) -> Any:
        if isinstance(one, Value) and isinstance(two, Value):
            return algebra.add(one, two, self.effort)
        if isinstance(one, Value) or isinstance(two, Value):
            return None
        if len(one) != len(two) or len(one[0]) != len(two[0]):
            return None
        return [
            [algebra.add(a, b, self.effort) for a, b in zip(r, s, strict=True)]
            for r, s in zip(one, two, strict=True)
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
                    term = algebra.mul(cell, two[n][column], self.effort)
                    total = algebra.add(total, term, self.effort)
                cells.append(total)
            rows.append(cells)
        return rows

    def _power(self, part: Any, power: Any) -> Any:
        if not isinstance(power, Value):
            return None
        if isinstance(part, Value):
            return functions.power(part, power, self.effort)
        times = algebra.rational(power)
        if times is None:
            letters = list(algebra.names(power))
            return _transposed(part) if letters in (["T"], ["\\top"]) else None
        if times.denominator != 1 or not 0 < times <= 64 or len(part) != len(part[0]):
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
            term = algebra.mul(cell, self._determinant(minor), self.effort)
            total = algebra.add(total, algebra.negate(term) if n % 2 else term, self.effort)
        return total


def _transposed(rows: list[list[Any]]) -> list[list[Any]]:
    return [list(row) for row in zip(*rows, strict=True)]


def column(rows: list[list[Any]]) -> list[list[Any]]:
    if len(rows) == 1 or len(rows[0]) == 1:
        return [[cell] for row in rows for cell in row]
    return rows
