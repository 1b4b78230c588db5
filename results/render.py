"""One table object, rendered to the terminal, Markdown, LaTeX, CSV and HTML."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from . import latex

if TYPE_CHECKING:
    import rich.console
    import rich.table

NONE = "–"  # what cannot be said
SUFFIXES = ("", "k", "M", "G", "T", "P", "E")
ColumnKind = Literal["text", "percent", "points", "plain", "number", "count", "si", "p"]


@dataclass(frozen=True)
class Column:
    """How one column of the frame is shown; `error` and `bold` name columns of the same frame."""

    key: str
    header: str
    kind: ColumnKind = "text"  # percent: a share x 100; points: with its sign; plain: as it is
    error: str = ""  # half-width in the unit of `key`, shown as `±`
    bold: str = ""  # bool
    about: str = ""  # what the column says, for a tooltip
    wide: bool = False  # left out where the terminal is narrow


@dataclass(frozen=True)
class Cell:
    text: str
    error: str = ""
    bold: bool = False
    value: float | str | None = None  # to sort by

    def __str__(self) -> str:
        return f"{self.text} ±{self.error}" if self.error else self.text


@dataclass(frozen=True)
class Table:
    """Numbers once (`frame`, full precision: what CSV holds), and how to show them."""

    name: str  # of its files
    title: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()

    def cells(self) -> list[list[Cell]]:
        """Rows of formatted cells."""
        by_column = [_format(self.frame, column) for column in self.columns]
        return [list(row) for row in zip(*by_column, strict=True)] if len(self.frame) else []

    def select(self, *keys: str) -> Table:
        """Only the columns with these keys, in this order."""
        by_key = {c.key: c for c in self.columns}
        return replace(self, columns=tuple(by_key[k] for k in keys))

    def to_rich(self, width: int | None = None) -> rich.table.Table:
        """For a terminal of that many columns: columns marked `wide` go, the last first, until the
        rest fits."""
        from rich import box
        from rich.table import Table as Rich
        from rich.text import Text

        shown = Rich(
            title=Text(self.title), caption=Text("\n".join(self.notes)), box=box.SIMPLE_HEAD,
            title_justify="left", caption_justify="left", title_style="bold", pad_edge=False,
        )  # fmt: skip
        fitting = self._fitting(width)
        for column in fitting.columns:
            right = column.kind != "text"
            shown.add_column(Text(column.header), justify="right" if right else "left")
        for row in fitting.cells():
            shown.add_row(*(Text(str(c), style="bold" if c.bold else "") for c in row))
        hidden = [c.header for c in self.columns if c not in fitting.columns]
        if hidden:
            notes = [f"Hidden for width: {', '.join(hidden)}.", *self.notes]
            shown.caption = Text("\n".join(notes))  # no markup: labels hold brackets
        return shown

    def _fitting(self, width: int | None) -> Table:
        """Without the last `wide` columns, as many as must go for the rest to fit."""
        kept = list(self.columns)
        cells = self.cells()
        widths = {
            column: max([len(column.header), *(len(str(row[i])) for row in cells)]) + 3
            for i, column in enumerate(self.columns)
        }
        for column in reversed(self.columns):
            if width is not None and column.wide and sum(widths[c] for c in kept) > width:
                kept.remove(column)
        return replace(self, columns=tuple(kept))

    def __rich_console__(
        self, console: rich.console.Console, options: rich.console.ConsoleOptions
    ) -> rich.console.RenderResult:
        yield self.to_rich(options.max_width)

    def text(self, width: int = 140) -> str:
        """As the terminal shows it, without colours."""
        from rich.console import Console

        console = Console(width=width, color_system=None, force_terminal=False, emoji=False)
        with console.capture() as captured:
            console.print(self)
        return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"

    def markdown(self) -> str:
        head = " | ".join(_md(c.header) for c in self.columns)
        rule = " | ".join("---" if c.kind == "text" else "---:" for c in self.columns)
        body = [f"| {' | '.join(_md_cell(c) for c in row)} |" for row in self.cells()]
        notes = [f"\n{_md(note)}" for note in self.notes]
        lines = [f"**{_md(self.title)}**\n", f"| {head} |", f"| {rule} |", *body, *notes]
        return "\n".join(lines) + "\n"

    def latex(self, columns: latex.Columns = 2) -> str:
        """In booktabs style, as wide as one or both columns of a two-column paper (2 also fits a
        page of one column); a longtable where its rows do not fit on a page."""
        return latex.render(self, columns)

    def csv(self) -> str:
        """The whole frame in full precision, with the columns that are not shown."""
        return self.frame.to_csv(index=False)

    def html(self) -> str:
        """A figure with a table; cells carry `data-value` to sort by, headers their explanation.
        Without a row there is no table, only its notes."""
        head = "".join(
            f'<th scope="col" class="{c.kind}"'
            + (f' title="{html.escape(c.about)}"' if c.about else "")
            + f">{html.escape(c.header)}</th>"
            for c in self.columns
        )
        body = "\n".join(f"<tr>{self._html_row(row)}</tr>" for row in self.cells())
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        title = html.escape(self.title)
        rows = (
            f"<table>\n<caption>{title}</caption>\n<thead><tr>{head}</tr></thead>\n"
            f"<tbody>\n{body}\n</tbody></table>\n"
        )
        return (
            f'<figure class="table" id="table-{html.escape(self.name)}">'
            + (rows if body else f"<p>{title}: nothing to show.</p>\n")
            + (f"<figcaption>{notes}</figcaption>" if notes else "")
            + "</figure>\n"
        )

    def _html_row(self, row: list[Cell]) -> str:
        parts = []
        for i, (cell, column) in enumerate(zip(row, self.columns, strict=True)):
            shown = html.escape(cell.text)
            if cell.error:
                shown += f' <span class="error">±{html.escape(cell.error)}</span>'
            shown = f"<strong>{shown}</strong>" if cell.bold else shown
            tag = 'th scope="row"' if i == 0 else "td"
            value = "" if cell.value is None else html.escape(str(cell.value))
            parts.append(f'<{tag} class="{column.kind}" data-value="{value}">{shown}</{tag[:2]}>')
        return "".join(parts)

    _repr_html_ = html

    def save(self, folder: str | Path) -> list[Path]:
        """Write NAME.csv, .tex and .md into the folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        made = {"csv": self.csv(), "tex": self.latex(), "md": self.markdown()}
        paths = [folder / f"{self.name}.{suffix}" for suffix in made]
        for path, text in zip(paths, made.values(), strict=True):
            path.write_text(text, encoding="utf-8")
        return paths


def decimals(errors: Any, default: int = 1, most: int = 4) -> int:
    """Decimals that show two significant digits of a column's typical (median) error."""
    known = np.asarray(errors, float)
    known = known[np.isfinite(known) & (known > 0)]
    if not len(known):
        return default
    return int(np.clip(1 - math.floor(math.log10(np.median(known))), 0, most))


def significant(value: float, digits: int = 3) -> str:
    """A plain number with at least so many significant digits, never in exponent form."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else NONE
    rounded = float(f"{value:.{digits - 1}e}")
    places = max(digits - 1 - math.floor(math.log10(abs(rounded))), 0)
    return f"{value:,.{places}f}"


def si(value: float) -> str:
    """Three significant digits and a prefix: 1.23 M."""
    if value == 0 or not math.isfinite(value):
        return significant(value)
    rounded = float(f"{value:.2e}")
    power = int(np.clip(math.floor(math.log10(abs(rounded)) / 3), 0, len(SUFFIXES) - 1))
    return f"{significant(rounded / 1000**power)} {SUFFIXES[power]}".strip()


def p_value(p: float) -> str:
    if not math.isfinite(p):
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _format(frame: pd.DataFrame, column: Column) -> list[Cell]:
    values = frame[column.key].tolist()
    bold = frame[column.bold].astype(bool).tolist() if column.bold else [False] * len(values)
    if column.kind == "text":
        shown = zip(values, bold, strict=True)
        return [Cell(NONE) if _missing(v) else Cell(str(v), "", b, v) for v, b in shown]
    scale = 100.0 if column.kind in ("percent", "points") else 1.0
    numbers = [math.nan if _missing(v) else float(v) * scale for v in values]
    errors = [math.nan] * len(numbers)
    if column.error:
        errors = [math.nan if _missing(e) else float(e) * scale for e in frame[column.error]]
    places = decimals(errors)
    cells = []
    for number, error, is_bold in zip(numbers, errors, bold, strict=True):
        if not math.isfinite(number):
            cells.append(Cell(NONE))
            continue
        shown = {
            "percent": lambda x: f"{x:.{places}f}",
            "plain": lambda x: f"{x:.2f}",
            "points": lambda x: f"{x:+.{places}f}".replace("-", "−"),
            "number": lambda x: f"{x:.{places}f}" if column.error else significant(x),
            "count": lambda x: f"{x:,.0f}",
            "si": si,
            "p": p_value,
        }[column.kind](number)
        around = f"{error:.{places}f}" if math.isfinite(error) else ""
        cells.append(Cell(shown, around, is_bold, number))
    return cells


def _missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _md(text: str) -> str:
    for character in "\\|*_<>":
        text = text.replace(character, "\\" + character)
    return text


def _md_cell(cell: Cell) -> str:
    text = f"**{_md(cell.text)}**" if cell.bold else _md(cell.text)
    return f"{text} ±{cell.error}" if cell.error else text
