"""Published numbers: what the papers print, a user's own file, and GRAO's headline recomputed."""

# pandas annotates groupby and indexing with unions that pyright cannot narrow
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportOptionalMemberAccess=false

from __future__ import annotations

from pathlib import Path

import pytest

import results
from results import papers, tables
from tests.synthetic import write_suite


def value(frame, paper: str, table: str, row: str, column: str) -> float:
    found = frame[(frame["paper"] == paper) & (frame["row"] == row) & (frame["column"] == column)]
    found = found[found["table"].str.startswith(table)]
    assert len(found) == 1
    return found["value"].iloc[0]


def test_every_number_has_its_paper_place_and_provenance() -> None:
    frame = results.published()
    assert [*frame.columns] == [*papers.COLUMNS, "file"]
    assert set(frame["file"]) == {"grao.csv", "una.csv", "dft.csv", "gift.csv"}
    assert (frame["provenance"] != "").all()
    assert not frame.duplicated(["paper", "table", "row", "column"]).any()


def test_spot_checks_against_the_papers() -> None:
    frame = results.published()
    assert value(frame, "arXiv:2508.07750", "helpful", "GRAO", "Moonlight-16B-A3B NAG") == 55.06
    assert value(frame, "arXiv:2508.07750", "harmless", "PPO", "Moonlight-16B-A3B RAS") == 70.97
    assert value(frame, "arXiv:2408.15339", "offline", "UNA score", "alpacaeval_lc") == 8.78
    assert value(frame, "arXiv:2408.15339", "online", "RLHF", "mt_bench") == 2.87
    assert value(frame, "arXiv:2508.05629", "Qwen", "GRPO", "AMC23") == 41.25


def test_the_printed_means_of_dft_are_the_means_of_their_rows() -> None:
    """A transcription check: five numbers and their printed mean, to rounding."""
    frame = results.published()
    dft = frame[frame["file"] == "dft.csv"].pivot(index="row", columns="column", values="value")
    assert dft.drop(columns="mean").mean(axis=1).tolist() == pytest.approx(
        dft["mean"].tolist(), abs=0.011
    )


def test_the_headline_of_grao_needs_two_rows_swapped() -> None:
    audit = papers.grao_headline().set_index("baseline")
    assert audit["abstract"].tolist() == [57.70, 17.65, 7.95, 5.18]
    assert audit["printed"].round(2).tolist() == [57.73, 17.67, 6.82, 6.35]
    assert audit["swapped"].round(2).tolist() == [57.73, 17.67, 7.97, 5.21]
    assert audit["agrees"].tolist() == [True, True, False, False]
    assert "6.35" in tables.TABLES["grao-headline"]().text()


def test_a_users_file_joins_and_a_broken_one_names_its_line(tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("paper,row,column,value\nours,GRPO,arithmetic,48.5\n")
    frame = results.published(mine)
    assert frame[frame["file"] == "mine.csv"]["value"].tolist() == [48.5]
    mine.write_text("paper,row,column,value\nours,GRPO,arithmetic,48.5\nours,GIFT,arithmetic,n/a\n")
    with pytest.raises(papers.PublishedError, match=r"mine\.csv, line 3: value = 'n/a'"):
        results.published(mine)
    mine.write_text("paper,row,value\nours,GRPO,48.5\n")
    with pytest.raises(papers.PublishedError, match=r"no column column; found paper, row, value"):
        results.published(mine)
    with pytest.raises(papers.PublishedError, match="absent"):
        results.published(tmp_path / "absent.csv")


def test_published_stand_beside_measured(tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "s", methods=["grpo", "odd"], seeds=2, questions=10, steps=6)
    mine = tmp_path / "mine.csv"
    mine.write_text("paper,row,column,value\nours,odd offline,arithmetic,48.5\n")
    r = results.load(suite)
    frame = papers.beside(r, mine)
    assert set(frame["method"]) == {"grpo", "odd"}
    odd = frame[frame["method"] == "odd"]
    assert odd["value"].tolist() == [48.5]
    shown = r.table().frame.set_index("method")
    assert odd["measured"].iloc[0] == pytest.approx(shown.loc["odd", "accuracy"])
    # numbers of variants and of the abstract are not numbers of the method
    assert not frame["row"].str.contains("without|over").any()
    assert "orientation" in tables.published_table(r).text()
