"""From tokens to a tree: whole answers. Whatever the grammar does not know is an AnswerError.

Where notation is ambiguous (`1/2x`, `1,234`, `\\sqrt12`) the parser takes the usual reading and
notes the other one in `found`; the caller may ask for it by naming it in `reading`.
"""

from __future__ import annotations

from tasks.answers.expressions.grammar import Expressions
from tasks.answers.expressions.node import KNOWN_TEXTS, Node, integer
from tasks.answers.words.lexer import (  # fmt: skip
    CLOSING,
    MAX_ITEMS,
    OPENING,
    AnswerError,
    LimitError,
    Token,
    lex,
    tidy,
)
from tasks.answers.words.readings import settled, turned
from tasks.answers.words.vocabulary import FILLERS, MAGNITUDES, MONEY_WORDS, NUMBER_WORDS, PARTS


class Parser(Expressions):
    """Lists, relations, units and words around expressions."""

    def inner(self, tokens: list[Token]) -> Parser:
        self.check_depth()
        parser = Parser(tokens, self.reading, self.found)
        parser.depth = self.depth + 1
        return parser

    def nested(self, tokens: list[Token]) -> Node:
        return self.inner(tokens).answer()

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
                    if kind == ",":
                        continue
                    joints.add(tokens[place].value)
                    listed = kind == "sep" and place and tokens[place - 1].kind == ","
                    if groups[-1] and not listed:  # "1, 2, and 3" is one group
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
            ahead = 2 if value >= 20 and self.kind(1) == "-" else 1
            if self.kind(ahead) == "word":
                unit = NUMBER_WORDS.get(self.tokens[self.place + ahead].value.lower(), 0)
                if value >= 20 and 0 < unit < 10:
                    value += unit
                    ahead += 1
            if self.kind(ahead) == "-" and self.kind(ahead + 1) == "word":  # two-thirds
                ahead += 1
            worded = self.kind(ahead) == "word"
            part = self.tokens[self.place + ahead].value.lower() if worded else ""
            if worded or self.place + ahead == len(self.tokens):
                self.place += ahead + (part in PARTS)
                result = integer(value)
                if part in PARTS:
                    result = Node("div", (result, integer(PARTS[part])))
                return self.unit(result) if self.place < len(self.tokens) else result
        rest = self.tokens[self.place :]
        for n, token in enumerate(rest):
            equals = token.kind == ":" or (token.kind == "rel" and token.value in ("=", "~"))
            if equals or _says(rest, n):
                kinds = {t.kind for t in rest[:n]}
                named = kinds <= {"word", "sym", "_", "{", "}", "num", "^", "(", ")"}
                if n + 1 == len(rest) or n > 6 or not named:
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
            return Node("text", (self.take().value,))
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
        word = self.tokens[self.place].value.lower() if self.kind() == "word" else ""
        if word in MAGNITUDES:
            self.take()
            value = Node("mul", (value, integer(MAGNITUDES[word])))
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
        kinds = (first.op, self.kind(), self.kind(1))
        if kinds == ("num", "word", "num") and self.tokens[self.place].value.lower() == "to":
            self.take()
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
    tokens = settled(tokens, reading, found)
    if not tokens:
        raise AnswerError("empty")
    try:
        return Parser(tokens, reading, found).answer(), found
    except LimitError:
        raise
    except AnswerError:
        rounded = turned(tokens)
        if rounded == tokens:
            raise
        return Parser(rounded, reading, found).answer(), found
