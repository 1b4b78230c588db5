"""Questions about answer trees: what is a name, an assignment, a decimal, an inequality."""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from tasks.answers.expressions.node import Node, numeral
from tasks.answers.words.units import unit_key
from tasks.answers.words.vocabulary import NUMBER_SETS, words

ORDER_SIGNS = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "!=": "!="}
# Functions whose value may be what an answer names.
NAMING = words("apply abs sub lim int sum prod det sgn arg dim rank tr gcd lcm max min")
EQUAL_SIGNS = frozenset(("=", "~", "==", "to"))


def flat(text: str) -> str:
    """A text reduced to its letters, digits and points inside numbers, without case."""
    text = text.casefold()
    text = re.sub(r"\\[a-z]+", " ", text)
    words = re.findall(r"\d+(?:\.\d+)?|[^\W\d_]+|[-+*/=<>^_]", text)
    return " ".join(word for word in words if word not in ("a", "an", "the") or len(words) == 1)


def measures_of(node: Node) -> Node | None:
    """`1 hour 30 minutes` as a list of its measures; lists stay, None for all else."""
    if node.op != "unit":
        return node if node.op == "list" else None
    value, words = node.args
    first, *rest = re.split(r"(\d+(?:\.\d+)?)", words)
    found = [Node("unit", (value, first.strip()))]
    for number, name in zip(rest[::2], rest[1::2], strict=True):
        places = len(number.partition(".")[2])
        found.append(Node("unit", (Node("num", (Fraction(number), places)), name.strip())))
    known = all(unit_key(part.args[1]) for part in found)
    return Node("list", ("and", tuple(found))) if known else None


def items_of(node: Node) -> tuple[Node, ...]:
    return node.args[1] if node.op == "list" else node.args


def is_number_set(node: Node) -> bool:
    return node.op == "const" and node.args[0] in NUMBER_SETS.values()


def decimal_of(node: Node) -> tuple[Fraction, int] | None:
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


def significant_digits(value: Fraction, places: int) -> int:
    return len(str(abs(int(value * 10**places)))) if value else 0


def terminates(value: Fraction) -> bool:
    """Whether a fraction has a decimal form of at most six places."""
    return 10**6 % value.denominator == 0


def is_plain_fraction(node: Node) -> bool:
    """A quotient of two whole numbers, as written."""
    if node.op == "neg":
        node = node.args[0]
    return node.op == "div" and all(part.op == "num" for part in node.args)


def is_reduced(node: Node) -> bool:
    if not is_plain_fraction(node):
        return True
    top, bottom = (node.args[0] if node.op == "neg" else node).args
    value = Fraction(top.args[0]) / bottom.args[0] if bottom.args[0] else Fraction(0)
    return abs(top.args[0]) == abs(value.numerator)


def has_zero(node: Node) -> bool:
    return any(part.op == "num" and not part.args[0] for part in node.args)


def spelled(node: Node) -> str:
    value, places = node.args
    whole = (value * 10**places).denominator == 1
    return numeral(value, places) if whole and value >= 0 else "?"


def numeral_digits(node: Node) -> str:
    return node.args[0].lstrip("0").lower() or "0"


def letters_of(node: Node) -> str | None:
    """The text of a tree that is a word, or a product of one-letter names that may be one."""
    if node.op == "text":
        return flat(node.args[0])
    if node.op == "unit":
        inner = letters_of(node.args[0])
        return None if inner is None else f"{inner} {flat(node.args[1])}"
    if node.op == "sym" or node.op == "const":
        return flat(node.args[0])
    if node.op == "num":
        return spelled(node)
    if node.op == "mul":
        parts = [letters_of(part) for part in node.args]
        return None if None in parts else "".join(part or "" for part in parts)
    if node.op == "seq" and len(node.args[2]) == 1:
        return letters_of(node.args[2][0])
    return None


def without_common_name(node: Node) -> Node:
    """`n = 1, 2, 3` is the list 1, 2, 3: the name applies to every item."""
    if node.op != "list":
        return node
    joint, items = node.args
    first = items[0]
    if first.op == "rel" and len(items) > 1 and all(item.op != "rel" for item in items[1:]):
        assigned = assignment(first)
        if assigned and assigned[0] is not None and first.args[0] in (("=",), ("in",), ("~",)):
            return Node("list", (joint, (assigned[1], *items[1:])))
    return node


def is_equation(node: Node) -> bool:
    return all(sign in EQUAL_SIGNS or sign == "in" for sign in node.args[0])


def is_closed(node: Node) -> bool:
    """An expression without names."""
    if node.op == "sym" or node.op == "text":
        return False
    if node.op in ("num", "const", "base"):
        return True
    return all(_closed_part(part) for part in node.args)


def _closed_part(part: Any) -> bool:
    if isinstance(part, Node):
        return is_closed(part)
    return all(_closed_part(inner) for inner in part) if isinstance(part, tuple) else True


def is_name(node: Node) -> bool:
    """What may stand left of "=" as the name of a quantity: x, f(x), AB, |z|, a:b, (x, y)."""
    op, args = node
    if op in ("sym", "text", "big"):
        return True
    if op == "const":
        return args[0] in ("e", "i", "dots")
    if op == "fn":
        parts = args[1:]
        return args[0] in NAMING or all(isinstance(part, Node) and is_name(part) for part in parts)
    if op == "mul" or op == "div" or op == "ratio":
        return all(is_name(part) or (op == "mul" and _is_raised_name(part)) for part in args)
    if op == "seq":
        return all(is_name(part) for part in args[2])
    if op == "matrix":
        return all(is_name(cell) for row in args for cell in row)
    if op == "deg":
        return is_name(args[0])
    return False


def _is_derivative(node: Node) -> bool:
    """dy/dx"""
    d = Node("sym", ("d",))
    return node.op == "div" and all(p.op == "mul" and p.args[0] == d for p in node.args)


def _is_raised_name(node: Node) -> bool:
    """The last factor of AB^2, the first of f^{-1}(x)."""
    if node.op != "pow" or node.args[0].op != "sym" or not is_closed(node.args[1]):
        return False
    name = node.args[0].args[0]
    return name.isupper() or name in "fgh"


def name_key(node: Node) -> str:
    op, args = node
    if op == "fn" and args[0] == "apply":
        return str(args[1].args[0])
    if op in ("sym", "const"):
        return str(args[0])
    if op == "mul" and len(args) == 2 and args[0].op == args[1].op == "sym":
        first, second = args[0].args[0], args[1].args[0]
        if first.isupper() and second.islower():
            return str(first)  # W(n)
    return repr(node)


def same_name(one: Node, two: Node) -> bool:
    return one == two or name_key(one).lower() == name_key(two).lower()


def is_graph(one: Node, two: Node) -> bool:
    """`f(x) = ...` beside `y = ...`: the same function of x."""
    names = [node.args[1][0] for node in (one, two)]
    names.sort(key=lambda name: name.op)
    function, name = names
    applied = function.op == "fn" and function.args[0] == "apply"
    return applied and function.args[2] == Node("sym", ("x",)) and name == Node("sym", ("y",))


def assignment(node: Node) -> tuple[Node | None, Node] | None:
    """(name, value) of `x = 5`, `5 = x`, `x = 2 + 3 = 5`, `x \\approx 5`, `x \\in S`; else None."""
    if node.op != "rel":
        return None
    signs, sides = node.args
    if signs == ("in",):
        return (sides[0], sides[1]) if is_name(sides[0]) else None
    if any(sign not in EQUAL_SIGNS for sign in signs):
        return None
    if "~" in signs:
        cut = signs.index("~")
        if cut:
            signs, sides = signs[:cut], sides[: cut + 1]
        elif is_closed(sides[0]) and not is_name(sides[0]):
            return None, sides[0]
    first, last = sides[0], sides[-1]
    if len(sides) == 1:
        return None, first
    if len(sides) > 2:
        return (first if is_name(first) else None), last
    if is_name(first) and not (is_name(last) and first.op == last.op == "sym"):
        if first.op in ("mul", "div") and not is_closed(last) and not _is_derivative(first):
            return None
        return first, last
    if is_name(last) and last.op in ("sym", "fn", "text") and not (first.op == last.op == "sym"):
        return last, first
    if is_closed(first) and is_closed(last):
        return None, last
    return None


def is_inequalities(node: Node) -> bool:
    """A list of inequalities."""
    return node.op == "list" and all(
        item.op == "rel" and not is_equation(item) for item in node.args[1]
    )


def steps_of(node: Node) -> list[tuple[str, Node, Node]]:
    signs, sides = node.args
    return [(sign, sides[n], sides[n + 1]) for n, sign in enumerate(signs)]


def condition_of(node: Node) -> Node:
    """The relation of `{x : ...}`; other trees stay."""
    if node.op != "builder":
        return node
    condition = node.args[1]
    single = condition.op == "list" and len(condition.args[1]) == 1
    return condition.args[1][0] if single else condition


def leaves_of(node: Node, operation: str) -> list[Node]:
    """The operands of nested uses of one set operation."""
    if node.op != "setop" or node.args[0] != operation:
        return [node]
    return [leaf for part in node.args[1:] for leaf in leaves_of(part, operation)]


def have_distinct_names(items: Sequence[Node]) -> bool:
    """Whether every item is named, by names that differ."""
    names = []
    for item in items:
        assigned = assignment(item)
        if not assigned or assigned[0] is None:
            return False
        names.append(name_key(assigned[0]))
    return len(names) > 1 and len(set(names)) == len(names)


def expand_signs(node: Node) -> Node:
    r"""`a \pm b` as the list a + b, a - b; inside of lists and sets the items are spread out."""
    if not _has_pm(node):
        return node
    op, args = node
    if op == "list" or op == "set":
        items: list[Node] = []
        for item in items_of(node):
            spread = expand_signs(item)
            items.extend(spread.args[1] if spread.op == "list" and item.op != "list" else (spread,))
        return Node("list", (args[0], tuple(items))) if op == "list" else Node("set", tuple(items))
    if op == "unit":
        inner = expand_signs(args[0])
        if inner.op == "list":
            units = tuple(Node("unit", (item, args[1])) for item in inner.args[1])
            return Node("list", ("or", units))
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
