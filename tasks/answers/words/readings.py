"""Ambiguous notation, settled before parsing: commas, and letters that may be operators or units.

Each function takes the usual reading and notes the other one in `found`; the caller asks for the
other one by naming it in `reading`.
"""

from tasks.answers.words.lexer import CLOSING, OPENING, Token
from tasks.answers.words.vocabulary import UNIT_LETTERS


def settled(tokens: list[Token], reading: frozenset[str], found: set[str]) -> list[Token]:
    """The tokens with every ambiguity settled, except those that only the grammar can see."""
    tokens = _commas(tokens, reading, found)
    tokens = _decimal_comma(tokens, reading, found)
    return _letters(tokens, reading, found)


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


def _letters(tokens: list[Token], reading: frozenset[str], found: set[str]) -> list[Token]:
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


def turned(tokens: list[Token]) -> list[Token]:
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
