"""`evenbench speed`: the same work on both sides, all figures in the JSON, growth drawn."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.tools.speed.compare import compare
from bench.tools.speed.growth import Point, exponents, measure, points
from bench.tools.speed.trl import PEERS, alternate, peer
from bench.tools.speed.work import Ours, Work, build
from reports import plots

TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32, "vocab_size": 80}  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = build(TINY, tmp_path_factory.mktemp("speed") / "model")
    return Work(prompts=2, group=2, tokens=6, model=str(folder), full=True)


@pytest.mark.parametrize("kind", PEERS)
def test_sides_alternate_and_the_ratio_is_of_neighbours(kind, work):
    rows = compare(kind, work, 1, 2)
    assert [r.work for r in rows] == (["grpo", "grpo, all rows"] if kind == "grpo" else [kind])
    for row in rows:
        assert row.steps == 2
        assert row.ratio_low <= row.ratio <= row.ratio_high
        assert row.over_floor == pytest.approx(row.ours / row.floor)


def test_both_sides_generate_to_the_limit(work, tmp_path):
    ours = Ours(work.run("grpo", reward="random"), tmp_path, work)
    ours()
    assert ours.session.ledger.tokens_sampled == work.rows * work.tokens
    trainer = peer("grpo", work, 1, str(tmp_path))
    seconds = alternate(trainer, {}, "cpu").seconds["trl"]
    assert len(seconds) == 1
    assert trainer.state.num_input_tokens_seen >= work.rows * work.tokens


def test_rows_without_advantage_are_trained_only_where_asked(work, tmp_path):
    constant = replace(work, prompts=1, group=2)
    trained = {}
    for drop in (True, False):
        run = constant.run("grpo", reward="format")
        step = Ours(run, tmp_path, constant, drop=drop)
        step()
        trained[drop] = step.session.ledger.tokens_trained
    assert trained[True] == 0 < trained[False]


def test_a_point_of_growth(work):
    point = Point("rows", work.rows, replace(work, model=None), shape=TINY)
    found = measure(point, 1)
    assert found["seconds"] > 0
    assert found["memory"] >= 0
    assert {p.who for p in points(peers=False)} == {"evenbench"}


def test_powers_of_growth_and_their_figure(tmp_path):
    rows = [
        ("rows", v, w, v * c, 1e6) for v in (4, 8, 16) for w, c in (("evenbench", 1), ("trl", 3))
    ]
    frame = pd.DataFrame(rows, columns=["axis", "value", "who", "seconds", "memory"])
    powers = exponents(frame).set_index("who")
    assert powers["seconds_power"].tolist() == pytest.approx([1, 1])
    assert powers["memory_power"].tolist() == pytest.approx([0, 0])
    paths = plots.growth(frame).save(tmp_path)
    assert {p.suffix for p in paths} == {".svg", ".pdf", ".png", ".csv"}


def test_command(tmp_path):
    file = tmp_path / "speed.json"
    words = (
        "speed --only sft --threads 1 --steps 2 --shape embedded --prompts 2 --group 2 --tokens 6"
    )
    result = CliRunner().invoke(app, [*words.split(), "--json", str(file)])
    assert result.exit_code == 0, result.output
    found = json.loads(file.read_text())
    assert found["ratios"]["sft"] > 0
    (row,) = found["rows"]
    assert row["tokens_per_second"] == pytest.approx(
        row["trl_tokens_per_second"] * row["trl"] / row["ours"]
    )
    assert 0 < row["utilisation"] == pytest.approx(1 / row["over_lowest"])  # nothing recomputed
    assert row["over_lowest"] >= row["over_floor"]
    assert row["bytes"] is None  # of a GPU's memory
    assert found["conditions"]["packages"]["trl"]
    assert "quartiles" in result.output
    result = CliRunner().invoke(app, ["speed", "--only", "ppo"])
    assert result.exit_code == 2
    assert "grpo, dpo, sft" in result.output
