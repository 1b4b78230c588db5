"""The grammar of expressions: sums, products, powers, brackets, functions."""

from typing import Any

from tasks.answers.expressions import commands
from tasks.answers.expressions.cursor import Cursor
from tasks.answers.expressions.node import (
    EMPTY,
    ONE,
    ZERO,
    Node,
    integer,
    number,
    numeral,
    repeating,
)
from tasks.answers.words.lexer import CLOSING, OPENING, AnswerError, Token
from tasks.answers.words.vocabulary import APPLIED, FRACTIONS, INVERTED, NUMBER_WORDS, SEVERAL

CLOSE_OF = {"(": (")", "]"), "[": ("]", ")"), "\\{": ("\\}", "}"), "{": ("}",)}


class Expressions(Cursor):
    """Recursive descent, one method a level of precedence."""

    def sum(self) -> Node:
        kind = self.kind()
        if kind in ("pm", "mp"):
            self.take()
            self.found.add("pm")
            terms = [Node("pm", (ZERO, self.term(), kind))]
        else:
            self.accept("+")
            terms = [self.term()]
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
            else:
                first, rest = right, ()
                if right.op == "mul" and self.tokens[start].kind in ("num", "sym", "const"):
                    self.found.add("slash")
                    loose = self.tokens[start + 1].space != ""
                    if loose != ("slash" in self.reading):
                        first, *rest = right.args
                left = Node("div", (left, first))
                left = Node("mul", (left, *rest)) if rest else left
        return left

    def signed(self) -> Node:
        if self.accept("-"):
            node = self.deeper(self.signed)
            if node.op in ("deg", "percent"):  # the sign belongs to the number: (-5) degrees
                return Node(node.op, (Node("neg", node.args),))
            return Node("neg", (node,))
        if self.accept("+"):
            return self.deeper(self.signed)
        factors = [self.factor()]
        while self.starts_factor():
            if self.kind() == "num" and self.tokens[self.place - 1].kind == "num":
                raise AnswerError("two numbers side by side")
            factors.append(self.factor())
        return factors[0] if len(factors) == 1 else Node("mul", tuple(factors))

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
        return self.kind(1) in (
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
                base = Node("fn", ("fact2" if self.accept("!") else "fact", base))
            elif kind in ("%", "deg"):
                self.take()
                base = Node("percent" if kind == "%" else "deg", (base,))
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
                inner = self.bracketed(self.take().kind)
                return Node("fn", ("apply", Node("sym", (label,)), inner))
        return base if power is None else Node("pow", (base, power))

    def exponent(self) -> Node | None:
        """What stands after `^`; None for a degree sign."""
        if self.accept("{"):
            group = self.enclosed()
            kinds = [token.kind for token in group]
            if kinds and set(kinds) <= {"deg", "quad"}:
                return None
            if kinds and set(kinds) == {"'"}:
                return Node("prime", (len(kinds),))
            if kinds[:1] == ["deg"] and len(kinds) == 2:  # ^{\circ C}
                return None
            if kinds == ["*"]:
                return Node("prime", (9,))
            return self.nested(group)
        if self.accept("-"):
            return Node("neg", (self.exponent() or ONE,))
        if self.accept("+"):
            return self.exponent()
        if self.accept("*"):
            return Node("prime", (9,))
        return self.deeper(self.bare_exponent)

    def bare_exponent(self) -> Node:
        """An exponent without braces; 2^3^2 is read from the right."""
        base = self.primary(single=True)
        if self.accept("!"):
            base = Node("fn", ("fact", base))
        if self.accept("^"):
            base = Node("pow", (base, self.exponent() or ONE))
        return base

    def subscript(self, base: Node) -> Node:
        group = self.group_or_token()
        label = "".join(token.value for token in group if token.kind != "quad").strip()
        if label[:1] == "(" and label[-1:] == ")":
            label = label[1:-1]
        if base.op == "num":
            digits = int(label) if label.isdigit() and len(label) < 3 else 0
            radix = NUMBER_WORDS.get(label.lower(), digits)
            if not 2 <= radix <= 36:
                raise AnswerError("a number with a subscript that is no base")
            return Node("base", (numeral(*base.args), radix))
        if base.op in ("sym", "const"):
            return Node("sym", (f"{base.args[0]}_{label}",))
        if base.op == "mul" or base.op == "add":
            raise AnswerError("a subscript on an expression")
        return Node("fn", ("sub", base, Node("sym", (label,))))

    def argument(self) -> Node:
        """One argument of a command: a group, or the next single character."""
        kind = self.kind()
        if self.accept("{"):
            group = self.enclosed()
            if not group:
                raise AnswerError("an empty argument")
            return self.nested(group)
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
        if self.accept("-"):
            return Node("neg", (self.argument(),))
        if kind == "word":
            return Node("sym", (self.take().value,))
        return self.primary(single=True)

    def optional(self) -> Node | None:
        """An optional `[n]`."""
        group = self.enclosed() if self.accept("[") else []
        return self.nested(group) if group else None

    def primary(self, single: bool = False) -> Node:
        token = self.take()
        kind, value = token.kind, token.value
        if kind == "num":
            node = number(value)
            return node if single else self.mixed(node, token)
        if kind == "sym":
            applied = not single and value in APPLIED and self.kind() == "("
            if applied and not self.tokens[self.place].space:
                self.take()
                group = self.enclosed()
                return Node("fn", ("apply", Node("sym", (value,)), self.nested(group)))
            return Node("sym", (value,))
        if kind == "const":
            return EMPTY if value == "empty" else Node("const", (value,))
        if kind in ("(", "[", "\\{", "{"):
            return self.bracketed(kind)
        if kind == "cmd":
            return commands.command(self, value)
        if kind == "fn":
            return self.function(value)
        if kind in ("|", "mid"):
            return self.absolute()
        if kind == "begin":
            return commands.environment(self, value)
        if kind in ("lfloor", "lceil"):
            group = self.until_close()
            if self.take().kind != ("rfloor" if kind == "lfloor" else "rceil"):
                raise AnswerError("brackets of different kinds")
            return Node("fn", ("floor" if kind == "lfloor" else "ceil", self.nested(group)))
        if kind == "repeat":
            return repeating(value)
        if kind == "python":
            return commands.python(self, value)
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
            start, kept = self.place, self.tokens
            self.take()
            top, bottom = self.argument(), self.argument()
            numbers = top.op == bottom.op == "num" and bottom.args[0]
            if numbers and top.args[0].denominator == bottom.args[0].denominator == 1:
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
        self.check_depth()
        if kind in ("{", "\\{"):
            if kind == "{":
                for place, token in enumerate(group):
                    if token.kind in ("choose", "over"):
                        parts = self.nested(group[:place]), self.nested(group[place + 1 :])
                        over = token.kind == "over"
                        return Node("div", parts) if over else Node("fn", ("binom", *parts))
            if not group:
                return EMPTY
            if kind == "\\{" and (built := self.builder(group)) is not None:
                return built
            inner = self.nested(group)
            if inner.op == "list":
                return Node("set", inner.args[1])
            return inner if kind == "{" else Node("set", (inner,))
        if not group:
            raise AnswerError("empty brackets")
        inner = self.nested(group)
        if inner.op == "list":
            joint, items = inner.args
            if joint == "or" and all(item.op == "seq" for item in items):  # (1,1;2,2)
                items = tuple(part for item in items for part in item.args[2])
            return Node("seq", (kind, close, items))
        if close != CLOSE_OF[kind][0]:
            raise AnswerError("an interval needs two ends")
        return Node("seq", ("[", "]", (inner,))) if inner.op == "seq" and kind == "[" else inner

    def builder(self, group: list[Token]) -> Node | None:
        """`{x : x > 3}` and `{x | x > 3}`."""
        bars = sum(token.kind == "|" for token in group) % 2  # an odd one is no absolute value
        depth = 0
        for place, token in enumerate(group):
            depth += (token.kind in OPENING) - (token.kind in CLOSING)
            divides = token.kind in (":", "mid") or (token.kind == "|" and bars)
            if depth == 0 and divides and place:
                head, tail = group[:place], group[place + 1 :]
                if any(t.kind == "rel" for t in tail) and len(head) <= 12:
                    return Node("builder", (self.nested(head), self.nested(tail)))
                return None
        return None

    def absolute(self) -> Node:
        self.bars += 1
        inner = self.deeper(self.sum)
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
        argument = self.deeper(lambda: self.function_argument(name))
        arguments: tuple[Any, ...] = (argument,)
        if argument.op in ("list", "seq") and name in SEVERAL:
            arguments = argument.args[-1]
        elif argument.op == "set" and name in ("max", "min", "gcd", "lcm"):
            arguments = argument.args
        if name == "cbrt":
            return Node("root", (integer(3), *arguments))
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
            inner = self.nested(group)
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


def _primed(base: Node, count: int) -> Node:
    if base.op == "sym":
        return Node("sym", (f"{base.args[0]}{chr(39) * count}",))
    if base.op == "matrix" or count == 9:
        return Node("fn", (f"prime{count}", base))
    return Node("unit", (base, "ft" if count == 1 else "inch"))
