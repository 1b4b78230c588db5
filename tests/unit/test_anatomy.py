"""Token weights of objectives on stored rollouts, and the drawing of both parts of the anatomy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from typer.testing import CliRunner

import methods
import results
from bench.cli import app
from bench.train.loop import train
from methods.laws.rollouts import gradients, rollout
from reports import anatomy, plots
from reports.anatomy import measure, simplex
from tests import tiny

TASK = {"name": "arithmetic", "gold_answers": 4096}
RC: Any = plots.RC
LABELS = ("gift", "rift", "grao")


@pytest.fixture(scope="module")
def suite(tmp_path_factory, module_cache):
    """Three runs of a model that knows nothing, in two data regimes, with their rollouts."""
    out = tmp_path_factory.mktemp("runs")
    for label in LABELS:
        fields = {"gift": {"beta": 2.0, "drop_zero_variance": False}} if label == "gift" else {}
        train(tiny.run(label, task=TASK, method=fields, keep_rollouts=True), out, "tiny")
    return out


def some_right(suite: Path, to: Path) -> Path:
    """A copy whose first two samples of each prompt count as right: this model never is."""
    for file in suite.rglob("*"):
        target = to / file.relative_to(suite)
        if file.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif file.suffix in (".json", ".jsonl") or file.name in ("DONE", "evals.parquet"):
            target.write_bytes(file.read_bytes())
        elif file.parent.name == "rollouts":
            frame: Any = pd.read_parquet(file)
            right = frame["correct"] | frame["sample"].isin([0, 1])
            frame.assign(correct=right, reward=right.astype(float)).to_parquet(target)
    return to


def test_a_stored_batch_gives_the_loss_that_training_had(suite):
    """Everything that the objective reads was stored: the losses of steps.jsonl come out again."""
    loaded = results.load(suite)
    chosen = anatomy.objectives(loaded)
    for run in loaded.runs.to_dict("records"):
        folder = Path(run["path"])
        logged = [json.loads(x)["loss"] for x in (folder / "steps.jsonl").read_text().splitlines()]
        files = sorted((folder / "rollouts").glob("*.parquet"))
        assert len(files) == len(logged) == 4
        for file, expected in zip(files, logged, strict=True):
            batch = anatomy.read(file, "run")
            method = chosen[run["method"]]
            rollout = batch.rollout
            if not method.needs().gold:  # stored for the others
                rollout = rollout.select(rollout.kind_N == methods.SAMPLE)
                batch = anatomy.StoredBatch(
                    rollout, batch.logp_NT[batch.rollout.kind_N == 0], "run"
                )
            signal = method.signal(rollout)
            live_NT = rollout.mask_NT & signal.trained_N[:, None]
            leaves = methods.Leaves(torch.where(live_NT, batch.logp_NT, 0.0))
            assert float(method.loss(leaves, rollout, signal).value) == pytest.approx(
                expected, rel=1e-4, abs=1e-5
            )


def test_objectives_are_the_runs_own_then_the_registered(suite):
    chosen = anatomy.objectives(results.load(suite))
    assert [*chosen][:3] == sorted(LABELS) and set(chosen) == set(methods.names())
    assert chosen["gift"].beta == 2.0  # pyright: ignore[reportAttributeAccessIssue]
    few = anatomy.objectives(results.load(suite), ["dpo", "gift"])
    assert [*few] == ["dpo", "gift"] and few["gift"].beta == 2.0  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture(scope="module")
def found(suite, tmp_path_factory):
    return anatomy.anatomy(results.load(some_right(suite, tmp_path_factory.mktemp("right"))))


def test_shares_are_what_the_objectives_say(found):
    by = found.shares.set_index("method")
    whole = by[["right", "wrong", "reference"]].sum(axis=1)
    np.testing.assert_allclose(whole, 1)
    assert set(by.index) == set(methods.names())
    for name in ("sft", "dft"):
        assert by.loc[name, "reference"] == 1
    for name in ("rft", "raft", "psr"):
        assert by.loc[name, "right"] == 1 and by.loc[name, "lowered"] == 0
    assert by.loc["nsr", "wrong"] == 1 and by.loc["nsr", "lowered"] == pytest.approx(1)
    for name in ("grpo", "dpo", "gift", "rift"):
        assert by.loc[name, "reference"] == 0 and 0 < by.loc[name, "wrong"] < 1
    assert 0 < by.loc["grpo-sft", "reference"] < 1
    words = " ".join(found.table().notes)
    assert (
        "3 runs" in words
        and "ppo: assumes that the critic" in words
        and "kto: assumes a reference point" in words
    )


def test_cosines_and_families(found):
    cosine = found.cosine
    value = cosine.to_numpy()
    np.testing.assert_allclose(np.diag(value), 1)
    np.testing.assert_allclose(value, value.T)
    assert np.nanmax(np.abs(value)) <= 1 + 1e-9
    assert cosine.loc["rft", "raft"] == pytest.approx(1)
    assert cosine.loc["sft", "grpo"] == 0 and cosine.loc["rft", "nsr"] == pytest.approx(0)
    assert cosine.loc["grpo-sft", "sft"] > 0.05
    order = [*cosine.index]  # families stand together
    for a, b in (("sft", "dft"), ("rft", "raft"), ("nsr", "w-reinforce")):
        assert abs(order.index(a) - order.index(b)) <= 2, (a, b)


def test_profiles_are_what_the_objectives_say():
    mixed = rollout(methods.get("grao"), seed=3, prompts=6, group=8, tokens=12)
    assert mixed.old_logp_NT is not None
    batch = anatomy.StoredBatch(mixed, mixed.old_logp_NT, "run")
    chosen = {name: methods.get(name) for name in ("sft", "dft", "rift", "unlikelihood")}
    classes = {"reward 0": (0.0, 0.0), "reward 1": (1.0, 1.0)}
    rows = measure.measure(chosen, batch, classes).profile.set_index("method")
    sft = rows.loc["sft"]
    np.testing.assert_allclose(sft[sft.answer == anatomy.REFERENCE].weight, 1)
    assert not sft[sft.answer != anatomy.REFERENCE].weight.any()
    told = rows.loc["dft"][rows.loc["dft"].answer == anatomy.REFERENCE]
    slope = told.weight / told.probability  # DFT: linear in the probability
    np.testing.assert_allclose(slope, slope.iloc[0])
    wrong = rows.loc["rift"][rows.loc["rift"].answer == "reward 0"]
    slope = wrong.weight / wrong.probability  # so is RIFT's pull on a wrong token
    np.testing.assert_allclose(slope, slope.iloc[0])
    assert len(slope) > 4 and (slope < 0).all()
    wrong = rows.loc["unlikelihood"][rows.loc["unlikelihood"].answer == "reward 0"]
    assert (wrong.weight / wrong.probability).is_monotonic_decreasing  # 1/(1 - p) on top of it


def test_weights_are_minus_the_gradient(suite):
    batch = anatomy.stored(results.load(suite), 1)[0]
    method = methods.get("una")
    r, logp = batch.rollout, batch.logp_NT
    signal = method.signal(r)
    leaves = methods.Leaves(torch.where(signal.trained_N[:, None], logp, 0.0), logp * 0, logp * 0)
    torch.testing.assert_close(
        anatomy.weights(method, batch), -gradients(method, leaves, r, signal)[1][0]
    )


def test_batches_are_spread_and_old_files_are_refused(suite, tmp_path):
    loaded = results.load(suite)
    assert len(anatomy.stored(loaded, 5)) == 5 and len(anatomy.stored(loaded, 99)) == 12
    assert len({b.run for b in anatomy.stored(loaded, 3)}) == 3
    file = next(iter(suite.rglob("step-000000.parquet")))
    pd.read_parquet(file).drop(columns="policy_logp").to_parquet(tmp_path / "step-0.parquet")
    with pytest.raises(ValueError, match="older version"):
        anatomy.read(tmp_path / "step-0.parquet", "run")


@pytest.mark.parametrize("rewards", [[0.0, 1.0, 1.0], [-1.0, 0, 1.0, 0.0], list(range(20))])
def test_every_reward_falls_into_one_class(rewards):
    reward_N = torch.tensor(rewards).double()
    classes = measure.classes(reward_N)
    assert len(classes) == min(len(set(rewards)), 3)
    hits = sum(((low <= reward_N) & (reward_N <= high)).int() for low, high in classes.values())
    assert torch.equal(hits, torch.ones(len(rewards), dtype=torch.int32))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("width", [plots.WIDE, plots.COLUMN])
def test_the_figures_show_every_method_inside_the_page(found, width):
    for plot in found.plots():
        with mpl.rc_context(RC):
            figure = plot.laid_out(width)
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            image = np.asarray(canvas.buffer_rgba())
        edges = [image[0], image[-1], image[:, 0], image[:, -1]]
        assert all((edge == 255).all() for edge in edges)  # nothing is cut off
        texts: Any = figure.findobj(Text)
        shown = {t.get_text() for t in texts}
        assert set(methods.names()) <= shown
        assert set(plot.data["method"]) == set(methods.names())


def test_flows_are_saved_with_what_they_are_drawn_from(tmp_path):
    chosen = {"rft": methods.get("rft"), "dpo": methods.get("dpo")}
    found = simplex.flows(chosen, simplex.problem((1, 1, 0)), group=2)
    paths = found.plot().save(tmp_path)
    assert [p.suffix for p in paths] == [".svg", ".pdf", ".png", ".csv"]
    rows: Any = pd.read_csv(tmp_path / "flows.csv")
    path = rows[(rows.method == "rft") & (rows.kind == "path")][["a", "b", "c"]]
    np.testing.assert_allclose(path.iloc[0], simplex.START)
    np.testing.assert_allclose(path.iloc[-1], [0.3, 0.7, 0], atol=0.01)
    field = rows[rows.kind == "field"]
    np.testing.assert_allclose(field[["da", "db", "dc"]].sum(axis=1), 0, atol=1e-12)
    theory = rows[rows.kind == "theory"]
    assert set(theory.method) == {"rft"}  # DPO has no finite solution
    np.testing.assert_allclose(theory[["a", "b", "c"]], [[0.3, 0.7, 0]])
    table = found.table().frame.set_index("method")
    assert table.loc["rft", "distance"] < 0.01 and np.isnan(table.loc["dpo", "distance"])
    assert table.loc["dpo", "theory"] == "no finite solution"


def test_problems_that_are_none_are_refused():
    for rewards, start in [
        ((1, 1), simplex.START), ((1, 1, 1), simplex.START), ((1, 0, float("nan")), simplex.START),
        ((1, 1, 0), (0.5, 0.5, 0.0)), ((1, 1, 0), (0.5, 0.4, 0.2)), ((1, 0), (0.5, 0.5)),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=r"rewards|start"):
            simplex.problem(rewards, start)


def said(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, " ".join(result.output.split())


def test_the_command_prints_paths_and_a_table(suite, tmp_path):
    fields = ["-o", "method.soft.objective=ppo", "-o", "method.soft.reward_kl=0.5"]
    words = ["-m", "sft,soft", *fields, "--group", "2", "--out", str(tmp_path / "a")]
    code, output = said("anatomy", *words)
    assert code == 0, output
    assert "flows.svg" in output and "soft policy" in output and "ref · exp(r / β)" in output
    assert (tmp_path / "a" / "flows.pdf").stat().st_size > 5000
    code, output = said("anatomy", str(suite), "-m", "sft,gift", "--out", str(tmp_path / "b"))
    assert code == 0, output
    assert "weight-cosine.svg" in output and "sft 0.0 0.0 100.0" in output
    assert {p.name for p in (tmp_path / "b").glob("*.png")} == {
        "weight-cosine.png", "weight-profile.png",
    }  # fmt: skip


def test_wrong_use_of_the_command_is_explained(suite, tmp_path):
    bare = tmp_path / "bare"
    some_right(suite, bare)
    for file in bare.rglob("step-*.parquet"):
        file.unlink()
    for words, message in [
        ([str(bare)], "keep_rollouts=true"),
        ([str(suite), "-m", "grop"], "did you mean grpo"),
        (["-m", "grop"], "did you mean"),
        (["--rewards", "1,1"], "three numbers"),
        (["--rewards", "a,1,0"], "--rewards 'a,1,0'"),
        ([str(suite), "-o", "method.gift.beta=1"], "the run's fields"),
        ([str(tmp_path / "nowhere")], "no such folder"),
    ]:
        code, output = said("anatomy", *words)
        assert code == 2 and message in output, (words, output)
