"""docs/checker.md says what the code does."""

import re
from dataclasses import fields
from pathlib import Path

from tasks.answers import Options, check
from tasks.answers.expressions import node
from tasks.answers.extract import MAX_RESPONSE
from tasks.answers.values import algebra, functions
from tasks.answers.words import lexer
from tasks.answers.workers import worker

PAGE = (Path(__file__).parents[2] / "docs/checker.md").read_text()


def test_every_option_with_its_default():
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", PAGE, re.M)
    assert rows == [(f.name, repr(f.default).replace("'", '"')) for f in fields(Options)]


def test_what_the_options_table_claims():
    true = [
        check("28", "28\\%"), check("0.28", "28\\%"), check("0.33", "1/3"), check("2,1", "1,2"),
        check("1,22", "1.22"), check("5 cm", "5"), check("5 cm", "5 m", units="ignore"),
        check("2/4", "1/2"), check("4210", "4210_5"), check("c", "C"),
        check("C", "(C) 12"),
        check("101", "100.0", rel_tol=0.02),
    ]  # fmt: skip
    false = [
        check("28", "28\\%", percent="value"), check("0.28", "28\\%", percent="bare"),
        check("50", "0.5"), check("0.12", "1/8"), check("3.1", "\\pi"), check("101", "100.0"),
        check("0.333", "1/3", rounding="off"), check("2,1", "1,2", list_order="same"),
        check("(2,1)", "(1,2)"), check("1,22", "1.22", decimal_comma="never"),
        check("5 cm", "5", units="strict"), check("5 cm", "5 m"),
        check("2/4", "1/2", fractions="reduced"), check("4210", "4210_5", bases="strict"),
        check("4210_7", "4210_5"), check("C", "(C) 12", choices=False),
    ]  # fmt: skip
    assert all(v.correct for v in true) and not any(v.correct for v in false)


def test_every_limit():
    limits = re.search(r"^\| limit \|.*?\n\n", PAGE, re.M | re.S)
    assert limits
    told = [int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*(?![\d.])", limits[0])]
    assert [n for n in told if n not in (0, 8)] == [
        lexer.MAX_CHARS, MAX_RESPONSE, lexer.MAX_TOKENS, lexer.MAX_DEPTH, lexer.MAX_DIGITS,
        lexer.MAX_ITEMS, node.MAX_EXPONENT, algebra.MAX_BITS, functions.MAX_FACTORIAL,
        algebra.MAX_TERMS, algebra.MAX_STEPS, worker.MEMORY >> 20,
    ]  # fmt: skip
