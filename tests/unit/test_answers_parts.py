"""The checker's parts: tokens, trees, exact values, sets of reals, units, variants."""

import random
from fractions import Fraction

import pytest

from tasks.answers.expressions.node import Node
from tasks.answers.expressions.parser import parse
from tasks.answers.values import algebra, numeric
from tasks.answers.values.algebra import Effort
from tasks.answers.values.evaluate import value_of
from tasks.answers.values.reals import RealSets
from tasks.answers.variants import REFORMATTINGS, mutants, reformatted
from tasks.answers.words.lexer import AnswerError, LimitError, lex, tidy
from tasks.answers.words.units import conflicting, unit_key


def value(text):
    return value_of(parse(text)[0], Effort())


def same(one, two):
    return algebra.equal(value(one), value(two), Effort())


def kinds(text):
    return [(token.kind, token.value) for token in lex(tidy(text))]


# Tokens


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("\\left( x \\right)", "(x)"),
        ("$\\displaystyle x^2$.", "x^2"),
        ("**42**", "42"),
        ("x\u00b2 \u2212 1", "x^{2}-1"),
        ("\u221a{2}\u03c0", "\\sqrt{2} \\pi"),
        ("a \\times b", "a\\cdot b"),
        ("x \\leq 5", "x <= 5"),
        ("\\text{odd}", "odd"),
        ("2\\,\\text{cm}", "2 cm"),
    ],
)
def test_layout_is_dropped(one, two):
    assert kinds(one) == kinds(two)


@pytest.mark.parametrize(
    ("text", "count"),
    [("1,234", 1), ("1{,}234", 1), ("1,\\!234", 1), ("1\\,234", 1), ("1 234", 1), ("1, 234", 3)],
)
def test_thousands(text, count):
    assert len(kinds(text)) == count


def test_letters_are_factors_and_words_are_words():
    assert kinds("xy") == [("sym", "x"), ("sym", "y")]
    assert kinds("weeks") == [("word", "weeks")]
    assert kinds("2xsqrt(3)")[2] == ("cmd", "sqrt")
    assert kinds("\\pir") == [("const", "pi"), ("sym", "r")]


@pytest.mark.parametrize(
    "text",
    ["x" * 5_000, "1" * 2_000, "+1" * 1_000, "(" * 60 + "1" + ")" * 60, "{" * 60 + "1" + "}" * 60],
)
def test_limits_before_anything_is_built(text):
    with pytest.raises(LimitError):
        parse(text)


@pytest.mark.parametrize(
    "text", ["", "(", "1)", "\\frac{1}", "x^", "1 2", "3+*", "\\text{a", "\x00"]
)
def test_no_answers(text):
    with pytest.raises(AnswerError):
        parse(text)


# Trees


@pytest.mark.parametrize(
    ("text", "op"),
    [
        ("4 4/9", "mixed"),
        ("4\\frac{4}{9}", "mixed"),
        ("(1, 2]", "seq"),
        ("\\{1, 2\\}", "set"),
        ("1, 2", "list"),
        ("1 and 2", "list"),
        ("x = 1", "rel"),
        ("1 < x \\le 2", "rel"),
        ("3 : 4", "ratio"),
        ("204_5", "base"),
        ("5\\text{ cm}", "unit"),
        ("\\text{Evelyn}", "text"),
        ("50\\%", "percent"),
        ("45^\\circ", "deg"),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "matrix"),
        ("[0, 1) \\cup (2, 3)", "setop"),
        ("\\{x : x > 3\\}", "builder"),
        ("1 \\pm 2", "pm"),
        ("two", "num"),
    ],
)
def test_structures(text, op):
    assert parse(text)[0].op == op


def test_other_readings_are_noted_and_can_be_asked_for():
    tree, found = parse("1/2x")
    assert found == {"slash"}
    other, _ = parse("1/2x", frozenset(("slash",)))
    assert algebra.equal(value_of(tree, Effort()), value("1/(2x)"), Effort())
    assert algebra.equal(value_of(other, Effort()), value("x/2"), Effort())
    assert parse("1,234")[0] == Node("num", (Fraction(1234), 0))
    assert parse("1,234", frozenset(("commas",)))[0].op == "list"
    assert parse("(1,234)")[0].op == "seq"


def test_decimals_keep_their_digits():
    assert parse("1.50")[0] == Node("num", (Fraction(3, 2), 2))
    assert parse("1e-3")[0] == Node("num", (Fraction(1, 1000), 3))
    assert parse("0.\\overline{3}")[0] == Node("num", (Fraction(1, 3), 0))


# Exact values


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("\\frac{1}{\\sqrt2}", "\\frac{\\sqrt2}{2}"),
        ("\\sqrt{18}", "3\\sqrt2"),
        ("\\sqrt[3]{-8}", "-2"),
        ("(-8)^{1/3}", "-2"),
        ("\\sqrt{-4}", "2i"),
        ("\\frac{1}{1+\\sqrt[3]{2}+\\sqrt[3]{4}}", "\\sqrt[3]{2}-1"),
        ("\\sqrt{3+2\\sqrt2}", "1+\\sqrt2"),
        ("\\frac{x^2-1}{x-1}", "x+1"),
        ("(x+1)^3", "x^3+3x^2+3x+1"),
        ("4^x", "2^{2x}"),
        ("2^{n+1}", "2\\cdot2^n"),
        ("e^{i\\pi}", "-1"),
        ("\\log_2 8", "3"),
        ("\\ln\\frac12", "-\\ln 2"),
        ("\\sin 2x", "2\\sin x\\cos x"),
        ("\\tan^2 x+1", "\\sec^2 x"),
        ("\\cos 58^\\circ", "\\sin 32^\\circ"),
        ("\\tan 15^\\circ", "2-\\sqrt3"),
        ("|1-x|", "|x-1|"),
        ("\\sqrt{x^2}", "|x|"),
        ("\\frac{n!}{(n-2)!}", "n(n-1)"),
        ("\\binom{6}{2}", "15"),
        ("\\sum_{k=1}^{10} k", "55"),
        ("\\gcd(12, 18)", "6"),
        ("7 \\bmod 3", "1"),
        ("\\lfloor -1.5 \\rfloor", "-2"),
        ("2/3/4", "1/6"),
        ("-2^2", "-4"),
        ("2^3^2", "512"),
        ("2^{2010}", "2\\cdot 2^{2009}"),
    ],
)
def test_equal_values(one, two):
    assert same(one, two)
    assert not same(f"{one}+1", two)


def test_exact_values_are_not_compared_by_floating_point():
    assert not same("10^{100}+1", "10^{100}")
    assert not same("\\sqrt{2}", "1.4142135623730951")
    assert not same("\\frac{1}{2004!}", "\\frac{1}{2006!}")


@pytest.mark.parametrize(
    "text",
    ["100000!", "2^{1000000}", "10^{10^{10}}", "\\sum_{k=1}^{10^9} k",
     "\\binom{10^9}{10^8}", "\\sum_{i=1}^{300}\\sum_{j=1}^{300}\\sum_{k=1}^{300} 1"],
)  # fmt: skip
def test_values_too_large_to_build(text):
    with pytest.raises(LimitError):
        value(text)


def test_powers_too_large_to_expand_stay_powers():
    assert same("(x+y+z)^{200}", "(z+x+y)^{200}")
    assert same("(2x+2y)^{100}", "2^{100}(x+y)^{100}")
    assert not same("(x+y+z)^{200}", "(x+y-z)^{200}")


@pytest.mark.parametrize("text", ["1/0", "0^{-1}", "\\ln 0", "(-1)!", "\\frac{x}{y-y}"])
def test_values_that_do_not_exist(text):
    with pytest.raises(AnswerError):
        value(text)


# Evaluation


def test_evaluation_bounds_its_error():
    for text, exact in [("\\pi", 3.141592653589793), ("\\sqrt{2}+\\sqrt{3}", 3.1462643699419723)]:
        measured = numeric.evaluate(value(text))
        assert measured is not None
        assert abs(measured.value - exact) <= measured.error < 1e-13


def test_evaluation_separates_but_never_proves():
    assert numeric.differ(value("\\sin 1"), value("\\sin 1.0001"))
    assert numeric.differ(value("\\sqrt{x+1}"), value("\\sqrt{x+2}"))
    assert not numeric.differ(value("\\sqrt{10^{40}+1}"), value("10^{20}"))  # too close to tell
    assert not numeric.differ(value("\\sqrt{x+1}\\sqrt{x-1}"), value("\\sqrt{x^2-1}"))


def test_cancellation_is_not_taken_for_a_difference():
    """Near pi, sin loses all digits: the bound has to say so."""
    left, right = value("\\sin(\\pi+10^{-17}) \\cdot 10^{17}"), value("-1")
    assert not numeric.differ(left, right)


# Sets of reals


def test_sets_of_reals():
    sets = RealSets(lambda node: value_of(node, Effort()), Effort())

    def read(text):
        return sets.read(parse(text)[0])[0]

    assert read("[0,2] \\cup [1,3]") == read("[0,3]")
    assert read("[0,1) \\cup \\{1\\}") == read("[0,1]")
    assert read("x \\ne 0") == read("\\mathbb{R} \\setminus \\{0\\}")
    assert read("1 < 2x \\le 4") == read("(\\frac12, 2]")
    assert read("|x| > 1") == read("x < -1 or x > 1")
    assert read("(0,2) \\cap (1,3)") == read("(1,2)")
    assert read("(0,1) \\cup (1,2)") != read("(0,2)")
    for text in ["(2,1)", "(a,b)", "x^2 < 1", "x + y < 1", "(\\infty, 0)"]:
        with pytest.raises(AnswerError):
            read(text)


# Units


def test_units():
    assert unit_key("square centimeters") == unit_key("cm^2") == (("cm", 2),)
    assert unit_key("mph") == unit_key("miles per hour")
    assert unit_key("daps") is None
    assert conflicting("cm", "m") and conflicting("cm", "cm^2") and conflicting("am", "pm")
    assert not conflicting("square units", "cm^2")
    assert not conflicting("points", "cm")


# Variants


def test_mutants_differ_by_one_character():
    rng = random.Random(0)
    for gold in ["\\frac{12}{5}", "3x-1", "(1,-2]"]:
        found = mutants(gold, rng)
        assert found and gold not in found
        assert all(sum(a != b for a, b in zip(gold, m, strict=True)) == 1 for m in found)


def test_every_reformatting_is_used_by_some_gold():
    golds = ["\\frac{1}{2}", "-\\frac{11}{2}", "\\frac{-1}{2}", "2\\frac{1}{2}", "12345", "1{,}234",
             ".5", "0.5", "45^\\circ", "5\\%", "\\$5", "5\\text{ cm}", "\\text{(A)}", "\\text{odd}",
             "2\\pi", "[0,\\infty)\\cup (1,2)", "\\left(1, 2\\right)", "-3\\sqrt{2}", "x^2", "10_2",
             "\\begin{pmatrix}1\\\\2\\end{pmatrix}", "1,2", "x+1", "5", "(1,\\infty)"]  # fmt: skip
    used = {name for gold in golds for name, _ in reformatted(gold)}
    assert used == REFORMATTINGS.keys()
