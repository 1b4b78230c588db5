"""The closed vocabulary of the notation: LaTeX commands, signs, words and units."""

import re


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def ranked(text: str, start: int = 0) -> list[tuple[int, str]]:
    return list(enumerate(text.split(), start))


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
        "△": r"\triangle ", "£": r"\pounds ", "€": r"\euro ", "¥": r"\yen ", "¢": r"\cent ",
        "₹": r"\rupee ", "＄": r"\$",
        "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}",
        "¾": r"\frac{3}{4}", "⅕": r"\frac{1}{5}", "⅖": r"\frac{2}{5}", "⅗": r"\frac{3}{5}",
        "⅘": r"\frac{4}{5}", "⅙": r"\frac{1}{6}", "⅚": r"\frac{5}{6}", "⅛": r"\frac{1}{8}",
        "⅜": r"\frac{3}{8}", "⅝": r"\frac{5}{8}", "⅞": r"\frac{7}{8}",
        "\u00a0": " ", "\u2002": " ", "\u2003": " ", "\u2009": " ", "\u200a": " ", "\u202f": " ",
        "\u3000": " ", "\u200b": "", "\u200c": "", "\u200d": "", "\u2060": "", "\ufeff": "",
        "\u2061": "", "\u2062": "*", "٫": ".", "٬": ",", "،": ", ", "✓": "", "✅": "",
    }
)  # fmt: skip
_SUPER = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱ", "0123456789+-ni", strict=True))
_SUB = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_LEVEL = str.maketrans({**_SUPER, **_SUB})
_SUPERS = re.compile("[" + "".join(_SUPER) + "]+")
_SUBS = re.compile("[" + "".join(_SUB) + "]+")
_SLASHED = re.compile("([⁰¹²³⁴-⁹]+)[/⁄∕]([₀-₉]+)")  # ²⁄₃
_DIGITS = re.compile(r"(?![0-9])\d")  # of other scripts, full width, mathematical


def as_latex(text: str) -> str:
    """Unicode signs as the LaTeX that they stand for."""
    if text.isascii():
        return text
    text = _SLASHED.sub(lambda match: f"\\frac{{{match[1]}}}{{{match[2]}}}".translate(_LEVEL), text)
    text = _SUPERS.sub(lambda match: "^{" + "".join(_SUPER[c] for c in match.group()) + "}", text)
    text = _SUBS.sub(lambda match: "_{" + "".join(_SUB[c] for c in match.group()) + "}", text)
    return _DIGITS.sub(lambda match: str(int(match.group())), text.translate(UNICODE))


# Commands that only lay out, and what others stand for.
IGNORED = words(
    "left right mleft mright middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr "
    "bigm Bigm displaystyle textstyle scriptstyle scriptscriptstyle limits nolimits rm bf it sf tt "
    "cal nonumber notag hline mathstrut strut relax noindent centering normalsize large Large "
    "small it sl boldmath allowbreak nobreak hfill therefore because"
)
SPACES = words(
    "quad qquad enspace enskip thinspace medspace thickspace negthinspace nobreakspace space "
    "newline linebreak par"
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
LETTERS = words(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi "
    "rho varrho sigma varsigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi "
    "Pi Sigma Upsilon Phi Psi Omega"
)
GREEK = LETTERS | words(
    "ell hbar partial nabla aleph Re Im jmath triangle angle "
    "square diamond clubsuit heartsuit spadesuit odot oplus otimes forall exists neg lnot"
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
COMMANDS = words(
    "frac dfrac tfrac cfrac sqrt binom dbinom tbinom sum prod int iint oint lim overline bar hat "
    "vec tilde widehat widetilde overrightarrow overleftarrow dot ddot mathbb mathcal mathscr "
    "mathbf mathit mathsf mathtt mathfrak boldsymbol bm pmb underline ensuremath boxed fbox "
    "phantom hphantom vphantom hspace vspace textcolor color overset underset stackrel pmod "
    "underbrace overbrace variable not cancel overarc wideparen mathop mathrel mathord"
)
TEXTS = words(
    "text mbox hbox textbf textit textrm textnormal textsf texttt textup emph textsc mathrm "
    "operatorname textsl"
)
MONEY = {"pounds": "pound"} | {name: name for name in words("euro yen cent dollar rupee")}
_KINDS = words("matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix array")
MATRICES = _KINDS | {f"{kind}*" for kind in _KINDS}

PERCENT_WORDS = frozenset(("percent", "pct", "percentage", "percents"))
NUMBER_WORDS = {
    word: n
    for n, word in ranked(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen twenty"
    )
} | {word: 10 * n for n, word in ranked("thirty forty fifty sixty seventy eighty ninety", 3)}
# Short words that are text even outside of \text; longer ones are text by their length.
SHORT_WORDS = words(
    "cm mm km ft yd mi gm gms kg kgs kms mg lb lbs oz ml mph kph sec min mins secs hr hrs yrs day "
    "yr pts sq cu am pm usd rs inr eur gbp rad odd yes no men boy cup way cat dog car box pie bag "
    "hat row can set top pen red all not none neither both is are the for per inch feet foot if as "
    "to of dne"
)
FUNCTIONS_AND_WORDS = words("deg min arg tr dim rank sign max")  # functions only where they apply

KNOWN = (
    IGNORED | SPACES | RELATIONS.keys() | OPERATORS.keys() | SETS.keys() | CONSTANTS.keys() | GREEK
    | FUNCTIONS.keys() | COMMANDS | TEXTS | MONEY.keys()
)  # fmt: skip

PYTHON_NAMES = words(
    "Interval Union Intersection Complement FiniteSet EmptySet Eq Ne Lt Le Gt Ge Matrix Rational "
    "Integer Float Tuple Sum Integral Reals Integers Naturals Rationals Complexes"
)
PYTHON_SETS = words("EmptySet Reals Integers Naturals Rationals Complexes")

# What the parser knows by name

APPLIED = frozenset("fghFGHPTWQSVNA")  # f(x) is a value of f; x(x+1) is a product
FILLERS = words("between approximately about approx roughly exactly option choice nearly around")
MONEY_WORDS = {
    "rs": "rupee", "usd": "dollar", "us": "dollar", "eur": "euro", "inr": "rupee", "gbp": "pound",
}  # fmt: skip
PARTS = {
    word + plural: n
    for n, word in ranked("half third quarter fifth sixth seventh eighth ninth tenth", 2)
    for plural in ("", "s")
} | {"halves": 2, "fourth": 4, "fourths": 4}
MAGNITUDES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "dozen": 12,
}  # fmt: skip
SEVERAL = words("max min gcd lcm binom modf log")  # functions of several arguments
INVERTED = words("sin cos tan cot sec csc sinh cosh tanh")  # sin^{-1} is the inverse function
FRACTIONS = frozenset(("frac", "dfrac", "tfrac", "cfrac"))
BINOMIALS = frozenset(("binom", "dbinom", "tbinom"))
NAMED = words(
    "overline bar hat vec tilde widehat widetilde overrightarrow overleftarrow dot ddot overarc "
    "wideparen"
)
UNWRAPPED = words(
    "mathbf mathit mathsf mathtt mathfrak mathcal mathscr boldsymbol bm pmb underline ensuremath "
    "boxed fbox variable cancel underbrace overbrace mathop mathrel mathord"
)
NUMBER_SETS = {"R": "Reals", "Z": "Integers", "N": "Naturals", "Q": "Rationals", "C": "Complexes"}
UNIT_LETTERS = frozenset("msghLJNWVK")

# Units by dimension word; synonyms on one line. Unknown words are no units: they are ignored.
_UNITS = (
    "cm centimeter centimeters centimetre centimetres", "mm millimeter millimeters millimetre",
    "m meter meters metre metres", "km kilometer kilometers kilometre kilometres kms",
    "inch inches in", "ft foot feet", "yard yards yd yds", "mile miles mi",
    "g gram grams gm gms", "kg kilogram kilograms kgs", "mg milligram milligrams",
    "lb lbs pound pounds", "oz ounce ounces", "ton tons tonne tonnes",
    "s sec second seconds secs", "min minute minutes mins", "hour hours hr hrs h", "day days",
    "week weeks", "month months", "year years yr yrs",
    "l liter liters litre litres", "ml milliliter milliliters millilitre", "gallon gallons gal",
    "quart quarts", "pint pints", "cup cups",
    "dollar dollars usd buck bucks", "cent cents", "euro euros eur", "rupee rupees",
    "yen", "celsius centigrade c", "fahrenheit f", "kelvin k",
    "degree degrees deg", "radian radians rad", "am", "pm", "acre acres",
    "percent", "hz", "joule joules j", "newton newtons n", "watt watts w", "volt volts v",
)  # fmt: skip
UNITS = {word: line.split()[0] for line in _UNITS for word in line.split()}
