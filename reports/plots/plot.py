"""A figure with its words and the data behind it, for files, notebooks and pages."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from .look import COLUMN, CSS, RC, WIDE


@dataclass(frozen=True)
class Plot:
    """A figure that can be drawn at any width, with its words and the data behind it."""

    name: str  # stem of its files
    title: str
    alt: str  # what it shows, for those who cannot see it
    data: pd.DataFrame
    draw: Callable[[float], Figure]  # width in inches -> figure

    def save(self, folder: str | Path, width: float = WIDE) -> list[Path]:
        """Write NAME.svg, .pdf, .png and .csv; byte for byte the same for the same data."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        stem = folder / self.name
        with matplotlib.rc_context(RC):
            figure = self.laid_out(width)
            figure.savefig(f"{stem}.svg", metadata={"Date": None, "Title": self.title})
            figure.savefig(f"{stem}.pdf", metadata={"CreationDate": None, "Title": self.title})
            figure.savefig(f"{stem}.png", metadata={"Title": self.title})
        self.data.to_csv(f"{stem}.csv", index=False)
        return self.paths(folder)

    def paths(self, folder: str | Path) -> list[Path]:
        """The files that `save` writes."""
        return [Path(folder) / f"{self.name}.{kind}" for kind in ("svg", "pdf", "png", "csv")]

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        buffer = io.BytesIO()
        with matplotlib.rc_context(RC):
            self.laid_out(WIDE).savefig(buffer, format="png")
        return buffer.getvalue()

    def svg(self, width: float = WIDE) -> str:
        """An <svg> element for the inside of a page.

        Ids are unique per figure and width, what belongs to a method has the class
        `css_class(method)`, and the colours are CSS variables (--ink, --c-0072b2, ...), so that a
        dark page can change them.
        """
        buffer = io.StringIO()
        with matplotlib.rc_context(RC):
            figure = self.laid_out(width)
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        text = buffer.getvalue()
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
        text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.S)  # would style the page
        text = re.sub(r'<g id="(m-[0-9a-f]*)"', r'<g class="\1"', text)
        unique = f"{self.name}-{'wide' if width > COLUMN else 'column'}-"
        text = re.sub(r'\bid="', f'id="{unique}', text)
        text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{unique}", text)
        text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
        text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
        for colour, variable in CSS.items():
            text = text.replace(colour, f"var({variable}, {colour})")
        font = r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*"
        text = re.sub(font, r"font: \1var(--font, sans-serif)", text)
        return text.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)

    def laid_out(self, width: float) -> Figure:
        """The finished figure, in the fonts of the caller's rc context. The layout is slow, so that
        of the wide figure is computed once for the page and all files."""
        return self._wide if width == WIDE else self._with_layout(width)

    @cached_property
    def _wide(self) -> Figure:
        return self._with_layout(WIDE)

    def _with_layout(self, width: float) -> Figure:
        figure = self.draw(width)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        return figure
