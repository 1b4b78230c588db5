"""Logs that lm-eval itself wrote, imported: answers, verdict, and what is refused."""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import results
from bench.cli import app
from bench.model.start import save
from bench.tools.foreign import Asked, LogError, lm_eval_runs, write
from tests import tiny

pytest.importorskip("lm_eval")
from bench.tools.lm_eval.benchmarks import OURS

pytestmark = pytest.mark.filterwarnings("ignore")
ASKED = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder in which lm-eval logged two models, and what it returned of each."""
    import lm_eval.tasks
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.loggers import EvaluationTracker

    out = tmp_path_factory.mktemp("lm")
    manager = lm_eval.tasks.TaskManager(include_path=str(OURS), include_defaults=False)
    told = {}
    for number in range(2):
        model = out / f"model{number}"
        save(tiny.policy(number), model)
        tracker = EvaluationTracker(output_path=str(out / "logs"))
        found: Any = simple_evaluate(
            model="hf", model_args={"pretrained": str(model), "dtype": "float32"}, device="cpu",
            tasks=["evenbench_arithmetic"], task_manager=manager, limit=ASKED, log_samples=True,
            bootstrap_iters=0, evaluation_tracker=tracker,
        )  # fmt: skip
        samples = found.pop("samples")
        tracker.save_results_aggregated(results=found, samples=samples)
        for name in found["configs"]:
            tracker.save_results_samples(task_name=name, samples=samples[name])
        told[f"{out.name}/model{number}"] = samples["evenbench_arithmetic"]
    return out / "logs", told


@pytest.fixture
def logs(made, tmp_path):
    return Path(shutil.copytree(made[0], tmp_path / "logs"))


def test_every_answer_and_verdict_is_lm_evals(made, tmp_path):
    logs, told = made
    before = {f: f.read_bytes() for f in logs.rglob("*.json*")}
    words = ("import", "lm-eval", str(logs), "--out", str(tmp_path / "out"))
    code = CliRunner().invoke(app, [*words]).exit_code
    assert code == 0 and {f: f.read_bytes() for f in logs.rglob("*.json*")} == before
    r = results.load(tmp_path / "out")
    assert r.methods == [*told] and r.problems == []
    for name, samples in told.items():
        rows = r.responses[r.responses["method"] == name].set_index("prompt")
        assert len(rows) == ASKED and set(rows["decoding"]) == {"greedy"}
        for sample in samples:
            row: Any = rows.loc[sample["doc"]["prompt"]]
            assert row["response"] == sample["resps"][0][0]
            assert (row["correct"], row["strict"]) == (sample["accuracy"], sample["strict"])
    found = r.compare(*r.methods)
    assert (found.test.design, found.questions) == ("questions", ASKED)
    assert "two models, not two methods" in str(found)
    record = r.provenance[0].imported
    assert record and record.tool == "lm-eval" and record.version.startswith("0.4")
    assert "model0" in record.model and len(record.files) == 2


def test_a_seed_makes_a_run_of_a_method_of_it(made, tmp_path):
    for seed, folder in enumerate(sorted(p for p in made[0].iterdir())):
        write(lm_eval_runs(folder, Asked(method="grpo", seed=seed)), tmp_path / "out")
    r = results.load(tmp_path / "out")
    assert r.methods == ["grpo"] and r.runs["seed"].tolist() == [0, 1] and r.problems == []
    assert r.runs["settings"].nunique() == 1
    with pytest.raises(LogError, match=r"holds 2 models .* give its own folder"):
        lm_eval_runs(made[0], Asked(method="grpo"))


def test_of_two_evaluations_the_newest_counts(logs):
    folder = sorted(logs.iterdir())[0]
    (old,), (samples,) = folder.glob("results_*"), folder.glob("samples_*")
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    samples.with_name("samples_evenbench_arithmetic_later.jsonl").write_text(
        "".join(json.dumps({**line, "accuracy": 1.0}) + "\n" for line in lines)
    )
    content = json.loads(old.read_text())
    (folder / "results_later.json").write_text(json.dumps({**content, "date": 9e9}))
    (found,) = lm_eval_runs(folder)
    assert found.rows["correct"].all() and len(found.rows) == ASKED
    other = {**content["config"], "model_args": {"pretrained": "another"}}
    (folder / "results_third.json").write_text(json.dumps({**content, "config": other}))
    with pytest.raises(LogError, match="with other arguments than in"):
        lm_eval_runs(folder)


def test_what_cannot_be_read_is_named_with_its_line(logs, tmp_path):
    folder = sorted(logs.iterdir())[0]
    (samples,) = folder.glob("samples_*")
    lines = samples.read_text().splitlines()

    def refused(place: Path = folder) -> str:
        with pytest.raises(LogError) as caught:
            lm_eval_runs(place)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    samples.write_text("\n".join([*lines[:3], lines[3][:40]]))
    assert f"{samples}:4: not JSON" in refused()
    samples.write_text("\n".join([lines[0], json.dumps({"doc": {}})]))
    assert f"{samples}:2: no doc_hash, resps" in refused()
    samples.write_text("")
    assert "no sample in it" in refused()
    graded = [json.dumps({**json.loads(line), "accuracy": 0.5}) for line in lines]
    samples.write_text("\n".join(graded))
    assert "no verdict of right or wrong for each question" in refused()
    samples.unlink()
    assert "run lm_eval with --log_samples" in refused()
    (tmp_path / "empty").mkdir()
    assert "no results_*.json" in refused(tmp_path / "empty")
    assert "not lm-eval's" in refused(Path(_any_json(tmp_path)))


def _any_json(folder: Path) -> str:
    path = folder / "mine.json"
    path.write_text("{}")
    return str(path)
