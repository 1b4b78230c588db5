"""lm-eval on runs and models: the same questions, prompts, verdicts and tables as in the loop."""

from __future__ import annotations

import hashlib
import http.server
import json
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import results
import tasks
from bench.cli import app
from bench.config import ConfigError
from bench.model.start import save
from bench.tools.regrade import regrade
from bench.train.loop import train
from results.records import EVAL_COLUMNS
from tasks.arithmetic import Arithmetic
from tests import tiny

pytest.importorskip("lm_eval")
from bench.tools.lm_eval import benchmarks, evaluate, show, subject

pytestmark = pytest.mark.filterwarnings("ignore")
FINAL = {"points": 1, "curve": {"test": 4}, "final": {"test": 48}, "train_questions": 0}


def by_letters(self, example, responses):
    """About half of all responses are right, whatever they say; other letters, other verdict."""
    right = [hashlib.sha256(f"{example.id}{r}".encode()).digest()[0] & 1 for r in responses]
    told = GRADE(self, example, responses)
    return [
        replace(g, correct=bool(r), status="ok" if r else "wrong")
        for g, r in zip(told, right, strict=True)
    ]


GRADE = Arithmetic.grade


@pytest.fixture(scope="module", autouse=True)
def patched(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("EVENBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.setenv("EVENBENCH_DATA", str(data(tmp_path_factory.mktemp("data"))))
    patch.setenv("HF_HUB_OFFLINE", "1")
    patch.setattr(Arithmetic, "grade", by_letters)
    yield
    patch.undo()


def data(folder: Path) -> Path:
    """GSM8K and MATH-500 in small."""
    (folder / "gsm8k").mkdir()
    (folder / "math").mkdir()
    for split, count in (("train", 8), ("test", 3)):
        rows = [
            {
                "question": f"{split}: {i} and {i + 1} are?",
                "answer": f"{2 * i + 1}\n#### {2 * i + 1}",
            }
            for i in range(count)
        ]
        (folder / f"gsm8k/{split}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    row = {"problem": "1+1?", "solution": "\\boxed{2}", "answer": "2", "subject": "Algebra",
           "level": 1, "unique_id": "one"}  # fmt: skip
    (folder / "math/math500.jsonl").write_text(json.dumps(row) + "\n")
    return folder


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """Two finished runs of a model whose answers depend on every token of a prompt."""
    out = tmp_path_factory.mktemp("runs")
    save(tiny.policy(), out / "start")
    changes = {"model": {"path": str(out / "start")}, "budget": {"amount": 2}, "eval": FINAL}
    for label in ("grpo", "rft"):
        train(tiny.run(label, **changes), out / "tiny", "tiny")
    return out / "tiny"


@pytest.fixture
def run(suite, tmp_path):
    """A run's folder of one's own."""
    source = next(suite.glob("grpo-*"))
    return Path(shutil.copytree(source, tmp_path / "tiny" / source.name))


def long(model: Path, positions: int = 4096) -> Path:
    """The model, which now takes prompts of any length."""
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "max_position_embeddings": positions}))
    return model


def evals(folder: Path) -> Any:
    return pd.read_parquet(folder / "evals.parquet")


def test_accuracy_and_answers_are_those_of_the_loop(run, tmp_path):
    before = evals(run)
    file = tmp_path / "deep" / "scores.json"
    result = evaluate(str(run), ["evenbench_arithmetic"], json_file=file, device="cpu")
    assert json.loads(file.read_text()) == result
    told = result["tasks"]["evenbench_arithmetic"]
    assert told["accuracy"] == told["in_loop_accuracy"] and 0.2 < told["accuracy"] < 0.8
    assert told["questions"] == 48 and told["metrics"]["accuracy,none"] == told["accuracy"]
    after = evals(run)
    assert list(after.columns) == list(EVAL_COLUMNS)
    mine = after[after["split"] == "evenbench_arithmetic"]
    loop = before[(before["split"] == "test") & (before["decoding"] == "greedy")]
    loop = loop[loop["step"] == before["step"].max()]
    assert loop["response"].nunique() > 40
    assert set(mine["step"]) == {2} and len(mine) == 48
    columns = ["question_id", "correct", "strict", "status", "response", "extracted", "prompt",
               "gold", "format_ok"]  # fmt: skip
    one, two = (f[columns].sort_values("question_id").reset_index(drop=True) for f in (mine, loop))
    pd.testing.assert_frame_equal(one, two, check_dtype=False)
    # lm-eval's are counted in the text, which lacks special tokens
    lengths = mine.set_index("question_id")["tokens"], loop.set_index("question_id")["tokens"]
    assert (lengths[0] <= lengths[1]).all() and (lengths[0] == lengths[1]).mean() > 0.8
    # the run's own rows are as they were, and asking again replaces what was asked
    rest = after[after["split"] != "evenbench_arithmetic"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, before, check_dtype=False, check_categorical=False)
    evaluate(str(run), ["evenbench_arithmetic"], limit=5, device="cpu")
    again = evals(run)
    assert len(again[again["split"] == "evenbench_arithmetic"]) == 5
    assert len(regrade(run.parent, write=False).responses) == len(
        before[before["response"].notna()]
    )


def test_adapters_and_chat_templates_are_asked_as_in_the_loop(suite, tmp_path):
    pytest.importorskip("peft")
    model = {"path": str(suite.parent / "start"), "chat": "plain", "system": "Tom",
             "lora": {"r": 4, "alpha": 8.0}}  # fmt: skip
    made = tiny.run("grpo", model=model, budget={"amount": 2}, eval=FINAL, optimizer={"lr": 0.01})
    train(made, tmp_path, "tiny")
    result = evaluate(str(tmp_path / made.name), ["evenbench_arithmetic"], device="cpu")
    told = result["tasks"]["evenbench_arithmetic"]
    assert result["chat_template"] and told["accuracy"] == told["in_loop_accuracy"]
    rows = evals(tmp_path / made.name)
    last = rows[(rows["step"] == 2) & (rows["decoding"] == "greedy")]
    said = last.pivot(index="question_id", columns="split", values="response")
    assert (said["test"] == said["evenbench_arithmetic"]).all() and said["test"].nunique() > 10


def test_paired_statistics_work_on_benchmarks(suite, tmp_path):
    suite = Path(shutil.copytree(suite, tmp_path / "tiny"))
    for folder in suite.glob("*-arithmetic-*"):
        code, output = said("eval", str(folder), "--tasks", "evenbench_fractions", "--limit", "4",
                            "--device", "cpu")  # fmt: skip
        assert code == 0 and "evenbench_fractions 0.0000" in output and "parquet" in output
    loaded = results.load(suite)
    found = loaded.compare("grpo", "rft", metric="greedy", split="evenbench_fractions")
    assert "grpo vs rft" in str(found) and "evenbench_fractions" in str(found)
    code, output = said("table", "comparisons", str(suite), "--split", "evenbench_fractions",
                        "--metric", "greedy")  # fmt: skip
    assert code == 0 and "+0.0" in output
    code, output = said("table", "main", str(suite), "--split", "nope")
    assert code == 2 and "these runs have evenbench_fractions" in output


def said(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "150"})
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_a_model_and_lm_evals_own_benchmark_on_local_files(run, tmp_path):
    """Five shots of gsm8k from local rows; the rows make a folder that reads like a run."""
    out, model = tmp_path / "eval", str(long(run / "checkpoint"))
    result = evaluate(model, ["gsm8k", "evenbench_gsm8k"], limit=2, device="cpu", out=out)
    told = result["tasks"]["gsm8k"]
    assert (told["few_shot"], told["questions"], told["in_loop_accuracy"]) == (5, 2, None)
    assert told["headline"] == "exact_match,flexible-extract" and told["cut"] == 0
    frame: Any = results.load(out).evals
    theirs = frame[frame["split"] == "gsm8k"]
    assert theirs["question_id"].str.fullmatch("[0-9a-f]{16}").all()
    assert set(theirs["status"]) <= {"ok", "wrong", "unparsable_answer"}
    ids = {e.id for e in tasks.get("gsm8k").examples("test")}
    assert set(frame.loc[frame["split"] == "evenbench_gsm8k", "question_id"]) < ids
    assert results.load(out).methods == [model.strip("/")]
    prompt = pd.read_parquet(result["rows"])["prompt"].tolist()[0]
    assert prompt.count("Question:") == 6 and "train:" in prompt
    with pytest.raises(ConfigError, match="holds evaluations only"):
        subject(str(Path(result["rows"]).parent))


def test_the_files_work_without_the_project_s_command(run):
    """Plain lm-eval with --include_path, and every default as the task has it."""
    import lm_eval.tasks
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    names = [f"evenbench_{name}" for name in ("arithmetic", "fractions", "gsm8k", "math500")]
    manager = lm_eval.tasks.TaskManager(include_path=str(benchmarks.OURS), include_defaults=False)
    model: Any = HFLM
    found: Any = simple_evaluate(
        model(pretrained=str(long(run / "checkpoint")), device="cpu", batch_size=4),
        tasks=[*names],
        task_manager=manager,
        limit=1,
        bootstrap_iters=0,
    )
    assert set(found["results"]) == set(names)
    for name in names:
        task = tasks.get(name.removeprefix("evenbench_"))
        (sample,) = found["samples"][name]
        first = task.examples("test")[0]
        assert (sample["doc"]["id"], sample["target"]) == (first.id, first.gold)
        assert sample["arguments"][0][0] == first.prompt
        limits = found["configs"][name]["generation_kwargs"]
        assert limits == {"until": list(task.stop), "do_sample": False,
                          "max_gen_toks": task.max_tokens}  # fmt: skip
        (grade,) = task.grade(first, [sample["resps"][0][0]])
        assert (sample["accuracy"], sample["strict"]) == (grade.correct, grade.strict)


def test_prompts_that_were_cut_are_counted(run, tmp_path):
    model = str(long(run / "checkpoint", positions=300))  # 256 of them are the answer's
    names = ["gsm8k", "evenbench_arithmetic"]
    result = evaluate(model, names, limit=2, device="cpu", out=tmp_path)
    assert [task["cut"] for task in result["tasks"].values()] == [2, 0]
    assert "gsm8k: 2 of 2" in str(show(result).caption)


class Server(http.server.BaseHTTPRequestHandler):
    """Says that the answer is 3, in the form of a completion."""

    asked: list[dict[str, Any]] = []  # noqa: RUF012

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        choice = {"index": 0, "text": "It is \\boxed{3}.", "finish_reason": "stop"}
        reply = json.dumps({"choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *args: Any) -> None:
        pass


def test_a_server_is_asked_over_http(run, tmp_path):
    pytest.importorskip("tenacity")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1/completions"
    result = evaluate(
        str(run / "checkpoint"), ["evenbench_gsm8k"], "local-completions", url=url,
        model_args={"max_retries": 1}, out=tmp_path / "eval",
    )  # fmt: skip
    server.shutdown()
    assert result["tasks"]["evenbench_gsm8k"]["accuracy"] == pytest.approx(1 / 3)
    assert {body["max_tokens"] for body in Server.asked} == {512} and len(Server.asked) == 3
    rows = pd.read_parquet(result["rows"])
    assert rows.set_index("gold")["correct"].to_dict() == {"1": False, "3": True, "5": False}


def test_what_cannot_be_evaluated_is_explained(run, tmp_path, monkeypatch):
    def refused(*names: str, given: Any = run, **options: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            evaluate(str(given), list(names), **options)
        return str(caught.value)

    assert "did you mean evenbench_arithmetic" in refused("evenbench_arithmetics")
    assert "--url" in refused("gsm8k", backend="local-completions")
    assert "allowed: hf, vllm, local-completions" in refused("gsm8k", backend="tgi")
    assert "at least one" in refused()
    assert "no such folder" in refused("gsm8k", given=tmp_path / "nowhere")
    assert "neither a run" in refused("gsm8k", given=tmp_path)
    (run.parent / "suite.json").write_text("{}")
    assert "a suite; give one of its runs" in refused("gsm8k", given=run.parent)
    if "vllm" not in sys.modules:
        monkeypatch.setitem(sys.modules, "vllm", None)
        assert "vllm" in refused("evenbench_arithmetic", backend="vllm")
    assert "maximum sequence length (256)" in refused("gsm8k", device="cpu")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("EVENBENCH_DATA", str(tmp_path / "empty"))
    assert "gsm8k/test.jsonl" in refused("gsm8k", device="cpu")
    code, output = said("eval", str(run), "--tasks", "evenbench_svamp", "--device", "cpu")
    assert code == 2 and "no file" in output and "eval/svamp.jsonl" in output

    done = json.loads((run / "DONE").read_text())
    diverged = {**done, "status": "diverged", "reason": "loss nan"}
    (run / "DONE").write_text(json.dumps(diverged))
    said_so = refused("gsm8k")
    assert "diverged: loss nan" in said_so and str(run / "checkpoint") in said_so
    (run / "DONE").unlink()
    assert "not finished (evenbench resume)" in refused("gsm8k")
    (run / "DONE").write_text(json.dumps(done))
    shutil.rmtree(run / "checkpoint")
    assert "the run kept no model" in refused("gsm8k")
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    assert "pip install 'evenbench[eval]'" in refused("gsm8k")


def test_the_page_names_what_there_is():
    page = (Path(__file__).parents[2] / "docs/lm-eval.md").read_text()
    files = {file.stem for file in benchmarks.OURS.glob("evenbench_*.yaml")}
    assert all(f"`{name}`" in page for name in {*benchmarks.LOCAL, *files})
    for group in ("evenbench_gift", "evenbench_una"):
        content = yaml.safe_load((benchmarks.OURS / f"{group}.yaml").read_text())
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{group}`")]
        assert content["group"] == group and all(name in row for name in content["task"])


@pytest.mark.slow
def test_groups_of_the_papers_resolve():
    """Every benchmark behind GIFT's and UNA's tables is known to lm-eval by its name."""
    import lm_eval.tasks
    from lm_eval.tasks._yaml_loader import load_yaml

    manager = lm_eval.tasks.TaskManager(include_path=str(benchmarks.OURS))

    def leaves(name: str) -> set[str]:
        entry = manager.task_index[name]
        if name not in manager.all_groups:
            return {name}
        members = load_yaml(str(entry.yaml_path), resolve_func=False)["task"]
        names = [m if isinstance(m, str) else m["task"] for m in members]
        return set().union(*map(leaves, names))

    gift, una = leaves("evenbench_gift"), leaves("evenbench_una")
    assert {"bbq", "arc_challenge", "winogender_all", "aime24", "evenbench_math500"} < gift
    assert {"gsm8k", "hellaswag", "winogrande", "leaderboard_ifeval"} < una
    assert len(gift) > 12 and len(una) > 40
    wanted = benchmarks.wanted("evenbench_gift", manager)
    assert "oskarvanderwal/bbq" in wanted and "Idavidrein/gpqa" in wanted
    wanted = benchmarks.wanted("evenbench_una", manager)
    assert "cais/mmlu" in wanted and "openai/gsm8k" in wanted  # of groups within the group
    with pytest.raises(ConfigError, match="did you mean gsm8k"):
        benchmarks.find(["gsm8kk"])
