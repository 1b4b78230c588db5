"""The checker's public functions, on cases small enough to judge by eye."""

import pytest

from tasks.answers import check, grade, grade_many


@pytest.mark.parametrize(
    ("answer", "gold", "correct"),
    [
        ("42", "42", True),
        ("1,234", "1234", True),
        ("$1,234.50$", "1234.5", True),
        ("\\frac{2}{4}", "1/2", True),
        ("43", "42", False),
        ("-42", "42", False),
        ("1,23", "123", False),
    ],
)
def test_numbers(answer, gold, correct):
    assert check(answer, gold).correct is correct


@pytest.mark.parametrize(
    ("response", "style", "extracted"),
    [
        ("so\n#### 1,234", "hashes", "1,234"),
        ("is \\boxed{\\frac{1}{2}}.", "boxed", "\\frac{1}{2}"),
        ("first 3, then 4.", "last-number", "4"),
        ("<think>\\boxed{1}</think> It is \\boxed{2}", "auto", "2"),
        ("<answer> 7 </answer>", "answer-tag", "7"),
        ("Final Answer: The final answer is $5$. I hope it is correct.", "minerva", "$5$"),
        ("nothing here", "boxed", None),
    ],
)
def test_extraction(response, style, extracted):
    assert grade(response, "0", style=style).extracted == extracted


def test_grade_many_keeps_order():
    pairs = [(f"#### {n}", str(n % 3)) for n in range(9)]
    assert [v.correct for v in grade_many(pairs)] == [n == n % 3 for n in range(9)]


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="style"):
        grade("1", "1", style="boxes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="percent"):
        check("1", "1", percent="maybe")
    with pytest.raises(TypeError):
        check("1", "1", no_such_option=1)
