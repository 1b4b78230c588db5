"""Laws of every registered objective. A new method is held to them by being registered."""

from __future__ import annotations

import pytest
import torch
from pydantic import Field

import methods
from methods import Leaves, Loss, Method, Needs, Rollout, Signal, reduce
from methods.laws.contract import LAWS, check_law, check_method
from methods.search import Between, OneOf, space

from . import factory

CASES = factory.cases()
# with the registered fields; a law that stops testing a method must be entered here
DO_NOT_APPLY = {
    "a minibatch is the objective of its own groups": {"kto"},
    "metrics use the vocabulary": {"reinforce", "rloo"},
    "untrained rows have no influence": {
        "dft", "gift-author-code", "kto", "naive", "ppo", "reinforce", "reinforce++", "rift",
        "rift-is", "sft", "topr", "una", "unlikelihood", "w-reinforce",
    },
}  # fmt: skip


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("case", CASES, ids=map(factory.label, CASES))
def test_law(case, law):
    name, fields = case
    found = check_law(law, methods.get(name, **fields))
    assert found.outcome != "fails", found.why
    if not fields:
        applies = name not in DO_NOT_APPLY.get(law, set())
        assert found.outcome == ("holds" if applies else "does not apply"), found.why
    if found.outcome == "does not apply":
        assert law in DO_NOT_APPLY and found.why


def test_registry_describes_each_method():
    for name in methods.names():
        found = methods.entry(name)
        assert found.about
        assert (found.cls.__doc__ or "").strip()
        assert methods.get(name).needs().source in methods.get(name).needs().sources


# the laws can fail: one method for each way of passing that would mean nothing


class Plain(Method):
    """Likelihood of right samples, which keeps every law."""

    unbounded = "from above only: the surprise at a right answer has no limit"

    def needs(self) -> Needs:
        return Needs(learns_from=("verdict",))

    def signal(self, rollout: Rollout) -> Signal:
        return Signal(None, None, reduce.samples(rollout) & rollout.correct_N)

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        live_NT = reduce.live(rollout, signal)
        total = reduce.keep(self.term(leaves, rollout), live_NT).sum()
        return Loss(-reduce.ratio_of(total, live_NT.sum()))

    def term(self, leaves: Leaves, rollout: Rollout) -> torch.Tensor:
        return leaves.logp_NT


class Constant(Plain):
    """Nothing is learned from anything."""

    def term(self, leaves, rollout):
        return 0 * leaves.logp_NT


class Idle(Plain):
    """Asks for a reference and never reads it."""

    def needs(self):
        return Needs(reference=True, learns_from=("verdict",))


class RewardsOnly(Plain):
    """Learns from the checker's verdict and declares the task's reward."""

    def needs(self):
        return Needs(learns_from=("reward",))


class VerdictsOnly(Plain):
    """Learns from the reward too and does not declare it."""

    def term(self, leaves, rollout):
        return leaves.logp_NT * rollout.reward_N[:, None]


class Unjudged(Plain):
    """Learns from the verdict and declares that reference answers are all it learns from."""

    def needs(self):
        return Needs(learns_from=())


class Undeclared(Plain):
    """Reads a reference that it does not ask for, through `reduce`, which takes None for 0."""

    def term(self, leaves, rollout):
        return reduce.log_ratio(leaves.logp_NT, rollout.ref_logp_NT, rollout.mask_NT).exp()


class NeedsNoneOf(Plain):
    """Reads a reference that it does not ask for, and meets None."""

    def term(self, leaves, rollout):
        return (leaves.logp_NT - rollout.ref_logp_NT).exp()  # pyright: ignore[reportOperatorIssue]


class Coupled(Plain):
    """The weight of every token is a mean over the whole minibatch."""

    stop_gradients = "the weight"

    def term(self, leaves, rollout):
        right_NT = rollout.mask_NT & rollout.correct_N[:, None]
        mean = reduce.mean_live(leaves.logp_NT.exp(), right_NT)
        return (leaves.logp_NT - reduce.stop(mean)).square()


class Selfish(Plain):
    """Only the group with the most rows is learned from: the others' gradients are zero in company
    and not alone, and a zero is parallel to everything."""

    def term(self, leaves, rollout):
        groups = reduce.Groups.of(rollout.group_N, rollout.correct_N)
        likes_N = groups.count() * 100 - groups.index_N
        return leaves.logp_NT * (likes_N == likes_N.max())[:, None]


class Vain(Plain):
    """Declares a coupling that it does not have."""

    coupled = "everything hangs together"


class Misspelt(Plain):
    """Searches a field that it does not have."""

    def search(self):
        return {"betta": Between(0.1, 1, "nowhere")}


class Greedy(Plain):
    """Searches more than the others may."""

    weight: float = 1.0
    margin: float = 1.0

    def search(self):
        return dict.fromkeys(("weight", "margin"), Between(0.1, 1, "ours"))


class OutOfBounds(Plain):
    """Searches values that it refuses."""

    weight: float = Field(1.0, le=2)

    def search(self):
        return {"weight": Between(0.1, 3, "ours")}


def outcomes(method: Method) -> dict[str, str]:
    return {found.law: found.outcome for found in check_method(method)}


def test_a_plain_method_keeps_every_law():
    found = outcomes(Plain())
    assert {law for law, outcome in found.items() if outcome != "holds"} == {
        "metrics use the vocabulary"
    }


@pytest.mark.parametrize(
    ("cls", "laws"),
    [
        (Constant, ["gradient equals finite differences", "pure", "padding does not matter"]),
        (RewardsOnly, ["what it learns from is declared"]),
        (VerdictsOnly, ["what it learns from is declared"]),
        (Unjudged, ["what it learns from is declared"]),
        (Constant, ["what it learns from is declared"]),
        (Idle, ["what it reads is declared"]),
        (Undeclared, ["what it reads is declared"]),
        (NeedsNoneOf, ["what it reads is declared"]),
        (Coupled, ["a minibatch is the objective of its own groups"]),
        (Selfish, ["a minibatch is the objective of its own groups"]),
        (Vain, ["a minibatch is the objective of its own groups"]),
        (Misspelt, ["what is tuned is declared"]),
        (Greedy, ["what is tuned is declared"]),
        (OutOfBounds, ["what is tuned is declared"]),
    ],
)
def test_a_law_that_would_pass_without_testing_fails(cls, laws):
    found = outcomes(cls())
    assert [found[law] for law in laws] == ["fails"] * len(laws)


def test_a_search_space_is_the_rate_and_at_most_two_more():
    assert [*space(methods.get("grpo"))] == ["lr", "minibatches"]
    assert [*space(methods.get("grao"))] == ["lr", "beta"]  # one update a rollout batch only
    assert [*space(methods.get("ppo"))] == ["lr", "minibatches", "critic_lr"]
    assert [*space(methods.get("gift-detached"))] == ["lr", "minibatches", "beta"]
    assert [*space(methods.get("gift"))] == ["lr", "minibatches", "std_floor"]


def test_ranges():
    """Uniform in the logarithm; a tenth of it at each end is the edge."""
    decade = Between(0.01, 100, "a test")
    assert [decade.at(share) for share in (0, 0.25, 0.5, 1)] == [0.01, 0.1, 1, 100]
    assert [decade.edge(v) for v in (0.01, 0.024, 0.026, 39, 41)] == ["low", "low", "", "", "high"]
    few = OneOf((1, 4), "a test")
    assert [few.at(share) for share in (0, 0.49, 0.5, 1)] == [1, 1, 4, 4]
    assert (few.edge(4), str(few), str(decade)) == ("", "1|4", "0.01..100")


def test_a_declared_coupling_is_said():
    class Honest(Coupled):
        coupled = "the weight is a mean over the minibatch"

    found = check_law("a minibatch is the objective of its own groups", Honest())
    assert (found.outcome, found.why) == ("does not apply", Honest.coupled)
