"""Figures: one look a method, the data unsmoothed, the files complete, the SVG fit for a page."""

# matplotlib's and numpy's annotations are unions that pyright cannot narrow
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportIndexIssue=false

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from reports import figures, plots
from reports.plots import look, parts
from results import load, scores, stats, tables
from results.records import BUDGET_AXES
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
    assert len({(one.colour, str(one.dashes)) for one in found.values()}) == 30
    quick = ["sft", "rft", "rift", "dpo", "una", "ppo", "grpo", "grao", "gift"]
    for names in (quick, [*quick, "kto", "own", "topr"], [f"own-{i}" for i in range(12)]):
        some = plots.looks(names).values()
        for of in ("colour", "dashes", "marker"):
            assert len({str(getattr(one, of)) for one in some}) == len(names), of


# Machado et al. (2009), severity 1: what a reader without red or green cones sees of linear RGB
SIGHTS = {
    "full": np.eye(3),
    "no red": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                        [-0.003882, -0.048116, 1.051998]]),
    "no green": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                          [-0.011820, 0.042940, 0.968881]]),
}  # fmt: skip
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB, in which a distance of about 2 can just be seen."""
    t = XYZ @ rgb.clip(0, 1) / [0.9505, 1, 1.089]
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_stay_apart_for_every_reader(sight):
    seen = [lab(SIGHTS[sight] @ linear(colour)) for colour in look.COLOURS]
    apart = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert len(seen) == len(set(look.COLOURS)) == 12 and min(apart) > 17
    contrast = [1.05 / (XYZ[1] @ linear(colour) + 0.05) for colour in look.COLOURS]
    assert min(contrast) > 2.2  # on white


def test_a_page_knows_every_colour_of_a_figure():
    css = (Path(plots.__file__).parents[1] / "templates/report.css").read_text()
    for colour in look.COLOURS:
        assert f"--c-{colour[1:]}: light-dark({colour}, #" in css


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
    assert labels == ["diverged"]


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


def test_equal_costs_stand_side_by_side_and_one_cost_is_no_figure(tmp_path):
    rows = pd.DataFrame({"method": ["gift", "grpo", "sft"], "x": [60.0, 60.0, 120.0],
                         "value": [0.5, 0.4, 0.3]})  # fmt: skip
    nothing = dict.fromkeys(("x_low", "x_high", "low", "high"), np.nan)
    ax = drawn(plots.cost(rows.assign(**nothing), "updates"))
    places = sorted(line.get_xdata()[0] for line in ax.lines)
    assert places[0] < 60 < places[1] < 65 and places[2] == 120
    assert "side by side" in ax.get_xlabel()
    r = load(write_suite(tmp_path / "s", ["grpo", "gift", "sft"], 2, 8, samples=1, evaluations=2))
    spent = tables.last_costs(r).groupby("method", observed=True)
    for axis in BUDGET_AXES:
        means = spent[axis].mean()
        assert bool(figures.cost(r, axis)) == (means.max() > 1.01 * means.min()), axis
    assert not figures.cost(r, "updates") and figures.cost(r, "flops")


def names_of(ax):
    return [t for t in ax.texts if t.get_gid()]


def test_names_stand_at_the_ends_of_lines_without_overlap():
    methods = ["sft", "rift", "grpo", "grao", "gift"]
    mean, single = curve(methods, seeds=1)
    last = mean["x"] == mean["x"].max()
    mean.loc[last, "mean"] = 0.5  # all end at one place
    plot = plots.convergence(mean, single, "updates")
    figure = plot.laid_out(plots.WIDE)
    figure.canvas.draw()
    found = names_of(figure.axes[0])
    assert sorted(t.get_text() for t in found) == sorted(f"{m}  50.0" for m in methods)
    boxes = sorted((Text.get_window_extent(t) for t in found), key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 + 1 for low, high in itertools.pairwise(boxes))
    assert all(t.xy == (30.0, 50.0) for t in found)  # and point at their end
    assert not figure.legends


def test_more_than_five_methods_have_a_panel_each():
    methods = list(plots.ORDER[:7])
    mean, single = curve(methods)
    for width, across in ((plots.WIDE, 3), (plots.COLUMN, 2)):
        figure = plots.convergence(mean, single, "updates").draw(width)
        shown = [ax for ax in figure.axes if ax.get_visible()]
        assert [ax.get_title(loc="left").split()[0] for ax in shown] == list(plots.looks(methods))
        grid: Any = shown[0].get_gridspec()
        assert grid.ncols == across
        for ax, method in zip(shown, plots.looks(methods), strict=True):
            of = {line.get_gid() for line in ax.lines} - {None}
            assert of == {plots.css_class(method)}
            assert sum(line.get_alpha() == 0.4 for line in ax.lines) == 6  # the others, in grey
            assert ax.get_ylim() == shown[0].get_ylim()
    for plot in (plots.pass_curves, plots.tuning):
        points = pd.DataFrame({"method": np.repeat(methods, 2), "k": [1, 2] * 7, "value": 0.5,
                               "trials": [1, 2] * 7, "low": 0.4, "high": 0.6})  # fmt: skip
        assert len([ax for ax in plot(points).draw(plots.WIDE).axes if ax.get_visible()]) == 7


def test_the_ends_of_curves_agree_with_the_table_or_say_why_not(tmp_path):
    options = {"samples": 2, "evaluations": 3, "steps": 6}
    r = load(write_suite(tmp_path / "s", ["grpo", "gift"], 3, 24, curve={"test": 8}, **options))
    accuracy = tables.main_table(r).frame.set_index("method")["accuracy"]
    (plot,) = figures.convergence(r)
    wanted = sorted(f"{m}  {100 * accuracy[m]:.1f}" for m in r.methods)
    assert sorted(t.get_text() for t in names_of(drawn(plot))) == wanted
    assert "8 questions of every evaluation" in drawn(plot).get_xlabel()
    assert "all 24 questions" in " ".join(drawn(plot).get_xlabel().split())
    hollow = [line for line in drawn(plot).lines if line.get_markerfacecolor() == "white"]
    assert sorted(line.get_ydata()[0] for line in hollow) == pytest.approx(sorted(100 * accuracy))
    assert set(plot.data.loc[plot.data["seed"] == "final", "value"]) == set(accuracy)
    whole = load(write_suite(tmp_path / "w", ["grpo", "gift"], 3, 24, **options))
    accuracy = tables.main_table(whole).frame.set_index("method")["accuracy"]
    (plot,) = figures.convergence(whole)
    wanted = sorted(f"{m}  {100 * accuracy[m]:.1f}" for m in whole.methods)
    assert sorted(t.get_text() for t in names_of(drawn(plot))) == wanted
    assert drawn(plot).get_xlabel() == "optimiser updates"


def test_the_variance_figure_is_of_the_mean(tmp_path):
    r = load(write_suite(tmp_path / "s", ["grpo", "gift"], 4, 30, samples=3, evaluations=2))
    (plot,) = figures.variance(r)
    for row in plot.data.itertuples():
        cube = scores.sample_cube(r, row.method, "test")
        assert (row.seeds, row.questions, row.samples) == cube.shape == (4, 30, 3)
        wide = stats.two_way_interval(cube.mean(2))
        assert row.error == pytest.approx(wide.se, rel=0.15)  # negative parts are set to 0
        assert row.seed + row.question + row.residual + row.decoding == pytest.approx(1)
    widths = [p.get_width() for p in drawn(plot).patches]
    assert sum(widths) == pytest.approx(200)
    assert [t.get_text() for t in drawn(plot).get_yticklabels()] == ["grpo", "gift"]


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
    assert any(word and word.startswith(AWKWARD) for word in words)
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
