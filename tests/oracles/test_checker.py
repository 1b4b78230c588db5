"""The checker against others: cases with labels, gold answers of MATH and GSM8K, sympy.

The cases and data sets are in the folder EVENBENCH_DATA (or ../shared/data); without it these
tests are skipped, and `tests/unit/test_answers*.py` hold the checker to the project's own cases.
"""

import json
import os
import random
from pathlib import Path

import pytest
import sympy

from tasks.answers import check, grade, gsm8k_strict, math_strict
from tasks.answers.audit import audit, robustness
from tasks.answers.expressions.parser import parse
from tasks.answers.values import algebra
from tasks.answers.values.algebra import Effort
from tasks.answers.values.evaluate import value_of
from tasks.answers.values.symbolic import Builder
from tasks.answers.words.lexer import LimitError

DATA = Path(os.environ.get("EVENBENCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not (DATA / "checker").is_dir(), reason=f"no case files in {DATA / 'checker'}"
)
needs_math = pytest.mark.skipif(not (DATA / "math").is_dir(), reason=f"no MATH in {DATA}")
needs_gsm8k = pytest.mark.skipif(not (DATA / "gsm8k").is_dir(), reason=f"no GSM8K in {DATA}")


def rows(path):
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@needs_data
def test_cases_that_others_wrote():
    found = audit([DATA / "checker" / "cases.jsonl"])
    pairs, responses, parses = (found.groups[kind] for kind in ("pair", "response", "parse"))
    assert pairs.accuracy >= 0.98 and pairs.false_positives <= 1
    assert responses.accuracy >= 0.98
    assert found.groups["normalise"].accuracy >= 0.98
    assert parses.accuracy >= 0.95 and parses.unparsable <= 10
    assert found.asymmetric == []


@needs_data
def test_model_solutions():
    """GSM8K's human-checked solutions are all graded as labelled."""
    found = audit([DATA / "checker" / "model_solutions.jsonl"])
    assert found.groups["solution"].accuracy >= 0.995
    solutions = rows(DATA / "checker" / "model_solutions.jsonl")
    official = [row for row in solutions if row["source"] == "openai_gsm8k"]
    assert all(grade(row["response"], row["gold"]).correct == row["correct"] for row in official)


def math_golds():
    return [
        row["answer"]
        for split in ("train", "test")
        for row in rows(DATA / "math" / f"{split}.jsonl")
    ]


@needs_math
def test_variants_of_math_answers():
    golds = [gold for gold in dict.fromkeys(math_golds()) if gold.strip()]
    sample = random.Random(0).sample(golds, 600)
    found = robustness(sample)
    assert found.not_itself == []
    assert found.asymmetric == []
    assert len(found.accepted) <= found.mutants / 2_000
    assert len(found.rejected) <= found.reformatted / 500


@needs_math
@pytest.mark.slow
def test_variants_of_all_math_answers():
    found = robustness(gold for gold in math_golds() if gold.strip())
    assert found.golds > 4_000
    assert found.not_itself == []
    assert found.asymmetric == []
    assert len(found.accepted) <= 1
    assert len(found.rejected) <= found.reformatted / 2_000


@needs_math
def test_math_solutions_hold_their_answers():
    """MATH's own solutions under its own protocol, and under the checker's reading."""
    problems = random.Random(1).sample(rows(DATA / "math" / "test.jsonl"), 1_000)
    assert all(math_strict(row["solution"], row["answer"]) for row in problems)
    found = [grade(row["solution"], row["answer"]).correct for row in problems]
    assert sum(found) >= 990  # some solutions box several answers, of which the gold has one


@needs_gsm8k
def test_gsm8k_solutions_hold_their_answers():
    for row in rows(DATA / "gsm8k" / "test.jsonl"):
        gold = row["answer"].split("####")[1].strip()
        assert gsm8k_strict(row["answer"], gold)
        assert grade(row["answer"], gold).correct
        assert grade(row["answer"], row["answer"], style="last-number").correct


# Against sympy: random expressions, rebuilt from their text by sympy's own operators


def random_expression(rng, depth):
    """(LaTeX text, the same as a sympy expression)"""
    x, y = sympy.symbols("x y", real=True)
    kind = rng.randrange(9 if depth else 3)
    if kind == 0:
        n = rng.randint(1, 12)
        return str(n), sympy.Integer(n)
    if kind == 1:
        name = rng.choice("xy")
        return name, {"x": x, "y": y}[name]
    if kind == 2:
        n = rng.choice([2, 3, 5, 8, 12, 50])
        return f"\\sqrt{{{n}}}", sympy.sqrt(n)
    (one, a), (two, b) = random_expression(rng, depth - 1), random_expression(rng, depth - 1)
    if kind == 3:
        return f"({one}+{two})", a + b
    if kind == 4:
        return f"({one}-{two})", a - b
    if kind == 5:
        return f"{one}\\cdot {two}", a * b
    if kind == 6:
        if b == 0 or sympy.simplify(b) == 0:
            return f"({one}+{two})", a + b
        return f"\\frac{{{one}}}{{{two}}}", a / b
    if kind == 7:
        n = rng.randint(2, 3)
        return f"({one})^{{{n}}}", a**n
    name = rng.choice(["sin", "cos"])
    return f"\\{name}({one})", getattr(sympy, name)(a)


def test_values_agree_with_sympy():
    """The value of a text, handed to sympy atom by atom, is what sympy computes itself."""
    rng = random.Random(3)
    points = {"x": sympy.Rational(7, 5), "y": sympy.Rational(-3, 4)}
    compared = 0
    for _ in range(150):
        text, expected = random_expression(rng, 3)
        try:
            value = value_of(parse(text)[0], Effort())
        except LimitError:  # (sin(...) + ...)^3 of many terms
            continue
        built = Builder(real=True).value(value)
        symbols = {s: points[s.name] for s in (built - expected).free_symbols}
        difference = (built - expected).subs(symbols).evalf(30)
        scale = abs(expected.subs(symbols).evalf(30))
        if difference.is_finite and scale.is_finite:
            assert abs(difference) <= 1e-20 * (1 + scale), text
            compared += 1
    assert compared > 120


def test_equality_agrees_with_sympy():
    """An expression equals its expansion and no neighbour of it."""
    rng = random.Random(4)
    for _ in range(40):
        text, expression = random_expression(rng, 2)
        expanded = sympy.latex(sympy.expand(expression))
        assert check(expanded, text, timeout=5.0).correct, (expanded, text)
        assert not check(f"{expanded} + \\frac{{1}}{{7}}", text).correct, text


def test_roots_agree_with_sympy():
    rng = random.Random(5)
    for _ in range(200):
        n, order = rng.randint(2, 5_000), rng.randint(2, 5)
        mine = Builder().value(value_of(parse(f"\\sqrt[{order}]{{{n}}}")[0], Effort()))
        assert sympy.simplify(mine - sympy.root(n, order)) == 0
    for n in range(0, 360, 3):
        for name in ("sin", "cos"):
            mine = Builder().value(value_of(parse(f"\\{name} {n}^\\circ")[0], Effort()))
            assert abs((mine - getattr(sympy, name)(sympy.pi * n / 180)).evalf(30)) < 1e-25
    assert algebra.rational(algebra.constant(2)) == 2
