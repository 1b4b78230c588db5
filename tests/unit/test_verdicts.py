"""A verdict against its neighbours, failures, what was seen, and what must not be compared."""

# pandas annotates indexing with unions that pyright cannot narrow
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import results
from reports import figures, verdicts
from results import compare, failures, information, neighbours, stats
from tests.synthetic import Spread, write_suite

SMALL: dict[str, Any] = {
    "methods": ["sft", "grpo"],
    "seeds": 4,
    "questions": {"test": 60, "validation": 20, "ood-5": 20},
    "samples": 4,
    "evaluations": 3,
    "steps": 6,
    "control": "grpo",
    "effects": {"sft": 0.65, "grpo": 0.45, "gift": 0.5},
    "spread": Spread(seed=0.03, interaction=0.1),
    "config": {"eval": {"temperature": 1.0}},
}


def write(path: Path, **changes: Any) -> Path:
    return write_suite(path / "suite", **{**SMALL, **changes})


def edit(suite: Path, method: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    for file in suite.glob(f"{method}-*/evals.parquet"):
        change(pd.read_parquet(file)).to_parquet(file)


def record(suite: Path, method: str, change: Callable[[dict[str, Any]], Any]) -> None:
    for file in suite.glob(f"{method}-*/run.json"):
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))


def worse_greedily(rows: pd.DataFrame) -> pd.DataFrame:
    """Two thirds of the right greedy answers are lost."""
    greedy = rows["decoding"] == "greedy"
    lost = greedy & (rows.groupby("question_id").ngroup() % 3 < 2)
    return rows.assign(correct=rows["correct"] & ~lost, strict=rows["strict"] & ~lost)


def with_second_temperature(rows: pd.DataFrame) -> pd.DataFrame:
    """As a recipe with temperature = [1.0, 0.6] writes them."""
    again = rows[rows["decoding"] == "sampled"].copy()
    rows = rows.assign(decoding=rows["decoding"].astype(str))
    return pd.concat([rows, again.assign(decoding="T=0.6")], ignore_index=True)


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> results.Results:
    """The demo's pattern: sft above grpo at T = 1, below it greedily."""
    suite = write(tmp_path_factory.mktemp("flipped"))
    edit(suite, "sft", worse_greedily)
    return results.load(suite)


def test_a_verdict_that_flips_with_the_decoding_depends_on_it(flipped: results.Results) -> None:
    c = flipped.compare("sft", "grpo")
    assert (c.verdict, c.primary, c.depends_on) == ("depends", "better", ("decoding",))
    assert c.difference > 0.05 and c.interval.low > 0 and c.p_adjusted == c.p < 0.05
    greedy = next(n for n in c.neighbours if n.choice.decoding == "greedy")
    assert greedy.difference < 0 and greedy.verdict == "worse"
    assert c.of == len(c.neighbours) and c.holds == sum(n.verdict == "better" for n in c.neighbours)
    for part in ("Whether sft is better than grpo depends on the decoding", "sft is better sampled"
                 " at T = 1 (+", "but worse decoded greedily (−"):  # fmt: skip
        assert part in c.sentence
    assert f"sft is better in {c.holds} of {c.of} other ways to measure it" in c.sentence
    assert "sft saw 768 reference answers (100 distinct) and no verifier calls" in c.sentence
    assert "grpo saw no reference answer and 768 verifier calls" in c.sentence


def test_every_output_shows_that_it_depends(flipped: results.Results) -> None:
    main = flipped.table().frame.set_index("method")
    assert main.loc["sft", ["verdict", "depends_on"]].tolist() == ["depends", "decoding"]
    both = flipped.table("comparisons")
    for text in (flipped.table().text(200), both.markdown(), both.latex(), both.csv()):
        assert "depends" in text
    for column in ("p", "p_adjusted", "mde", "mde_adjusted", "holds", "of", "sentence"):
        assert both.frame[column].notna().all()
    (said,) = verdicts.verdicts(flipped)
    assert (said.verdict, said.sign) == ("depends", "◆")
    assert "1 depends" in verdicts.summary(flipped, [said])[-1]


def test_the_specification_curve_has_a_row_a_choice(
    flipped: results.Results, tmp_path: Path
) -> None:
    c = flipped.compare("sft", "grpo")
    (plot,) = figures.draw(flipped, "specifications")
    assert plot.name == "specifications-sft-grpo"
    assert plot.title.endswith(f"measured in {c.of + 1} ways: depends on the decoding")
    assert plot.data["difference"].is_monotonic_decreasing
    assert sorted(plot.data["dimension"]) == sorted(
        ["primary", *(n.dimension for n in c.neighbours)]
    )
    assert plot.data.iloc[-1]["decoding"] == "decoded greedily"
    assert all(path.stat().st_size for path in plot.save(tmp_path))
    assert "primary" in plot.alt
    table = flipped.table("specifications").frame
    assert sorted(table["difference"]) == sorted(plot.data["difference"])


def test_neighbours_differ_in_one_choice_and_other_questions_are_none(tmp_path: Path) -> None:
    suite = write(tmp_path)
    edit(suite, "*", with_second_temperature)
    loaded = results.load(suite)
    choice = neighbours.primary(loaded)
    assert (choice.metric, choice.decoding, choice.split) == ("avg", "sampled", "test")
    found = neighbours.around(loaded, choice)
    assert [d for d, _ in found] == [
        "decoding", "decoding", "metric", "checker reading", "checkpoint", *["equal cost"] * 3,
    ]  # fmt: skip
    assert {c.decoding for d, c in found if d == "decoding"} == {"greedy", "T=0.6"}
    assert {c.axis for _, c in found} == {"end", "samples", "tokens", "flops"}  # never seconds
    assert {c.split for _, c in found} == {"test"}
    for dimension, other in found:
        differ = [f for f in vars(choice) if vars(choice)[f] != vars(other)[f]]
        assert len(differ) == 1, (dimension, differ)
    same = loaded.compare("sft", "grpo").neighbours
    at_06 = next(n for n in same if n.choice.decoding == "T=0.6")
    assert at_06.difference == pytest.approx(loaded.compare("sft", "grpo").difference)
    assert at_06.words == "sampled at T = 0.6"
    assert loaded.compare("sft", "grpo", split="ood-5").of == 0  # another question: no neighbours
    assert loaded.compare("sft", "grpo", metric="pass@2").of == 0
    columns = {c.header for c in loaded.table().columns}
    assert {"avg@4, T=1 %", "T=0.6 %", "greedy %"} <= columns


def test_equal_cost_is_that_of_the_two_and_of_no_other_method(tmp_path: Path) -> None:
    """A third method that stopped early would cut the common budget of all."""
    suite = write(tmp_path, methods=["sft", "grpo", "gift"])
    for run in suite.glob("gift-*"):
        steps = (run / "steps.jsonl").read_text().splitlines()[:3]
        (run / "steps.jsonl").write_text("\n".join(steps) + "\n")
        rows = pd.read_parquet(run / "evals.parquet")
        rows[rows["step"] <= 3].to_parquet(run / "evals.parquet")
    with_it, without = results.load(suite), results.load(suite).query("method != 'gift'")
    both = [r.compare("sft", "grpo").neighbours for r in (with_it, without)]
    for a, b in zip(*both, strict=True):
        assert (a.choice, a.difference) == (b.choice, b.difference)


def test_the_family_is_what_was_planned_whatever_else_was_run(tmp_path: Path) -> None:
    suite = write(tmp_path, methods=["sft", "grpo", "gift", "rift"])
    whole = results.load(suite)
    alone = whole.query("method in ['sft', 'grpo']")
    assert [r.compare("sft", "grpo").family for r in (whole, alone)] == [3, 3]
    c = alone.compare("sft", "grpo")
    assert c.p_adjusted == pytest.approx(min(3 * c.p, 1))
    assert c.mde_adjusted == pytest.approx(stats.mde(c.test.se, c.test.df, 0.05 / 3))
    assert c.mde_adjusted > c.mde
    mirrored = whole.compare("grpo", "sft")
    assert (mirrored.family, mirrored.difference) == (3, pytest.approx(-c.difference))
    assert whole.compare("sft", "gift").family == 1  # not declared: a question of its own


def test_a_declared_control_that_was_not_run_is_missed(tmp_path: Path) -> None:
    loaded = results.load(write(tmp_path)).query("method == 'sft'")
    assert loaded.control is None
    notes = " ".join(loaded.table().notes)
    assert "The declared control, grpo, was not run: no verdicts." in notes


def test_the_declared_specification_is_the_primary(tmp_path: Path) -> None:
    suite = write(tmp_path)
    edit(suite, "sft", worse_greedily)
    file = suite / "suite.json"
    primary = {"decoding": "greedy", "reading": "strict"}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"primary": primary}))
    c = results.load(suite).compare("sft", "grpo")
    assert (c.choice.decoding, c.choice.reading, c.primary) == ("greedy", "strict", "worse")
    assert "decoded greedily, by the task's official protocol" in c.sentence
    assert results.load(suite).table().columns[1].header == "greedy %"


def test_all_pairs_where_the_recipe_declares_them(tmp_path: Path) -> None:
    suite = write(tmp_path, methods=["sft", "grpo", "gift"])
    file = suite / "suite.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"primary": {"family": "pairs"}}))
    made = compare.family(results.load(suite))
    assert [(c.a, c.b) for c in made] == [("sft", "grpo"), ("sft", "gift"), ("grpo", "gift")]
    assert {c.family for c in made} == {3}


def test_two_seeds_give_no_verdict(tmp_path: Path) -> None:
    c = results.load(write(tmp_path, seeds=2, effects={"sft": 0.95, "grpo": 0.3})).compare(
        "sft", "grpo"
    )
    assert (c.verdict, c.of) == ("undetermined", 0)
    assert c.note.endswith("2 seeds: no verdict below 3")
    assert c.sentence.startswith("Cannot be judged: 2 seeds")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r["grader"].update(version="2"), "no verdict across checker versions: sft 2; g"),
        (lambda r: r["base"].update(id="other"), "no verdict across starting models: sft other; "),
        (lambda r: r["data"].update(test="0"), "no verdict across data sets: "),
    ],
)
def test_what_differs_in_more_than_the_method_is_refused(
    change: Callable[[dict[str, Any]], Any], said: str, tmp_path: Path
) -> None:
    suite = write(tmp_path)
    record(suite, "sft", change)
    c = results.load(suite).compare("sft", "grpo")
    assert c.verdict == "undetermined"
    assert c.note.startswith(said)
    assert c.note in c.sentence


# failures


def collapse(rows: pd.DataFrame) -> pd.DataFrame:
    start = rows["step"] == 0
    return rows.assign(correct=rows["correct"] & start, strict=rows["strict"] & start)


def test_a_verdict_holds_with_both_values_of_a_run_that_diverged(tmp_path: Path) -> None:
    """gift is 45 points above grpo but for one run that ends in NaN: with its start in the place of
    its last evaluation the mean is too uncertain."""
    options: dict[str, Any] = {"methods": ["grpo", "gift"], "effects": {"gift": 0.95, "grpo": 0.5},
                               "evaluations": 7, "start": 0.05}  # fmt: skip
    whole = results.load(write(tmp_path / "a", **options)).compare("gift", "grpo")
    assert (whole.verdict, whole.failures) == ("better", "")
    suite = write(tmp_path / "b", **options, diverged={("gift", 1): 5})
    c = results.load(suite).compare("gift", "grpo")
    assert c.verdict == "undetermined"
    assert "better with the last evaluation of the failed runs, undetermined with" in c.note
    assert c.failures.startswith("of 4 runs of gift, 1 diverged (95 % interval of the failure rate"
                                 " 1 to 81 %; worst: seed 1,")  # fmt: skip
    assert "Of 4 runs of gift, 1 diverged" in c.sentence


def test_five_runs_that_collapse_are_worse_and_flagged(tmp_path: Path) -> None:
    suite = write(tmp_path, seeds=5)
    edit(suite, "sft", collapse)
    loaded = results.load(suite)
    assert set(failures.failed(loaded, "arithmetic", "sft")["failed"]) == {"collapsed"}
    c = loaded.compare("sft", "grpo")
    assert c.verdict == "worse"  # with the last evaluation, and with the start
    assert (
        "Of 5 runs of sft, 5 collapsed (95 % interval of the failure rate 48 to 100 %" in c.sentence
    )
    main = loaded.table().frame.set_index("method")
    assert main.loc["sft", "flags"] == "collapsed (5 of 5)"
    assert "collapsed (5 of 5)" in loaded.table().text(220)
    assert figures.draw(loaded, "forest") and figures.draw(loaded, "specifications")


def test_equivalence_names_its_interval_and_the_failures_that_it_does_not_exclude(
    tmp_path: Path,
) -> None:
    c = results.load(write(tmp_path, margin=0.3, effects={"sft": 0.5, "grpo": 0.5})).compare(
        "sft", "grpo"
    )
    assert c.verdict == "equivalent"
    assert "the 90 % interval of the difference" in c.sentence
    assert "does not exclude that up to 60 % would" in c.sentence  # Clopper-Pearson, 0 of 4


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"reward_mean": 0.25}, "constant reward (4 of 4)"),
        ({"empty": True}, "most updates empty (4 of 4)"),
        ({"loss": 391814.0}, "loss far above its start (4 of 4)"),
    ],
)
def test_a_run_that_finished_but_hardly_trained_is_flagged(
    change: dict[str, Any], flag: str, tmp_path: Path
) -> None:
    suite = write(tmp_path)
    for file in suite.glob("grpo-*/steps.jsonl"):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        late = [row | change if i or "loss" not in change else row for i, row in enumerate(rows)]
        file.write_text("".join(json.dumps(row) + "\n" for row in late))
    found = failures.flags(results.load(suite)).set_index("method")["flags"]
    assert found.to_dict() == {"sft": "", "grpo": flag}


# what was seen


def test_a_card_says_what_a_method_saw(flipped: results.Results) -> None:
    cards = information.cards(flipped)
    sft, grpo = cards["arithmetic", "sft"], cards["arithmetic", "grpo"]
    assert (sft.track, grpo.track) == ("demonstrations", "verifier")
    assert (sft.reference_rows, sft.reference_distinct, sft.verifier_calls) == (768, 100, 0)
    assert (grpo.reference_rows, grpo.samples_policy, grpo.prompts_distinct) == (0, 768, 96)
    assert (grpo.reference_model, grpo.critic, grpo.trials) == (False, False, None)
    table = flipped.table("information")
    assert table.frame["method"].tolist() == ["sft", "grpo"]
    assert "No control that sees the same stands beside sft" in " ".join(table.notes)


def test_what_older_runs_did_not_record_is_unknown_and_not_zero(tmp_path: Path) -> None:
    suite = write(tmp_path, methods=["sft", "grpo", "grao"])
    new = ("references", "references_distinct", "prompts_distinct", "samples_policy")
    for file in suite.glob("*/steps.jsonl"):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        kept = [{k: v for k, v in row.items() if k not in new} for row in rows]
        if file.parent.name.startswith("grao"):
            kept = [row | {"share_imitation": 0.2} for row in kept]
        file.write_text("".join(json.dumps(row) + "\n" for row in kept))
    cards = information.cards(results.load(suite))
    sft, grao = cards["arithmetic", "sft"], cards["arithmetic", "grao"]
    assert (sft.reference_rows, sft.reference_distinct) == (768, None)  # a row a sample
    assert (grao.track, grao.reference_rows) == ("verifier + demonstrations", None)
    assert "how many was not recorded" in grao.words
    assert cards["arithmetic", "grpo"].prompts_distinct is None


def test_trials_of_a_suite_are_on_its_cards(tmp_path: Path) -> None:
    suite = write(tmp_path)
    folder = suite.with_name("suite-tune")
    folder.mkdir()
    trials = [{"method": "sft", "lr": lr, "seed": s, "score": 0.5, "run": f"{lr}{s}"}
              for lr in (1e-4, 1e-3) for s in (0, 1)]  # fmt: skip
    (folder / "trials.jsonl").write_text("".join(json.dumps(t) + "\n" for t in trials))
    cards = information.cards(results.load(suite))
    assert (cards["arithmetic", "sft"].trials, cards["arithmetic", "sft"].tuned) == (2, "lr")
    assert cards["arithmetic", "grpo"].trials is None


# nothing is pooled


def again(suite: Path, method: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """The method's runs a second time, in the same folder, with another setting."""
    for run in [*suite.glob(f"{method}-*")]:
        copy = run.with_name(f"{run.name}-b")
        shutil.copytree(run, copy)
        content = json.loads((copy / "run.json").read_text())
        change(content)
        content |= {"id": copy.name, "started": "2026-02-01T00:00:00"}
        (copy / "run.json").write_text(json.dumps(content))


def test_two_settings_of_one_label_are_two_rows(tmp_path: Path) -> None:
    suite = write(tmp_path, methods=["grpo", "gift"])
    before = results.load(suite).compare("gift", "grpo")
    again(suite, "gift", lambda r: r["fields"].update(beta=2.0))
    loaded = results.load(suite)
    assert loaded.methods == ["grpo", "gift", "gift[beta=2]"]
    assert len(loaded.runs) == 12
    assert loaded.compare("gift", "grpo").interval == before.interval
    assert loaded.compare("gift[beta=2]", "grpo").difference == pytest.approx(before.difference)
    assert "mixes settings, which are shown apart: gift, gift[beta=2]" in str(loaded.problems)


@pytest.mark.parametrize(
    ("change", "label"),
    [
        (lambda r: r["config"].update(lr=0.001), "gift[lr=0.001]"),
        (lambda r: r["base"].update(id="abc"), "gift[base=abc]"),
        (lambda r: r["grader"].update(version="2"), "gift[checker=2]"),
    ],
)
def test_the_label_names_what_differs(
    change: Callable[[dict[str, Any]], Any], label: str, tmp_path: Path
) -> None:
    suite = write(tmp_path, methods=["grpo", "gift"])
    again(suite, "gift", change)
    assert results.load(suite).methods == ["grpo", "gift", label]


def test_equal_ids_with_other_answers_are_a_problem(tmp_path: Path) -> None:
    suite = write(tmp_path)
    other = tmp_path / "other" / "suite"
    shutil.copytree(suite, other)
    assert not results.load([suite, other]).problems
    edit(other, "sft", collapse)
    told = [str(p) for p in results.load([suite, other]).problems]
    assert len(told) == 4 and all("other answers in" in t and "the first counts" in t for t in told)


def test_seconds_of_two_machines_are_not_averaged(tmp_path: Path) -> None:
    suite = write(tmp_path)
    for run in suite.glob("*-s0-*"):
        file = run / "run.json"
        content = json.loads(file.read_text())
        file.write_text(json.dumps(content | {"hardware": {"gpu": "H100"}}))
    loaded = results.load(suite)
    main = loaded.table()
    assert main.frame["seconds"].isna().all() and main.frame["flops"].notna().all()
    assert "Seconds of different machines (H100; synthetic" in " ".join(main.notes)
    shown = loaded.table("efficiency-seconds").frame["method"].astype(str).tolist()
    assert shown == ["sft, machine A", "sft, machine B", "grpo, machine A", "grpo, machine B"]
    assert len(loaded.table("efficiency-tokens").frame) == 2
    (plot,) = figures.draw(loaded, "cost-seconds")
    assert set(plot.data["method"]) == set(shown)
