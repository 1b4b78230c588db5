"""The papers' claims, tested on fake suites whose truth is known."""

# keyword dictionaries of mixed types
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportIndexIssue=false

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from reports.claims import Claim, ClaimError, claims_table, evaluate, load_claims, per_run
from results import Results, load, stats
from tests.synthetic import write_suite

ROOT = Path(__file__).parents[2]
SMALL = {"questions": 24, "evaluations": 5, "steps": 20}


def claim(**fields) -> Claim:
    return Claim(**{"id": "x", "paper": "P", "claim": "c", "measured": "m", "method": "gift",
                    "against": ("grpo",), **fields})  # fmt: skip


def suite(tmp_path, gift: float, grpo: float, **options) -> Results:
    options = {"methods": ("grpo", "gift"), **SMALL, **options}
    return load(write_suite(tmp_path / "s", effects={"gift": gift, "grpo": grpo}, **options))


def test_every_claim_of_the_papers_can_be_read():
    found = load_claims()
    assert {c.paper.partition(",")[0] for c in found} == {"GIFT", "GRAO", "RIFT"}
    assert {c.kind for c in found} == {"runs", "law", "audit", "untested"}


@pytest.mark.parametrize("law", [c for c in load_claims() if c.kind == "law"], ids=lambda c: c.id)
def test_a_law_names_a_test_that_exists(law):
    file, _, name = law.test.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_a_true_claim_is_supported_and_its_contrary_contradicted(tmp_path):
    results = suite(tmp_path, gift=0.75, grpo=0.45)
    better, worse = evaluate(results, [claim(), claim(id="y", direction="lower")])
    assert better.status == "supported"
    assert worse.status == "contradicted"
    assert better.effect == pytest.approx(results.compare("gift", "grpo").difference)
    assert better.low < 0.3 < better.high
    assert better.size.startswith("+") and "points [" in better.size and "MDE" in better.size


def test_what_is_shown_to_be_within_the_margin_contradicts_a_difference(tmp_path):
    results = suite(tmp_path, gift=0.5, grpo=0.5)
    different = [claim(margin=0.5), claim(id="y", margin=0.0001)]
    equal = claim(id="z", margin=0.5, direction="equal")
    found = evaluate(results, [*different, equal])
    assert [f.status for f in found] == ["contradicted", "undetermined", "supported"]
    assert "within the margin" in found[0].why


def test_holm_is_over_all_claims_of_a_paper_whatever_was_run(tmp_path):
    results = suite(tmp_path, gift=0.6, grpo=0.5)
    rows = [claim(id=str(i), metric=m) for i, m in enumerate(["avg", "greedy", "auc:tokens"])]
    found = evaluate(results, [*rows, claim(id="none", method="absent")])
    p = [f.p for f in found[:3]]
    assert [f.p_adjusted for f in found[:3]] == pytest.approx(list(stats.holm(p, 4)))
    assert found[3].p != found[3].p
    others = evaluate(results, [*rows, claim(id="none", method="absent", paper="Q")])
    assert [f.p_adjusted for f in others[:3]] == pytest.approx(list(stats.holm(p)))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"method": "absent"}, "no finished run of absent"),
        ({"against": ("absent",)}, "no finished run of absent"),
        ({"method": "gift[beta=3.0]"}, "no finished run of gift[beta=3.0]"),
        ({"metric": "gap:aime"}, "no split aime was evaluated"),
        ({"metric": "fall:share_imitation"}, "the runs log no share_imitation"),
        ({"metric": "pass@64"}, "4 samples a question are too few for pass@64"),
        ({"split": "aime"}, "the split aime was not evaluated"),
    ],
)
def test_what_cannot_be_tested_says_why(shared, fields, why):
    (found,) = evaluate(shared, [claim(**fields)])
    assert (found.status, found.why) == ("not tested", why)
    assert found.size == ""


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Results:
    return suite(tmp_path_factory.mktemp("runs"), gift=0.9, grpo=0.4)


def test_one_seed_decides_nothing(tmp_path):
    found = evaluate(suite(tmp_path, gift=0.9, grpo=0.3, seeds=1), [claim(), claim(metric="gain")])
    assert [f.status for f in found] == ["not tested"] * 2
    assert all("one seed: a claim needs at least 3" in f.why for f in found)


def test_a_method_may_be_chosen_by_its_fields(shared):
    (found,) = evaluate(shared, [claim(method="gift[beta=1.0]")])
    assert found.status == "supported"


@pytest.mark.parametrize(
    ("metric", "direction", "status"),
    [
        ("auc:samples", "higher", "supported"),
        ("at:tokens", "higher", "supported"),
        ("cost_50:updates", "lower", "supported"),
        ("cost_50:updates", "higher", "contradicted"),  # gift below grpo, whose cost is even more
        ("unsolved", "higher", "supported"),
        ("total:seconds", "lower", "undetermined"),
        ("pass@K", "higher", "supported"),
        ("gap:ood", "higher", "undetermined"),
        ("last:policy_kl", "equal", "undetermined"),
    ],
)
def test_metrics(shared, metric, direction, status):
    (found,) = evaluate(shared, [claim(metric=metric, direction=direction)])
    assert found.status == status, found
    assert found.seeds == 5


def test_half_the_cost(shared):
    """gift gets half-way at 0.21 of the budget; grpo never does, so that it counts as 1: enough to
    show that gift needs less than half of that, but not that it needs more than a tenth."""
    quick = claim(metric="cost_50:updates", direction="lower", factor=0.5)
    quicker = claim(id="y", metric="cost_50:updates", direction="lower", factor=0.1)
    half, tenth = evaluate(shared, [quick, quicker])
    assert half.status == "supported"
    assert half.effect == pytest.approx(0.21 * 20 - 0.5 * 20, abs=1.5)
    assert tenth.effect > 0
    assert tenth.p_adjusted < 0.05
    assert tenth.status == "undetermined"
    assert "5 runs of grpo never reached the level" in tenth.why


def test_a_cost_that_was_never_reached_supports_nothing(tmp_path):
    results = suite(tmp_path, gift=0.3, grpo=0.9)
    (found,) = evaluate(results, [claim(metric="cost_50:updates", direction="lower", factor=9.0)])
    assert found.status == "undetermined"
    assert "5 runs of gift never reached the level" in found.why
    assert claims_table([found]).frame["against"].tolist() == ["9 × grpo"]


def test_two_that_never_got_there_are_not_compared(tmp_path):
    results = suite(tmp_path, gift=0.05, grpo=0.05, methods=("grpo", "gift", "sft"))
    (found,) = evaluate(results, [claim(metric="cost_90:updates", direction="lower")])
    assert (found.status, found.effect) == ("undetermined", 0)
    assert "5 runs of gift and 5 of grpo never reached the level" in found.why


def test_against_nothing(tmp_path):
    results = suite(tmp_path, gift=0.8, grpo=0.05)
    gain = {"metric": "gain", "against": ()}
    rises, falls = evaluate(
        results, [claim(**gain), claim(id="y", method="grpo", direction="lower", **gain)]
    )
    assert (rises.status, falls.status) == ("supported", "supported")
    assert rises.effect == pytest.approx(0.6, abs=0.1)


def test_a_term_that_fades(tmp_path):
    folder = write_suite(tmp_path / "s", methods=("grao",), **SMALL)
    for seed, file in enumerate(sorted(folder.glob("*/steps.jsonl"))):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        lines = [{**r, "share_imitation": 0.8 - 0.03 * r["step"] + 0.01 * seed * (r["step"] < 5)}
                 for r in rows]  # fmt: skip
        file.write_text("".join(json.dumps(r) + "\n" for r in lines))
    fades = claim(method="grao", against=(), metric="fall:share_imitation")
    (found,) = evaluate(load(folder), [fades])
    assert found.status == "supported"  # first four updates against the last four: 16 steps apart
    assert found.effect == pytest.approx(16 * 0.03 + 0.02)


def test_the_audit_of_graos_headline(shared):
    audit = [c for c in load_claims() if c.id == "grao-headline"]
    found = {f.against: f for f in evaluate(shared, audit)}
    assert {b: f.status for b, f in found.items()} == {
        "SFT": "consistent", "DPO": "consistent", "PPO": "inconsistent", "GRPO": "inconsistent",
    }  # fmt: skip
    assert "abstract 7.95 %, from the printed tables 6.82 %" in found["PPO"].why
    assert "swapped in one column 7.97 %" in found["PPO"].why


def test_two_tasks_are_judged_apart(tmp_path):
    one = write_suite(tmp_path / "a", ("grpo", "gift"), effects={"gift": 0.9, "grpo": 0.3}, **SMALL)
    two = write_suite(tmp_path / "b", ("grpo", "gift"), effects={"gift": 0.3, "grpo": 0.9},
                      task="fractions", **SMALL)  # fmt: skip
    found = evaluate(load([one, two]), [claim()])
    assert {f.task: f.status for f in found} == {
        "arithmetic": "supported", "fractions": "contradicted",
    }  # fmt: skip


def test_the_table_of_all_claims(shared):
    table = claims_table(evaluate(shared))
    assert set(table.frame["id"]) == {c.id for c in load_claims()}  # none falls under the table
    assert set(table.frame["status"]) >= {"supported", "law: proved", "law: refuted", "not tested"}
    for text in (table.text(), table.markdown(), table.latex(), table.html()):
        assert "GIFT converges faster than GRPO." in text
    assert len(table.frame) == table.html().count("<tr>") - 1


HEAD = '[[claim]]\nid = "a"\nclaim = "c"\npaper = "P"\nmeasured = "m"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[claim]", "mine.toml: "),
        (HEAD + 'methdo = "gift"', "methdo"),
        (HEAD, "needs `method`"),
        (HEAD + 'method = "gift"\nmetric = "auc:miles"', "axes are updates, samples, tokens"),
        (HEAD + 'method = "gift"\nmetric = "speed"', "metric 'speed'"),
        (HEAD + 'kind = "law"', "a law needs"),
        (HEAD.replace('"a"', '"grao-headline"') + 'kind = "audit"', "two claims have the id grao"),
    ],
)
def test_a_broken_file_of_claims_is_named(tmp_path, text, message):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ClaimError, match=message.replace("[", r"\[")):
        load_claims(file)


def test_what_is_kept_need_not_be_more(tmp_path):
    """Equal accuracies contradict a claim of more, and support one of no less."""
    results = suite(tmp_path, gift=0.5, grpo=0.5)
    more, kept, tight = evaluate(results, [
        claim(margin=0.5), claim(id="y", margin=0.5, direction="not lower"),
        claim(id="z", margin=0.0001, direction="not lower"),
    ])  # fmt: skip
    assert (more.status, kept.status, tight.status) == ("contradicted", "supported", "undetermined")
    assert "less than the margin" in kept.why


def test_what_is_lost_beyond_the_margin_is_not_kept(shared):
    """gift is 0.5 above grpo."""
    lost = claim(method="grpo", against=("gift",), direction="not lower", margin=0.02)
    risen = claim(id="y", direction="not higher", margin=0.02)
    little = claim(id="z", direction="not higher", margin=0.9)
    found = evaluate(shared, [lost, risen, little])
    assert [f.status for f in found] == ["contradicted", "contradicted", "supported"]


def test_runs_that_score_alike_keep_and_do_not_gain(tmp_path):
    """No spread, so no t test: equal scores contradict more, and support equal and no less."""
    folder = write_suite(tmp_path / "s", methods=("grpo", "gift"), seeds=3, questions=200,
                         evaluations=2, steps=6)  # fmt: skip
    for source in folder.glob("grpo-*"):
        (target,) = folder.glob(source.name.replace("grpo", "gift").rpartition("-")[0] + "-*")
        shutil.copy(source / "evals.parquet", target)
    ways = ("higher", "equal", "not lower")
    found = evaluate(load(folder), [claim(id=way, direction=way) for way in ways])
    assert [f.status for f in found] == ["contradicted", "supported", "supported"]
    assert all("all differences are exactly 0" in f.why for f in found)
    (cost,) = evaluate(load(folder), [claim(metric="total:samples", direction="lower")])
    assert (cost.status, cost.effect) == ("undetermined", 0)
    assert cost.why == "no t test: the difference is the same in every seed"


def test_against_a_value(tmp_path):
    """A gain of about 0.6, against 0.3 and 0.9."""
    results = suite(tmp_path, gift=0.8, grpo=0.05)
    gain = {"metric": "gain", "against": ()}
    small, large = evaluate(results, [claim(value=0.3, **gain), claim(id="y", value=0.9, **gain)])
    assert (small.status, large.status) == ("supported", "contradicted")
    assert small.effect == pytest.approx(0.3, abs=0.1)
    assert (small.against, large.against) == ("0.3", "0.9")


def test_an_ablation_does_not_stand_for_the_objective(tmp_path):
    """Of two labels of one objective the bare name means the one with the defaults; a label that is
    the name itself is what the user calls so."""
    folder = write_suite(tmp_path / "s", methods=("blind", "full", "grpo"), seeds=2, **SMALL)
    for file in folder.glob("*/run.json"):
        record = json.loads(file.read_text())
        if record["method"] != "grpo":
            record["objective"] = "grao"
            record["fields"] = {"beta": 0.0 if record["method"] == "blind" else 0.5, "lam": 0.6}
            file.write_text(json.dumps(record))
    results = load(folder)
    both, alone, missing = evaluate(results, [
        claim(method="grao", against=("grao[beta=0.0]",)), claim(id="y", method="grao"),
        claim(id="z", method="grao[beta=0.0,lam=0.0]"),
    ])  # fmt: skip
    assert both.effect == pytest.approx(results.compare("full", "blind").difference)
    assert alone.effect == pytest.approx(results.compare("full", "grpo").difference)
    assert missing.status == "not tested"
    (gone,) = evaluate(results.query("method != 'full'"), [claim(method="grao")])
    assert gone.why == "no finished run of grao"


def test_unsolved_questions_are_those_that_nothing_solved_at_the_start(tmp_path):
    """Question 0 is solved once at step 0 by one run, question 1 by none; at the end gift solves
    all of question 0's samples and half of question 1's."""
    folder = write_suite(
        tmp_path / "s", methods=("gift", "grpo"), seeds=1, questions={"test": 2}, samples=2,
        evaluations=2, steps=6,
    )  # fmt: skip
    right = {("gift", 0): [1, 0, 0, 0], ("gift", 6): [1, 1, 1, 0]}
    for file in folder.glob("*/evals.parquet"):
        frame = pd.read_parquet(file)
        for step in (0, 6):
            rows = (frame["step"] == step) & (frame["decoding"] == "sampled")
            answers = right.get((file.parent.name.split("-")[0], step), [0] * 4)
            frame.loc[rows, "correct"] = [bool(x) for x in answers]
        frame.to_parquet(file, index=False)
    values = per_run(load(folder), claim(metric="unsolved"))
    by_method = dict(zip(values["method"].astype(str), values["value"], strict=True))
    assert by_method == {"gift": 0.5, "grpo": 0.0}


def test_the_first_fifth_of_a_metric(tmp_path):
    """0.8 in the first two of ten updates, 0.1 after."""
    folder = write_suite(tmp_path / "s", methods=("grao",), seeds=2, questions=4, steps=10)
    for file in folder.glob("*/steps.jsonl"):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        shares = [{**r, "share_imitation": 0.8 if r["step"] <= 2 else 0.1} for r in rows]
        file.write_text("".join(json.dumps(r) + "\n" for r in shares))
    values = per_run(load(folder), claim(metric="first:share_imitation"))["value"]
    assert values.tolist() == pytest.approx([0.8, 0.8])


def readings(tmp_path, effects: dict[str, float], **options) -> Results:
    """grpo, and gift in the given readings; the detached one has a label of its own."""
    ends = {"grpo": 0.5, **effects}
    options = {**SMALL, "questions": 60, **options}
    folder = write_suite(tmp_path / "s", methods=tuple(ends), effects=ends, **options)
    for file in folder.glob("gift-detached-*/run.json"):
        record = json.loads(file.read_text())
        record |= {"objective": "gift", "fields": {"stats_grad": "detached"}}
        file.write_text(json.dumps(record))
    return load(folder)


ALL = ("gift[stats_grad=detached]", "gift-author-code")


@pytest.mark.parametrize(
    ("effects", "status"),
    [
        ({"gift": 0.75, "gift-detached": 0.8, "gift-author-code": 0.7}, "supported"),
        ({"gift": 0.25, "gift-detached": 0.25}, "contradicted"),
        ({"gift": 0.75, "gift-detached": 0.25}, "depends on the reading"),
        ({"gift": 0.75, "gift-author-code": 0.5}, "undetermined"),  # one of them does not decide
    ],
)
def test_a_claim_is_judged_in_every_reading_that_was_run(tmp_path, effects, status):
    found = evaluate(readings(tmp_path, effects), [claim(readings=ALL, margin=0.0001)])
    assert {f.reading for f in found} == set(effects)
    assert {f.status for f in found} == {status}
    if len({*effects.values()}) > 1 and status != "supported":
        assert all(f.why.startswith("readings: ") and "for gift" in f.why for f in found)


def test_readings_are_one_hypothesis_and_do_not_widen_the_family(tmp_path):
    one = readings(tmp_path / "a", {"gift": 0.6})
    two = readings(tmp_path / "b", {"gift": 0.6, "gift-detached": 0.7})
    other = claim(id="other", metric="greedy")
    for results in (one, two):
        found = [f for f in evaluate(results, [claim(readings=ALL), other]) if f.claim.id == "x"]
        assert all(f.p_adjusted <= 2 * f.p + 1e-12 for f in found)


def test_the_claims_of_a_paper_list_its_readings():
    by_id = {c.id: c for c in load_claims()}
    assert by_id["gift-more-accurate"].readings == ALL
    assert by_id["gift-author-code-faster-than-grpo"].readings == ()
    assert by_id["grao-better"].readings == ("grao[stats=samples]",)


def test_one_failed_run_contradicts_a_claim_of_stability(tmp_path):
    stable = claim(against=(), metric="gain", direction="not lower", stability=True)
    whole = suite(tmp_path / "a", gift=0.8, grpo=0.5)
    assert [f.status for f in evaluate(whole, [stable])] == ["supported"]
    options = {"diverged": {("gift", 3): 15}}
    (found,) = evaluate(suite(tmp_path / "b", gift=0.8, grpo=0.5, **options), [stable])
    assert found.status == "contradicted"
    assert found.why.startswith("of 5 runs of gift, 1 diverged")
    every = {"diverged": {("gift", s): 15 for s in range(5)}}
    (found,) = evaluate(suite(tmp_path / "c", gift=0.8, grpo=0.5, **every), [stable])
    assert found.status == "contradicted" and "5 diverged" in found.why


def test_a_claim_must_hold_with_the_start_in_the_place_of_failed_runs(tmp_path):
    options = {"diverged": {("gift", 3): 15}, "questions": 60, "start": 0.05}
    (found,) = evaluate(suite(tmp_path, gift=0.95, grpo=0.5, **options), [claim()])
    assert found.status == "undetermined"
    assert "supported with the last evaluation of failed runs, undetermined with" in found.why


def with_references(tmp_path, share: float | None) -> Results:
    folder = write_suite(
        tmp_path / "s", ("grpo", "grao"), effects={"grao": 0.8, "grpo": 0.4}, **SMALL
    )
    for file in folder.glob("*/steps.jsonl"):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for row in rows:
            row["references"] = (share or 0) * row["prompts"] * file.parent.name.startswith("grao")
            if share is None:
                del row["references"]
        file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return load(folder)


@pytest.mark.parametrize(
    ("share", "status", "why"),
    [
        (1.0, "supported", "grao saw 320 reference answers"),
        (0.125, "not tested", "here 12 % had one"),
        (None, "not tested", "these runs do not record how many had one"),
    ],
)
def test_a_claim_about_reference_answers_needs_them(tmp_path, share, status, why):
    (found,) = evaluate(with_references(tmp_path, share), [claim(method="grao", gold=1.0)])
    assert found.status == status
    assert why in found.why


def test_too_little_power_is_no_test(tmp_path):
    results = suite(tmp_path, gift=0.5, grpo=0.5)
    sure, blind = evaluate(results, [claim(detect=0.9), claim(id="y", detect=0.001)])
    assert sure.status == "undetermined" and sure.mde_adjusted > sure.mde
    assert blind.status == "not tested"
    assert blind.why.startswith("too little power: only an effect above ")


def test_to_dominate_is_to_be_the_largest(tmp_path):
    """0.4 is not above one half, but the largest of three terms."""
    folder = write_suite(tmp_path / "s", methods=("grao",), questions=4, steps=10)
    for seed, file in enumerate(sorted(folder.glob("*/steps.jsonl"))):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        shares = {"share_imitation": 0.4 + 0.01 * seed, "share_exploration": 0.3, "share_r": 0.2}
        file.write_text("".join(json.dumps({**r, **shares}) + "\n" for r in rows))
    leads = claim(method="grao", against=(), metric="lead:share_imitation")
    (found,) = evaluate(load(folder), [leads])
    assert found.status == "supported"
    assert found.effect == pytest.approx(0.1 + 0.02)


def test_a_law_may_depend_on_the_reading():
    convex = next(c for c in load_claims() if c.id == "gift-convex")
    (found,) = evaluate(Results([]), [convex])
    assert found.status == "law: depends on the reading"
