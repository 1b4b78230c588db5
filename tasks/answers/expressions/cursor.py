"""A place in a list of tokens, and the ways of reading on from it."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from tasks.answers.expressions.node import Node
from tasks.answers.words.lexer import CLOSING, MAX_DEPTH, OPENING, AnswerError, LimitError, Token


class Cursor(ABC):
    """`reading` names the unusual readings to take; other readings that exist go to `found`."""

    def __init__(self, tokens: list[Token], reading: frozenset[str], found: set[str]) -> None:
        self.tokens = tokens
        self.place = 0
        self.depth = 0
        self.bars = 0
        self.reading = reading
        self.found = found

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

    def enclosed(self) -> list[Token]:
        """`until_close`, and the closing token is taken."""
        group = self.until_close()
        self.take()
        return group

    def group_or_token(self) -> list[Token]:
        """The tokens of a `{...}` group, or the next single token."""
        return self.enclosed() if self.accept("{") else [self.take()]

    def check_depth(self) -> None:
        if self.depth >= MAX_DEPTH:
            raise LimitError(f"nested deeper than {MAX_DEPTH}")

    def deeper(self, rule: Callable[[], Node]) -> Node:
        """What the rule reads, one level deeper."""
        self.check_depth()
        self.depth += 1
        node = rule()
        self.depth -= 1
        return node

    @abstractmethod
    def nested(self, tokens: list[Token]) -> Node:
        """The tree of a bracketed group's tokens."""
