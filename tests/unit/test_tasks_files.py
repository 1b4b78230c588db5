"""Tasks on files: GSM8K stands for all of them where the behaviour is shared."""

import gzip
import json
from itertools import islice
from pathlib import Path

import pytest
from pydantic import ValidationError

import tasks
from tasks import TaskError
from tasks.files import file_rows, letters_and_digits


def problem(i: int) -> dict[str, str]:
    work = f"Ann had {i} pens.\nShe got {i}+7 = $<<{i}+7={i + 7}>>{i + 7} in all."
    return {"question": f"Ann has {i} pens, and gets 7. Now?", "answer": f"{work}\n#### {i + 7:,}"}


def write(path: Path, rows: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "gsm8k/train.jsonl", [problem(i) for i in range(30)])
    write(tmp_path / "gsm8k/test.jsonl", [problem(i) for i in range(1000, 1010)])
    return tmp_path


def test_reads_rows_and_cleans_solutions(folder):
    task = tasks.get("gsm8k", data_dir=folder, validation=5)
    assert [len(task.examples(s)) for s in task.splits] == [25, 5, 10]
    first = task.examples("test")[0]
    assert first.prompt == (
        "Ann has 1000 pens, and gets 7. Now?\n"
        "Please reason step by step, and put your final answer within \\boxed{}."
    )
    assert (first.gold, first.meta) == ("1007", {"steps": 1})
    work = "Ann had 1000 pens.\nShe got 1000+7 = $1007 in all."
    assert first.solution == work + "\nThe final answer is $\\boxed{1007}$."
    plain = tasks.get("gsm8k", data_dir=folder, style="hashes", calculator=True)
    assert plain.examples("test")[0].solution == (
        "Ann had 1000 pens.\nShe got 1000+7 = $<<1000+7=1007>>1007 in all.\n#### 1007"
    )
    assert plain.examples("test")[0].id == first.id  # of the question, whatever the template


def test_validation_depends_on_content_only(folder):
    held = {e.id for e in tasks.get("gsm8k", data_dir=folder, validation=5).examples("validation")}
    other = folder / "reordered"
    write(other / "gsm8k/train.jsonl", [problem(i) for i in reversed(range(30))])
    again = tasks.get("gsm8k", data_dir=other, validation=5, prompt="Q: {question}\nA:")
    assert {e.id for e in again.examples("validation")} == held
    assert not held & {e.id for e in again.examples("train")}
    assert again.examples("validation")[0].prompt.startswith("Q: Ann has")


def test_validation_of_other_scripts_depends_on_content_too(folder):
    rows = [
        {"question": f"{'一二三四五六七八九十'[i]}加一?", "answer": f"#### {i}"} for i in range(10)
    ]
    held = []
    for order in (rows, rows[::-1]):
        write(folder / f"{len(held)}/gsm8k/train.jsonl", order)
        task = tasks.get("gsm8k", data_dir=folder / str(len(held)), validation=3)
        held.append({e.gold for e in task.examples("validation")})
    assert held[0] == held[1] and len(held[0]) == 3


def test_broken_rows_are_left_out_counted_and_named(folder, caplog):
    caplog.set_level("WARNING", logger="evenbench.tasks")  # the command line turns it down
    rows = [
        problem(1), '{"question": "cut off"', {"question": "no answer?"},
        {"question": "no hashes?", "answer": "It is 5."},
        {"question": "no number?", "answer": "#### five"}, {"question": " ", "answer": "#### 5"},
        {"question": 3, "answer": "#### 5"}, "[1, 2]", problem(1), "", problem(2),
    ]  # fmt: skip
    path = write(folder / "gsm8k/test.jsonl", rows)
    task = tasks.get("gsm8k", data_dir=folder, validation=5)
    assert [e.gold for e in task.examples("test")] == ["8", "9"]
    reasons = [line.removeprefix(f"{path}:") for line in task.broken("test")]
    assert [reason[:34] for reason in reasons] == [
        "2: no JSON: Expecting ',' delimite", "3: no field 'answer'; the row has ",
        "4: field 'answer' does not end wit", "5: the gold answer 'five' is no nu",
        "6: field 'question' is empty", "7: field 'question' is int, not te", "8: no JSON object",
        f"9: the question of {path}:1 again"[:34],
    ]  # fmt: skip
    assert "test: 8 of 10 rows left out" in caplog.text
    assert task.broken("train") == []


def test_missing_and_useless_files_are_refused_with_their_path(folder):
    (folder / "gsm8k/train.jsonl").unlink()
    task = tasks.get("gsm8k", data_dir=folder)
    with pytest.raises(TaskError, match=r"no file .*gsm8k/train\.jsonl; a data folder holds"):
        task.examples("train")
    path = write(folder / "gsm8k/train.jsonl", [{"q": "?"}])
    with pytest.raises(TaskError, match=rf"{path}:1: no field 'question'; the row has q"):
        task.examples("validation")
    with pytest.raises(TaskError, match="no split 'tests'; allowed: train, validation, test"):
        task.examples("tests")


def test_options_are_checked(folder):
    with pytest.raises(ValidationError, match=r"the template must hold \{question\}"):
        tasks.get("gsm8k", data_dir=folder, prompt="Answer!")
    with pytest.raises(ValidationError, match=r"checker\n.*allowed are percent"):
        tasks.get("gsm8k", data_dir=folder, checker={"tolerance": 0.1})
    task = tasks.get("gsm8k", data_dir=folder, checker={"rounding": "off"})
    assert task.checker.rounding == "off"  # type: ignore[attr-defined]
    assert tasks.get("gsm8k", **task.model_dump()) == task


def test_corpus_is_the_train_split_reshuffled(folder):
    task = tasks.get("gsm8k", data_dir=folder, validation=5)
    pairs = {(e.prompt, e.solution) for e in task.examples("train")}
    texts = list(islice(task.corpus(0), 75))
    assert all(set(texts[i : i + 25]) == pairs for i in (0, 25, 50))
    assert texts[:25] != texts[25:50]
    assert texts == list(islice(task.corpus(0), 75)) != list(islice(task.corpus(1), 75))


def test_fingerprint_follows_the_bytes(folder):
    task = tasks.get("gsm8k", data_dir=folder)
    before = task.fingerprint()
    write(folder / "gsm8k/train.jsonl", [problem(i) for i in range(31)])
    after = task.fingerprint()
    assert before.keys() == after.keys() == {"gsm8k/train.jsonl", "gsm8k/test.jsonl"}
    assert before["gsm8k/train.jsonl"] != after["gsm8k/train.jsonl"]
    assert before["gsm8k/test.jsonl"] == after["gsm8k/test.jsonl"]


def test_data_folder_from_the_environment(folder, monkeypatch):
    monkeypatch.setenv("EVENBENCH_DATA", str(folder))
    assert len(tasks.get("gsm8k").examples("test")) == 10


def test_from_the_hub_library(folder, monkeypatch):
    """`datasets` loads a folder as it loads a hub id; no network."""
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
    monkeypatch.delenv("EVENBENCH_DATA", raising=False)
    hub = dict(hub=str(folder / "gsm8k"), hub_config=None, revision=None)
    task = tasks.get("gsm8k", validation=5, **hub)
    local = tasks.get("gsm8k", validation=5, data_dir=folder)
    for split in task.splits:
        assert task.examples(split) == local.examples(split)
    assert list(task.fingerprint()) == [f"{folder}/gsm8k[train]", f"{folder}/gsm8k[test]"]
    with pytest.raises(TaskError, match=r"/no/where\[test\] could not be loaded: .*local folder"):
        tasks.get("gsm8k", hub="/no/where").examples("test")


def test_kinds_of_files(tmp_path):
    pandas = pytest.importorskip("pandas")
    rows = [problem(i) for i in range(3)]
    pandas.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    for name in ("a.parquet", "a.jsonl.gz"):
        assert [row.values for row in file_rows(tmp_path / name)] == rows
        assert next(file_rows(tmp_path / name)).where == f"{tmp_path / name}:1"
    (tmp_path / "a.jsonl.gz").write_bytes((tmp_path / "a.jsonl.gz").read_bytes()[:40])
    with pytest.raises(TaskError, match=r"a\.jsonl\.gz:1: cannot be read"):
        list(file_rows(tmp_path / "a.jsonl.gz"))
    pandas.DataFrame({"q": ["a", None], "n": [1, None]}, dtype=object).to_parquet(
        tmp_path / "gaps.parquet"
    )
    assert [row.values for row in file_rows(tmp_path / "gaps.parquet")] == [
        {"q": "a", "n": 1}, {"q": None, "n": None},
    ]  # fmt: skip
    (tmp_path / "torn.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    with pytest.raises(TaskError, match=r"torn\.parquet: cannot be read"):
        list(file_rows(tmp_path / "torn.parquet"))
    with pytest.raises(TaskError, match=r"allowed are .jsonl, .jsonl.gz and .parquet"):
        list(file_rows(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    "style, response, correct, strict, format_ok",
    [
        ("boxed", "so $\\boxed{1007}$.", True, True, True),
        ("boxed", "so \\boxed{1,007}", True, True, True),
        ("boxed", "so \\boxed{1007.0}", True, False, True),
        ("boxed", "The answer is 1007.", True, False, False),
        ("boxed", "\\boxed{1007} or \\boxed{1008}. So:\n\n\\boxed{1008}", False, False, True),
        ("boxed", "", False, False, False),
        ("hashes", "so\n#### 1007", True, True, True),
        ("hashes", "so\n#### 1,007", True, True, True),
        ("hashes", "so\n####1007", True, False, False),
        ("hashes", "1000 + 7 = 1007", True, False, False),
        ("hashes", "#### 1007\n#### 8", False, True, True),
    ],
)
def test_gsm8k_grades(folder, style, response, correct, strict, format_ok):
    task = tasks.get("gsm8k", data_dir=folder, style=style)
    grade = task.grade(task.examples("test")[0], [response])[0]
    assert (grade.correct, grade.strict, grade.format_ok) == (correct, strict, format_ok)
    assert (grade.status == "ok") == correct


@pytest.mark.parametrize("style", ["boxed", "hashes"])
def test_real_gsm8k(style, data_dir):
    task = tasks.get("gsm8k", data_dir=data_dir, style=style)
    assert [len(task.examples(s)) for s in task.splits] == [6973, 500, 1319]
    assert all(not task.broken(s) for s in task.splits)
    questions = {letters_and_digits(e.prompt) for s in task.splits for e in task.examples(s)}
    assert len(questions) == 7473 + 1319
    for example in task.examples("test"):
        (grade,) = task.grade(example, [example.solution or ""])
        assert grade.correct and grade.strict and grade.format_ok, example
