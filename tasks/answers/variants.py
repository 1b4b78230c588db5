"""Answers that must be refused and answers that must be accepted, made from a gold answer.

`mutants` differ by one digit or one sign; `reformatted` say the same in another notation. They
measure a checker on answers that nobody wrote for it.
"""

import random
import re
from collections.abc import Callable, Iterator

_SIGN = re.compile(r"(?<![a-zA-Z{])[-+](?=\s*[\d\\a-z(])")


def mutants(gold: str, rng: random.Random, digits: int = 3, signs: int = 2) -> list[str]:
    """The gold with one digit replaced (`digits` places) or one sign flipped (`signs` places)."""
    found: set[str] = set()
    places = [match.start() for match in re.finditer(r"\d", gold)]
    for place in rng.sample(places, min(digits, len(places))):
        other = rng.choice([digit for digit in "0123456789" if digit != gold[place]])
        found.add(gold[:place] + other + gold[place + 1 :])
    places = [match.start() for match in _SIGN.finditer(gold)]
    for place in rng.sample(places, min(signs, len(places))):
        found.add(gold[:place] + ("-" if gold[place] == "+" else "+") + gold[place + 1 :])
    return sorted(found - {gold})


def _sub(pattern: str, by: str | Callable[[re.Match[str]], str]) -> Callable[[str], str]:
    return lambda gold: re.sub(pattern, by, gold)


def _where(pattern: str, change: Callable[[str], str]) -> Callable[[str], str]:
    """A change for the golds that match as a whole."""
    return lambda gold: change(gold) if re.fullmatch(pattern, gold, re.DOTALL) else gold


def _untexted(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda gold: gold if "text" in gold or "mbox" in gold else change(gold)


def _side(bracket: str) -> str:
    return "\\left" if bracket in "([" else "\\right"


_WHOLE, _LONG, _DECIMAL = r"-?\d+", r"-?\d{4,}", r"-?\d*\.\d+"
_PLAIN = r"-?\d[\d\\a-z{}+ ^-]*(?<!\^\\circ)(?<!\^\{\\circ\})"
_LIST = r"[^,()\[\]{}!=]+(,[^,()\[\]{}!=]+)+"
_PAIR = r"[^,()\[\]{}!=]+,[^,()\[\]{}!=]+"
_CHOICE = r"^\\text\{\(?([A-Z])\)?\}$"
_UNIT = r"(\d|\}|\))\s*\\(?:text|mbox)\s*\{\s*[a-z][^{}]*\}(\^\d)?$"
_DEGREES = r"\^(\\circ|\{\\circ\})"

REFORMATTINGS: dict[str, Callable[[str], str]] = {
    # marks around the answer
    "$..$": lambda g: f"${g}$",
    "$$..$$": lambda g: f"$${g}$$",
    "\\(..\\)": lambda g: f"\\({g}\\)",
    "\\[..\\]": lambda g: f"\\[{g}\\]",
    "\\boxed": lambda g: f"\\boxed{{{g}}}",
    "final point": lambda g: f"{g}.",
    "point after $": lambda g: f"${g}$.",
    "spaces around": lambda g: f"  {g} \n",
    "bold": lambda g: f"**{g}**",
    "bold $": lambda g: f"**${g}$**",
    "quotes": lambda g: f'"{g}"',
    "backticks": lambda g: f"`{g}`",
    "displaystyle": lambda g: f"\\displaystyle {g}",
    # fractions
    "dfrac": _sub(r"\\frac", r"\\dfrac"),
    "tfrac": _sub(r"\\frac", r"\\tfrac"),
    "cfrac": _sub(r"\\[dt]?frac", r"\\cfrac"),
    "frac12": _sub(r"\\frac\{(\d)\}\{(\d)\}", r"\\frac\1\2"),
    "frac 1 2": _sub(r"\\frac\{(\d)\}\{(\d)\}", r"\\frac \1 \2"),
    "1/2": _sub(r"^(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}$", r"\1\2/\3"),
    "minus in numerator": _sub(r"^-\\[dt]?frac\{(\d+)\}", r"\\frac{-\1}"),
    "minus before": _sub(r"^\\frac\{-(\d+)\}", r"-\\frac{\1}"),
    "mixed number": _sub(r"^(\d+)\\[dt]?frac\{(\d+)\}\{(\d+)\}$", r"\1 \2/\3"),
    # brackets and spaces
    "left right": _sub(r"(?<!\\left)(?<!\\right)[(\[)\]]", lambda m: _side(m[0]) + m[0]),
    "no left right": _sub(r"\\(left|right)(?![a-z])", ""),
    "big": _sub(r"\\(left|right)(?![a-z])", r"\\big"),
    "no spaces": _untexted(_sub(r"(?<!\\) (?![a-zA-Z])", "")),
    "spaces at signs": _sub(r"\s*([+=<>])\s*", r" \1 "),
    "ties": _untexted(_sub(r"(?<![\\!]) ", "~")),
    "thin space before \\frac": _sub(r"(?<=\d)\\frac", r"\\;\\frac"),
    # numbers
    "1,234": _where(_LONG, lambda g: f"{int(g):,}"),
    "1{,}234": _where(_LONG, lambda g: f"{int(g):,}".replace(",", "{,}")),
    "1,\\!234": _where(_LONG, lambda g: f"{int(g):,}".replace(",", ",\\!")),
    "1\\,234": _where(_LONG, lambda g: f"{int(g):,}".replace(",", "\\,")),
    "1 234": _where(_LONG, lambda g: f"{int(g):,}".replace(",", " ")),
    "no separators": _sub(r",\\!|\{,\}", ""),
    "plain separators": _sub(r",\\!|\{,\}", ","),
    "5.0": _where(_WHOLE, lambda g: f"{g}.0"),
    "5.00": _where(_WHOLE, lambda g: f"{g}.00"),
    "trailing zero": _where(_DECIMAL, lambda g: f"{g}0"),
    "leading zero": _sub(r"^\.", "0."),
    "no leading zero": _sub(r"^0\.", "."),
    "mathbf": _where(_WHOLE, lambda g: f"\\mathbf{{{g}}}"),
    "text number": _where(_WHOLE, lambda g: f"\\text{{{g}}}"),
    # units
    "^{\\circ}": _sub(r"\^\\circ", r"^{\\circ}"),
    "degree sign": _sub(_DEGREES, "\u00b0"),
    "\\degree": _sub(_DEGREES, r"\\degree"),
    "degrees": _where(r"-?\d+\^(\\circ|\{\\circ\})", _sub(_DEGREES, r"\\text{ degrees}")),
    "no degrees": _where(r"-?\d+\^(\\circ|\{\\circ\})", _sub(_DEGREES, "")),
    "%": _sub(r"\\%", "%"),
    "percent": _sub(r"\\%", " percent"),
    "no percent": _where(r"\d+\\%", _sub(r"\\%", "")),
    "\\$5": _where(r"\d+", lambda g: f"\\${g}"),
    "no \\$": _sub(r"\\\$", ""),
    "no unit": _sub(_UNIT, r"\1"),
    "plain unit": _sub(r"\\(?:text|mbox)\s*\{(\s*[a-z][^{}]*)\}$", r" \1"),
    "mbox": _sub(r"\\text(?=\s*\{)", r"\\mbox"),
    "textbf": _sub(r"\\text(?=\s*\{)", r"\\textbf"),
    "mathrm": _sub(r"\\text(?=\s*\{)", r"\\mathrm"),
    "no \\text": _sub(r"^\\text\{([^{}]*)\}$", r"\1"),
    "lower case": _sub(r"^\\text\{([A-Za-z]{3,})\}$", lambda m: m[1].lower()),
    # names
    "x = ..": _where(_PLAIN, lambda g: f"x = {g}"),
    ".. = x": _where(_PLAIN, lambda g: f"{g} = x"),
    "x in ..": _where(r"(\\left)?[(\[].*\\infty.*[)\]]", lambda g: f"x \\in {g}"),
    # signs of other scripts
    "unicode pi": _sub(r"\\pi(?![a-z])", "\u03c0"),
    "unicode infinity": _sub(r"\\infty", "\u221e"),
    "unicode union": _sub(r"\\cup", "\u222a"),
    "unicode minus": _sub(r"-", "\u2212"),
    "unicode root": _sub(r"\\sqrt\{(\d+)\}", "\u221a{\\1}"),
    "pi": _sub(r"\\pi(?![a-z])", " pi"),
    "infinity": _sub(r"\\infty", "infinity"),
    # products, roots, powers, subscripts
    "\\sqrt2": _sub(r"\\sqrt\{(\d)\}", r"\\sqrt\1"),
    "\\sqrt 2": _sub(r"\\sqrt\{(\d)\}", r"\\sqrt \1"),
    "sqrt(2)": _sub(r"(?<![a-z])\\sqrt\{([^{}]+)\}", r"sqrt(\1)"),
    "\\cdot": _sub(r"(\d)\s*(\\sqrt|\\pi)", r"\1 \\cdot \2"),
    "*": _sub(r"(\d)\s*(\\sqrt|\\pi)", r"\1*\2"),
    "thin space": _sub(r"(\d)\s*(\\sqrt|\\pi)", r"\1\\,\2"),
    "x^{2}": _sub(r"\^(\d)(?!\d)", r"^{\1}"),
    "x**2": lambda g: g if "\\" in g else re.sub(r"\^(\d+)", r"**\1", g),
    "10_{2}": _sub(r"_(\d)$", r"_{\1}"),
    # matrices
    "bmatrix": _sub(r"pmatrix", "bmatrix"),
    "line breaks in matrix": _sub(r"\\\\", "\\\\\\\\\n"),
    "last row ended": _sub(r"\\end\{pmatrix\}", r"\\\\ \\end{pmatrix}"),
    "array": _sub(
        r"(?s)\\begin\{pmatrix\}(.*?)\\end\{pmatrix\}",
        r"\\left(\\begin{array}{cc}\1\\end{array}\\right)",
    ),
    # lists and choices
    "and": _where(_PAIR, _untexted(_sub(",", " and "))),
    "\\text{ and }": _where(_PAIR, _untexted(_sub(",", r" \\text{ and } "))),
    "set": _where(_LIST, lambda g: f"\\{{{g}\\}}"),
    "(A)": _sub(_CHOICE, r"(\1)"),
    "\\textbf{(A)}": _sub(_CHOICE, r"\\textbf{(\1)}"),
    "A.": _sub(_CHOICE, r"\1."),
}  # fmt: skip


def reformatted(gold: str) -> Iterator[tuple[str, str]]:
    """(name, text) of every reformatting that changes the gold's text but not its meaning."""
    for name, change in REFORMATTINGS.items():
        text = change(gold)
        if text != gold:
            yield name, text
