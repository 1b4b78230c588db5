"""A table as LaTeX that fits its place: a column of a two-column paper, or the width of a page.

Widths are estimated from the letters of Computer Modern, in points. A table that is too wide first
gets a smaller font, then text columns that break into lines, then parts that stand one below the
other and repeat their first column. One that is longer than a page becomes a longtable.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .render import Cell, Table

Columns = Literal[1, 2]  # of a two-column paper that the table takes; 2: also a one-column page
ROOM = {1: 239.0, 2: 345.0}  # points: a column of 3.3 inches; the text of LaTeX's article class
PAGE = 40  # rows of one page
SEPARATION = 3.0  # points on each side of a column, \tabcolsep
FONTS = (("", 1.0), (r"\small", 0.9), (r"\footnotesize", 0.8))
NARROWEST = 54.0  # points to which a column of text may shrink, if its words allow it

# Widths of cmr10's letters in hundredths of a point, by width.
WIDTHS = {
    278: ".,:;'!|il", 306: "fj", 333: "- ", 361: "I", 389: "()rst", 444: "cez",
    500: "0123456789/ago~^\"", 528: "kqvxy", 556: "bdhnpuS", 514: "J", 625: "L", 653: "F",
    681: "EP", 708: "B", 722: "CTw", 736: "R", 750: "AHNUVXY", 764: "D", 784: "G",
    778: "OQK&+=<>±−×≤≥",
    833: "m%#", 917: "M", 1028: "W",
}  # fmt: skip
_WIDTH = {letter: width / 100 for width, letters in WIDTHS.items() for letter in letters}

SIGNS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "–": "--", "—": "---", "−": "$-$", "≥": r"$\geq$", "≤": r"$\leq$",
    "×": r"$\times$", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "δ": r"$\delta$", "ε": r"$\epsilon$",
    "λ": r"$\lambda$", "μ": r"$\mu$", "π": r"$\pi$", "σ": r"$\sigma$", "Δ": r"$\Delta$",
    "→": r"$\rightarrow$", "←": r"$\leftarrow$", "≈": r"$\approx$", "≠": r"$\neq$",
    "∞": r"$\infty$", "·": r"$\cdot$", "√": r"$\surd$", "…": r"\ldots{}", "✓": r"$\surd$",
    "✗": r"$\times$", "²": "$^2$", "³": "$^3$", "°": r"$^\circ$", "“": "``", "”": "''",
    "‘": "`", "’": "'", "\n": " ", "\u00a0": "~",
}  # fmt: skip


def escape(text: str, breaks: bool = False) -> str:
    """For pdflatex without further packages. Letters with accents stay; other signs that it lacks
    become their plain form or their number. `breaks`: lines may end after `_`, `/` and `@`."""
    signs = []
    for character in text:
        sign = SIGNS.get(character) or _plain(character)
        signs.append(sign + r"\allowbreak{}" if breaks and character in "_/@" else sign)
    return "".join(signs)


def _plain(character: str) -> str:
    if character.isascii() or "À" <= character <= "ž":
        return character
    simple = unicodedata.normalize("NFKD", character).replace("\u2044", "/")  # of fractions
    simple = simple.encode("ascii", "ignore").decode()
    return escape(simple) if simple else f"U+{ord(character):04X}"


def width(text: str) -> float:
    """Of a line in points, in cmr10."""
    return sum(_WIDTH.get(c, 5.6) for c in text)


def cell_width(cell: Cell, scale: float) -> float:
    """At a share of the normal size; an error stands in \\scriptsize, which is the same in all."""
    error = 0.7 * width(f"±{cell.error}") + width(" ") * scale if cell.error else 0.0
    return width(cell.text) * scale * (1.15 if cell.bold else 1.0) + error


@dataclass(frozen=True)
class Layout:
    """Parts of a table, each a list of columns with the width of those that break into lines."""

    font: str
    parts: list[dict[int, float | None]]  # column -> its width in points, None: as wide as needed
    widths: list[float]  # of the parts, in points, as estimated


def layout(table: Table, cells: list[list[Cell]], columns: Columns) -> Layout:
    """The largest font in which the table fits in one part; the smallest and several parts where
    it fits in none."""
    room = ROOM[columns]
    for font, scale in FONTS:
        natural, least = _needs(table, cells, scale)
        every = [*range(len(natural))]
        if _sum(natural, every) <= room:
            return Layout(font, [dict.fromkeys(every)], [_sum(natural, every)])
    font, scale = FONTS[-1]
    natural, least = _needs(table, cells, scale)
    parts: list[list[int]] = [[0]]
    for i in range(1, len(natural)):
        if len(parts[-1]) > 1 and _sum(least, [*parts[-1], i]) > room:
            parts.append([0])
        parts[-1].append(i)
    fitted = [_fit(natural, least, part, room) for part in parts]
    widths = [
        _sum([w if w is not None else natural[i] for i, w in part.items()], [*range(len(part))])
        for part in fitted
    ]
    return Layout(font, fitted, widths)


def _needs(
    table: Table, cells: list[list[Cell]], scale: float
) -> tuple[list[float], list[float]]:  # fmt: skip
    """Width of each column in one line, and the least to which it may shrink."""
    natural, least = [], []
    for i, column in enumerate(table.columns):
        shown = [row[i] for row in cells]
        whole = max([width(column.header) * scale, *(cell_width(c, scale) for c in shown)])
        words = [w for text in (column.header, *(c.text for c in shown)) for w in _words(text)]
        bold = 1.15 if any(c.bold for c in shown) else 1.0
        longest = max((width(w) for w in words), default=0.0) * scale * bold
        natural.append(whole)
        least.append(min(whole, max(longest, NARROWEST)) if column.kind == "text" else whole)
    return natural, least


def _words(text: str) -> list[str]:
    """What cannot be broken."""
    return re.findall(r"[^\s\-_/@]+[\-_/@]?", text)


def _sum(widths: Sequence[float], part: Sequence[int]) -> float:
    """Of columns with the space between them; there is none at the edges of the table."""
    return sum(widths[i] for i in part) + 2 * SEPARATION * (len(part) - 1)


def _fit(
    natural: list[float], least: list[float], part: list[int], room: float
) -> dict[int, float | None]:
    """Give the columns that may break what is left: all the same, but none more than it needs."""
    if _sum(natural, part) <= room:
        return dict.fromkeys(part)
    level, high = 0.0, room
    for _ in range(40):
        middle = (level + high) / 2
        trial = [min(natural[i], max(least[i], middle)) for i in range(len(natural))]
        level, high = (middle, high) if _sum(trial, part) <= room else (level, middle)
    given = {i: min(natural[i], max(least[i], level)) for i in part}
    return {i: w if w < natural[i] - 0.01 else None for i, w in given.items()}


def render(table: Table, columns: Columns) -> str:
    """A float in booktabs style, or a longtable; the first line says which packages it needs."""
    cells = table.cells()
    made = layout(table, cells, columns)
    long = len(cells) * len(made.parts) > PAGE
    packages = ["booktabs", *(["array"] if any(w for p in made.parts for w in p.values()) else []),
                *(["longtable"] if long else [])]  # fmt: skip
    lines = [f"% \\usepackage{{{','.join(packages)}}}"]
    if long:
        lines.append(
            r"% a longtable: in a two-column paper put it between \onecolumn and \twocolumn"
        )
    notes = escape(" ".join(table.notes), breaks=True)
    head = [rf"\caption{{{escape(table.title, breaks=True)}}}", rf"\label{{tab:{table.name}}}"]
    font = [made.font] if made.font else []
    space = rf"\setlength{{\tabcolsep}}{{{SEPARATION:g}pt}}"
    told = [rf"{{\footnotesize {notes}\par}}"] if notes else []
    if long:
        lines += ["{", *font, space]
        for number, part in enumerate(made.parts):
            rows, first = _rows(table, cells, part), head if number == 0 else []
            top = [r"\toprule", rows[0], r"\midrule"]
            caption = [*first, r"\\"] if first else []
            lines += [
                rf"\begin{{longtable}}{{{_align(table, part)}}}", *caption, *top, r"\endfirsthead",
                *top, r"\endhead", r"\bottomrule", r"\endfoot", *rows[1:], r"\end{longtable}",
            ]  # fmt: skip
        return "\n".join([*lines, *told, "}"]) + "\n"
    place = "table*" if columns == 2 else "table"
    lines += [rf"\begin{{{place}}}", r"\centering", *head, *font, space]
    for number, part in enumerate(made.parts):
        rows = _rows(table, cells, part)
        lines += [r"\par\medskip"] if number else []
        lines += [
            rf"\begin{{tabular}}{{{_align(table, part)}}}", r"\toprule", rows[0], r"\midrule",
            *rows[1:], r"\bottomrule", r"\end{tabular}",
        ]  # fmt: skip
    lines += [r"\par\smallskip", *told] if told else []
    return "\n".join([*lines, rf"\end{{{place}}}"]) + "\n"


def _align(table: Table, part: dict[int, float | None]) -> str:
    kinds = [
        rf">{{\raggedright\arraybackslash}}p{{{w:.1f}pt}}" if w
        else "l" if table.columns[i].kind == "text" else "r"
        for i, w in part.items()
    ]  # fmt: skip
    return f"@{{}}{''.join(kinds)}@{{}}"


def _rows(table: Table, cells: list[list[Cell]], part: dict[int, float | None]) -> list[str]:
    """The line of the headers, then the rows."""
    head = [escape(table.columns[i].header, breaks=bool(w)) for i, w in part.items()]
    body = [[_cell(row[i], bool(w)) for i, w in part.items()] for row in cells]
    return [" & ".join(row) + r" \\" for row in (head, *body)]


def _cell(cell: Cell, breaks: bool) -> str:
    text = escape(cell.text, breaks)
    text = rf"\textbf{{{text}}}" if cell.bold else text
    return rf"{text} {{\scriptsize $\pm${cell.error}}}" if cell.error else text
