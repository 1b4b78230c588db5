"""Figures: one look a method, the data unsmoothed, the files complete, the SVG fit for a page."""

# matplotlib's and numpy's annotations are unions that pyright cannot narrow
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportIndexIssue=false

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from reports import figures, plots
from reports.plots import parts
from results import load, scores
from tests.synthetic import write_suite

AWKWARD = 'a<b>&"$\\frac{$_%#'  # neither markup nor mathematics


def curve(methods, points=4, seeds=3):
    """Two frames as `convergence` takes them; seed s of a method lies s points above seed 0."""
    x = np.arange(points) * 10.0
    rows = [
        {"method": m, "seed": s, "x": at, "value": 0.2 + 0.1 * i + 0.005 * at + 0.01 * s}
        for i, m in enumerate(methods) for s in range(seeds) for at in x
    ]  # fmt: skip
    single = pd.DataFrame(rows)
    mean = single.groupby(["method", "x"], sort=False)["value"].agg(["mean", "std"]).reset_index()
    half = 2 * mean["std"]
    return mean.assign(low=mean["mean"] - half, high=mean["mean"] + half), single


def differences():
    nan = float("nan")
    return pd.DataFrame({
        "method": ["gift", "grao", "sft"], "effect": [0.03, -0.01, -0.2],
        "low": [0.01, -0.03, nan], "high": [0.05, 0.01, nan], "mde": [0.02, 0.04, nan],
        "verdict": ["better", "undetermined", "undetermined"],
    })  # fmt: skip


def drawn(plot, width=plots.WIDE):
    return plot.draw(width).axes[0]


def test_a_method_looks_the_same_in_any_company():
    alone, many = plots.looks(["grpo"]), plots.looks(["zeta", "grpo", "sft", "gift"])
    assert alone["grpo"] == many["grpo"]
    assert list(many) == ["sft", "grpo", "gift", "zeta"]


def test_no_two_methods_look_alike():
    methods = [*plots.ORDER, "own-1", "own-2"]
    found = plots.looks(methods)
    pairs = {(look.colour, str(look.dashes)) for name, look in found.items() if name in plots.ORDER}
    assert len(pairs) == len(plots.ORDER) == 28
    assert len({(str(look)) for look in found.values()}) == 30


def test_files_are_complete_and_the_same_twice(tmp_path):
    plot = plots.forest(differences(), "grpo", delta=0.02)
    first, second = (plot.save(tmp_path / name) for name in "ab")
    assert [p.suffix for p in first] == [".svg", ".pdf", ".png", ".csv"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    pd.testing.assert_frame_equal(pd.read_csv(first[3]), plot.data)
    assert b"/FontFile2" in first[1].read_bytes()  # TrueType outlines, as publishers ask for


def test_forest_shows_effect_interval_and_what_could_not_be_found():
    ax = drawn(plots.forest(differences(), "grpo", delta=0.02))
    bands = [p for p in ax.patches if isinstance(p, Rectangle)]
    assert [round(p.get_width(), 6) for p in bands] == [4.0, 8.0]  # 2 x MDE, points; sft has none
    points = {round(line.get_xdata()[0], 6) for line in ax.lines if len(line.get_xdata()) == 1}
    assert points == {3.0, -1.0, -20.0}
    words = [t.get_text() for t in ax.texts]
    assert words[0] == "+3.0 [+1.0, +5.0]  better"
    assert words[2] == "−20.0 (no interval)  undetermined"
    low, high = ax.get_xlim()
    assert low < -20 and high > 5


def test_forest_in_words_for_those_who_cannot_see_it():
    assert plots.forest(differences(), "grpo").alt.startswith("gift +3.0 points, better; grao")


@pytest.mark.parametrize(("seeds", "thin"), [(1, 0), (2, 2), (5, 5), (6, 0)])
def test_single_seeds_are_drawn_up_to_five(seeds, thin):
    mean, single = curve(["gift"], seeds=seeds)
    ax = drawn(plots.convergence(mean, single, "tokens"))
    lines = [line for line in ax.lines if line.get_linewidth() < 1]
    assert len(lines) == thin


def test_curves_are_not_smoothed():
    mean, single = curve(["gift"])
    ax = drawn(plots.convergence(mean, single, "updates", start=0.2, thresholds=[0.3]))
    thick = next(line for line in ax.lines if line.get_gid() and line.get_linewidth() > 1)
    np.testing.assert_allclose(thick.get_ydata(), 100 * mean["mean"])
    np.testing.assert_allclose(thick.get_xdata(), mean["x"])
    levels = [line.get_ydata()[0] for line in ax.lines if line.get_gid() is None]
    assert levels == pytest.approx([30, 20])


def test_a_diverged_run_is_crossed():
    mean, single = curve(["gift", "grpo"])
    ends = pd.DataFrame({"method": ["gift"], "x": [10.0], "value": [0.25]})
    plot = plots.convergence(mean, single, "updates", diverged=ends)
    (cross,) = [line for line in drawn(plot).lines if line.get_marker() == "x"]
    assert (cross.get_xdata()[0], cross.get_ydata()[0]) == (10.0, 25.0)
    labels = [t.get_text() for t in plot.draw(plots.WIDE).legends[0].get_texts()]
    assert labels == ["grpo", "gift", "diverged"]


def test_accuracy_stays_within_0_and_100():
    mean, single = curve(["gift"])
    mean = mean.assign(low=-0.5, high=1.5)
    assert drawn(plots.convergence(mean, single, "updates")).get_ylim() == (0, 100)


def test_cost_has_both_error_bars():
    columns = ["method", "x", "x_low", "x_high", "value", "low", "high"]
    gift, grpo = [5.0, 4.0, 6.0, 0.5, 0.4, 0.6], [9.0, 9.0, 9.0, 0.4, np.nan, np.nan]
    rows = pd.DataFrame([["gift", *gift], ["grpo", *grpo]], columns=columns)
    drawn_lines = drawn(plots.cost(rows, "flops")).lines
    lines = {tuple(map(tuple, line.get_xydata())) for line in drawn_lines}
    assert ((4.0, 50.0), (6.0, 50.0)) in lines
    assert ((5.0, 40.0), (5.0, 60.0)) in lines
    assert not any(np.isnan(lines_).any() for lines_ in map(np.array, lines))


def test_svg_of_a_page_brings_no_style_and_has_its_own_ids():
    mean, single = curve(["gift", "grpo"])
    plot = plots.convergence(mean, single, "updates")
    wide, narrow = plot.svg(plots.WIDE), plot.svg(plots.COLUMN)
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (wide, narrow)]
    assert ids[0] and ids[1] and not ids[0] & ids[1]
    for text, own in zip((wide, narrow), ids, strict=True):
        assert "<style" not in text and "<metadata" not in text
        used = set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', text))
        assert used <= own
        root = ET.fromstring(text)
        assert "width" not in root.attrib and "viewBox" in root.attrib
        assert f'class="{plots.css_class("gift")}"' in text


def test_colours_of_a_page_are_variables():
    mean, single = curve(["sft", "grpo"])
    text = plots.convergence(mean, single, "updates").svg()
    for colour in ("#0a0a0a", "#0072b2"):
        assert text.count(f"var(--c-{colour[1:]}, {colour})") == text.count(colour) > 0


def test_names_are_neither_markup_nor_mathematics(tmp_path):
    mean, single = curve([AWKWARD, "grpo"])
    plot = plots.convergence(mean, single, "updates")
    words = [e.text for e in ET.fromstring(plot.svg()).iter() if e.tag.endswith("text")]
    assert AWKWARD in words
    plot.save(tmp_path)


def test_pass_curves_and_tuning_draw_what_they_are_given():
    points = pd.DataFrame({"method": ["gift"] * 3, "k": [1, 2, 4], "value": [0.2, 0.3, 0.4],
                           "low": [0.1, 0.2, 0.3], "high": [0.3, 0.4, 0.5]})  # fmt: skip
    plot = plots.pass_curves(points)
    np.testing.assert_allclose(drawn(plot).lines[0].get_ydata(), [20, 30, 40])
    assert plot.alt == "gift reaches 40.0 % at k = 4"
    trials = pd.DataFrame({"method": ["gift"] * 2, "trials": [1, 2], "value": [0.2, 0.25]})
    np.testing.assert_allclose(drawn(plots.tuning(trials)).lines[0].get_ydata(), [20, 25])


def test_profiles_need_fifteen_runs_and_step_down(tmp_path):
    options = {"questions": {"test": 10}, "samples": 2, "evaluations": 2, "steps": 2}
    seeds = {"grpo": range(15), "gift": range(14)}
    r = load(write_suite(tmp_path / "s", ["grpo", "gift"], seeds, **options))
    (plot,) = figures.profile(r)
    assert set(plot.data["method"]) == {"grpo"}
    scored = scores.seed_scores(scores.metric_scores(r)).query("method == 'grpo'")["score"]
    for row in plot.data.itertuples():
        assert row.value == (scored > row.accuracy).mean()
    assert np.all(np.diff(drawn(plot).lines[0].get_ydata()) <= 0)
    assert re.fullmatch(r"half of grpo's runs are above \d+ %", plot.alt)
    assert figures.profile(r.query("method == 'gift'")) == []


def test_win_matrix_names_row_and_column():
    frame = pd.DataFrame({"method": ["a", "b"], "a": [np.nan, 0.25], "b": [0.75, np.nan]})
    ax = drawn(plots.wins(frame))
    found = {(round(t.xy[0] - 0.5), round(t.xy[1] - 0.5)): t.get_text() for t in ax.texts}
    assert found == {(1, 0): ".75", (0, 1): ".25"}
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row stands on top


def test_against_draws_the_line_where_both_are_equal():
    rows = pd.DataFrame([{"method": "gift", "x": 0.4, "x_low": 0.3, "x_high": 0.5, "y": 0.6,
                          "y_low": 0.5, "y_high": 0.7}])  # fmt: skip
    ax = drawn(plots.against(rows, "test", "train", name="t"))
    assert ax.get_xlim() == ax.get_ylim()
    assert ax.get_xlabel() == "accuracy on test (%)"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (950, "950"), (1500, "1.5k"), (2.5e6, "2.5M"), (1e12, "1T"), (3.2e17, "3.2e17")],
)
def test_numbers_on_an_axis_are_short(value, text):
    assert parts.short(value) == text
