"""From an answer's text to tokens: layout dropped, LaTeX, Unicode and plain notation made one.

The tokenizer knows a closed list of commands and characters; nothing it reads is ever evaluated.
Two answers with equal tokens are the same text but for layout (`normalised string equality`).
"""

import re
from typing import NamedTuple

from tasks.answers.words import vocabulary
from tasks.answers.words.vocabulary import FUNCTIONS, GREEK, IGNORED, KNOWN, MATRICES, OPERATORS

MAX_CHARS = 4_000
MAX_TOKENS = 1_200
MAX_DEPTH = 40
MAX_DIGITS = 1_000
MAX_ITEMS = 200  # of a list, entries of a matrix
OPENING = frozenset(("(", "[", "{", "\\{", "begin", "lfloor", "lceil"))
CLOSING = frozenset((")", "]", "}", "\\}", "end", "rfloor", "rceil"))


class AnswerError(ValueError):
    """A text that is no answer the parser knows."""


class LimitError(AnswerError):
    """A text that would cost too much to read or to build."""


class Token(NamedTuple):
    kind: str  # num sym const fn word cmd begin end rel set sep; else the operator itself
    value: str
    space: str  # the white space before it, as written


_GROUP = r"(?:,\s*\\![\s~]*|\s?\{\s?,\s?\}\s?|\\,|,|\\!|\s(?=\d{3}(?!\d)))"
_TOKEN = re.compile(
    r"(?P<space>(?:\s|~|\\[,;:!> ]|\\/)+)"
    r"|(?P<repeat>\d*\.\d*\\(?:overline|bar|dot)\s*\{\d+\})"
    rf"|(?P<num>(?:\d{{1,3}}(?:{_GROUP}\d{{3}})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][+-]?\d{{1,9}}(?![\w.]))?"
    r"|\.\d+(?:[eE][+-]?\d{1,9}(?![\w.]))?)"
    r"|(?P<env>\\(?:begin|end)\s*\{[a-zA-Z]+\*?\})"
    r"|(?P<row>\\\\(?:\[[^\]]{0,10}\])?)"
    r"|(?P<cmd>\\[a-zA-Z]+)"
    r"|(?P<esc>\\[{}$%&#_|'\"^])"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<op>\*\*|\^|<=|>=|=<|=>|==|!=|<>|\.\.\.|[-+*/_!%()\[\]{}|,;:=<>&'.?\"`$#@])"
)
_MONEY = re.compile(r"\s?\.?\d")
_DOLLAR = re.compile(r"(?<!\\)\$")
_GLUED = re.compile(r"(or|and)([A-Z])")
_US = re.compile(r"\bUS\s?\\?\$")
_LABEL = re.compile(r"\*\*([A-Za-z ]{2,})(?::\*\*|\*\*:)")  # **Answer:**
_HALF_DAY = re.compile(r"\s*\b([aApP])\.\s?[mM]\b\.?")
_EMBEDDED = re.compile(r"([A-Za-z]{1,2})(sqrt|sin|cos|tan|log|ln)")
_SINGLE = {
    "<=": "<=", ">=": ">=", "=<": "<=", "==": "=", "!=": "!=", "<>": "!=", "=": "=", "<": "<",
    ">": ">", "=>": "=>",
}  # fmt: skip
_READY = {  # commands that are one token: (kind, value) of each
    name: (kind, value)
    for kind, table in (
        ("rel", vocabulary.RELATIONS), ("set", vocabulary.SETS), ("const", vocabulary.CONSTANTS),
        ("fn", FUNCTIONS), ("money", vocabulary.MONEY),
    )
    for name, value in table.items()
}  # fmt: skip
_ENV = re.compile(r"\\(begin|end)\s*\{([a-zA-Z]+\*?)\}")
_COLUMNS = re.compile(r"\s*(?:\[[tbc]\])?\s*\{[^{}]{0,60}\}")
_BRACE = re.compile(r"\\.|[{}]")
_DRESSED = re.compile(r"^(?:\*\*|__|`+|\"|')+|(?:\*\*|__|`+|\"|'(?<!''))+$")


def _closing(text: str, start: int) -> int:
    """The place of the brace that closes the group whose content begins at `start`."""
    depth = 1
    for token in _BRACE.finditer(text, start):
        word = token.group()
        if word == "{":
            depth += 1
        elif word == "}":
            depth -= 1
            if not depth:
                return token.start()
    raise AnswerError("unbalanced braces")


def tidy(text: str) -> str:
    """Unicode signs as LaTeX; marks around the answer (`$`, `**`, a final point) dropped."""
    if len(text) > MAX_CHARS:
        raise LimitError(f"longer than {MAX_CHARS} characters")
    text = vocabulary.as_latex(text).replace("{:}", ":")
    if "US" in text:
        text = _US.sub("$", text)
    if "**" in text and ":" in text:
        text = _LABEL.sub(r"\1:", text)
    if "\\" in text:
        text = text.replace("\\(", " ").replace("\\)", " ").replace("\\[", " ").replace("\\]", " ")
    if ".m" in text or ".M" in text:
        text = _HALF_DAY.sub(r" \1m", text)
    text = text.strip()
    for _ in range(3):
        before, text = text, text.strip(" \t\r\n")
        while text and text[-1] in ".,;:" and not text.endswith("\\,"):
            text = text[:-1].rstrip()
        if text.endswith("\\") and not text.endswith("\\\\"):
            text = text[:-1]
        if text[:2] in ("**", "__") or text[:1] in '`"' or text[-1:] in '*_`"':
            text = _DRESSED.sub("", text)
        if len(text) > 2 and text[0] == text[-1] == "*":
            text = text[1:-1]
        if text == before:
            break
    return text


def lex(text: str, in_text: bool = False, depth: int = 0) -> list[Token]:
    """The tokens of a tidied text. Raises AnswerError for characters outside of the notation."""
    if depth > 4:
        raise LimitError("text nested too deep")
    tokens: list[Token] = []
    add = tokens.append
    place, space, end = 0, "", len(text)
    match_at = _TOKEN.match
    while place < end:
        match = match_at(text, place)
        if match is None:
            if text[place].isalpha():  # letters of other scripts are words
                stop = place + 1
                while stop < end and text[stop].isalpha():
                    stop += 1
                add(Token("word", text[place:stop], space))
                place, space = stop, ""
                continue
            raise AnswerError(f"unknown character {text[place]!r}")
        kind, value, place = match.lastgroup, match.group(), match.end()
        if kind == "space":
            space += value
            continue
        if len(tokens) > MAX_TOKENS:
            raise LimitError(f"more than {MAX_TOKENS} tokens")
        if kind == "num":
            if len(value) > MAX_DIGITS:
                raise LimitError(f"more than {MAX_DIGITS} digits")
            add(Token("num", value, space))
        elif kind == "word":
            if value == "in" and tokens and tokens[-1].kind not in ("sym", ")"):
                add(Token("word", value, space))  # inches, or prose
            else:
                _word(value, space, in_text, add, text=text, place=place)
        elif kind == "op":
            if value == "$" and _MONEY.match(text, place) and len(_DOLLAR.findall(text)) == 1:
                add(Token("money", "dollar", space))  # "$5": no formula, which needs two
            else:
                _operator(value, space, add)
        elif kind == "cmd":
            place = _command(text, value[1:], place, space, depth=depth, tokens=tokens)
        elif kind == "esc":
            mark = value[1]
            if mark == "$":
                add(Token("money", "dollar", space))
            elif mark in "{}":
                add(Token(value, value, space))
            elif mark in "%|":
                add(Token(mark, mark, space))
        elif kind == "env":
            which, name = _ENV.match(value).groups()  # type: ignore[union-attr]
            if name in MATRICES:
                add(Token(which, name, space))
                if value.startswith("\\begin") and name.startswith("array"):
                    columns = _COLUMNS.match(text, place)
                    place = columns.end() if columns else place
            elif name.startswith("cases"):
                add(Token(which, "cases", space))
        elif kind == "row":
            add(Token("row", "row", space))
        elif kind == "repeat":
            if len(value) > 60:
                raise LimitError("too many digits")
            add(Token("repeat", value, space))
        space = ""
    return tokens


def _operator(value: str, space: str, add) -> None:
    if value in _SINGLE:
        add(Token("rel", _SINGLE[value], space))
    elif value == "**":
        add(Token("^", "^", space))
    elif value == "...":
        add(Token("const", "dots", space))
    elif value not in '$"`?#@':
        add(Token(value, value, space))


def _word(value: str, space: str, in_text: bool, add, text: str, place: int) -> None:
    """A run of letters: a function or constant, a word, or a product of one-letter names."""
    lower, after = value.lower(), text[place : place + 1]
    if lower in ("and", "or"):
        add(Token("sep", lower, space))
    elif (glued := _GLUED.fullmatch(value)) and not in_text:  # "1orW(x)"
        add(Token("sep", glued.group(1), space))
        _word(glued.group(2), "", False, add, text=text, place=place)
    elif lower in vocabulary.PERCENT_WORDS:
        add(Token("%", "%", space))
    elif in_text:
        add(Token("word", value, space))
    elif len(value) == 1:
        kind = "const" if value in "eiI" else "sym"
        add(Token(kind, "i" if value == "I" else value, space))
    elif value in FUNCTIONS:
        add(Token("fn", FUNCTIONS[value], space))
    elif value in ("sqrt", "binom", "frac") or (value in ("bar", "hat", "vec") and after == "{"):
        add(Token("cmd", value, space))
    elif lower in ("pi", "infinity", "infty", "inf", "oo"):
        add(Token("const", "pi" if lower == "pi" else "oo", space))
    elif value in vocabulary.PYTHON_SETS or (
        value in vocabulary.PYTHON_NAMES and after in ("(", ".")
    ):
        add(Token("python", value, space))
    elif value in vocabulary.LETTERS:
        add(Token("sym", value, space))
    elif lower == "in":
        add(Token("rel", "in", space))
    elif lower == "mod":
        add(Token("mod", "mod", space))
    elif after == "(" and (embedded := _EMBEDDED.fullmatch(value)):  # 2xsqrt(5)
        _word(embedded.group(1), space, False, add, text=text, place=place)
        _word(embedded.group(2), "", False, add, text=text, place=place)
    elif len(value) > 3 or lower in vocabulary.SHORT_WORDS or lower in vocabulary.NUMBER_WORDS:
        for name in ("sin", "cos", "tan", "log", "ln"):
            if value.startswith(name) and len(value) == len(name) + 1:
                add(Token("fn", FUNCTIONS[name], space))
                _word(value[-1], "", False, add, text=text, place=place)
                return
        add(Token("word", value, space))
    elif lower.startswith(("pi", "ln")):
        add(Token("const", "pi", space) if lower.startswith("pi") else Token("fn", "ln", space))
        _word(value[2:], "", False, add, text=text, place=place)
    else:
        for n, letter in enumerate(value):
            _word(letter, "" if n else space, False, add, text=text, place=place)


def _command(text: str, name: str, place: int, space: str, depth: int, tokens: list[Token]) -> int:
    """Reads one command; returns the place after it (and after the arguments it takes here)."""
    add = tokens.append
    if name not in KNOWN:
        for size in range(len(name) - 1, 1, -1):  # "\pir", "\quadx": a known command and letters
            if name[:size] in KNOWN:
                place -= len(name) - size
                name = name[:size]
                break
        else:
            add(Token("sym", "\\" + name, space))
            return place
    if name in IGNORED:
        sided = name in ("left", "right", "mleft", "mright", "middle")
        if sided and text[place : place + 1] == ".":
            place += 1
        elif name == "therefore":
            return place
    elif name in vocabulary.SPACES:
        add(Token("quad", "quad", space))
    elif name in OPERATORS:
        mark = OPERATORS[name]
        add(Token("sep", mark, space) if mark in ("and", "or") else Token(mark, mark, space))
    elif name in GREEK:
        add(Token("sym", name, space))
    elif name in _READY:
        add(Token(*_READY[name], space))
    elif name in vocabulary.TEXTS:
        return _text(text, name, place, space, depth=depth, tokens=tokens)
    elif name in ("phantom", "hphantom", "vphantom", "hspace", "vspace", "color"):
        if match := re.compile(r"\*?\s*\{").match(text, place):
            return _closing(text, match.end()) + 1
    elif name == "not":
        match = re.compile(r"\s*(=|\\in(?![a-z])|\\equiv)").match(text, place)
        if match:
            add(Token("rel", "notin" if match.group(1) == "\\in" else "!=", space))
            return match.end()
    else:
        add(Token("cmd", name, space))
    return place


def _text(text: str, name: str, place: int, space: str, depth: int, tokens: list[Token]) -> int:
    """Reads `\\text{...}`: its content as tokens, in which letters are words and not factors."""
    match = re.compile(r"\*?\s*\{").match(text, place)
    if match is None:
        match = re.compile(r"\s*([A-Za-z0-9]+)").match(text, place)
        if match is None:
            return place
        inner, stop = match.group(1), match.end()
    else:
        close = _closing(text, match.end())
        inner, stop = text[match.end() : close], close + 1
    plain = inner.strip().strip("~").strip()
    upright = name in ("mathrm", "text", "textrm") and plain not in vocabulary.FUNCTIONS_AND_WORDS
    if plain in FUNCTIONS and (upright or name == "operatorname"):
        tokens.append(Token("fn", FUNCTIONS[plain], space))
        return stop
    if name == "mathrm" and len(plain) == 1 and plain in "eid":
        tokens.append(Token("const" if plain in "ei" else "sym", plain, space))
        return stop
    if name == "operatorname" and plain in KNOWN:
        _command("", plain, 0, space, depth=depth, tokens=tokens)
        return stop
    parts = lex(inner.replace("$", " "), True, depth + 1)
    if parts and not parts[0].space:
        parts[0] = parts[0]._replace(space=space)
    tokens.extend(parts)
    return stop
