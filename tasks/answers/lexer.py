"""From an answer's text to tokens: layout dropped, LaTeX, Unicode and plain notation made one.

The tokenizer knows a closed list of commands and characters; nothing it reads is ever evaluated.
Two answers with equal tokens are the same text but for layout (`normalised string equality`).
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_CHARS = 4_000
MAX_TOKENS = 1_200
MAX_DEPTH = 40
MAX_DIGITS = 1_000


class AnswerError(ValueError):
    """A text that is no answer the parser knows."""


class LimitError(AnswerError):
    """A text that would cost too much to read or to build."""


class Token(NamedTuple):
    kind: str  # num sym const fn word cmd begin end rel set sep; else the operator itself
    value: str
    space: str  # the white space before it, as written


UNICODE = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-", "－": "-",
        "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "•": r"\cdot ", "∗": "*",
        "÷": r"\div ", "∕": "/", "⁄": "/", "／": "/", "±": r"\pm ", "∓": r"\mp ",
        "≤": r"\le ", "⩽": r"\le ", "≦": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≧": r"\ge ",
        "≠": r"\ne ", "≈": r"\approx ", "≡": r"\equiv ", "∈": r"\in ", "∉": r"\notin ",
        "∪": r"\cup ", "∩": r"\cap ", "∖": r"\setminus ", "∅": r"\emptyset ", "⊂": r"\subset ",
        "⊆": r"\subseteq ", "∞": r"\infty ", "√": r"\sqrt ", "∛": r"\sqrt[3]", "°": r"\degree ",
        "º": r"\degree ", "℃": r"\degree C", "℉": r"\degree F", "′": "'", "’": "'", "‘": "'",
        "″": "''", "“": '"', "”": '"', "π": r"\pi ", "α": r"\alpha ", "β": r"\beta ",
        "γ": r"\gamma ", "δ": r"\delta ", "ε": r"\epsilon ", "ζ": r"\zeta ", "η": r"\eta ",
        "θ": r"\theta ", "λ": r"\lambda ", "μ": r"\mu ", "ν": r"\nu ", "ξ": r"\xi ",
        "ρ": r"\rho ", "σ": r"\sigma ", "τ": r"\tau ", "φ": r"\phi ", "ϕ": r"\phi ",
        "χ": r"\chi ", "ψ": r"\psi ", "ω": r"\omega ", "Γ": r"\Gamma ", "Δ": r"\Delta ",
        "Θ": r"\Theta ", "Λ": r"\Lambda ", "Σ": r"\Sigma ", "Φ": r"\Phi ", "Ω": r"\Omega ",
        "µ": r"\mu ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}",
        "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "∧": r"\land ", "∨": r"\lor ",
        "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ",
        "⟨": r"\langle ", "⟩": r"\rangle ", "〈": r"\langle ", "〉": r"\rangle ",
        "，": ", ", "、": ", ", "；": ";", "：": ":", "（": "(", "）": ")", "［": "[", "］": "]",
        "｛": "{", "｝": "}", "＝": "=", "＋": "+", "．": ".", "。": ".", "％": "%", "＜": "<",
        "＞": ">", "…": r"\dots ", "→": r"\to ", "⇒": r"\implies ", "∠": r"\angle ",
        "△": r"\triangle ", "£": r"\pounds ", "€": r"\euro ", "¥": r"\yen ", "¢": r"\cent ", "₹": r"\rupee ", "＄": r"\$",
        "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}",
        "¾": r"\frac{3}{4}", "⅕": r"\frac{1}{5}", "⅖": r"\frac{2}{5}", "⅗": r"\frac{3}{5}",
        "⅘": r"\frac{4}{5}", "⅙": r"\frac{1}{6}", "⅚": r"\frac{5}{6}", "⅛": r"\frac{1}{8}",
        "⅜": r"\frac{3}{8}", "⅝": r"\frac{5}{8}", "⅞": r"\frac{7}{8}",
        "\u00a0": " ", "\u2002": " ", "\u2003": " ", "\u2009": " ", "\u200a": " ", "\u202f": " ",
        "\u3000": " ", "\u200b": "", "\u200c": "", "\u200d": "", "\u2060": "", "\ufeff": "",
        "\u2061": "", "\u2062": "*", "✓": "", "✅": "",
    }
)  # fmt: skip
_SUPER = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱ", "0123456789+-ni", strict=True))
_SUB = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_SUPERS = re.compile("[" + "".join(_SUPER) + "]+")
_SUBS = re.compile("[" + "".join(_SUB) + "]+")
_WIDE_DIGITS = {ord("０") + n: str(n) for n in range(10)}

# Commands that only lay out, and what others stand for.
IGNORED = frozenset(
    "left right mleft mright middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr "
    "bigm Bigm displaystyle textstyle scriptstyle scriptscriptstyle limits nolimits rm bf it sf tt "
    "cal nonumber notag hline mathstrut strut relax noindent centering normalsize large Large "
    "small it sl boldmath allowbreak nobreak hfill therefore because".split()
)
SPACES = frozenset(
    "quad qquad enspace enskip thinspace medspace thickspace negthinspace nobreakspace space "
    "newline linebreak par".split()
)
RELATIONS = {
    "le": "<=", "leq": "<=", "leqslant": "<=", "leqq": "<=", "ge": ">=", "geq": ">=",
    "geqslant": ">=", "geqq": ">=", "lt": "<", "gt": ">", "ne": "!=", "neq": "!=",
    "approx": "~", "approxeq": "~", "simeq": "~", "thickapprox": "~", "cong": "~", "doteq": "=",
    "sim": "~", "equiv": "==", "in": "in", "notin": "notin", "subset": "sub", "subseteq": "subeq",
    "subsetneq": "sub", "supset": "sup", "supseteq": "supeq", "propto": "propto", "to": "to",
    "rightarrow": "to", "mapsto": "to", "implies": "=>", "Rightarrow": "=>", "iff": "<=>",
    "Leftrightarrow": "<=>", "Longrightarrow": "=>", "longrightarrow": "to", "perp": "perp",
    "parallel": "parallel", "coloneqq": "=", "triangleq": "=",
}  # fmt: skip
OPERATORS = {
    "cdot": "*", "times": "*", "ast": "*", "star": "*", "cdotp": "*", "div": "/", "pm": "pm",
    "mp": "mp", "mod": "mod", "bmod": "mod", "langle": "(", "rangle": ")", "lparen": "(",
    "rparen": ")", "lgroup": "(", "rgroup": ")", "lbrack": "[", "rbrack": "]", "lbrace": "\\{",
    "rbrace": "\\}", "vert": "|", "lvert": "|", "rvert": "|", "Vert": "|", "lVert": "|",
    "rVert": "|", "mid": "mid", "lfloor": "lfloor", "rfloor": "rfloor", "llcorner": "lfloor",
    "lrcorner": "rfloor", "lceil": "lceil", "rceil": "rceil", "ulcorner": "lceil",
    "urcorner": "rceil", "circ": "deg", "degree": "deg", "prime": "'", "colon": ":",
    "choose": "choose", "over": "over", "slash": "/", "percent": "%", "land": "and",
    "wedge": "and", "lor": "or", "vee": "or", "comma": ",", "semicolon": ";", "cr": "row",
    "tabularnewline": "row", "exclam": "!",
}  # fmt: skip
SETS = {
    "cup": "union", "bigcup": "union", "cap": "inter", "bigcap": "inter", "setminus": "minus",
    "backslash": "minus", "smallsetminus": "minus",
}  # fmt: skip
CONSTANTS = {
    "pi": "pi", "infty": "oo", "infinity": "oo", "emptyset": "empty", "varnothing": "empty",
    "imath": "i", "exponentialE": "e", "imaginaryI": "i", "reals": "Reals", "R": "Reals",
    "dots": "dots", "ldots": "dots", "cdots": "dots", "dotsc": "dots", "dotsb": "dots",
    "vdots": "dots", "ddots": "dots", "dotsm": "dots", "hdots": "dots",
}  # fmt: skip
LETTERS = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi "
    "rho varrho sigma varsigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi "
    "Pi Sigma Upsilon Phi Psi Omega".split()
)
GREEK = LETTERS | frozenset(
    "ell hbar partial nabla aleph Re Im jmath triangle angle "
    "square diamond clubsuit heartsuit spadesuit odot oplus otimes forall exists neg lnot".split()
)
FUNCTIONS = {
    "sin": "sin", "cos": "cos", "tan": "tan", "cot": "cot", "sec": "sec", "csc": "csc",
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "asin": "asin", "acos": "acos",
    "atan": "atan", "arccot": "acot", "arcsec": "asec", "arccsc": "acsc", "sinh": "sinh",
    "cosh": "cosh", "tanh": "tanh", "coth": "coth", "sech": "sech", "csch": "csch",
    "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "arsinh": "asinh",
    "arcosh": "acosh", "artanh": "atanh", "asinh": "asinh", "acosh": "acosh", "atanh": "atanh",
    "log": "log", "ln": "ln", "lg": "lg", "exp": "exp", "max": "max", "min": "min", "gcd": "gcd",
    "lcm": "lcm", "det": "det", "floor": "floor", "ceil": "ceil", "ceiling": "ceil", "abs": "abs",
    "Abs": "abs", "sgn": "sgn", "sign": "sgn", "arg": "arg", "deg": "degf", "dim": "dim",
    "cis": "cis", "binomial": "binom", "factorial": "fact", "Mod": "modf", "Max": "max",
    "Min": "min", "cbrt": "cbrt", "conjugate": "conj", "tr": "tr", "rank": "rank",
}  # fmt: skip
COMMANDS = frozenset(
    "frac dfrac tfrac cfrac sqrt binom dbinom tbinom sum prod int iint oint lim overline bar hat "
    "vec tilde widehat widetilde overrightarrow overleftarrow dot ddot mathbb mathcal mathscr "
    "mathbf mathit mathsf mathtt mathfrak boldsymbol bm pmb underline ensuremath boxed fbox "
    "phantom hphantom vphantom hspace vspace textcolor color overset underset stackrel pmod "
    "underbrace overbrace variable not cancel overarc wideparen mathop mathrel mathord".split()
)
TEXTS = frozenset(
    "text mbox hbox textbf textit textrm textnormal textsf texttt textup emph textsc mathrm "
    "operatorname textsl".split()
)
MONEY = {"pounds": "pound", "euro": "euro", "yen": "yen", "cent": "cent", "dollar": "dollar", "rupee": "rupee"}
MATRICES = frozenset(
    f"{kind}{star}"
    for kind in ("matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix", "smallmatrix", "array")
    for star in ("", "*")
)

PERCENT_WORDS = frozenset(("percent", "pct", "percentage", "percents"))
DEGREE_WORDS = frozenset(("degree", "degrees", "deg"))
NUMBER_WORDS = {
    word: n
    for n, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen twenty".split()
    )
} | {
    word: 10 * n
    for n, word in enumerate("thirty forty fifty sixty seventy eighty ninety".split(), start=3)
}
# Short words that are text even outside of \text; longer ones are text by their length.
SHORT_WORDS = frozenset(
    "cm mm km ft yd mi gm gms kg kgs kms mg lb lbs oz ml mph kph sec min mins secs hr hrs yrs day yr pts sq cu in. am pm "
    "usd rad odd yes no men boy cup way cat dog car box pie bag hat row can set top set pen red "
    "all not none neither both is are the for per inch feet foot if as to of rs inr eur gbp dne".split()
)

KNOWN = (
    IGNORED | SPACES | RELATIONS.keys() | OPERATORS.keys() | SETS.keys() | CONSTANTS.keys() | GREEK
    | FUNCTIONS.keys() | COMMANDS | TEXTS | MONEY.keys()
)  # fmt: skip

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
_GLUED = re.compile(r"(or|and)([A-Z])")
_HALF_DAY = re.compile(r"\s*\b([aApP])\.\s?[mM]\b\.?")
_EMBEDDED = re.compile(r"([A-Za-z]{1,2})(sqrt|sin|cos|tan|log|ln)")
_SINGLE = {
    "<=": "<=", ">=": ">=", "=<": "<=", "==": "=", "!=": "!=", "<>": "!=", "=": "=", "<": "<",
    ">": ">", "=>": "=>",
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
    if not text.isascii():
        text = _SUPERS.sub(lambda m: "^{" + "".join(_SUPER[c] for c in m.group()) + "}", text)
        text = _SUBS.sub(lambda m: "_{" + "".join(_SUB[c] for c in m.group()) + "}", text)
        text = text.translate(UNICODE).translate(_WIDE_DIGITS)
    if "\\" in text:
        text = text.replace("\\(", " ").replace("\\)", " ").replace("\\[", " ").replace("\\]", " ")
    if ".m" in text or ".M" in text:
        text = _HALF_DAY.sub(r" \1m", text)
    text = text.strip()
    for _ in range(3):
        before = text
        text = text.strip(" \t\r\n")
        while text and text[-1] in ".,;:" and not text.endswith("\\,"):
            text = text[:-1].rstrip()
        if text.endswith("\\") and not text.endswith("\\\\"):
            text = text[:-1]
        if text[:2] in ("**", "__") or text[:1] in "`\"" or text[-1:] in "*_`\"":
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
                _word(value, space, in_text, add, text, place)
        elif kind == "op":
            _operator(value, space, add)
        elif kind == "cmd":
            place = _command(text, value[1:], place, space, in_text, depth, tokens)
        elif kind == "esc":
            mark = value[1]
            if mark == "$":
                add(Token("money", "dollar", space))
            elif mark in "{}":
                add(Token(value, value, space))
            elif mark == "%":
                add(Token("%", "%", space))
            elif mark == "|":
                add(Token("|", "|", space))
        elif kind == "env":
            which, name = _ENV.match(value).groups()  # type: ignore[union-attr]
            if name in MATRICES:
                add(Token(which, name, space))
                if which == "begin" and name.startswith("array"):
                    if columns := _COLUMNS.match(text, place):
                        place = columns.end()
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


def _operator(value: str, space: str, add) -> None:  # noqa: ANN001
    if value in _SINGLE:
        add(Token("rel", _SINGLE[value], space))
    elif value == "**":
        add(Token("^", "^", space))
    elif value == "...":
        add(Token("const", "dots", space))
    elif value == "$" or value in "\"`?#@":
        return
    else:
        add(Token(value, value, space))


def _word(value: str, space: str, in_text: bool, add, text: str, place: int) -> None:  # noqa: ANN001
    """A run of letters: a function or constant, a word, or a product of one-letter names."""
    lower = value.lower()
    if lower in ("and", "or"):
        add(Token("sep", lower, space))
    elif (glued := _GLUED.fullmatch(value)) and not in_text:  # "1orW(x)"
        add(Token("sep", glued.group(1), space))
        _word(glued.group(2), "", False, add, text, place)
    elif lower in PERCENT_WORDS:
        add(Token("%", "%", space))
    elif in_text:
        add(Token("word", value, space))
    elif len(value) == 1:
        if value in "ei":
            add(Token("const", value, space))
        elif value == "I":
            add(Token("const", "i", space))
        else:
            add(Token("sym", value, space))
    elif value in FUNCTIONS:
        add(Token("fn", FUNCTIONS[value], space))
    elif value in ("sqrt", "binom", "frac") or value in ("bar", "hat", "vec") and text[place : place + 1] == "{":
        add(Token("cmd", value, space))
    elif lower in ("pi", "infinity", "infty", "inf", "oo"):
        add(Token("const", "pi" if lower == "pi" else "oo", space))
    elif value in PYTHON_NAMES and (value in PYTHON_SETS or text[place : place + 1] in ("(", ".")):
        add(Token("python", value, space))
    elif value in LETTERS:
        add(Token("sym", value, space))
    elif lower == "in":
        add(Token("rel", "in", space))
    elif lower == "mod":
        add(Token("mod", "mod", space))
    elif text[place : place + 1] == "(" and (embedded := _EMBEDDED.fullmatch(value)):  # 2xsqrt(5)
        _word(embedded.group(1), space, False, add, text, place)
        _word(embedded.group(2), "", False, add, text, place)
    elif lower in NUMBER_WORDS or lower in SHORT_WORDS or len(value) > 3 or value in DEGREE_WORDS:
        for name in ("sin", "cos", "tan", "log", "ln"):
            if value.startswith(name) and len(value) == len(name) + 1:
                add(Token("fn", FUNCTIONS[name], space))
                _word(value[-1], "", False, add, text, place)
                return
        add(Token("word", value, space))
    elif lower.startswith("pi") or lower.startswith("ln"):
        head = Token("const", "pi", space) if lower.startswith("pi") else Token("fn", "ln", space)
        add(head)
        _word(value[2:], "", False, add, text, place)
    else:
        for n, letter in enumerate(value):
            _word(letter, "" if n else space, False, add, text, place)


PYTHON_NAMES = frozenset(
    "Interval Union Intersection Complement FiniteSet EmptySet Eq Ne Lt Le Gt Ge Matrix Rational "
    "Integer Float Tuple Sum Integral Reals Integers Naturals Rationals Complexes".split()
)


PYTHON_SETS = frozenset("EmptySet Reals Integers Naturals Rationals Complexes".split())


def _command(
    text: str, name: str, place: int, space: str, in_text: bool, depth: int, tokens: list[Token]
) -> int:
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
        if name in ("left", "right", "mleft", "mright", "middle") and text[place : place + 1] == ".":
            place += 1
        elif name == "therefore":
            return place
    elif name in SPACES:
        add(Token("quad", "quad", space))
    elif name in RELATIONS:
        add(Token("rel", RELATIONS[name], space))
    elif name in OPERATORS:
        mark = OPERATORS[name]
        add(Token("sep", mark, space) if mark in ("and", "or") else Token(mark, mark, space))
    elif name in SETS:
        add(Token("set", SETS[name], space))
    elif name in CONSTANTS:
        add(Token("const", CONSTANTS[name], space))
    elif name in FUNCTIONS:
        add(Token("fn", FUNCTIONS[name], space))
    elif name in GREEK:
        add(Token("sym", name, space))
    elif name in MONEY:
        add(Token("money", MONEY[name], space))
    elif name in TEXTS:
        return _text(text, name, place, space, depth, tokens)
    elif name in ("phantom", "hphantom", "vphantom", "hspace", "vspace", "color"):
        match = re.compile(r"\*?\s*\{").match(text, place)
        if match:
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
    if name in ("mathrm", "operatorname", "text", "textrm") and plain in FUNCTIONS and plain not in (
        "deg", "min", "arg", "tr", "dim", "rank", "sign", "max",
    ) or name == "operatorname" and plain in FUNCTIONS:  # fmt: skip
        tokens.append(Token("fn", FUNCTIONS[plain], space))
        return stop
    if name == "mathrm" and len(plain) == 1 and plain in "eid":
        tokens.append(Token("const" if plain in "ei" else "sym", plain, space))
        return stop
    if name == "operatorname" and plain in KNOWN:
        return _command_after(plain, space, depth, tokens, stop)
    parts = lex(inner.replace("$", " "), True, depth + 1)
    if parts and not parts[0].space:
        parts[0] = parts[0]._replace(space=space)
    tokens.extend(parts)
    return stop


def _command_after(name: str, space: str, depth: int, tokens: list[Token], stop: int) -> int:
    _command("", name, 0, space, False, depth, tokens)
    return stop
