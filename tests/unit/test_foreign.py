"""Results of other tools: what becomes of them, what may be said, and what is refused."""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import results
from bench.cli import app
from bench.tools.foreign import Asked, LogError, csv_runs, inspect_runs, write
from reports.report import write_report
from results.tables import TABLES
from tests.synthetic import write_suite


def csv_file(path: Path, *, seeds: int = 0, gain: float = 0.2, questions: int = 60) -> Path:
    """Two methods on the same questions, two answers each; `tuned` is better by `gain`."""
    rng = np.random.default_rng(3)
    lines = ["question,sample,correct,method" + ",seed" * bool(seeds)]
    for q in range(questions):
        ease = rng.uniform(0, 0.6)
        for s in range(max(seeds, 1)):
            for method, more in (("base", 0.0), ("tuned", gain)):
                for k in range(2):
                    cell = [f"q{q}", k, int(rng.random() < ease + more), method, s]
                    lines.append(",".join(map(str, cell[: 4 + bool(seeds)])))
    path.write_text("\n".join(lines) + "\n")
    return path


def sample(number: int, epoch: int, value: Any, **more: Any) -> dict[str, Any]:
    """One of an Inspect log, as its page documents it."""
    said = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": f"ANSWER: {value}"}]
    choice = {"message": {"role": "assistant", "content": said}, "stop_reason": "stop"}
    return {
        "id": number, "epoch": epoch, "input": f"What is {number}?", "target": "4",
        "output": {"model": "m", "choices": [choice]},
        "scores": {"match": {"value": value, "answer": str(value)}}, **more,
    }  # fmt: skip


def inspect_log(path: Path, samples: list[dict[str, Any]], **header: Any) -> Path:
    about = {"task": "arc", "task_version": 0, "model": "hf/base", "packages":
             {"inspect_ai": "0.3.112"}, "model_generate_config": {"temperature": 0.6}}  # fmt: skip
    log = {"version": 2, "status": "success", "eval": about, "plan": {"config": {}}, **header}
    if path.suffix == ".json":
        path.write_text(json.dumps({**log, "samples": samples}))
        return path
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("_journal/start.json", "{}")
        for one in samples:
            file.writestr(f"samples/{one['id']}_epoch_{one['epoch']}.json", json.dumps(one))
        file.writestr("header.json", json.dumps(log))
    return path


def said(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "160"})
    return result.exit_code, " ".join(result.output.split())


def test_without_seeds_two_models_are_compared_over_questions(tmp_path):
    file = csv_file(tmp_path / "two.csv")
    before = file.read_bytes()
    code, output = said("import", "csv", file, "--out", tmp_path / "out")
    assert code == 0 and "+" in output and "better" in output and "never as methods" in output
    assert "starting model" not in output and file.read_bytes() == before
    r = results.load(tmp_path / "out")
    found = r.compare("tuned", "base")
    assert (found.verdict, found.test.design, found.questions) == ("better", "questions", 60)
    assert "two models, not two methods" in str(found) and "60 questions" in found.sentence
    imported = [record.imported for record in r.provenance]
    assert all(i and i.tool == "csv" and list(i.files) == [str(file)] for i in imported)
    wide = r.evals.pivot_table(index="question_id", columns="method", values="correct",
                               observed=True)  # fmt: skip
    gain = (wide["tuned"] - wide["base"]).mean()
    assert found.difference == pytest.approx(gain)
    assert r.problems == []


def test_with_seeds_methods_are_compared_over_seeds(tmp_path):
    write(csv_runs(csv_file(tmp_path / "seeds.csv", seeds=4)), tmp_path / "out")
    r = results.load(tmp_path / "out")
    found = r.compare("tuned", "base")
    assert (found.test.design, found.test.seeds) == ("paired", (4, 4))
    assert "two models" not in str(found) and "over seeds and questions" in str(found)


def test_a_model_is_never_compared_with_a_method(tmp_path):
    write(csv_runs(csv_file(tmp_path / "seeds.csv", seeds=3)), tmp_path / "out")
    one = tmp_path / "one.csv"
    one.write_text("question,correct\n" + "".join(f"q{i},1\n" for i in range(60)))
    write(csv_runs(one, Asked(method="other")), tmp_path / "out")
    found = results.load(tmp_path / "out").compare("other", "base")
    assert found.verdict == "undetermined" and found.test.design != "questions"


def test_imported_rows_stand_beside_our_own_in_every_table_and_the_report(tmp_path):
    ours = write_suite(tmp_path / "s", ["grpo", "gift"], 3, {"test": 8}, samples=2, evaluations=2)
    file = csv_file(tmp_path / "seeds.csv", seeds=3)
    out = tmp_path / "imported"
    write(csv_runs(file, Asked(task="arithmetic")), out)
    r = results.load([ours, out])
    for name, table in TABLES.items():
        assert table(r).text(), name
    assert write_report(results.load(out), tmp_path / "report").paths
    lengths = TABLES["drift"](r).frame.set_index("method")["tokens_start"]
    assert np.isnan(lengths["base"]) and lengths["gift"] > 0  # an imported length is not known
    shown = TABLES["passk"](results.load(out)).frame.iloc[0]
    assert np.isfinite(shown["pass@2"]) and np.isnan(shown["maj@2"])  # wrong answers unknown


def test_the_same_file_twice_changes_nothing_and_another_is_refused(tmp_path):
    file, out = csv_file(tmp_path / "two.csv"), tmp_path / "out"
    first = write(csv_runs(file), out)
    times = [(p / "evals.parquet").stat().st_mtime_ns for p in first]
    assert write(csv_runs(file), out) == first
    assert [(p / "evals.parquet").stat().st_mtime_ns for p in first] == times
    csv_file(file, gain=0.3)
    with pytest.raises(LogError, match="holds other answers of base; delete"):
        write(csv_runs(file), out)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("question,correct\na,1\n", r":1: no column method; needed: question, correct, method"),
        ("question,correct,method\na,yes,m\n", r":2: correct is 'yes'; allowed: 1, 0, true, false"),
        ("question,correct,method\na,0.5,m\n", r":2: correct is '0.5'; .* a row for each"),
        ("question,correct,method\na,1\n", r":2: expected 3 cells"),
        ("question,correct,method\na,1,m,9\n", r":2: expected 3 cells"),
        ("question,correct,method\n,1,m\n", r":2: question is empty"),
        ("question,correct,method\na,1,m\nb,1,m\na,0,m\n", r":4: the same .* as line 2"),
        ("question,correct,method,seed\na,1,m,-1\n", r":2: seed is '-1'; allowed: a whole number"),
        ("question,correct,method,seed\na,1,m,\n", r":2: seed is ''"),
        ("question,correct,method,sample\na,1,m,40000\n", r"from 0 to 32767"),
        ("question,correct,method,method\na,1,m,n\n", r":1: column method stands twice"),
        ('question,correct,method\n"a,1,m\n', r": not CSV"),
        ("question,correct,method\n", r": no row below"),
        ("", r":1: no column question, correct, method"),
        (b"question,correct,method\n\xff,1,m\n", r": not UTF-8"),
    ],
)
def test_a_bad_csv_gets_one_clear_line(tmp_path, text, what):
    path = tmp_path / "bad.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LogError, match=what) as caught:
        csv_runs(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    code, output = said("import", "csv", path, "--out", tmp_path / "out")
    assert code == 2 and output.startswith("error") and not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["json", "eval"])
def test_a_log_of_inspect_in_its_documented_form(tmp_path, form):
    values = [("C", True), ("I", False), ("N", False), (1, True), (0.0, False), (True, True)]
    samples = [sample(i, epoch, v) for i, (v, _) in enumerate(values, 1) for epoch in (1, 2)]
    samples.append(sample(9, 1, "C", error={"message": "timeout"}))
    log = inspect_log(tmp_path / f"log.{form}", samples)
    (found,) = inspect_runs(log)
    assert (found.method, found.task, found.seed) == ("hf/base", "arc", None)
    assert found.origin.version == "0.3.112" and "1 samples ended in an error" in found.left_out[0]
    rows = found.rows.sort_values(["prompt", "sample"])
    assert rows["correct"].tolist() == [right for _, right in values for _ in (1, 2)]
    assert set(rows["sample"]) == {0, 1} and set(rows["decoding"]) == {"sampled"}
    assert rows["status"].iloc[4] == "unparsable_answer"
    assert rows["response"].iloc[0] == "ANSWER: C" and rows["extracted"].iloc[0] == "C"
    # the same questions under other numbers pair
    other = [{**one, "id": f"x{one['id']}"} for one in reversed(samples)]
    (again,) = inspect_runs(inspect_log(tmp_path / f"again.{form}", other), Asked(method="tuned"))
    assert set(again.rows["question_id"]) == set(rows["question_id"])
    write([found, again], tmp_path / "out")
    compared = results.load(tmp_path / "out").compare("tuned", "hf/base")
    assert compared.questions == 6 and compared.verdict == "undetermined"


def test_what_of_an_inspect_log_cannot_be_used_is_said(tmp_path):
    def refused(samples: list[dict[str, Any]], scorer: str | None = None, **header: Any) -> str:
        with pytest.raises(LogError) as caught:
            inspect_runs(inspect_log(tmp_path / "a.json", samples, **header), scorer=scorer)
        assert "\n" not in str(caught.value) and "a.json" in str(caught.value)
        return str(caught.value)

    assert "status is 'error'; allowed: 'success'" in refused([sample(1, 1, "C")], status="error")
    partial = refused([sample(1, 1, "C"), sample(2, 1, "P")])
    assert "sample 2: match gives 'P'; allowed: C, I, N" in partial
    assert "gives 0.5" in refused([sample(1, 1, 0.5)])
    assert "no samples" in refused([])
    two = {"scores": {"a": {"value": "C"}, "b": {"value": "I"}}}
    assert "several scorers; --scorer allows: a, b" in refused([sample(1, 1, "C", **two)])
    assert "no scorer 'c'" in refused([sample(1, 1, "C", **two)], scorer="c")
    log = inspect_log(tmp_path / "b.json", [sample(1, 1, "C", **two)])
    assert not inspect_runs(log, scorer="b")[0].rows["correct"].any()
    assert "not a log of Inspect" in refused([sample(1, 1, "C")], eval={})
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(LogError, match="not JSON"):
        inspect_runs(tmp_path / "c.json")
    with pytest.raises(LogError, match="No such file"):
        inspect_runs(tmp_path / "nothing.eval")
    whole = inspect_log(tmp_path / "d.eval", [sample(1, 1, "C")]).read_bytes()
    (tmp_path / "d.eval").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LogError, match=r"d\.eval: not JSON"):  # a zip's table stands at its end
        inspect_runs(tmp_path / "d.eval")


def test_a_log_that_inspect_itself_writes(tmp_path):
    inspect_ai: Any = pytest.importorskip("inspect_ai", reason="inspect_ai is not installed")
    from inspect_ai.dataset import Sample  # type: ignore[import-not-found]
    from inspect_ai.scorer import match  # type: ignore[import-not-found]

    asked = [Sample(id=i, input=f"Say {i}", target="Default output") for i in range(4)]
    task = inspect_ai.Task(name="said", dataset=asked, scorer=match(location="any"))
    for form in ("eval", "json"):
        (log,) = inspect_ai.eval(
            task, model="mockllm/model", log_dir=str(tmp_path / form), log_format=form,
            display="none", epochs=2,
        )  # fmt: skip
        (found,) = inspect_runs(Path(log.location))
        assert len(found.rows) == 8 and found.rows["question_id"].nunique() == 4


def test_a_difference_in_how_models_were_asked_is_named(tmp_path):
    samples = [sample(i, 1, "C" if i % 2 else "I") for i in range(1, 9)]
    hot = {"plan": {"config": {"temperature": 1.0}}}
    one = inspect_runs(inspect_log(tmp_path / "a.json", samples))
    two = inspect_runs(inspect_log(tmp_path / "b.json", samples, **hot), Asked(method="hot"))
    write([*one, *two], tmp_path / "out")
    found = results.load(tmp_path / "out").compare("hot", "hf/base")
    assert "asked differently: temperature 1.0 and 0.6" in found.note
