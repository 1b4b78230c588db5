"""Evaluation: all decodings of a question in one batch, and which of them are drawn when."""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false

import json

import pytest
import torch

from bench.config import Model
from bench.model import start
from bench.record.ledger import Flops, Ledger
from bench.sampling.hf import Sampler
from bench.train import evaluate
from bench.train.evaluate import Evaluator
from results import scores
from tests import synthetic, tiny

SPLITS = {"test": 7, "ood-5": 3}


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """In float64, so that other batches do not change a token by rounding."""
    made = tiny.policy(dtype=torch.float64)
    folder = tmp_path_factory.mktemp("model")
    start.save(made, folder)
    return start.load(folder, Model(path=str(folder), dtype="float64"))


def rows_of(policy, ledger=None, final=True, **settings):
    """The frame of one evaluation, and what it cost."""
    run = tiny.run(eval={**tiny.recipe()["eval"], **settings})
    ledger = ledger or Ledger()
    flops = Flops.of(policy.model)
    evaluator = Evaluator(run, run.build_task(), policy, flops, sampler=Sampler())
    return evaluator(SPLITS, ledger, final), ledger


def answers(frame, decoding):
    kept = frame[frame["decoding"] == decoding]
    return kept.drop(columns=["decoding", "prompt", "gold", "meta"]).reset_index(drop=True)


def test_one_batch_answers_as_batches_of_one_decoding(policy, monkeypatch):
    whole, cost = rows_of(policy, temperature=[1.0, 0.6])
    judged = whole[whole["decoding"] == "T=0.6"]
    assert set(judged["split"]) == {"test"} and len(judged) == 2 * SPLITS["test"]
    assert whole["split"].drop_duplicates().tolist() == [*SPLITS]
    assert whole["decoding"].drop_duplicates().tolist() == ["greedy", "sampled", "T=0.6"]
    assert len(whole) == 10 * (1 + 2) + len(judged)
    greedy, one = rows_of(policy, samples=0)
    hot, two = rows_of(policy, greedy=False)
    cold, three = rows_of(policy, greedy=False, temperature=0.6)
    alone = {"greedy": answers(greedy, "greedy"), "sampled": answers(hot, "sampled"),
             "T=0.6": answers(cold[cold["split"] == "test"], "sampled")}  # fmt: skip
    for decoding, rows in alone.items():
        assert answers(whole, decoding).equals(rows), decoding
    assert not alone["sampled"]["response"].equals(alone["T=0.6"]["response"])
    # each prompt is read once, not once a decoding
    assert cost.flops_evaluate < sum(ledger.flops_evaluate for ledger in (one, two, three))
    told = whole[whole["prompt"].notna()]
    assert len(told) == 10 and set(told["decoding"]) == {"greedy"} and told["gold"].notna().all()
    assert {frozenset(json.loads(meta)) for meta in told["meta"]} == {frozenset({"steps"})}
    assert whole["meta"].notna().sum() == 10
    monkeypatch.setattr(evaluate, "ROWS", 1)  # a batch for each question
    assert rows_of(policy, temperature=[1.0, 0.6])[0].equals(whole)


def test_a_cpu_samples_fewer_rows_at_once_where_their_keys_take_much_room(policy, monkeypatch):
    sizes, draw = [], Sampler.__call__

    def drawn(policy, prompts, group, *rest, **more):
        sizes.append(len(prompts) * group)
        return draw(policy, prompts, group, *rest, **more)

    monkeypatch.setattr(Sampler, "__call__", staticmethod(drawn))
    rows_of(policy, temperature=[1.0, 0.6])
    assert sizes == [35, 9]  # the judged split in all decodings, the other without T = 0.6
    monkeypatch.setattr(evaluate, "CPU_ROWS", 20)
    monkeypatch.setattr(evaluate, "CPU_CACHE", 1)
    rows_of(policy, temperature=[1.0, 0.6])
    assert sizes[2:] == [20, 15, 9]


def test_further_temperatures_are_drawn_at_the_start_and_the_end_alone(policy):
    def drawn(updates, final):
        ledger = Ledger(updates=updates)
        frame = rows_of(policy, ledger, final=final, temperature=[1.0, 0.6])[0]
        return set(frame["decoding"])

    curve = {"greedy", "sampled"}
    assert drawn(0, False) == drawn(9, True) == {*curve, "T=0.6"}
    assert drawn(3, False) == curve


def test_the_scores_of_a_further_temperature_are_its_own(tmp_path):
    import pandas as pd

    import results

    synthetic.write_suite(tmp_path / "s", methods=["grpo"], seeds=2, questions=20, samples=3,
                          evaluations=3, steps=4, curve={"test": 8})  # fmt: skip
    for file in tmp_path.glob("s/*/evals.parquet"):
        rows = pd.read_parquet(file).astype({"decoding": str})
        ends = rows[(rows["decoding"] == "sampled") & rows["step"].isin([0, 4])]
        right = ends["sample"] < 2  # of three
        cold = ends.assign(decoding="T=0.6", correct=right, extracted="7")
        pd.concat([rows, cold]).to_parquet(file)
    loaded, plain = results.load(tmp_path / "s"), {}
    for decoding in ("greedy", "sampled", "T=0.6"):
        plain[decoding] = scores.question_scores(loaded, "test", decoding)["score"].mean()
    assert plain["T=0.6"] == pytest.approx(2 / 3) != pytest.approx(plain["sampled"])
    cold = {"split": "test", "sampled": "T=0.6"}
    assert (scores.metric_scores(loaded, "avg", **cold)["score"] == 2 / 3).all()
    assert (scores.metric_scores(loaded, "pass@2", **cold)["score"] == 1).all()
    assert (scores.metric_scores(loaded, "maj", **cold)["score"] > 0).all()
    assert scores.metric_scores(loaded, "greedy", **cold)["score"].mean() == plain["greedy"]
    cube = scores.sample_cube(loaded, "grpo", "test", decoding="T=0.6")
    assert cube.shape == (2, 20, 3) and cube.mean() == pytest.approx(2 / 3)
    assert scores.run_scores(loaded, "test", "T=0.6")["step"].drop_duplicates().tolist() == [0, 4]
    assert loaded.tally.most_samples == 3 and scores.headline_metric(loaded) == "avg"
