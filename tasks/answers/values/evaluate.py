"""The values of expression trees, in the form of `algebra`."""

from typing import Any

from tasks.answers.expressions.node import Node, integer
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
from tasks.answers.values.functions import function, power
from tasks.answers.words.lexer import AnswerError, LimitError


def value_of(node: Node, effort: Effort, log10: bool = False) -> Value:
    """The value of an expression tree. Raises Structured where the tree is no scalar."""
    effort.spend(1)
    op, args = node
    if op == "num":
        return constant(args[0])
    if op == "sym":
        return atom((algebra.NAME, args[0]))
    if op == "const":
        known = args[0] in ("pi", "e", "i", "oo")
        return atom((algebra.CONSTANT, args[0]) if known else (algebra.NAME, f"\\{args[0]}"))

    def value(part: Node) -> Value:
        return value_of(part, effort, log10)

    if op == "neg":
        return algebra.negate(value(args[0]))
    if op in ("add", "mul"):
        total = value(args[0])
        for part in args[1:]:
            total = (add if op == "add" else mul)(total, value(part), effort)
        return total
    if op == "div":
        return quotient(value(args[0]), value(args[1]), effort)
    if op == "pow":
        return power(value(args[0]), value(args[1]), effort)
    if op == "root":
        order = rational(value(args[0]))
        if order is None or not order:
            raise AnswerError("a root of no fixed order")
        return power(value(args[1]), constant(1 / order), effort)
    if op == "mixed":
        whole, top, bottom = (part.args[0] for part in args)
        return constant(whole + F(top, bottom))
    if op == "percent":
        return mul(value(args[0]), constant(F(1, 100)), effort)
    if op == "deg":
        return mul(value(args[0]), mul(constant(F(1, 180)), algebra.PI_VALUE, effort), effort)
    if op == "fn":
        name, *arguments = args
        if name == "log":
            name = "lg" if log10 else "ln"
        if name == "det" or any(part.op == "matrix" for part in arguments):
            raise algebra.Structured(op)
        return function(name, [value(part) for part in arguments], effort)
    if op == "big":
        return _big(node, effort, log10)
    if op == "unit" or (op == "set" and len(args) == 1):
        return value(args[0])
    if op == "seq" and len(args[2]) == 1:
        return value(args[2][0])
    raise algebra.Structured(op)


def substitute(node: Node, name: str, by: Node) -> Node:
    """The tree with a name replaced."""
    if node.op in ("sym", "const"):
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


def _big(node: Node, effort: Effort, log10: bool) -> Value:
    """Sums and products: computed where the limits are numbers, else a function of their parts."""
    kind, body, name, low, high = node.args
    start, stop = value_of(low, effort, log10), value_of(high, effort, log10)
    first, last = rational(start), rational(stop)
    if kind in ("sum", "prod") and first is not None and last is not None:
        if first.denominator != 1 or last.denominator != 1:
            raise AnswerError("limits of a sum are whole numbers")
        if last - first > 300:
            raise LimitError("a sum of too many terms")
        total = algebra.ZERO if kind == "sum" else algebra.ONE
        for n in range(int(first), int(last) + 1):
            term = value_of(substitute(body, name, integer(n)), effort, log10)
            total = add(total, term, effort) if kind == "sum" else mul(total, term, effort)
        return total
    bound = value_of(substitute(body, name, Node("sym", ("\\bound",))), effort, log10)
    return algebra.applied(f"big {kind}", bound, start, stop)
