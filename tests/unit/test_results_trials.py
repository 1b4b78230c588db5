"""What is read from a log of trials, with numbers worked out by hand."""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import results
from results import tables, trials
from tests.synthetic import write_suite

# method -> trial -> score of two seeds; -1 is the recipe's own setting
SCORES = {
    "gift": {-1: (0.10, 0.20), 0: (0.50, 0.60), 1: (0.52, 0.56), 2: (0.30, 0.30)},
    "grpo": {-1: (0.40, 0.40), 0: (0.45, 0.55), 1: (0.20, 0.30), 2: (0.52, 0.54)},
}


def log() -> pd.DataFrame:
    rows = [
        {"method": method, "trial": trial, "seed": 1000 + k, "score": score}
        | {"setting": {"lr": 10.0 ** -(trial + 2)}, "edges": {"lr": "low"} if trial == 0 else {}}
        for method, own in SCORES.items()
        for trial, pair in own.items()
        for k, score in enumerate(pair)
    ]
    return pd.DataFrame(rows)


def test_settings_are_means_over_seeds_without_the_recipes_own():
    made = trials.settings(log()).set_index(["method", "trial"])
    assert len(made) == 6
    assert made.loc[("gift", 0), "score"] == pytest.approx(0.55)
    assert made.loc[("gift", 0), "error"] == pytest.approx(0.05)  # sd .0707 / sqrt 2
    assert trials.own_settings(log()).to_dict() == pytest.approx({"gift": 0.15, "grpo": 0.4})


def test_expected_best_is_the_mean_over_subsets():
    found = trials.expected_best(log()).set_index(["method", "trials"])["value"]
    assert found["gift", 1] == pytest.approx((0.55 + 0.54 + 0.30) / 3)
    assert found["gift", 2] == pytest.approx((0.55 + 0.55 + 0.54) / 3)
    assert found["gift", 3] == pytest.approx(0.55)


def test_survival_counts_pairs_of_settings_within_one_standard_error():
    """gift .55 (SE .05) and .54; grpo .53 (SE .01) alone: .50 is three of its errors below."""
    made = trials.settings(log())
    assert trials.near_best(made, "gift")["score"].tolist() == pytest.approx([0.55, 0.54])
    assert trials.near_best(made, "grpo")["score"].tolist() == pytest.approx([0.53])
    assert trials.survival(made, "gift", "grpo", sign=+0.1) == (2, 2)
    assert trials.survival(made, "gift", "grpo", sign=-0.1) == (0, 2)
    assert trials.survival(made, "gift", "other", sign=1) == (0, 0)


def test_the_table_of_a_suite(tmp_path: Path):
    suite = write_suite(tmp_path / "s", ["gift", "grpo"], 3, 20, evaluations=2, steps=4)
    assert tables.tuning_table(results.load(suite)).frame.empty
    lines = [json.dumps(row) for row in log().to_dict("records")]
    (suite / trials.TRIALS_FILE).write_text("\n".join(lines) + "\n")
    table = tables.tuning_table(results.load(suite), control="grpo")
    frame = table.frame.set_index("method")
    assert frame.loc["gift", "gain"] == pytest.approx(0.40)
    assert (frame.loc["gift", "setting"], frame.loc["gift", "edges"]) == ("lr 0.01", "lr (low)")
    assert frame.loc["gift", "survives"] in ("2/2", "0/2")  # as the test questions say
    assert pd.isna(frame.loc["grpo", "survives"])
    assert not any("scored higher" in note for note in table.notes)
    assert table.notes[0].endswith("3 random trials of 2 seed(s) for every method.")


def test_a_grid_of_learning_rates_of_an_earlier_version_is_read(tmp_path: Path):
    suite = write_suite(tmp_path / "s", ["gift"], 1, 20, evaluations=2, steps=4)
    rows = [{"method": "gift", "lr": lr, "seed": 0, "score": lr} for lr in (1e-4, 1e-3)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (suite / trials.TRIALS_FILE).write_text(text)
    made = trials.settings(trials.trials(results.load(suite)))
    assert made["setting"].tolist() == [{"lr": 1e-4}, {"lr": 1e-3}]


def test_unequal_numbers_of_trials_are_said(tmp_path: Path):
    uneven = log()
    uneven = uneven[~((uneven["method"] == "grpo") & (uneven["trial"] == 2))]
    suite = write_suite(tmp_path / "s", ["gift", "grpo"], 2, 20, evaluations=2, steps=4)
    lines = [json.dumps(row) for row in uneven.to_dict("records")]
    (suite / trials.TRIALS_FILE).write_text("\n".join(lines) + "\n")
    assert "unequal numbers" in tables.tuning_table(results.load(suite)).notes[0]
