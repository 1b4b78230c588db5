"""The audit of the checker, on files small enough to count by hand."""

import io
import json

import pytest
from rich.console import Console

from tasks.answers import Options
from tasks.answers.audit import (
    OWN_CASES,
    Protocol,
    audit,
    default_files,
    read_cases,
    robustness,
)
from tasks.answers.audit_tables import robustness_table, tables

ROWS = [
    {"gold": "1/2", "pred": "0.5", "equal": True, "kind": "pair"},
    {"gold": "1/2", "pred": "0.6", "equal": True, "kind": "pair"},  # a false negative
    {"gold": "2", "pred": "3", "equal": False, "kind": "pair"},
    {"gold": "2", "pred": "2.0", "equal": False, "kind": "pair"},  # a false positive
    {"gold": "28\\%", "pred": "28", "equal": True, "kind": "pair", "policy": "percent"},
    {"gold": "4", "pred": "so it is \\boxed{4}", "equal": True, "kind": "response"},
    {"gold": "4", "response": "so\n#### 4", "correct": True},
    {"gold": "4", "response": "so it is 4.", "correct": True},
]


@pytest.fixture
def cases(tmp_path):
    path = tmp_path / "small.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def test_counts(cases):
    found = audit([cases])
    pairs = found.groups["pair"]
    assert (pairs.cases, pairs.negatives) == (4, 2)
    assert (pairs.false_negatives, pairs.false_positives, pairs.accuracy) == (1, 1, 0.5)
    assert found.groups["pair (policy)"].accuracy == found.policies["percent"].accuracy == 1.0
    assert found.groups["solution"].cases == 2
    assert [miss.case.where for miss in found.misses] == ["small.jsonl:2", "small.jsonl:4"]
    assert found.official == {"GSM8K strict": Protocol(3, 2, 0, 0), "MATH strict": Protocol(3, 2)}
    assert found.asymmetric == []
    assert len(found.seconds) == 8 and 0 < found.quantile(0.5) <= found.quantile(0.99)
    assert found.throughput > 0


def test_options_change_the_counts(cases):
    found = audit([cases], Options(percent="value"))
    assert found.policies["percent"].false_negatives == 1


def test_second_opinion(cases):
    pytest.importorskip("math_verify")
    found = audit([cases], against="math-verify")
    assert sum(score.cases for score in found.opinion.values()) == 8
    assert found.opinion["pair"].cases == 4 and found.opinion["solution"].accuracy > 0
    sides = [verdict.correct != case.equal for case, verdict in found.disagreements]
    assert sides == sorted(sides, reverse=True) and sum(sides) == found.lost
    with pytest.raises(ValueError, match="math-verify"):
        audit([cases], against="nobody")


def test_tables_are_printed(cases):
    console = Console(record=True, width=160, file=io.StringIO())
    for table in tables(audit([cases])):
        console.print(table)
    text = console.export_text()
    for expected in ("pair (policy)", "by policy", "  percent", "p99", "small.jsonl:4", "50.0 %"):
        assert expected in text


def test_rows_of_another_form_are_named(tmp_path):
    path = tmp_path / "broken.jsonl"
    path.write_text('{"gold": "1", "pred": "1", "equal": true}\n{"gold": "1"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"broken\.jsonl:2"):
        read_cases(path)


def test_own_cases_are_all_right():
    score = audit([OWN_CASES]).groups["own"]
    assert score.cases > 600 and score.accuracy == 1.0


def test_default_files(monkeypatch, tmp_path):
    monkeypatch.delenv("EVENBENCH_DATA", raising=False)
    assert default_files() == [OWN_CASES]
    (tmp_path / "checker").mkdir()
    (tmp_path / "checker" / "cases.jsonl").write_text("")
    monkeypatch.setenv("EVENBENCH_DATA", str(tmp_path))
    assert default_files() == [OWN_CASES, tmp_path / "checker" / "cases.jsonl"]


def test_robustness():
    golds = ["\\frac{1}{2}", "12345", "(-\\infty, 3]", "2\\sqrt{3}", "\\text{(C)}", "45^\\circ"]
    found = robustness(golds, seed=1)
    assert found.golds == 6 and found.mutants > 10 and found.reformatted > 80
    assert found.not_itself == found.accepted == found.rejected == found.asymmetric == []
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(robustness_table(found))
    assert "rejected" in console.export_text()


def test_robustness_finds_what_is_wrong():
    """With the units read strictly, answers without their unit are refused."""
    found = robustness(["45^\\circ", "5\\text{ cm}"], options=Options(units="strict"))
    assert {name for name, _, _ in found.rejected} >= {"no degrees", "no unit"}
