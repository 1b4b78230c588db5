"""From a suite with known effects to scores, curves, comparisons and tables."""

# pandas annotates groupby and indexing with unions that pyright cannot narrow
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportOptionalMemberAccess=false

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import results
from reports import verdicts
from results import compare, curves, render, scores, stats, tables
from results.render import Column, Table
from tests.synthetic import Spread, write_suite

CURVE = {"test": 40, "validation": 20}  # as the harness: fewer questions before the end


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> results.Results:
    """grpo and grao end alike, sft well below; gift diverges once."""
    folder = write_suite(
        tmp_path_factory.mktemp("runs") / "known",
        methods=["sft", "grpo", "grao", "gift"],
        effects={"sft": 0.35, "grpo": 0.5, "grao": 0.5, "gift": 0.45},
        seeds=5,
        questions=120,
        samples=4,
        spread=Spread(seed=0.03, interaction=0.2),
        curve=CURVE,
        diverged={("gift", 2): 30},
        control="grpo",
    )
    return results.load(folder)


def write(folder: Path, **changes: Any) -> results.Results:
    small = {"seeds": 2, "questions": 12, "samples": 2, "evaluations": 3, "steps": 12}
    return results.load(write_suite(folder / "small", **{**small, **changes}))


def test_scores_are_means_of_the_rows_on_disk(suite: results.Results) -> None:
    rows = suite.evals.query("split == 'test' and decoding == 'sampled' and step == 60")
    rows = rows[(rows["method"] == "grpo") & (rows["seed"] == 1)]
    frame = scores.question_scores(suite, "test")
    mine = frame[(frame["method"] == "grpo") & (frame["seed"] == 1)]
    assert len(mine) == 120
    assert mine["score"].mean() == pytest.approx(rows["correct"].mean())
    by_question = rows.groupby("question_id", observed=True)["correct"].mean()
    assert dict(mine.set_index("question_id")["score"]) == pytest.approx(dict(by_question))


def test_a_diverged_run_counts_with_its_last_evaluation(suite: results.Results) -> None:
    assert (
        scores.chosen_steps(suite, "test")[suite.runs.query("status == 'diverged'").run.iloc[0]]
        == 30
    )
    frame = scores.seed_scores(scores.metric_scores(suite, "avg"))
    assert set(frame[frame["method"] == "gift"]["seed"]) == {0, 1, 2, 3, 4}


def test_unfinished_runs_do_not_count(tmp_path: Path) -> None:
    r = write(tmp_path, methods=["grpo"], seeds=3, unfinished={("grpo", 1): 8})
    assert set(scores.seed_scores(scores.metric_scores(r, "avg"))["seed"]) == {0, 2}


def test_curves_keep_to_the_questions_of_every_evaluation(suite: results.Results) -> None:
    points = curves.points(suite)
    assert set(points["questions"]) == {40}
    last = points[(points["method"] == "grpo") & (points["seed"] == 0)].iloc[-1]
    rows = suite.evals.query("method == 'grpo' and seed == 0 and split == 'test' and step == 60")
    rows = rows[rows["decoding"] == "sampled"]
    early = suite.evals.query("step == 0 and split == 'test'")["question_id"].unique()
    assert last["score"] == pytest.approx(rows[rows["question_id"].isin(early)]["correct"].mean())


def test_points_carry_the_ledgers_costs(suite: results.Results) -> None:
    points = curves.points(suite).query("method == 'grpo' and seed == 0")
    ledger = suite.ledger.query("method == 'grpo' and seed == 0").set_index("step")
    assert points["tokens"].iloc[0] == points["seconds"].iloc[0] == 0
    for row in points.iloc[1:].itertuples():
        assert row.tokens == ledger.loc[row.step, "tokens"]
        assert row.updates == row.step


def test_mean_curve_is_a_t_interval_and_carries_a_diverged_run(suite: results.Results) -> None:
    points = curves.points(suite)
    curve = curves.mean_curve(points, "updates")
    gift = curve[curve["method"] == "gift"].set_index("index")
    assert gift["carried"].tolist() == [0, 0, 0, 0, 1, 1, 1]
    at_30 = points.query("method == 'gift' and seed == 2")["score"].iloc[-1]
    others = points.query("method == 'gift' and seed != 2 and step == 60")["score"]
    expected = stats.seed_interval([*others, at_30])
    assert (gift.loc[6, "mean"], gift.loc[6, "low"]) == pytest.approx(expected[:2])
    assert gift.loc[6, "x"] == 60


def test_a_method_that_diverged_always_still_has_a_curve(tmp_path: Path) -> None:
    r = write(tmp_path, methods=["grpo", "gift"], diverged={("gift", 0): 6, ("gift", 1): 6})
    curve = curves.mean_curve(curves.points(r), "tokens")
    assert len(curve[curve["method"] == "gift"]) == 2
    assert curves.common_budget(curves.points(r), "updates") == 12  # it does not cut the others


def test_an_unknown_axis_names_the_known(suite: results.Results) -> None:
    with pytest.raises(ValueError, match="no axis 'steps'; there are updates, samples"):
        curves.mean_curve(curves.points(suite), "steps")


def test_thresholds_are_shares_of_the_best_gain_and_costs_are_censored(
    suite: results.Results,
) -> None:
    points = curves.points(suite)
    start = points[points["step"] == 0]["score"].mean()
    ends = points.groupby(["method", "run"], observed=True)["score"].last()
    best = ends.groupby("method", observed=True).mean().max()
    frame = curves.efficiency(suite)
    assert frame["threshold_50"].unique() == pytest.approx([start + 0.5 * (best - start)])
    sft = frame[frame["method"] == "sft"]
    assert not sft["reached_90"].any()
    assert set(sft["cost_90"]) == {60.0}
    grpo = frame[frame["method"] == "grpo"]
    assert grpo["reached_50"].all()
    assert grpo["cost_50"].max() < 60


def test_rankings_on_tokens_differ_from_those_on_updates(tmp_path: Path) -> None:
    # sft generates nothing, so at equal tokens grpo has had half the updates
    r = write(tmp_path, methods=["sft", "grpo"], effects={"sft": 0.5, "grpo": 0.55}, seeds=3,
              questions=400, spread=Spread(seed=0.0), evaluations=7, steps=60)  # fmt: skip
    frame = curves.at_common_cost(r).set_index(["axis", "method"])
    assert frame.loc[("updates", "grpo"), "rank"] == 1
    assert frame.loc[("tokens", "sft"), "rank"] == 1
    notes = " ".join(tables.axes_table(r).notes)
    assert "updates, samples" in notes
    assert "tokens" in notes.split("differs between axes:")[1]


def test_comparison_finds_the_known_effect(suite: results.Results) -> None:
    c = suite.compare("sft", "grpo")
    assert c.verdict == "worse"
    assert c.test.design == "paired"
    assert c.interval.low < -0.15 < c.interval.high
    assert c.wide.half > 0
    by_seed = scores.seed_scores(scores.metric_scores(suite, "avg")).set_index(["method", "seed"])
    gaps = by_seed.loc["sft", "score"] - by_seed.loc["grpo", "score"]
    assert c.difference == pytest.approx(gaps.mean())
    text = str(c)
    assert "sft vs grpo, avg on arithmetic/test: worse; difference −" in text.replace("-", "−")


def test_a_family_is_adjusted_together(suite: results.Results) -> None:
    made = compare.family(suite, compare.against(suite.methods, "grpo"))
    raw = [c.p for c in made]
    assert [c.p_adjusted for c in made] == pytest.approx(stats.holm(raw))
    assert {c.family for c in made} == {3}
    verdicts = {c.a: c.verdict for c in made}
    assert verdicts["sft"] == "worse"
    assert verdicts["grao"] != "worse"


def test_a_wide_margin_makes_equals_equivalent(suite: results.Results) -> None:
    assert suite.compare("grao", "grpo", delta=0.15).verdict == "equivalent"
    assert suite.compare("grao", "grpo", delta=0.001).verdict == "undetermined"


def test_a_seed_that_diverged_is_compared_on_the_questions_that_both_saw(
    suite: results.Results,
) -> None:
    frame = scores.metric_scores(suite, "avg").set_index(["method", "seed", "question_id"])["score"]
    gaps = [(frame.loc["gift", s] - frame.loc["grpo", s]).dropna().mean() for s in range(5)]
    c = suite.compare("gift", "grpo")
    assert c.difference == pytest.approx(np.mean(gaps))
    assert len((frame.loc["gift", 2] - frame.loc["grpo", 2]).dropna()) == 40


def twins(folder: Path, change: Any = None, **options: Any) -> results.Results:
    """grpo, and the same runs under the name of gift; `change` edits the twin's evaluations."""
    suite = write_suite(
        folder / "twins",
        **{
            "methods": ["grpo", "gift", "sft"],
            "seeds": 3,
            "questions": 120,
            "samples": 2,
            "evaluations": 2,
            "steps": 6,
            **options,
        },
    )
    for source in suite.glob("grpo-*"):
        seed = source.name.split("-s")[1][0]
        rows = pd.read_parquet(source / "evals.parquet")
        (target,) = suite.glob(f"gift-*-s{seed}-*")
        (change(rows) if change else rows).to_parquet(target / "evals.parquet")
    return results.load(suite)


def test_the_same_answers_in_every_seed_are_equivalent_without_a_t_test(tmp_path: Path) -> None:
    r = twins(tmp_path)
    same, other = compare.family(r, [("gift", "grpo"), ("sft", "grpo")])
    assert (same.verdict, same.difference) == ("equivalent", 0)
    assert "all differences are exactly 0, in every seed and question, so no t test" in same.note
    assert same.p_equivalent_adjusted == pytest.approx(2 * stats.never_apart(3 * 120))
    assert np.isnan([same.interval.low, same.wide.low]).all()
    assert other.family == 2  # it was looked at, so it counts
    main = tables.main_table(r).frame.set_index("method")
    assert main.loc["gift", "verdict"] == "equivalent"
    assert main.loc["gift", "best"] == main.loc["grpo", "best"] == True  # noqa: E712
    (said,) = [v for v in verdicts.verdicts(r) if v.method == "gift"]
    assert said.sentence.startswith(
        f"gift and grpo are equivalent, sampled: {same.note} (3 seeds)."
    )


def test_no_spread_is_no_equivalence_by_itself(tmp_path: Path) -> None:
    one = twins(tmp_path / "one", seeds=1).compare("gift", "grpo")
    assert (one.verdict, one.difference) == ("undetermined", 0)
    assert "one seed" in one.note
    few = twins(tmp_path / "few", questions=8).compare("gift", "grpo")
    assert few.verdict == "undetermined"
    assert "24 scores are too few to show ±2 points" in few.note

    def all_right(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(correct=True)

    twins(tmp_path / "easy")
    for file in tmp_path.glob("easy/twins/*/evals.parquet"):
        all_right(pd.read_parquet(file)).to_parquet(file)
    easy = results.load(tmp_path / "easy/twins").compare("gift", "grpo")
    assert easy.note.endswith("these questions are too easy to tell")

    def moved(rows: pd.DataFrame) -> pd.DataFrame:  # equal means, other questions
        ids = sorted(rows["question_id"].unique())
        return rows.assign(
            question_id=rows["question_id"].map(dict(zip(ids, ids[::-1], strict=True)))
        )

    apart = twins(tmp_path / "apart", moved, questions={"test": 60}).compare("gift", "grpo")
    assert (apart.verdict, apart.p) == ("undetermined", 1)
    assert "the means are equal in every seed, by different answers" in apart.note


def test_a_constant_difference_is_said_in_words(tmp_path: Path) -> None:
    def worse(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(correct=False)

    r = twins(tmp_path, worse, effects={"grpo": 0.999}, spread=Spread(0, 0, 0), questions=4)
    c = r.compare("gift", "grpo")
    assert (c.verdict, c.difference) == ("undetermined", -1)
    assert c.note == "the difference is the same in every seed, so its error is unknown: no t test"


def test_unequal_seeds_are_paired_where_three_are_shared_else_not(tmp_path: Path) -> None:
    r = write(tmp_path, methods=["a", "b", "c"],
              seeds={"a": [0, 1, 2, 3], "b": [1, 2, 3], "c": [7, 8]})  # fmt: skip
    paired, apart = r.compare("a", "b"), r.compare("a", "c")
    assert (paired.test.design, paired.test.seeds) == ("paired", (3, 3))
    assert "left out: 1" in paired.note
    assert (apart.test.design, apart.test.seeds) == ("welch", (4, 2))
    assert "not paired" in apart.note


def test_comparing_what_is_not_there(suite: results.Results, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="no method gfit; there are sft, grpo, grao, gift"):
        suite.compare("gfit", "grpo")
    with pytest.raises(ValueError, match="no metric 'accuracy'"):
        suite.compare("gift", "grpo", metric="accuracy")
    other = results.load(
        write_suite(
            tmp_path / "other", methods=["gift", "grpo"], seeds=2, questions=8, task="fractions"
        )
    )
    with pytest.raises(ValueError, match="arithmetic, fractions"):
        suite.merge(other).compare("gift", "grpo")


@pytest.mark.parametrize("metric", ["avg", "greedy", "pass@2", "maj", "maj@3"])
def test_metrics_by_name(suite: results.Results, metric: str) -> None:
    frame = scores.metric_scores(suite, metric)
    assert frame["score"].between(0, 1).all()
    finished = frame[frame["seed"] == 0].groupby("method", observed=True).size()
    assert set(finished) == {120}


def test_pass_at_one_is_avg_and_grows_with_k(suite: results.Results) -> None:
    mean = {m: scores.metric_scores(suite, m)["score"].mean() for m in ("avg", "pass@1", "pass@4")}
    assert mean["pass@1"] == pytest.approx(mean["avg"])
    assert mean["pass@4"] > mean["avg"] + 0.1


def test_selection_is_on_validation_and_oracle_on_the_split_itself(suite: results.Results) -> None:
    by_run = scores.run_scores(suite, "validation")
    run = by_run["run"].iloc[0]
    mine = by_run[by_run["run"] == run].set_index("step")["score"]
    assert scores.chosen_steps(suite, "test", at="selected")[run] == mine.idxmax()
    means = {
        at: scores.question_scores(suite, "test", at=at, common=True)["score"].mean()
        for at in ("last", "selected", "oracle")
    }
    assert means["oracle"] >= max(means["last"], means["selected"])


def test_variance_components_come_from_the_cube(suite: results.Results) -> None:
    cube = scores.sample_cube(suite, "grpo", "test")
    assert cube.shape == (5, 120, 4)
    assert cube.mean() == pytest.approx(
        scores.metric_scores(suite, "avg").query("method == 'grpo'")["score"].mean()
    )


def test_main_table_says_what_was_put_in(suite: results.Results) -> None:
    table = tables.main_table(suite)
    frame = table.frame.set_index("method")
    assert frame.loc["grpo", "accuracy"] == pytest.approx(0.5, abs=0.04)
    assert frame.loc["sft", "verdict"] == "worse"
    assert frame.loc["grpo", "verdict"] == "control"
    assert not frame.loc["sft", "best"]
    assert frame.loc[["grpo", "grao"], "best"].any()
    assert frame.loc["sft", "tokens"] < frame.loc["grpo", "tokens"]
    assert table.frame["accuracy"].is_monotonic_decreasing
    notes = "\n".join(table.notes)
    for part in ("S = 5 seeds", "n = 40 to 120 questions", "K = 4", "Student-t", "Holm over 3",
                 "Checker version 1", "data ", "Diverged", "gift s2", "±2 points"):  # fmt: skip
        assert part in notes


def test_bold_marks_all_that_are_not_significantly_below_the_best(suite: results.Results) -> None:
    best, group = compare.best_group(suite)
    frame = tables.main_table(suite).frame
    assert set(frame[frame["best"]]["method"]) == group
    assert best in group
    assert "sft" not in group


def test_gaps_to_other_splits_have_their_sign(suite: results.Results) -> None:
    frame = tables.generalisation_table(suite).frame.set_index("method")
    assert frame.loc["grpo", "train − test"] > 0.01  # written 0.05 higher
    assert frame.loc["grpo", "ood − test"] < -0.01
    assert "Not evaluated on ood: gift s2" in "\n".join(tables.generalisation_table(suite).notes)


def test_a_split_on_a_floor_is_shown_absolutely(tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "s", ["grpo", "gift"], 3, 20, evaluations=2, steps=4)
    for file in suite.glob("*/evals.parquet"):
        rows = pd.read_parquet(file)
        file.unlink()
        rows.assign(correct=rows["correct"] & (rows["split"] != "ood")).to_parquet(file)
    table = tables.generalisation_table(results.load(suite))
    assert [c.header for c in table.columns[1:]] == ["test %", "ood %", "train − test",
                                                     "validation − test"]  # fmt: skip
    assert table.frame["ood"].tolist() == [0, 0]
    assert "ood: every method is below 10 %" in " ".join(table.notes)


def test_costs_to_a_threshold_count_those_that_never_reach_it(suite: results.Results) -> None:
    runs = curves.efficiency(suite)
    shown = tables.efficiency_table(suite).frame.set_index("method")
    for method in suite.methods:
        mine = runs[runs["method"] == method]
        assert shown.loc[method, "cost_90"] == pytest.approx(mine["cost_90"].mean())
        assert shown.loc[method, "reached_90"] == mine["reached_90"].mean()
    assert shown.loc["sft", "cost_90"] == 60


def test_readings_that_rank_differently_say_where(tmp_path: Path) -> None:
    """gift leads by the headline reading and loses half of it in the official one."""
    ends = {"gift": 0.8, "grpo": 0.6}
    suite = write_suite(tmp_path / "s", [*ends], 2, 200, effects=ends, evaluations=2, steps=4)
    assert tables.checker_table(results.load(suite)).notes[-1] == "Both rank the methods alike."
    for file in suite.glob("gift-*/evals.parquet"):
        rows = pd.read_parquet(file)
        rows.assign(strict=rows["correct"] & (rows["tokens"] % 2 == 0)).to_parquet(file)
    note = tables.checker_table(results.load(suite)).notes[-1]
    assert note.startswith("They rank differently: gift and grpo (+")
    assert "and -" in note


def test_drift_is_from_the_first_to_the_last_update(suite: results.Results) -> None:
    frame = tables.drift_table(suite).frame.set_index("method")
    assert frame.loc["grpo", ["entropy_start", "entropy_end"]].tolist() == pytest.approx(
        [1 - 0.5 / 60, 0.5]
    )
    assert frame.loc["grpo", "policy_kl_end"] == pytest.approx(0.6)


def test_a_significant_difference_within_the_margin_is_called_small(tmp_path: Path) -> None:
    r = write(tmp_path, methods=["grpo", "gift"], effects={"grpo": 0.4, "gift": 0.5}, seeds=5,
              questions=200, spread=Spread(seed=0, interaction=0), margin=0.3)  # fmt: skip
    (said,) = verdicts.verdicts(r)
    assert (
        said.verdict == "better" and "points, within the margin of ±30 points (p" in said.sentence
    )


def test_one_seed_says_what_holds_for_the_checkpoints_alone(tmp_path: Path) -> None:
    c = write(tmp_path, methods=["grpo", "gift"], seeds=1).compare("gift", "grpo")
    assert c.verdict == "undetermined"
    assert np.isnan(c.interval.low)
    assert "these two checkpoints differ by" in c.note


EDGES = {
    "one seed": {"methods": ["grpo", "gift"], "seeds": 1},
    "one method": {"methods": ["gift"]},
    "one run": {"methods": ["gift"], "seeds": 1},
    "unequal seeds": {"methods": ["grpo", "gift"], "seeds": {"grpo": [0, 1, 2], "gift": [5]}},
    "all diverged": {"methods": ["gift"], "diverged": {("gift", 0): 4, ("gift", 1): 4}},
    "none finished": {"methods": ["gift"], "unfinished": {("gift", 0): 4, ("gift", 1): 4}},
    "no run": {"methods": []},
    "greedy only": {"methods": ["grpo", "gift"], "samples": 0},
    "one sample": {"methods": ["grpo", "gift"], "samples": 1},
    "one evaluation": {"methods": ["grpo", "gift"], "evaluations": 1},
    "other splits": {"methods": ["grpo", "gift"], "questions": {"hard": 6}},
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.filterwarnings("error")
def test_every_table_survives_what_is_missing(edge: str, tmp_path: Path) -> None:
    r = write(tmp_path, **EDGES[edge])
    for name in tables.TABLES:
        table = r.table(name)
        for text in (table.text(), table.markdown(), table.latex(), table.csv(), table.html()):
            assert isinstance(text, str)
            assert "nan" not in text.lower()


@pytest.mark.parametrize(
    ("edge", "said"),
    [
        ("one seed", "no interval, test or verdict"),
        ("none finished", "No finished run yet"),
        ("all diverged", "Diverged, counted with the last evaluation: gift s0, gift s1"),
        ("unequal seeds", "Unequal numbers of seeds: grpo 3, gift 1"),
    ],
)
def test_the_main_table_says_what_cannot_be_said(edge: str, said: str, tmp_path: Path) -> None:
    assert said in "\n".join(write(tmp_path, **EDGES[edge]).table().notes)


def test_an_unknown_table_names_the_known(suite: results.Results) -> None:
    with pytest.raises(KeyError, match="no table 'mian'; there are main"):
        suite.table("mian")


def test_several_tasks_are_apart_in_rows_and_together_in_the_family(tmp_path: Path) -> None:
    two = [
        write_suite(
            tmp_path / t, task=t, methods=["grpo", "gift"], seeds=3, questions=10, rng_seed=i
        )
        for i, t in enumerate(("arithmetic", "fractions"))
    ]
    r = results.load(two)
    table = r.table()
    assert table.frame["task"].tolist() == ["arithmetic"] * 2 + ["fractions"] * 2
    assert "Holm over 2 comparisons" in "\n".join(table.notes)
    assert r.table("aggregate").frame["tasks"].tolist() == [2, 2]


def test_the_suites_own_control_and_margin_are_used(tmp_path: Path) -> None:
    r = write(tmp_path, methods=["sft", "gift"], control="gift", margin=0.5, seeds=3)
    assert (r.control, r.margin) == ("gift", 0.5)
    table = r.table()
    assert "±50 points" in "\n".join(table.notes)
    assert table.frame.set_index("method").loc["gift", "verdict"] == "control"
    assert r.rename({"gift": "GIFT"}).control == "GIFT"
    assert r.query("method == 'sft'").control is None  # no other stands for it in silence


def example() -> Table:
    frame = pd.DataFrame({
        "method": ["a_b", "c"], "accuracy": [0.62345, 0.5], "half": [0.011, np.nan],
        "best": [True, False], "p": [0.0004, 0.25], "tokens": [1234567, np.nan],
        "difference": [0.031, -0.02],
    })  # fmt: skip
    columns = (
        Column("method", "Method & co"),
        Column("accuracy", "acc %", "percent", "half", "best", about="mean"),
        Column("difference", "diff", "points"),
        Column("p", "p", "p"),
        Column("tokens", "tokens", "si", wide=True),
    )
    return Table("example", "A <title>", frame, columns, ("n = 5, 95 %",))


def test_cells_have_decimals_that_match_the_error() -> None:
    first, second = example().cells()
    assert [str(c) for c in first] == ["a_b", "62.3 ±1.1", "+3.1", "<0.001", "1.23 M"]
    assert [str(c) for c in second] == ["c", "50.0", "−2.0", "0.250", "–"]
    assert [render.decimals([e]) for e in (0.034, 0.34, 3.4, 34, np.nan)] == [3, 2, 1, 0, 1]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (7, "7.00"), (999.4, "999"), (999.6, "1.00 k"), (1e12, "1.00 T"), (0.119, "0.119")],
)
def test_si_prefixes(value: float, shown: str) -> None:
    assert render.si(value) == shown


def test_plain_numbers_keep_their_digits() -> None:
    shown = [render.significant(x) for x in (1234.4, 12.345, 0.9996, 0.0, -3.14159)]
    assert shown == ["1,234", "12.3", "1.00", "0", "-3.14"]


def test_markdown() -> None:
    lines = example().markdown().splitlines()
    assert lines[0] == "**A \\<title\\>**"
    assert lines[2] == "| Method & co | acc % | diff | p | tokens |"
    assert lines[3] == "| --- | ---: | ---: | ---: | ---: |"
    assert lines[4] == "| a\\_b | **62.3** ±1.1 | +3.1 | \\<0.001 | 1.23 M |"
    assert "n = 5, 95 %" in lines


def test_latex_is_booktabs_and_escaped() -> None:
    lines = example().latex().splitlines()
    assert r"\toprule" in lines
    assert r"Method \& co & acc \% & diff & p & tokens \\" in lines
    row = r"a\_b & \textbf{62.3} {\scriptsize $\pm$1.1} & +3.1 & \textless{}0.001 & 1.23 M \\"
    assert row in lines
    assert r"c & 50.0 & $-$2.0 & 0.250 & -- \\" in lines
    assert sum(line.count("{") for line in lines) == sum(line.count("}") for line in lines)


def test_csv_holds_every_number_in_full() -> None:
    rows = list(csv.DictReader(io.StringIO(example().csv())))
    assert float(rows[0]["accuracy"]) == 0.62345
    assert rows[0]["half"] == "0.011"
    assert rows[1]["tokens"] == ""


def test_html_has_headers_values_to_sort_by_and_no_raw_markup() -> None:
    text = example().html()
    assert '<th scope="col" class="percent" title="mean">acc %</th>' in text
    assert '<th scope="row" class="text" data-value="a_b">a_b</th>' in text
    assert '<strong>62.3 <span class="error">±1.1</span></strong>' in text
    assert "A &lt;title&gt;" in text
    assert "<title>" not in text


def test_a_narrow_terminal_hides_wide_columns_and_says_so() -> None:
    narrow, wide = example().text(width=40), example().text(width=100)
    assert "1.23 M" in wide
    assert "1.23 M" not in narrow
    assert "Hidden for width: tokens." in narrow


def test_save_writes_three_files(tmp_path: Path) -> None:
    paths = example().save(tmp_path / "tables")
    assert [p.name for p in paths] == ["example.csv", "example.tex", "example.md"]
    assert all(p.stat().st_size > 50 for p in paths)


def test_labels_with_brackets_are_shown_whole(tmp_path: Path) -> None:
    """rich would take `[beta=2]` for markup and leave it out."""
    suite = write_suite(tmp_path / "s", ["gift[beta=2]"], 2, 20, evaluations=2, steps=4)
    table = tables.main_table(results.load(suite))
    shown = replace(table, title="of gift[beta=2]", notes=("gift[beta=2] 1, gift 2",)).text()
    assert shown.startswith("of gift[beta=2]\n") and "gift[beta=2] 1, gift 2" in shown


def test_a_method_is_not_compared_with_itself(tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "s", ["gift", "grpo"], 3, 20, evaluations=2, steps=4)
    with pytest.raises(ValueError, match="gift cannot be compared with itself"):
        results.load(suite).compare("gift", "gift")
