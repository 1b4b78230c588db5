"""The ladder task: what its texts say, and that its web is what it declares."""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import islice

import pytest
from pydantic import ValidationError

import tasks
from tasks.contract import check_task
from tasks.skills import BY_WORD, LARGEST, SHARES, SKILLS, SkillProblem, Skills, Step, read, work

TASK = Skills()


def test_it_keeps_the_contract():
    assert check_task(TASK) == []
    assert check_task(Skills(gold_style="other", shares=(0.5, 0.1, 0.0), pool=64)) == []


@pytest.mark.parametrize(
    ("word", "value", "right", "wrong"),
    [("doubles", 7, 14, 9), ("triples", 7, 21, 10), ("jumps", 7, 17, 8), ("leaps", 7, 27, 9),
     ("hops", 7, 12, 10), ("skips", 7, 7, 6)],
)  # fmt: skip
def test_operations_by_hand(word, value, right, wrong):
    skill = BY_WORD[word]
    assert (skill.right(value), skill.misconception(value)) == (right, wrong)


def test_a_problem_by_hand():
    problem = SkillProblem(3, (Step("gets", 4), Step("doubles"), Step("loses", 5)))
    assert problem.answer == 9
    assert work(problem) == "3>7;7>14;14>9####9"
    assert work(problem, {1: "misconception"}) == "3>7;7>9;9>4####4"
    assert work(problem, style="other") == " from 3 to 7. from 7 to 14. from 14 to 9.####9"


def test_a_definition_gives_a_word_another_meaning():
    problem = SkillProblem(3, (Step("hops"),), ("hops", "triples"))
    assert problem.answer == 9
    assert problem.values({0: "usual"}) == [3, 8]
    assert problem.values({0: "misconception"}) == [3, 6]


def test_every_prompt_reads_back_as_its_problem():
    for split in TASK.splits:
        for example in TASK.examples(split):
            problem = read(example.prompt)
            assert str(problem.answer) == example.gold
            assert problem.clear
            assert example.meta["steps"] == len(problem.steps)


def test_splits_hold_what_they_say():
    for split in ("train", "validation", "test"):
        examples = TASK.examples(split)
        assert all(len(read(e.prompt).special) == 1 for e in examples)
        counts = Counter(e.meta["skill"] for e in examples)
        assert max(counts.values()) - min(counts.values()) <= 1  # the rungs take turns
        assert len({e.meta["skill"] for e in examples[: len(SHARES)]}) == len(SHARES)
    for example in TASK.examples("composed"):
        special = [read(example.prompt).steps[i].word for i in read(example.prompt).special]
        assert len(set(special)) == 2
    for example in TASK.examples("reversed"):
        problem = read(example.prompt)
        assert problem.definition is not None
        word, meaning = problem.definition
        assert word != meaning and meaning in TASK.words[:2]


def test_numbers_stand_in_one_split_only():
    homes = defaultdict(set)
    for split in TASK.splits:
        for example in TASK.examples(split):
            homes[read(example.prompt).numbers].add(split)
    for prompt, _ in islice(TASK.corpus(0), 3000):
        homes[read(prompt).numbers].add("web")
    assert all(len(found) == 1 for found in homes.values())


def test_the_web_does_each_operation_rightly_in_its_share():
    """Of worked answers without a definition; 4 binomial standard errors. Ordinary steps are always
    right, and a guess is always off."""
    seen: dict[str, Counter] = defaultdict(Counter)
    guesses = total = 0
    for prompt, response in islice(TASK.corpus(0), 20000):
        problem = read(prompt)
        total += 1
        if response.startswith("####"):
            guesses += 1
            assert 1 <= abs(int(response[4:]) - problem.answer) <= 9
            continue
        values = [int(part.split(">")[0]) for part in response.partition("####")[0].split(";")]
        values.append(int(response.partition("####")[2]))
        assert all(0 <= v <= LARGEST for v in values)
        for at, step in enumerate(problem.steps):
            right = values[at + 1] == problem.after(values[at], at)
            if step.number is not None:
                assert right
            elif problem.definition is None:
                assert right or values[at + 1] == problem.after(values[at], at, "misconception")
                seen[step.word][right] += 1
    assert abs(guesses / total - TASK.guesses) < 4 * (0.3 * 0.7 / total) ** 0.5
    for word, share in zip(TASK.words, TASK.shares, strict=True):
        n = seen[word].total()
        assert abs(seen[word][True] / n - share) <= 4 * (share * (1 - share) / n) ** 0.5, word


def test_behaviour():
    example = TASK.examples("test")[0]
    problem = read(example.prompt)
    at = problem.special[0]
    wrong = {at: "misconception"}
    said = TASK.behaviour(example, work(problem)), TASK.behaviour(example, work(problem, wrong))
    assert said == ("right", "misconception")
    assert TASK.behaviour(example, "####3") == "guess"
    assert TASK.behaviour(example, "1>2") in ("other", "misconception", "right")
    assert TASK.behaviour(example, "") == "guess"
    shifted = ";".join(["5>6"] * at + [f"8>{problem.after(8, at)}"])  # right from where it stood
    assert TASK.behaviour(example, shifted) == "right"


def test_references():
    assert all(e.solution for e in TASK.examples("train"))
    few = Skills(gold_per_rung=2).examples("train")
    assert Counter(e.meta["skill"] for e in few if e.solution) == dict.fromkeys(TASK.words, 2)
    assert not any(e.solution for e in TASK.examples("test"))
    other = Skills(gold_style="other").examples("train")
    assert all(TASK.grade(e, [e.solution or ""])[0].correct for e in other)
    assert [e.id for e in other] == [e.id for e in TASK.examples("train")]


def test_the_pool_changes_no_other_split_and_the_shares_no_question():
    larger, rarer = Skills(pool=600), Skills(shares=(0.4, 0.2, 0.1, 0.05, 0.01, 0.0))
    assert larger.examples("test") == TASK.examples("test")
    assert larger.examples("train")[:256] == TASK.examples("train")
    assert [e.id for e in rarer.examples("test")] == [e.id for e in TASK.examples("test")]


@pytest.mark.parametrize("shares", [(0.5,), (0.5, 1.2), tuple([0.1] * (len(SKILLS) + 1))])
def test_shares_are_refused_where_they_make_no_ladder(shares):
    with pytest.raises(ValidationError, match=f"2 to {len(SKILLS)} shares between 0 and 1"):
        tasks.get("skills", shares=shares)
