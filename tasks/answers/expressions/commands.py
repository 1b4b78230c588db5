"""What LaTeX commands and environments, and the notation of computer algebra, are parsed into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.answers.expressions.node import EMPTY, ONE, ZERO, Node, integer, number
from tasks.answers.words.lexer import CLOSING, MAX_ITEMS, OPENING, AnswerError, LimitError, Token
from tasks.answers.words.vocabulary import BINOMIALS, FRACTIONS, NAMED, NUMBER_SETS, UNWRAPPED

if TYPE_CHECKING:
    from tasks.answers.expressions.grammar import Expressions


def command(parser: Expressions, name: str) -> Node:
    if name in FRACTIONS:
        return Node("div", (parser.argument(), parser.argument()))
    if name == "sqrt":
        order = parser.optional()
        if parser.kind() == "num":  # \sqrt12: as written by people, not by TeX
            digits = parser.tokens[parser.place].value
            several = len(digits) > 1 and digits.isdigit()
            if several:
                parser.found.add("root")
            first_only = several and "root" in parser.reading
            inside = parser.argument() if first_only else number(parser.take().value)
        elif parser.kind() == "(":
            inside = parser.bracketed(parser.take().kind)
        else:
            inside = parser.argument()
        return Node("root", (order or integer(2), inside))
    if name in BINOMIALS:
        if parser.kind() == "(":
            inner = parser.bracketed(parser.take().kind)
            if inner.op != "seq" or len(inner.args[2]) != 2:
                raise AnswerError("binom of two arguments")
            return Node("fn", ("binom", *inner.args[2]))
        return Node("fn", ("binom", parser.argument(), parser.argument()))
    if name in UNWRAPPED:
        return parser.argument()
    if name == "mathbb":
        label = parser.argument()
        name = label.args[0] if label.op == "sym" else ""
        if name not in NUMBER_SETS:
            return label
        if parser.accept("^"):
            return Node("sym", (f"{NUMBER_SETS[name]}^{parser.exponent()}",))
        return Node("const", (NUMBER_SETS[name],))
    if name in NAMED:
        group = parser.group_or_token()
        label = "bar" if name == "overline" else name
        return Node("sym", (f"{label}{{{''.join(token.value for token in group)}}}",))
    if name in ("sum", "prod"):
        return _big(parser, name)
    if name in ("int", "iint", "oint"):
        return _integral(parser)
    if name == "lim":
        under = Node("sym", ("",))
        if parser.accept("_"):
            parser.take("{")
            group = parser.enclosed()
            under = Node("sym", (" ".join(token.value for token in group),))
        return Node("fn", ("lim", under, parser.term()))
    if name in ("textcolor", "overset", "underset", "stackrel"):
        parser.take("{")
        parser.enclosed()
        return parser.argument()
    if name == "pmod":
        return Node("fn", ("pmod", parser.argument()))
    raise AnswerError(f"command {name} has no place here")


def _limits(parser: Expressions) -> tuple[list[Token], Node | None]:
    low: list[Token] = []
    high = None
    for _ in range(2):
        if parser.accept("_"):
            low = parser.group_or_token()
        elif parser.accept("^"):
            high = parser.exponent()
    return low, high


def _big(parser: Expressions, name: str) -> Node:
    low, high = _limits(parser)
    body = parser.deeper(parser.term)
    if len(low) > 2 and low[1].value == "=" and high is not None:
        start = parser.nested(low[2:])
        return Node("big", (name, body, low[0].value, start, high))
    label = Node("sym", (" ".join(token.value for token in low),))
    return Node("fn", (name, label, high or ZERO, body))


def _integral(parser: Expressions) -> Node:
    low, high = _limits(parser)
    body = parser.deeper(parser.term)
    if body.op == "set" and len(body.args) == 1:
        body = body.args[0]
    parts = body.args if body.op == "mul" else (body,)
    name = ""
    if len(parts) >= 2 and parts[-2] == Node("sym", ("d",)) and parts[-1].op == "sym":
        body = Node("mul", parts[:-2]) if len(parts) > 3 else parts[0] if len(parts) == 3 else ONE
        name = parts[-1].args[0]
    if low and high is not None:
        return Node("big", ("int", body, name, parser.nested(low), high))
    return Node("fn", ("int", body, Node("sym", (name,))))


def environment(parser: Expressions, name: str) -> Node:
    """A matrix (cases are a list of their rows)."""
    group = parser.enclosed()
    rows: list[list[list[Token]]] = [[[]]]
    depth = 0
    for token in group:
        depth += (token.kind in OPENING) - (token.kind in CLOSING)
        if depth == 0 and token.kind == "&":
            rows[-1].append([])
        elif depth == 0 and token.kind == "row":
            rows.append([[]])
        else:
            rows[-1][-1].append(token)
    rows = [row for row in rows if any(row)]
    if sum(len(row) for row in rows) > MAX_ITEMS:
        raise LimitError(f"a matrix of more than {MAX_ITEMS} entries")
    if name == "cases":
        items = tuple(parser.nested([token for cell in row for token in cell]) for row in rows)
        return Node("set", items)
    cells = tuple(tuple(parser.nested(cell) for cell in row) for row in rows)
    if not cells or len({len(row) for row in cells}) != 1:
        raise AnswerError("a matrix whose rows differ in length")
    matrix = Node("matrix", cells)
    return Node("fn", ("det", matrix)) if name.startswith("vmatrix") else matrix


def python(parser: Expressions, name: str) -> Node:
    """The notation of computer algebra: Interval(0, 1), FiniteSet(1, 2), Eq(x, 3), ..."""
    variant = parser.take().value if parser.accept(".") else ""
    if not parser.accept("("):
        if name == "EmptySet":
            return EMPTY
        if name in NUMBER_SETS.values():
            return Node("const", (name,))
        raise AnswerError(f"{name} without arguments")
    group = parser.enclosed()
    inner = parser.nested(group) if group else Node("list", (",", ()))
    args = inner.args[1] if inner.op == "list" else (inner,)
    if name == "FiniteSet":
        return Node("set", args)
    if name == "Tuple":
        return Node("seq", ("(", ")", args))
    if name == "Sum" and len(args) == 2 and args[1].op == "seq" and len(args[1].args[2]) == 3:
        variable, low, high = args[1].args[2]
        return Node("big", ("sum", args[0], str(variable.args[0]), low, high))
    if name == "Integral" and len(args) == 2 and args[1].op == "sym":
        return Node("fn", ("int", *args))
    if name == "Matrix" and len(args) == 1 and args[0].op == "seq":
        rows = args[0].args[2]
        cells = tuple(row.args[2] if row.op == "seq" else (row,) for row in rows)
        if len({len(row) for row in cells}) == 1:
            return Node("matrix", cells)
    if len(args) == 1 and name in ("Integer", "Float", "Rational"):
        return args[0]
    if len(args) != 2:
        raise AnswerError(f"{name} of {len(args)} arguments")
    if name == "Interval":
        left = "(" if variant in ("open", "Lopen") else "["
        right = ")" if variant in ("open", "Ropen") else "]"
        return Node("seq", (left, right, args))
    if name == "Rational":
        return Node("div", args)
    signs = {"Eq": "=", "Ne": "!=", "Lt": "<", "Le": "<=", "Gt": ">", "Ge": ">="}
    if name in signs:
        return Node("rel", ((signs[name],), args))
    operations = {"Union": "union", "Intersection": "inter", "Complement": "minus"}
    if name in operations:
        return Node("setop", (operations[name], *args))
    raise AnswerError(f"{name} is not known")
