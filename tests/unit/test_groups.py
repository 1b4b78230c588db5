"""Questions in groups by their task's meta: tables, the figure lift, and the check of a task."""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import results
import tasks
from bench.tools import ground
from reports import figures, verdicts
from reports.lift import lift_points
from results import groups, psychometrics, scores, stats
from tests.synthetic import write_suite

METHODS = ["grpo", "gift", "sft"]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "s"
    write_suite(
        folder, METHODS, seeds=3, questions=30, samples=4, evaluations=3, steps=6,
        effects={"sft": 0.97}, config={"rollout": {"group": 4}},
    )  # fmt: skip
    return folder


def without_meta(folder: Path) -> None:
    """As runs of earlier versions are."""
    for file in folder.glob("*/evals.parquet"):
        pd.read_parquet(file).drop(columns="meta").to_parquet(file)


def test_a_run_tells_what_its_task_says_of_each_question(suite):
    told = groups.of_task(results.load(suite), "arithmetic")
    assert len(told) == 30 + 3 * 15
    assert {frozenset(meta.items()) for meta in told.values()} == {
        frozenset({("steps", n)}) for n in (1, 2, 3)
    }


def test_fields_that_make_no_groups_are_left_out():
    metas = [{"id": i, "level": i % 3, "one": 1, "tags": [i], "gap": None} for i in range(40)]
    assert groups.fields(metas) == ["level"]
    assert groups.fields([{"b": 1, "a": 2}, {"b": 2, "a": 1}]) == ["b", "a"]  # as the task says


@pytest.mark.parametrize(
    ("start", "order"),
    [
        ({3: 0.1, 1: 0.5, 2: 0.3}, [1, 2, 3]),
        ({3: 0.5, 1: 0.1, 2: 0.1}, [3, 2, 1]),
        ({"0 %": 0.0, "50 %": 0.4, "7 %": 0.01, "15 %": 0.0}, ["50 %", "15 %", "7 %", "0 %"]),
        ({"algebra": 0.2, "geometry": 0.4, "number": np.nan}, ["geometry", "algebra", "number"]),
        ({2: np.nan, 1: np.nan}, [1, 2]),
    ],
)
def test_the_order_of_groups_is_natural_and_begins_where_the_start_is_better(start, order):
    assert groups.ordered(start) == order


def test_the_scores_of_groups_are_those_of_their_questions(suite):
    r = results.load(suite)
    frame = groups.group_scores(r, "arithmetic", "steps")
    whole = scores.question_scores(r, "test")
    assert len(frame) == len(whole)
    one = frame[frame["group"] == 1]
    assert one["question_id"].nunique() == 10
    points = lift_points(r, "arithmetic", "steps").set_index(["method", "group"])
    own = one[one["method"] == "gift"].groupby("run", observed=True)["score"].mean()
    found = points.loc[("gift", 1)]
    assert found["value"] == pytest.approx(own.mean())
    assert found["high"] - found["value"] == pytest.approx(stats.seed_interval(own).half)
    start = scores.question_scores(r, "test", at="start")
    start = start[(start["method"] == "gift") & start["question_id"].isin(one["question_id"])]
    asked = start.groupby("question_id", observed=True)[["correct", "samples"]].sum()
    assert asked["samples"].min() == 12  # of three seeds: enough for groups of 4
    expected = stats.pass_at_k(asked["correct"], asked["samples"], 4).mean()
    assert found["seen"] == pytest.approx(expected)


def test_lift_shows_start_end_and_what_a_group_sees(suite):
    (plot,) = figures.draw(results.load(suite), "lift", "steps")
    assert plot.name == "lift-steps"
    for width in (3.5, 7.0):
        figure = plot.draw(width)
        panels = [ax for ax in figure.axes if ax.get_visible()]
        assert [ax.get_title(loc="left") for ax in panels] == ["sft", "grpo", "gift"]
        curves = [line for line in panels[0].lines if len(line.get_xdata()) == 3]
        own = plot.data[plot.data["method"] == "sft"]
        drawn = [np.asarray(line.get_ydata()) for line in curves]
        for y, column in zip(drawn, ("seen", "start", "value"), strict=True):
            np.testing.assert_allclose(y, 100 * own[column])
        (legend,) = figure.legends
        assert "at least one of 4 samples" in legend.get_texts()[-1].get_text()


def test_lift_names_the_groups_that_there_are(suite):
    r = results.load(suite)
    with pytest.raises(ValueError, match=r"no groups of questions by 'level'; there are steps"):
        figures.draw(r, "lift", "level")
    with pytest.raises(ValueError, match="--by is for lift"):
        figures.draw(r, "forest", "steps")


def test_runs_without_meta_load_and_have_no_groups(tmp_path):
    folder = tmp_path / "s"
    write_suite(folder, METHODS, seeds=1, questions=6, evaluations=2, steps=2)
    without_meta(folder)
    r = results.load(folder)
    assert len(r.table("main").frame) == 3
    assert groups.metas(r) == {} and figures.draw(r, "lift") == []


def test_measures_of_a_suite(suite):
    r = results.load(suite)
    frame = psychometrics.measures(r, "arithmetic").set_index("decoding")
    assert [*frame.index] == ["sampled", "greedy"]
    assert (frame["questions"] == 30).all() and (frame["runs"] == 9).all()
    mean = scores.seed_scores(scores.question_scores(r, "test")).groupby("method")["score"].mean()
    assert frame.loc["sampled", "best"] == pytest.approx(mean.max())
    assert frame.loc["sampled", "ceiling"] == int((mean >= 0.9).sum()) == 1
    assert frame.loc["sampled", "tau"] == 1.0
    assert 0 < frame.loc["sampled", "pairs_sure"] <= 3
    assert -1 <= frame.loc["greedy", "tau"] <= 1
    text = psychometrics.psychometrics_table(r, "arithmetic").text(100)
    assert "methods at the ceiling (at least 90 %)" in text


def test_the_report_says_which_metric_cannot_tell_methods_apart(tmp_path, suite):
    assert not any("ceiling" in line for line in verdicts.limits(results.load(suite)))
    effects = dict.fromkeys(METHODS, 0.98)
    write_suite(tmp_path / "s", METHODS, seeds=2, questions=40, evaluations=2, effects=effects)
    said = [line for line in verdicts.limits(results.load(tmp_path / "s")) if "ceiling" in line]
    assert said[0] == (
        "Accuracy of samples is at its ceiling (90 % or more) for 3 of 3 methods, so it can hardly"
        " tell them apart."
    )


def test_behaviours_stand_beside_the_declared_shares():
    task = tasks.get("skills")
    examples = task.examples("test")[:60]
    asked = {e.id: e for e in examples}
    right = [(e.id, "right" if i % 2 else "misconception") for i, e in enumerate(examples)]
    guesses = [(e.id, "guess") for e in examples]
    answers = pd.DataFrame([*right, *guesses], columns=["question_id", "behaviour"])
    (table,) = ground.behaviour_tables(task, asked, answers, ["rung"], who="test")
    assert [*table.frame["group"]] == ["50 %", "30 %", "15 %", "7 %", "3 %", "0 %"]
    assert [*table.frame["declared"]] == [0.5, 0.3, 0.15, 0.07, 0.03, 0.0]
    assert (table.frame["guess"] == 0.5).all()
    worked = answers[answers["behaviour"] != "guess"]
    share = (worked["behaviour"] == "right").groupby(worked["question_id"].map(
        {q: e.meta["rung"] for q, e in asked.items()})).mean()  # fmt: skip
    assert [*table.frame["right"]] == [share[g] for g in table.frame["group"]]
    first = table.frame.iloc[0]
    assert (first["low"], first["high"]) == stats.wilson(first["right"] * 10, 10)[1:3]
    several = answers.assign(method="grpo")
    (rights,) = ground.right_tables(task, asked, several, ["rung"])
    assert rights.frame.loc[1, "50 %"] == share["50 %"]


@pytest.mark.parametrize(
    ("name", "fields"), [("gsm8k", ["steps"]), ("math", ["subject", "level"]), ("svamp", ["type"])]
)
def test_questions_of_real_tasks_have_groups(data_dir, name, fields):
    examples = tasks.get(name, data_dir=data_dir).examples("test")
    assert groups.fields(e.meta for e in examples) == fields
    json.dumps([e.meta for e in examples])
