"""The checker's public functions, on cases small enough to judge by eye."""

import json
from pathlib import Path

import pytest

from tasks.answers import (
    GRADER_VERSION,
    CheckResult,
    Options,
    check,
    extract,
    grade,
    grade_many,
    gsm8k_strict,
    math_strict,
)

OWN = Path(__file__).parents[2] / "tasks" / "answers" / "cases.jsonl"
CASES = [json.loads(line) for line in OWN.read_text(encoding="utf-8").splitlines()]


def test_own_cases_in_both_directions():
    """Every case that the project wrote, answered as labelled whichever side is the gold."""
    wrong = [
        (case["pred"], case["gold"])
        for case in CASES
        for one, two in ((case["pred"], case["gold"]), (case["gold"], case["pred"]))
        if check(one, two).correct is not case["equal"]
    ]
    assert wrong == []


def test_own_cases_hold_both_kinds():
    equal = sum(case["equal"] for case in CASES)
    assert equal > 200 and len(CASES) - equal > 150


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("4210_5", "4210_7"),
        ("1/2004!", "1/2006!"),
        ("4", "4\\sqrt(2)"),
        ("1:2:3", "1:4:9"),
        ("0.1", "0.1000000001"),
        ("b - 1", "B"),
        ("800000", "800030"),
        ("0.5", "50"),
        ("\\cot x", "\\sec x"),
        ("12\\text{ and }13", "12\\text{ and }14"),
        ("1331 and 1728", "1728"),
        ("1\\frac{9}{5}", "1\\frac{4}{5}"),
        ("\\$5", "5 \\text{ cents}"),
    ],
)
def test_traps_of_other_checkers_are_refused(answer, gold):
    assert not check(answer, gold).correct
    assert not check(gold, answer).correct


def test_a_verdict_says_how_and_why():
    assert check("1/2", "0.5") == CheckResult(True, "ok", "number", "1/2")
    assert check("x+1", "x+2").status == "wrong"
    assert check("((", "5").status == "unparsable_answer"
    assert check("5", "((").status == "unparsable_gold"
    assert check("", "5").status == "unparsable_answer"
    assert check("5", "").status == "unparsable_gold"
    assert check("", "").correct and not grade("\\boxed{}", "").correct
    assert check("9" * 5_000, "5").status == "limit"
    assert GRADER_VERSION


def test_an_unparsable_gold_is_earned_only_by_the_same_text():
    assert check("$ \\left( ( 1 $", "((1").correct
    assert not check("1", "((1").correct
    assert not check("(1)", "((1").correct


# Options


@pytest.mark.parametrize(
    ("answer", "gold", "options", "correct"),
    [
        ("28\\%", "28", {}, True),
        ("28\\%", "0.28", {}, True),
        ("28\\%", "28", {"percent": "value"}, False),
        ("28\\%", "0.28", {"percent": "bare"}, False),
        ("40/9", "4 4/9%", {}, False),
        ("0.333", "1/3", {}, True),
        ("0.33", "1/3", {}, True),
        ("0.3", "1/3", {}, False),
        ("0.33", "1/3", {"min_digits": 4}, False),
        ("0.333", "1/3", {"rounding": "off"}, False),
        ("0.334", "1/3", {}, False),
        ("1.41", "\\sqrt2", {}, True),
        ("1.4", "\\sqrt2", {}, False),
        ("2.0001", "2", {}, False),
        ("2.0001", "2", {"rel_tol": 1e-3}, True),
        ("20001", "20000", {"rel_tol": 1e-3}, False),
        ("2.9999999999999996", "3", {}, True),
        ("3, 1", "1, 3", {}, True),
        ("3, 1", "1, 3", {"list_order": "same"}, False),
        ("(3, 1)", "(1, 3)", {}, False),
        ("1,22", "1.22", {}, True),
        ("1,22", "1.22", {"decimal_comma": "never"}, False),
        ("32, 349", "32349", {}, False),
        ("\\boxed{1} and \\boxed{2}", "1, 2", {}, True),
        ("\\boxed{1} and \\boxed{2}", "2", {}, False),
        ("\\boxed{1} and \\boxed{2}", "2", {"boxes": "last"}, True),
        ("5 cm", "5", {}, True),
        ("5 cm", "5 m", {}, False),
        ("5 cm", "5 m", {"units": "ignore"}, True),
        ("5 cm", "5", {"units": "strict"}, False),
        ("5 cm", "5 centimeters", {"units": "strict"}, True),
        ("2/4", "1/2", {}, True),
        ("2/4", "1/2", {"fractions": "reduced"}, False),
        ("1101_2", "1101", {}, True),
        ("1101_2", "1101", {"bases": "strict"}, False),
        ("c", "C", {}, True),
        ("c", "C", {"choices": False}, False),
        ("(C) 12", "C", {}, True),
    ],
)
def test_options(answer, gold, options, correct):
    assert check(answer, gold, **options).correct is correct
    assert check(gold, answer, **options).correct is correct
    assert check(answer, gold, Options(**options)).correct is correct


def test_unknown_names_and_values_are_refused():
    with pytest.raises(ValueError, match=r"style.*boxed"):
        grade("1", "1", style="boxes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"percent.*either"):
        check("1", "1", percent="maybe")
    with pytest.raises(TypeError):
        check("1", "1", no_such_option=1)
    with pytest.raises(TypeError, match="either options= or"):
        check("1", "1", Options(), percent="value")


# Extraction


@pytest.mark.parametrize(
    ("response", "style", "extracted"),
    [
        ("so\n#### 1,234", "hashes", "1,234"),
        ("#### 3\nno, #### 4", "hashes", "4"),
        ("is \\boxed{\\frac{1}{2}}.", "boxed", "\\frac{1}{2}"),
        ("\\boxed{1}. Wait. \\boxed{2}", "boxed", "2"),
        ("\\fbox{7}", "boxed", "7"),
        ("\\boxed 5", "boxed", "5"),
        ("\\boxed{5", "boxed", None),  # cut off inside of the box: not given
        ("\\boxed{1} no no no no no \\boxed{2}", "boxed", "2"),
        ("first 3, then 4.", "last-number", "4"),
        ("costs $1,234.50.", "last-number", "1,234.50"),
        ("100 - 30 = 70", "last-number", "70"),
        ("<think>\\boxed{1}</think> It is \\boxed{2}", "auto", "2"),
        ("<think>\\boxed{1}</think> no box here", "auto", None),
        ("\\boxed{1}</think>", "auto", None),
        ("<answer> 7 </answer>", "answer-tag", "7"),
        ("<answer>6</answer> or <answer>7</answer>", "answer-tag", "7"),
        ("<answer>7", "answer-tag", None),
        ("Final Answer: The final answer is $5$. I hope it is correct.", "minerva", "$5$"),
        ("nothing here", "boxed", None),
        ("The answer is Evelyn.", "auto", "Evelyn"),
        ("So the answer is 5 apples because 2+3=5.", "auto", "5 apples"),
        ("**Answer:** 42", "auto", "42"),
        ("The answer is:\n$$\n42\n$$", "auto", "$$\n42\n$$"),
        ("Thus x = 3\\sqrt{2}.", "auto", "x = 3\\sqrt{2}"),
        ("We get $x=5$. So there are 12 apples.", "auto", "12"),
        ("The area is $A = 6$ cm$^2$.", "auto", "A = 6"),
        ("答案：42", "auto", "42"),
        ("there are 9 boxed presents", "auto", "9"),
        ("the answer is 3<|im_end|> 4", "auto", "3"),
        ("The train arrives at 3:45 PM.", "auto", "3:45 PM."),
        ("The answer is 3:45 in the afternoon.", "auto", "3:45"),
        ("Boys to girls are 3:4.", "auto", "3:4"),
        ("The answer is three, i.e. 3.", "auto", "3"),
    ],
)
def test_extraction(response, style, extracted):
    assert extract(response, style) == extracted


def test_one_answer_is_taken_however_many_are_offered():
    """A response cannot be right by naming several candidates."""
    for gold in ("1", "2"):
        assert not grade("It is \\boxed{1} or \\boxed{2}", gold).correct
        assert not grade("The answer is 1 or 2", gold).correct
    assert grade("It is \\boxed{x+1} or \\boxed{1+x}", "x+1").correct


@pytest.mark.parametrize(
    ("response", "gold", "correct"),
    [
        ("Hence \\[\\boxed{\\dfrac{\\binom52}{\\binom{10}2}=\\dfrac29}\\]", "2/9", True),
        ("The result: $\\boxed{\\boxed{\\frac{1}{2}}}$", "0.5", True),
        ("\\boxed{12} is the area. The result is $\\boxed{14}$.", "14", True),
        ("\\boxed{12} is the area. The result is $\\boxed{14}$.", "12", False),
        ("$x = \\boxed{2}$ or $x = \\boxed{5}$", "5, 2", True),
        ("After that we get \\boxed{\\frac{3}{4}", "3/4", True),
        ("<think>The answer is \\boxed{7}.</think> I don't know.", "7", False),
        ("She has 15 left.\n#### 5", "15", False),
        ("### Final Answer\n\nThe train travels **240 miles** in total.", "240", True),
        ("The correct answer is **(D)**.", "A", False),
        ("So she earns $18 \u00d7 40 = $720 per week.", "720", True),
        (
            "Hence the matrix is $$\\begin{pmatrix}1&0\\\\0&1\\end{pmatrix}.$$",
            "[[1,0],[0,1]]",
            True,
        ),
        ("<answer>The answer is 12</answer>", "12", True),
        ("<answer>**Answer:** 12</answer>", "12", True),
        ("\\boxed{\\text{The probability is }\\frac14}", "0.25", True),
        ("\\boxed{\\textbf{(E)}\\ 60}", "E", True),
        ("The final answer is $\\boxed{8}$. Check: 3+5=8 (step 12).", "8", True),
        ("Possible answers: 1, 2, 3, 4, 5", "3", False),
        ("The problem says the answer is 10, but I get \\boxed{12}", "10", False),
        ("\u7b54\u6848\u662f 12\u3002", "12", True),
        ("I cannot solve this problem.", "0", False),
    ],
)
def test_whole_responses(response, gold, correct):
    assert grade(response, gold).correct is correct


def test_gold_may_be_a_reference_solution():
    assert grade("The answer is 33", "11 x 3 = <<11*3=33>>33 boxed presents\n#### 33").correct
    assert grade("So \\boxed{0.5}", "Hence $x=\\boxed{\\frac12}$ is it.").correct


# Official protocols


@pytest.mark.parametrize(
    ("response", "gold", "correct"),
    [
        ("#### 1,234", "1234", True),
        ("#### 1,234", "so\n#### 1,234", True),
        ("#### 5.0", "5", False),  # a string comparison, not a number's
        ("####5", "5", False),
        ("The answer is 5", "5", False),
        ("#### 5 </think> none", "5", False),
    ],
)
def test_gsm8k_strict(response, gold, correct):
    assert gsm8k_strict(response, gold) is correct


@pytest.mark.parametrize(
    ("answer", "gold", "correct"),
    [
        ("\\frac12", "\\frac{1}{2}", True),
        ("\\frac1{72}", "\\frac{1}{72}", True),
        ("\\dfrac{1}{2}", "1/2", True),
        ("0.5", "\\frac{1}{2}", True),
        (".5", "0.5", True),
        ("k = 3", "3", True),
        ("10\\text{ units}", "10 ", True),
        ("\\left(1,2\\right)", "(1, 2)", True),
        ("90^\\circ", "90", True),
        ("\\$5", "5", True),
        ("50\\%", "50", True),
        ("\\sqrt3", "\\sqrt{3}", True),
        ("x+1", "1+x", False),  # strings only
        ("2/4", "1/2", False),
        ("10, 4", "4, 10", False),
    ],
)
def test_math_strict(answer, gold, correct):
    assert math_strict(f"so $\\boxed{{{answer}}}$", gold) is correct
    assert math_strict(f"so $\\boxed{{{answer}}}$", f"thus $\\boxed{{{gold}}}$.") is correct
    assert math_strict(f"no box: {answer}", gold) is False


# Many at once


def test_grade_many_keeps_order():
    pairs = [(f"#### {n}", str(n % 3)) for n in range(9)]
    assert [v.correct for v in grade_many(pairs)] == [n == n % 3 for n in range(9)]
    assert grade_many([]) == []


def test_grade_many_takes_style_and_options():
    pairs = [("\\boxed{2/4} or 7", "1/2")]
    assert grade_many(pairs, style="boxed")[0].correct
    assert not grade_many(pairs, style="last-number")[0].correct
    assert not grade_many(pairs, style="boxed", fractions="reduced")[0].correct


def test_grade_many_shows_progress(capsys):
    grade_many([("1", "1")] * 3, progress=True)
    assert "grading" in capsys.readouterr().err
    grade_many([("1", "1")] * 3, progress=False)
    assert capsys.readouterr().err == ""
