"""LaTeX tables fit one and two columns, with signs that pdflatex takes.

Where pdflatex is installed every table is compiled, in a one-column and a two-column document.
Elsewhere only the estimated width is tested, and that the estimate is right for the letters.
"""

# matplotlib's annotations are unions that pyright cannot narrow
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from bench.cli import app
from reports.claims import claims_table, evaluate, load_claims
from results import latex, load
from results.render import Column, Table
from results.tables import TABLES
from tests.synthetic import write_suite

PDFLATEX = shutil.which("pdflatex")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Table]:
    """Every table of a suite with nine methods, the claims, a long one, and one of odd signs."""
    names = ["sft", "rift", "grpo", "grao", "gift", "dpo", "ppo", "rft", "gift-author-code[beta=2]"]
    options = {"questions": {"test": 8, "train": 4, "ood": 4}, "evaluations": 3, "steps": 6}
    r = load(write_suite(tmp_path_factory.mktemp("s") / "s", names, 3, samples=2, **options))
    found = {name: table(r) for name, table in TABLES.items()}
    found["claims"] = claims_table(evaluate(r, load_claims()))
    return found | {"long": long(), "signs": signs()}


def long(rows: int = 120) -> Table:
    frame = pd.DataFrame({"name": [f"row {i}" for i in range(rows)], "x": range(rows)})
    return Table("long", "A long table", frame, (Column("name", "Name"), Column("x", "x", "count")))


def signs() -> Table:
    text = "✓ ✗ α→β “quoted” é ü 漢 ½ ﬁ \u200b x_y/z 100 % & # $5 {a} ~ ^ \\ <a> | ≥ ≤ … °"
    frame = pd.DataFrame({"a": [text, "plain"], "b": [1.0, 2.0]})
    return Table("signs", text, frame, (Column("a", "a ✓"), Column("b", "b")), notes=(text,))


@pytest.mark.parametrize("columns", [1, 2])
def test_every_table_fits_as_estimated(made, columns):
    for name, table in made.items():
        found = latex.layout(table, table.cells(), columns)
        room = latex.ROOM[columns]
        assert max(found.widths) <= room + 0.5, (name, found.widths)
        shown = {i for part in found.parts for i in part}
        assert shown == {*range(len(table.columns))}  # nothing is left out
        assert all(0 in part for part in found.parts)  # every part says of what its rows are
    costs = latex.layout(made["costs"], made["costs"].cells(), 1)
    assert len(costs.parts) > 1 and costs.font == r"\footnotesize"


def test_what_is_narrow_keeps_its_font_and_stays_whole(made):
    found = latex.layout(made["long"], made["long"].cells(), 1)
    assert found.font == "" and len(found.parts) == 1 and set(found.parts[0].values()) == {None}


def test_the_widths_of_letters_are_those_of_computer_modern():
    import matplotlib
    from matplotlib.ft2font import FT2Font, LoadFlags

    font = FT2Font(str(Path(matplotlib.get_data_path()) / "fonts/ttf/cmr10.ttf"))
    font.set_size(10, 72)
    for letter in "".join(latex.WIDTHS.values()):
        if letter.isalnum() and letter.isascii():
            glyph = font.load_char(ord(letter), flags=LoadFlags.NO_HINTING)
            assert latex.width(letter) == pytest.approx(glyph.linearHoriAdvance / 65536, abs=0.06)
    assert latex.width("win") == pytest.approx(7.22 + 2.78 + 5.56)


def test_a_long_table_repeats_its_head_on_every_page(made):
    text = made["long"].latex(2)
    assert text.startswith("% \\usepackage{booktabs,longtable}\n")
    assert r"\endhead" in text and r"\begin{table" not in text and text.count("row 7 ") == 1
    short = long(20).latex(1)
    assert r"\begin{table}" in short and "longtable" not in short
    assert r"\begin{table*}" in long(20).latex(2)


def test_text_breaks_into_lines_before_the_table_is_cut(made):
    text = made["claims"].latex(2)
    assert re.search(r">\{\\raggedright\\arraybackslash\}p\{\d+\.\dpt\}", text)
    assert "array" in text.splitlines()[0]


def test_only_signs_that_pdflatex_takes():
    text = signs().latex()
    assert r"$\surd$ $\times$ $\alpha$$\rightarrow$$\beta$ ``quoted'' é ü" in text
    assert "U+6F22 1/2 fi " in text  # no letter of its own; a fraction; a ligature
    latin = {c for c in text if not c.isascii()}
    assert latin == {"é", "ü"}
    assert r"\% \& \# \$5 \{a\}" in text


def test_the_command_takes_columns_for_latex_alone(tmp_path):
    suite = write_suite(tmp_path / "s", ["grpo", "gift"], 2, 4, samples=1, evaluations=2, steps=2)

    def said(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["table", "main", str(suite), *words])
        return result.exit_code, result.output

    assert r"\begin{table}" in said("--format", "latex", "--columns", "1")[1]
    assert r"\begin{table*}" in said("--format", "latex", "--columns", "2")[1]
    assert r"\begin{table*}" in said("--format", "latex")[1]
    code, output = said("--columns", "1")
    assert code == 2 and "only --format latex" in output


@pytest.mark.skipif(PDFLATEX is None, reason="pdflatex is not installed: widths are estimated")
@pytest.mark.parametrize("columns", [1, 2])
def test_pdflatex_takes_every_table_without_an_overfull_line(made, columns, tmp_path):
    for options in ("", "twocolumn"):
        two = options == "twocolumn"
        if columns == 1 and not two:
            continue  # a column of 3.3 inches is narrower than any page
        for name, table in made.items():
            body = table.latex(columns)
            if "longtable}" in body and two:
                body = f"\\onecolumn\n{body}\\twocolumn\n"
            (tmp_path / "t.tex").write_text(
                f"\\documentclass[{options}]{{article}}\n"
                "\\usepackage{booktabs,array,longtable}\n"
                + (r"\setlength{\textwidth}{6.87in}" if two else "")
                + f"\\begin{{document}}\n{body}\\end{{document}}\n"
            )
            command = [str(PDFLATEX), "-interaction=nonstopmode", "t.tex"]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, (name, done.stdout[-2000:])
            too_wide = re.findall(r"Overfull \\hbox \(([\d.]+)pt", done.stdout)
            assert not [pt for pt in too_wide if float(pt) > 2], (name, columns, options)
