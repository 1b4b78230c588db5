"""Where old log-probabilities come from, for every registered method, source and number of updates;
and that the batch of a run then holds them, or does not."""

import pytest
import torch

import methods
from bench.model import start
from bench.record.ledger import Flops, Ledger
from bench.train.batch import Assembler, Group, Response, old_logp
from bench.train.rewards import reward_function
from bench.train.scoring import Scorer
from methods import Needs
from tests import tiny

CASES = [
    (Needs(old="no"), "policy", 1, "none"),
    (Needs(old="no"), "replay", 4, "none"),
    (Needs(old="loss"), "policy", 1, "own_pass"),
    (Needs(old="loss"), "policy", 4, "scored"),
    (Needs(old="loss"), "replay", 1, "start"),
    (Needs(old="loss"), "demonstrations", 1, "scored"),
    (Needs(old="signal"), "policy", 1, "scored"),
    (Needs(old="signal"), "policy", 4, "scored"),
    (Needs(old="signal"), "replay", 1, "start"),
]


@pytest.mark.parametrize(("needs", "source", "updates", "expected"), CASES)
def test_the_table(needs, source, updates, expected):
    assert old_logp(needs, source, updates) == expected


def test_a_correction_reads_them_whatever_the_objective_does():
    assert old_logp(Needs(old="no"), "policy", 1, corrected=True) == "own_pass"
    assert old_logp(Needs(old="no"), "policy", 2, corrected=True) == "none"
    assert old_logp(Needs(old="loss"), "policy", 2, corrected=True) == "scored"


@pytest.mark.parametrize("name", ["grpo", "ppo", "sft", "reinforce++"])
@pytest.mark.parametrize("updates", [1, 2])
def test_a_scored_batch_holds_what_was_decided(name, updates):
    run = tiny.run(name)
    task, method = run.build_task(), methods.get(name)
    policy = start.load(start.ensure(run.model, task), run.model)
    example = task.examples("train")[0]
    texts = [example.solution or "", "#### 0"]
    ids = [policy.encode_response(text) for text in texts]
    grades = task.grade(example, texts)
    rows = [Response(i, t, g, finished=True) for i, t, g in zip(ids, texts, grades, strict=True)]
    assembler = Assembler(run, task, policy, reward_function("correct"))
    source = method.needs().source
    batch = assembler.batch([Group(example, rows)], method.needs(), rollout=0, progress=0.0)
    needs, ledger = method.needs(), Ledger()
    critic = None
    if needs.critic:
        from bench.model.policy import Critic

        critic = Critic(start.load(start.ensure(run.model, task), run.model).model)
    frozen = policy.reference()
    scorer = Scorer(policy, frozen, critic, Flops.of(policy.model), micro_tokens=10_000)
    old = old_logp(needs, source, updates)
    scored = scorer.scored(batch, method, old, ledger)
    assert scored.old == old
    assert (scored.rollout.old_logp_NT is None) == (old in ("none", "own_pass"))
    assert (ledger.tokens_scored > 0) == (old == "scored" and bool(scored.signal.trained_N.any()))
    some = scored.select(torch.arange(len(batch.tokens)))
    assert some.old == old
