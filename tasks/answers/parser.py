"""From tokens to a tree. The grammar is closed: whatever it does not know is an AnswerError.

A tree is made of `Node(op, args)`. Expressions: num(value, places) sym(name) const(name) neg add
mul div pow root(n, x) fn(name, ...) mixed(whole, top, bottom) pm(left, right, sign) percent deg
big(kind, body, var, low, high) matrix(rows) base(digits, base). Structures: set(items)
seq(open, close, items) list(joint, items) setop(op, a, b) rel(signs, sides) ratio(items)
unit(x, words) text(words) builder(x, condition).

Where notation is ambiguous (`1/2x`, `1,234`, `\\sqrt12`) the parser takes the usual reading and
notes the other one in `found`; the caller may ask for it by naming it in `reading`.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, NamedTuple

from tasks.answers.lexer import MAX_DEPTH, AnswerError, LimitError, Token, lex, tidy
from tasks.answers.vocabulary import (
    APPLIED,
    BINOMIALS,
    FILLERS,
    FRACTIONS,
    INVERTED,
    MAGNITUDES,
    MONEY_WORDS,
    NAMED,
    NUMBER_SETS,
    NUMBER_WORDS,
    PARTS,
    SEVERAL,
    UNIT_LETTERS,
    UNWRAPPED,
)


class Node(NamedTuple):
    op: str
    args: tuple[Any, ...]


MAX_EXPONENT = 5_000  # of ten, in 1e5000
MAX_ITEMS = 200

OPENING = frozenset(("(", "[", "{", "\\{", "begin", "lfloor", "lceil"))
CLOSING = frozenset((")", "]", "}", "\\}", "end", "rfloor", "rceil"))
CLOSE_OF = {"(": (")", "]"), "[": ("]", ")"), "\\{": ("\\}", "}"), "{": ("}",)}
ONE, ZERO = Node("num", (Fraction(1), 0)), Node("num", (Fraction(0), 0))
EMPTY = Node("set", ())
REALS = Node("const", ("Reals",))
KNOWN_TEXTS = {  # words that name a set
    "all real numbers": REALS, "all reals": REALS,
    "real numbers": REALS, "all real": REALS,
    "the real numbers": REALS, "empty set": EMPTY,
    "the empty set": EMPTY, "no solution": EMPTY,
    "no solutions": EMPTY, "no real solution": EMPTY,
    "no real solutions": EMPTY, "there is no solution": EMPTY,
    "does not exist": Node("text", ("dne",)),
}  # fmt: skip

_NUM = re.compile(r"([^.eE]*)(?:\.(\d+))?(?:[eE]([+-]?\d+))?")
_REPEAT = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar|dot)\s*\{(\d+)\}")


def number(text: str) -> Node:
    """A number token's exact value, with its count of decimals."""
    match = _NUM.fullmatch(text)
    if match is None:
        raise AnswerError(f"no number: {text[:20]!r}")
    whole, point, power = match.groups()
    digits = "".join(c for c in whole if c.isdigit()) + (point or "")
    places = len(point) if point else 0
    value = Fraction(int(digits or "0"), 10**places)
    if power:
        shift = int(power)
        if abs(shift) > MAX_EXPONENT:
            raise LimitError("exponent too large")
        value = value * 10**shift if shift >= 0 else value / 10**-shift
        places = max(places - shift, 0)
    return Node("num", (value, places))


def _repeating(text: str) -> Node:
    whole, start, cycle = _REPEAT.fullmatch(text).groups()  # type: ignore[union-attr]
    scale = 10 ** len(start)
    value = Fraction(int((whole or "0") + start), scale)
    value += Fraction(int(cycle), (10 ** len(cycle) - 1) * scale)
    return Node("num", (value, 0))


def _commas(tokens: list[Token], reading: frozenset[str], found: set[str]) -> list[Token]:
    """Settles whether the commas inside of a digit run group thousands or separate items."""
    if not any("," in token.value and token.kind == "num" for token in tokens):
        return tokens
    result: list[Token] = []
    depth = 0
    for token in tokens:
        if token.kind in OPENING:
            depth += 1
        elif token.kind in CLOSING:
            depth -= 1
        value = token.value
        if token.kind == "num" and "," in value and "{" not in value and "\\" not in value:
            grouped = depth <= 0 and value[0] != "0"
            found.add("commas")
            if "commas" in reading:
                grouped = not grouped
            if not grouped:
                for n, part in enumerate(value.split(",")):
                    if n:
                        result.append(Token(",", ",", ""))
                    result.append(Token("num", part, token.space if not n else ""))
                continue
        result.append(token)
    return result


def _decimal_comma(tokens: list[Token], reading: frozenset[str], found: set[str]) -> list[Token]:
    """`1,22` as 1.22: only for a whole answer that is one number, and only where asked for."""
    values = [token for token in tokens if token.kind in ("num", ",")]
    if [token.kind for token in values] != ["num", ",", "num"] or values[1].space + values[2].space:
        return tokens
    whole = values[0].value.replace(" ", "")
    if not (whole.isdigit() and values[2].value.isdigit()):
        return tokens
    place = tokens.index(values[0])
    if tokens[place + 1 : place + 3] != values[1:] or place > 1:
        return tokens
    found.add("decimal")
    if "decimal" not in reading:
        return tokens
    merged = Token("num", f"{whole}.{values[2].value}", values[0].space)
    return [*tokens[:place], merged, *tokens[place + 3 :]]


def _settled(tokens: list[Token], reading: frozenset[str], found: set[str]) -> list[Token]:
    """Letters that stand for an operator or a unit: `(1,2) U (3,4)`, `6 x 10^3`, `12 m^2`."""
    result = tokens
    for place in range(1, len(tokens)):
        token, before = tokens[place], tokens[place - 1]
        if token.kind != "sym":
            continue
        after = tokens[place + 1] if place + 1 < len(tokens) else Token("", "", "")
        new: Token | None = None
        if token.value == "U" and before.kind in CLOSING and after.kind in OPENING:
            new = Token("set", "union", " ")
        elif token.value == "x" and before.kind == "num" and after.value == "10" and token.space:
            new = Token("*", "*", " ")
        elif token.value in "CFK" and _is_degree(tokens[:place]):
            new = Token("word", token.value, " ")
        elif (
            token.value in UNIT_LETTERS
            and token.space
            and before.kind in ("num", "}", ")")
            and after.kind in ("", "^", "/")
        ):
            found.add("unit")
            new = Token("word", token.value, " ") if "unit" in reading else None
        if new is not None:
            result = list(result)
            result[place] = new
    return result


def _turned(tokens: list[Token]) -> list[Token]:
    """`]1, 2]` and `[1, 2[` with the turned bracket as a round one."""
    result = list(tokens)
    closes = False
    for n, token in enumerate(tokens):
        if token.kind in ("(", ")", "[", "]"):
            if token.kind == ("[" if closes else "]"):
                result[n] = Token(")", ")", "") if closes else Token("(", "(", token.space)
            closes = not closes
    return result


def _is_degree(tokens: list[Token]) -> bool:
    """Whether tokens end in a number and a degree sign: `20^{\\circ}`, `20°`."""
    kinds = [token.kind for token in tokens[-5:] if token.kind not in ("^", "{", "}")]
    return kinds[-2:] == ["num", "deg"]


class Parser:
    """Recursive descent over one token list."""

    def __init__(self, tokens: list[Token], reading: frozenset[str], found: set[str]) -> None:
        self.tokens = tokens
        self.place = 0
        self.depth = 0
        self.bars = 0
        self.reading = reading
        self.found = found

    # Reading tokens

    def kind(self, ahead: int = 0) -> str:
        place = self.place + ahead
        return self.tokens[place].kind if place < len(self.tokens) else ""

    def take(self, kind: str | None = None) -> Token:
        if self.place >= len(self.tokens):
            raise AnswerError("the answer ends too early")
        token = self.tokens[self.place]
        if kind is not None and token.kind != kind:
            raise AnswerError(f"{kind} expected, not {token.value!r}")
        self.place += 1
        return token

    def accept(self, kind: str) -> bool:
        if self.place < len(self.tokens) and self.tokens[self.place].kind == kind:
            self.place += 1
            return True
        return False

    def spoken(self, word: str) -> bool:
        """Takes the word if it stands here."""
        if self.kind() != "word" or self.tokens[self.place].value.lower() != word:
            return False
        self.place += 1
        return True

    def inner(self, tokens: list[Token]) -> Parser:
        parser = Parser(tokens, self.reading, self.found)
        parser.depth = self.depth + 1
        if parser.depth > MAX_DEPTH:
            raise LimitError(f"nested deeper than {MAX_DEPTH}")
        return parser

    def until_close(self) -> list[Token]:
        """The tokens of a bracketed group up to its closing token, which stays unread."""
        start, depth = self.place, 0
        for place in range(start, len(self.tokens)):
            kind = self.tokens[place].kind
            if kind in OPENING:
                depth += 1
            elif kind in CLOSING:
                if not depth:
                    self.place = place
                    return self.tokens[start:place]
                depth -= 1
        raise AnswerError("a bracket is not closed")

    # Whole answers

    def answer(self) -> Node:
        """Items separated by commas, semicolons, "and", "or"; a single item is itself."""
        groups: list[list[Node]] = [[]]
        joints: set[str] = set()
        start, depth = 0, 0
        tokens = self.tokens
        size = len(tokens)

        def close(stop: int) -> None:
            piece = tokens[start:stop]
            while piece and piece[0].kind in ("quad", "row", "&"):
                piece = piece[1:]
            while piece and piece[-1].kind in ("quad", "row", "&", "."):
                piece = piece[:-1]
            if piece:
                groups[-1].append(self.inner(piece).statement())
                if len(groups[-1]) > MAX_ITEMS or len(groups) > MAX_ITEMS:
                    raise LimitError(f"more than {MAX_ITEMS} items")

        for place in range(size):
            kind = tokens[place].kind
            if kind in OPENING:
                depth += 1
            elif kind in CLOSING:
                depth -= 1
            elif depth == 0:
                if kind == "quad":
                    after = tokens[place + 1].kind if place + 1 < size else "sep"
                    before = tokens[place - 1].kind if place else "sep"
                    outer = (",", ";", "sep", "rel", "word", "quad", "set", "+", "-", "*", "")
                    if after in outer or before in (",", ";", "sep", "rel", "set", "+", "-", "*"):
                        continue
                    kind = ","
                elif kind == "row":
                    kind = "," if 0 < place < size - 1 else kind
                if kind in (",", ";", "sep"):
                    close(place)
                    start = place + 1
                    strong = kind != "," and bool(groups[-1])
                    if strong and place and tokens[place - 1].kind == "," and kind == "sep":
                        strong = False
                    if kind == "sep":
                        joints.add(tokens[place].value)
                    elif kind == ";":
                        joints.add(";")
                    if strong and groups[-1]:
                        groups.append([])
        close(size)
        groups = [group for group in groups if group]
        if not groups:
            raise AnswerError("empty")
        sizes = {len(group) for group in groups}
        if len(groups) > 1 and len(sizes) == 1 and sizes != {1}:
            every = all(item.op == "rel" for group in groups for item in group)
            if ";" in joints or every:
                items = tuple(Node("seq", ("(", ")", tuple(group))) for group in groups)
                return Node("list", ("or", items))
        items = tuple(item for group in groups for item in group)
        if len(items) == 1:
            return items[0]
        joint = "and" if "and" in joints else "or" if "or" in joints else ","
        return Node("list", (joint, items))

    def statement(self) -> Node:
        """One item: an expression with an optional unit, a relation, or words."""
        if self.kind() == "word":
            worded = self.words()
            if worded is not None:
                return worded
        elif self.prose():
            self.place = len(self.tokens)
            return _text(self.tokens)
        if self.kind() == "rel" and self.tokens[self.place].value in ("=", "~"):
            self.take()  # "= 5", "\\approx 5"
        left = self.measured()
        if self.place >= len(self.tokens):
            return left
        signs: list[str] = []
        sides = [left]
        while self.kind() in ("rel", "quad"):
            if self.take().kind == "quad":
                continue
            signs.append(self.tokens[self.place - 1].value)
            if self.place >= len(self.tokens):
                if signs[-1] == "=" or signs[-1] == "~":  # "16 - 3 ="
                    signs.pop()
                    break
                raise AnswerError("a relation without a right side")
            sides.append(self.measured())
        if self.place < len(self.tokens):
            raise AnswerError(f"unexpected {self.tokens[self.place].value!r}")
        if not signs:
            return sides[0]
        return Node("rel", (tuple(signs), tuple(sides)))

    def prose(self) -> bool:
        """Nothing but words and single letters: "an ellipse", "x is even"."""
        kinds = {token.kind for token in self.tokens[self.place :]}
        return "word" in kinds and kinds <= {"word", "sym", "const", ".", "'", "-"}

    def words(self) -> Node | None:
        """An item that starts with a word: a number word, a name before "=", or a text."""
        first = self.tokens[self.place].value.lower()
        if first in FILLERS and self.place + 1 < len(self.tokens):
            self.take()
            return None if self.kind() != "word" else self.words()
        if first in ("minus", "negative") and self.kind(1) in ("num", "word"):
            self.take()
            number = self.statement()
            if number.op == "num" or (number.op == "unit" and number.args[0].op == "num"):
                return _negated(number)
            return _text([*self.tokens])
        if first in MONEY_WORDS and self.kind(1) in ("num", "money", "."):
            self.take()
            self.accept(".")
            if self.kind() != "money":  # "USD 5" is read as "$5"
                self.place -= 1
                self.tokens = list(self.tokens)
                self.tokens[self.place] = Token("money", MONEY_WORDS[first], "")
            return None
        if first in NUMBER_WORDS:
            value = NUMBER_WORDS[first]
            ahead = 1
            if value >= 20 and self.kind(1) == "-":
                ahead = 2
            if self.kind(ahead) == "word":
                unit = NUMBER_WORDS.get(self.tokens[self.place + ahead].value.lower(), 0)
                if value >= 20 and 0 < unit < 10:
                    value += unit
                    ahead += 1
            if self.kind(ahead) == "-" and self.kind(ahead + 1) == "word":  # two-thirds
                ahead += 1
            part = (
                self.tokens[self.place + ahead].value.lower() if self.kind(ahead) == "word" else ""
            )
            if part in PARTS:
                self.place += ahead + 1
                parts = (Node("num", (Fraction(value), 0)), Node("num", (Fraction(PARTS[part]), 0)))
                result = Node("div", parts)
                return self.unit(result) if self.place < len(self.tokens) else result
            if self.place + ahead == len(self.tokens) or self.kind(ahead) == "word":
                self.place += ahead
                result = Node("num", (Fraction(value), 0))
                return self.unit(result) if self.place < len(self.tokens) else result
        rest = self.tokens[self.place :]
        for n, token in enumerate(rest):
            if (
                (token.kind == "rel" and token.value in ("=", "~"))
                or token.kind == ":"
                or _says(rest, n)
            ):
                if (
                    n + 1 == len(rest)
                    or n > 6
                    or any(
                        t.kind not in ("word", "sym", "_", "{", "}", "num", "^", "(", ")")
                        for t in rest[:n]
                    )
                ):
                    break
                name = Node("text", (" ".join(t.value for t in rest[:n]),))
                self.place += n + 1
                value = self.statement()
                if value.op == "rel":
                    return Node("rel", (("=", *value.args[0]), (name, *value.args[1])))
                return Node("rel", (("=",), (name, value)))
        self.place = len(self.tokens)
        return _text(rest)

    def measured(self) -> Node:
        """An expression and the words after it, which are a unit."""
        if self.kind() == "word":
            token = self.take()
            return Node("text", (token.value,))
        sign = self.kind() == "-" and self.kind(1) == "money"  # -$5
        money = self.tokens[self.place + sign].value if self.kind(int(sign)) == "money" else ""
        if money and not sign:
            self.take()
        left = self.ratio()
        if self.kind() in ("word", "money", "fn"):
            left = self.unit(left)
        if money:
            value, words = left.args if left.op == "unit" else (left, "")
            return Node("unit", (value, f"{money} {words}".strip()))
        return left

    def unit(self, value: Node) -> Node:
        if self.kind() == "word" and (
            scale := MAGNITUDES.get(self.tokens[self.place].value.lower())
        ):
            self.take()
            value = Node("mul", (value, Node("num", (Fraction(scale), 0))))
            if self.kind() not in ("word", "money", "fn"):
                return value
        start = self.place
        depth = 0
        while self.place < len(self.tokens):
            kind = self.kind()
            if (kind == "rel" and not depth) or kind in ("quad", "+"):
                break
            depth += (kind in OPENING) - (kind in CLOSING)
            if kind not in (
                "word", "/", "^", "num", "*", "-", ".", "{", "}", "(", ")", "sym", "money", "fn",
                "'", "deg", "const", "!", "%",
            ):  # fmt: skip
                break
            self.place += 1
        words = _spell(self.tokens[start : self.place])
        if not words:
            raise AnswerError(f"unexpected {self.tokens[self.place].value!r}")
        return Node("unit", (value, words))

    def ratio(self) -> Node:
        first = self.sets()
        if first.op == "num" and self.kind(1) == "num" and self.spoken("to"):
            return Node("ratio", (first, self.sets()))
        if self.kind() != ":":
            return first
        items = [first]
        while self.accept(":"):
            items.append(self.sets())
        return Node("ratio", tuple(items))

    def sets(self) -> Node:
        left = self.sum()
        while self.kind() == "set":
            sign = self.take().value
            right = self.sum()
            if sign != "inter":
                while self.kind() == "set" and self.tokens[self.place].value == "inter":
                    self.take()
                    right = Node("setop", ("inter", right, self.sum()))
            left = Node("setop", (sign, left, right))
        return left

    # Expressions

    def sum(self) -> Node:
        terms: list[Node] = []
        kind = self.kind()
        if kind in ("pm", "mp"):
            self.take()
            self.found.add("pm")
            left = Node("pm", (ZERO, self.term(), kind))
        elif kind == "+":
            self.take()
            left = self.term()
        else:
            left = self.term()
        terms.append(left)
        while (kind := self.kind()) in ("+", "-", "pm", "mp"):
            self.take()
            right = self.term()
            if kind == "+":
                terms.append(right)
            elif kind == "-" and right.op == "set" and len(terms) == 1:  # \\mathbb{R} - \\{1\\}
                terms = [Node("setop", ("minus", terms[0], right))]
            elif kind == "-":
                terms.append(Node("neg", (right,)))
            else:
                self.found.add("pm")
                base = terms[0] if len(terms) == 1 else Node("add", tuple(terms))
                terms = [Node("pm", (base, right, kind))]
        return terms[0] if len(terms) == 1 else Node("add", tuple(terms))

    def term(self) -> Node:
        """Products and quotients from the left; factors side by side bind tighter than `/`."""
        left = self.signed()
        while (kind := self.kind()) in ("*", "/", "mod"):
            self.take()
            start = self.place
            right = self.signed()
            if kind == "*":
                left = Node("mul", (left, right))
            elif kind == "mod":
                left = Node("fn", ("modf", left, right))
            elif right.op == "mul" and self.juxtaposed(start):
                self.found.add("slash")
                loose = self.tokens[start + 1].space != ""
                if loose != ("slash" in self.reading):
                    left = Node("mul", (Node("div", (left, right.args[0])), *right.args[1:]))
                else:
                    left = Node("div", (left, right))
            else:
                left = Node("div", (left, right))
        return left

    def juxtaposed(self, start: int) -> bool:
        return start + 1 < len(self.tokens) and self.tokens[start].kind in ("num", "sym", "const")

    def signed(self) -> Node:
        if self.accept("-"):
            self.deeper()
            node = self.signed()
            self.depth -= 1
            if node.op in ("deg", "percent"):  # the sign belongs to the number: (-5) degrees
                return Node(node.op, (Node("neg", node.args),))
            return Node("neg", (node,))
        if self.accept("+"):
            self.deeper()
            node = self.signed()
            self.depth -= 1
            return node
        factors = [self.factor()]
        while self.starts_factor():
            if self.kind() == "num" and self.tokens[self.place - 1].kind == "num":
                raise AnswerError("two numbers side by side")
            factors.append(self.factor())
        return factors[0] if len(factors) == 1 else Node("mul", tuple(factors))

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise LimitError(f"nested deeper than {MAX_DEPTH}")

    def starts_factor(self) -> bool:
        kind = self.kind()
        if kind in ("num", "sym", "const", "(", "[", "{", "\\{", "cmd", "begin", "lfloor", "lceil",
                    "repeat", "python"):  # fmt: skip
            return True
        if kind == "fn":
            return self.has_argument()
        return kind == "|" and not self.bars

    def has_argument(self) -> bool:
        """Whether a function name is followed by an argument (else it is a unit: "5 min")."""
        after = self.kind(1)
        return after in (
            "(", "{", "[", "\\{", "num", "sym", "const", "cmd", "fn", "^", "_", "|", "-", "lfloor",
            "lceil", "repeat",
        )  # fmt: skip

    def factor(self) -> Node:
        """A primary with its powers, subscripts, factorials, percent and degree signs."""
        base = self.primary()
        power: Node | None = None
        while True:
            kind = self.kind()
            if kind == "^":
                self.take()
                if self.kind() in ("deg", "'"):
                    continue
                if power is not None:
                    base, power = Node("pow", (base, power)), None
                power = self.exponent()
                if power is None:
                    base = Node("deg", (base,))
                elif power.op == "prime":
                    base, power = _primed(base, power.args[0]), None
            elif kind == "_":
                self.take()
                base = self.subscript(base)
            elif kind == "!":
                self.take()
                if power is not None:
                    base, power = Node("pow", (base, power)), None
                name = "fact"
                if self.kind() == "!":
                    self.take()
                    name = "fact2"
                base = Node("fn", (name, base))
            elif kind == "%":
                self.take()
                base = Node("percent", (base,))
            elif kind == "deg":
                self.take()
                base = Node("deg", (base,))
            elif kind == "'":
                count = 0
                while self.accept("'"):
                    count += 1
                base = _primed(base, count)
            else:
                break
        if base.op == "sym" and base.args[0][0] in APPLIED and self.kind() == "(":
            name = base.args[0].rstrip("'")
            if len(name) == 1 and (name != base.args[0] or power == Node("neg", (ONE,))):
                label = base.args[0] if power is None else f"{name}^-1"
                return Node(
                    "fn", ("apply", Node("sym", (label,)), self.bracketed(self.take().kind))
                )
        return base if power is None else Node("pow", (base, power))

    def exponent(self) -> Node | None:
        """What stands after `^`; None for a degree sign."""
        kind = self.kind()
        if kind == "{":
            self.take()
            group = self.until_close()
            self.take()
            kinds = [token.kind for token in group]
            if kinds and all(kind in ("deg", "quad") for kind in kinds):
                return None
            if kinds and all(kind == "'" for kind in kinds):
                return Node("prime", (len(kinds),))
            if kinds[:1] == ["deg"] and len(kinds) == 2:  # ^{\circ C}
                return None
            if kinds == ["*"]:
                return Node("prime", (9,))
            return self.inner(group).whole()
        if kind == "-":
            self.take()
            return Node("neg", (self.exponent() or ONE,))
        if kind == "+":
            self.take()
            return self.exponent()
        if kind == "*":
            self.take()
            return Node("prime", (9,))
        self.deeper()
        base = self.primary(single=True)
        if self.accept("!"):
            base = Node("fn", ("fact", base))
        if self.kind() == "^":  # 2^3^2 from the right
            self.take()
            base = Node("pow", (base, self.exponent() or ONE))
        self.depth -= 1
        return base

    def whole(self) -> Node:
        """All tokens as one expression or list."""
        return self.answer()

    def subscript(self, base: Node) -> Node:
        if self.accept("{"):
            group = self.until_close()
            self.take()
        else:
            group = [self.take()]
        label = "".join(token.value for token in group if token.kind not in ("quad",)).strip()
        if label[:1] == "(" and label[-1:] == ")":
            label = label[1:-1]
        if base.op == "num" or base.op == "seq1":
            radix = NUMBER_WORDS.get(
                label.lower(), int(label) if label.isdigit() and len(label) < 3 else 0
            )
            if not 2 <= radix <= 36:
                raise AnswerError("a number with a subscript that is no base")
            return Node("base", (_numeral(*base.args), radix))
        if base.op == "sym":
            return Node("sym", (f"{base.args[0]}_{label}",))
        if base.op == "const":
            return Node("sym", (f"{base.args[0]}_{label}",))
        if base.op == "mul" or base.op == "add":
            raise AnswerError("a subscript on an expression")
        return Node("fn", ("sub", base, Node("sym", (label,))))

    def argument(self) -> Node:
        """One argument of a command: a group, or the next single character."""
        kind = self.kind()
        if kind == "{":
            self.take()
            group = self.until_close()
            self.take()
            if not group:
                raise AnswerError("an empty argument")
            return self.inner(group).whole()
        if kind == "num":
            token = self.tokens[self.place]
            if len(token.value) > 1 and token.value.isdigit():
                self.tokens = [
                    *self.tokens[: self.place],
                    Token("num", token.value[0], token.space),
                    Token("num", token.value[1:], ""),
                    *self.tokens[self.place + 1 :],
                ]
            return number(self.take().value)
        if kind == "-":
            self.take()
            return Node("neg", (self.argument(),))
        if kind == "word":
            return Node("sym", (self.take().value,))
        return self.primary(single=True)

    def optional(self) -> Node | None:
        """An optional `[n]`."""
        if self.kind() != "[":
            return None
        self.take()
        group = self.until_close()
        self.take()
        return self.inner(group).whole() if group else None

    def primary(self, single: bool = False) -> Node:
        token = self.take()
        kind, value = token.kind, token.value
        if kind == "num":
            node = number(value)
            return node if single else self.mixed(node, token)
        if kind == "sym":
            if (
                not single
                and value in APPLIED
                and self.kind() == "("
                and not self.tokens[self.place].space
            ):
                self.take()
                group = self.until_close()
                self.take()
                return Node("fn", ("apply", Node("sym", (value,)), self.inner(group).whole()))
            return Node("sym", (value,))
        if kind == "const":
            if value == "empty":
                return EMPTY
            return Node("const", (value,))
        if kind in ("(", "[", "\\{", "{"):
            return self.bracketed(kind)
        if kind == "cmd":
            return self.command(value)
        if kind == "fn":
            return self.function(value)
        if kind in ("|", "mid"):
            return self.absolute()
        if kind == "begin":
            return self.environment(value)
        if kind in ("lfloor", "lceil"):
            group = self.until_close()
            if self.take().kind != ("rfloor" if kind == "lfloor" else "rceil"):
                raise AnswerError("brackets of different kinds")
            return Node("fn", ("floor" if kind == "lfloor" else "ceil", self.inner(group).whole()))
        if kind == "repeat":
            return _repeating(value)
        if kind == "python":
            return self.python(value)
        if kind == "-" and single:
            return Node("neg", (self.primary(True),))
        if kind == "money":
            return self.primary(single)
        raise AnswerError(f"unexpected {value!r}")

    def mixed(self, whole: Node, token: Token) -> Node:
        """`4\\frac{4}{9}` and `4 4/9`: a whole number and a proper fraction are a mixed number."""
        if "." in token.value or whole.args[0].denominator != 1:
            return whole
        kind = self.kind()
        if kind == "cmd" and self.tokens[self.place].value in FRACTIONS:
            start = self.place
            kept = self.tokens
            self.take()
            top, bottom = self.argument(), self.argument()
            if (
                top.op == bottom.op == "num"
                and top.args[0].denominator == bottom.args[0].denominator == 1
                and bottom.args[0]
            ):
                if top.args[0] < bottom.args[0]:
                    return Node("mixed", (whole, top, bottom))
                raise AnswerError("a mixed number whose fraction is not proper")
            self.place, self.tokens = start, kept
        elif kind == "num" and self.kind(1) == "/" and self.kind(2) == "num":
            top, bottom = self.tokens[self.place], self.tokens[self.place + 2]
            if "\n" in top.space or not (top.value.isdigit() and bottom.value.isdigit()):
                raise AnswerError("two numbers side by side")
            if top.space and int(top.value) < int(bottom.value):  # 4 4/9
                self.place += 3
                return Node("mixed", (whole, number(top.value), number(bottom.value)))
            raise AnswerError("a mixed number whose fraction is not proper")
        return whole

    def bracketed(self, kind: str) -> Node:
        bars, self.bars = self.bars, 0
        group = self.until_close()
        close = self.take().kind
        self.bars = bars
        if close not in CLOSE_OF[kind]:
            raise AnswerError(f"{kind} closed by {close}")
        parser = self.inner(group)
        if kind in ("{", "\\{"):
            if kind == "{":
                for place, token in enumerate(group):
                    if token.kind in ("choose", "over"):
                        parts = (
                            self.inner(group[:place]).whole(),
                            self.inner(group[place + 1 :]).whole(),
                        )
                        return (
                            Node("div", parts)
                            if token.kind == "over"
                            else Node("fn", ("binom", *parts))
                        )
            if not group:
                return EMPTY
            if kind == "\\{" and (built := self.builder(group)) is not None:
                return built
            inner = parser.answer()
            if inner.op == "list":
                return Node("set", inner.args[1])
            return inner if kind == "{" else Node("set", (inner,))
        if not group:
            raise AnswerError("empty brackets")
        inner = parser.answer()
        if inner.op == "list":
            joint, items = inner.args
            if joint == "or" and all(item.op == "seq" for item in items):  # (1,1;2,2)
                items = tuple(part for item in items for part in item.args[2])
            return Node("seq", (kind, close, items))
        if close != CLOSE_OF[kind][0]:
            raise AnswerError("an interval needs two ends")
        return (
            Node("seq", ("[", "]", (inner,)))
            if inner.op == "seq" and kind == "["
            else _group(inner)
        )

    def builder(self, group: list[Token]) -> Node | None:
        """`{x : x > 3}` and `{x | x > 3}`."""
        bars = sum(token.kind == "|" for token in group) % 2  # an odd one is no absolute value
        depth = 0
        for place, token in enumerate(group):
            depth += (token.kind in OPENING) - (token.kind in CLOSING)
            if (
                depth == 0
                and (token.kind in (":", "mid") or (token.kind == "|" and bars))
                and place
            ):
                head, tail = group[:place], group[place + 1 :]
                if tail and any(t.kind in ("rel",) for t in tail) and len(head) <= 12:
                    return Node("builder", (self.inner(head).whole(), self.inner(tail).whole()))
                return None
        return None

    def absolute(self) -> Node:
        self.bars += 1
        self.deeper()
        inner = self.sum()
        self.depth -= 1
        self.bars -= 1
        if not (self.accept("|") or self.accept("mid")):
            raise AnswerError("an absolute value is not closed")
        return Node("fn", ("abs", inner))

    def function(self, name: str) -> Node:
        power = base = None
        for _ in range(2):
            if self.kind() == "^":
                self.take()
                power = self.exponent()
                if power is None:
                    raise AnswerError("degrees of a function")
            elif self.kind() == "_":
                self.take()
                base = self.argument()
        self.deeper()
        argument = self.function_argument(name)
        self.depth -= 1
        arguments: tuple[Any, ...] = (argument,)
        if argument.op in ("list", "seq") and name in SEVERAL:
            arguments = argument.args[-1]
        elif argument.op == "set" and name in ("max", "min", "gcd", "lcm"):
            arguments = argument.args
        if name == "cbrt":
            return Node("root", (Node("num", (Fraction(3), 0)), *arguments))
        if name == "log":
            self.found.add("log")
        if name == "exp":
            node = Node("pow", (Node("const", ("e",)), arguments[0]))
        elif name == "log" and (base is not None or len(arguments) == 2):
            node = Node("fn", ("logb", base or arguments[1], arguments[0]))
        elif base is not None:
            node = Node("fn", (f"{name}_", base, *arguments))
        elif power == Node("neg", (ONE,)) and name in INVERTED:
            return Node("fn", (f"a{name}", *arguments))
        else:
            node = Node("fn", (name, *arguments))
        return node if power is None else Node("pow", (node, power))

    def function_argument(self, name: str) -> Node:
        """A bracketed argument, else the factors that follow up to the next function or sign."""
        kind = self.kind()
        if kind in ("(", "{", "[", "\\{"):
            opened = self.take().kind
            group = self.until_close()
            if self.take().kind not in CLOSE_OF[opened]:
                raise AnswerError("brackets of different kinds")
            inner = self.inner(group).answer()
            degrees = self.kind() == "deg" or (self.kind() == "^" and self.kind(1) == "deg")
            if degrees and name in ("sin", "cos", "tan", "cot", "sec", "csc"):
                self.accept("^")
                self.take()
                return Node("deg", (inner,))
            return inner
        if self.accept("-"):
            return Node("neg", (self.function_argument(name),))
        if kind == "fn":
            return self.factor()
        factors = [self.factor()]
        while self.starts_factor() and self.kind() not in ("fn", "(", "[", "{", "\\{", "begin"):
            if self.kind() == "num":
                break
            factors.append(self.factor())
        return factors[0] if len(factors) == 1 else Node("mul", tuple(factors))

    def command(self, name: str) -> Node:
        if name in FRACTIONS:
            return Node("div", (self.argument(), self.argument()))
        if name == "sqrt":
            order = self.optional()
            if self.kind() == "num":  # \sqrt12: as written by people, not by TeX
                token = self.tokens[self.place]
                if len(token.value) > 1 and token.value.isdigit():
                    self.found.add("root")
                    if "root" not in self.reading:
                        inside = number(self.take().value)
                    else:
                        inside = self.argument()
                else:
                    inside = number(self.take().value)
            elif self.kind() == "(":
                inside = self.bracketed(self.take().kind)
            else:
                inside = self.argument()
            return Node("root", (order or Node("num", (Fraction(2), 0)), inside))
        if name in BINOMIALS:
            if self.kind() == "(":
                inner = self.bracketed(self.take().kind)
                if inner.op != "seq" or len(inner.args[2]) != 2:
                    raise AnswerError("binom of two arguments")
                return Node("fn", ("binom", *inner.args[2]))
            return Node("fn", ("binom", self.argument(), self.argument()))
        if name in UNWRAPPED:
            return _group(self.argument())
        if name == "mathbb":
            label = self.argument()
            name = label.args[0] if label.op == "sym" else ""
            if name not in NUMBER_SETS:
                return label
            if self.kind() == "^":
                self.take()
                return Node("sym", (f"{NUMBER_SETS[name]}^{self.exponent()}",))
            return Node("const", (NUMBER_SETS[name],))
        if name in NAMED:
            if self.accept("{"):
                group = self.until_close()
                self.take()
            else:
                group = [self.take()]
            return Node(
                "sym",
                (f"{'bar' if name == 'overline' else name}{{{''.join(t.value for t in group)}}}",),
            )
        if name in ("sum", "prod"):
            return self.big(name)
        if name in ("int", "iint", "oint"):
            return self.integral()
        if name == "lim":
            under = Node("sym", ("",))
            if self.accept("_"):
                self.take("{")
                group = self.until_close()
                self.take()
                under = Node("sym", (" ".join(token.value for token in group),))
            return Node("fn", ("lim", under, self.term()))
        if name in ("textcolor", "overset", "underset", "stackrel"):
            self.take("{")
            self.until_close()
            self.take()
            return _group(self.argument())
        if name == "pmod":
            return Node("fn", ("pmod", self.argument()))
        raise AnswerError(f"command {name} has no place here")

    def limits(self) -> tuple[list[Token], Node | None]:
        low: list[Token] = []
        high = None
        for _ in range(2):
            if self.accept("_"):
                if self.accept("{"):
                    low = self.until_close()
                    self.take()
                else:
                    low = [self.take()]
            elif self.accept("^"):
                high = self.exponent()
        return low, high

    def big(self, name: str) -> Node:
        low, high = self.limits()
        self.deeper()
        body = self.term()
        self.depth -= 1
        if len(low) > 2 and low[1].value == "=" and high is not None:
            start = self.inner(low[2:]).whole()
            return Node("big", (name, body, low[0].value, start, high))
        label = Node("sym", (" ".join(token.value for token in low),))
        return Node("fn", (name, label, high or ZERO, body))

    def integral(self) -> Node:
        low, high = self.limits()
        self.deeper()
        body = self.term()
        self.depth -= 1
        if body.op == "set" and len(body.args) == 1:
            body = body.args[0]
        parts = body.args if body.op == "mul" else (body,)
        if len(parts) >= 2 and parts[-2] == Node("sym", ("d",)) and parts[-1].op == "sym":
            body = (
                Node("mul", parts[:-2]) if len(parts) > 3 else parts[0] if len(parts) == 3 else ONE
            )
            name = parts[-1].args[0]
        else:
            name = ""
        if low and high is not None:
            return Node("big", ("int", body, name, self.inner(low).whole(), high))
        return Node("fn", ("int", body, Node("sym", (name,))))

    def environment(self, name: str) -> Node:
        """A matrix (cases are a list of their rows)."""
        group = self.until_close()
        self.take()
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
            items = tuple(
                self.inner([token for cell in row for token in cell]).answer() for row in rows
            )
            return Node("set", items)
        cells = tuple(tuple(self.inner(cell).answer() for cell in row) for row in rows)
        if not cells or len({len(row) for row in cells}) != 1:
            raise AnswerError("a matrix whose rows differ in length")
        matrix = Node("matrix", cells)
        return Node("fn", ("det", matrix)) if name.startswith("vmatrix") else matrix

    def python(self, name: str) -> Node:
        """The notation of computer algebra: Interval(0, 1), FiniteSet(1, 2), Eq(x, 3), ..."""
        variant = ""
        if self.accept("."):
            variant = self.take().value
        if self.kind() != "(":
            if name == "EmptySet":
                return EMPTY
            if name in ("Reals", "Integers", "Naturals", "Rationals", "Complexes"):
                return Node("const", (name,))
            raise AnswerError(f"{name} without arguments")
        self.take()
        group = self.until_close()
        self.take()
        inner = self.inner(group).answer() if group else Node("list", (",", ()))
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


def _numeral(value: Fraction, places: int) -> str:
    digits = str(int(value * 10**places)).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits


def _group(node: Node) -> Node:
    """A bracketed single expression; the brackets end a mixed number or a juxtaposition."""
    return node


def _says(tokens: list[Token], n: int) -> bool:
    """Whether the word at n is the "is" of `The answer is ...` or `The area is 5`."""
    if tokens[n].kind != "word" or tokens[n].value.lower() != "is" or not n:
        return False
    if tokens[n - 1].value.lower() == "answer":
        return True
    return n + 1 < len(tokens) and tokens[n + 1].kind in ("num", "cmd", "money", "-")


def _negated(node: Node) -> Node:
    if node.op == "unit":
        return Node("unit", (_negated(node.args[0]), node.args[1]))
    return Node("neg", (node,))


def _primed(base: Node, count: int) -> Node:
    if base.op == "sym":
        return Node("sym", (f"{base.args[0]}{chr(39) * count}",))
    if base.op == "matrix" or count == 9:
        return Node("fn", (f"prime{count}", base))
    return Node("unit", (base, "ft" if count == 1 else "inch"))


def _text(tokens: list[Token]) -> Node:
    words = _spell(tokens)
    return KNOWN_TEXTS.get(words.lower().rstrip("."), Node("text", (words,)))


def _spell(tokens: list[Token]) -> str:
    return "".join((" " if token.space else "") + token.value for token in tokens).strip()


def parse(text: str, reading: frozenset[str] = frozenset()) -> tuple[Node, set[str]]:
    """The tree of an answer and the other readings that its text allows."""
    return parse_tokens(lex(tidy(text)), reading)


def parse_tokens(tokens: list[Token], reading: frozenset[str]) -> tuple[Node, set[str]]:
    found: set[str] = set()
    tokens = _commas(tokens, reading, found)
    tokens = _decimal_comma(tokens, reading, found)
    tokens = _settled(tokens, reading, found)
    if not tokens:
        raise AnswerError("empty")
    try:
        return Parser(tokens, reading, found).answer(), found
    except LimitError:
        raise
    except AnswerError:
        turned = _turned(tokens)
        if turned == tokens:
            raise
        return Parser(turned, reading, found).answer(), found
