"""Objectives and tasks of one's own: a file to start from with its law test, and what holds."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

METHOD = '''"""{cls}: say here in words what it does."""

from pydantic import Field

from methods import Leaves, Loss, Method, Needs, Rollout, Signal, reduce


class {cls}(Method):
    """Raise right answers by their likelihood; write your equation here.

        loss = -weight * sum_{{right, t}} lp_t / number of their tokens
    """

    paper = ""
    # Why the loss has no bound as a log-probability falls; leave it out where it has one.
    unbounded = "from above only: the surprise at a right answer has no limit"

    weight: float = Field(1.0, gt=0)  # hyper-parameters are checked fields

    def needs(self) -> Needs:
        # Ask here for a reference, a critic, gold answers, pairs, ... The checker's verdict is
        # rollout.correct_N; ("reward",), the default, is rollout.reward_N.
        return Needs(learns_from=("verdict",))

    def signal(self, rollout: Rollout) -> Signal:
        # Once a batch of rollouts, without the policy: advantages, and which rows are trained.
        return Signal(None, None, trained_N=reduce.samples(rollout) & rollout.correct_N)

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        live_NT = reduce.live(rollout, signal)  # bool: tokens of the trained rows
        total = reduce.keep(leaves.logp_NT, live_NT).sum()
        return Loss(-self.weight * reduce.ratio_of(total, live_NT.sum()))
'''

TEST = '''"""The laws that every objective is held to."""

from pathlib import Path

import pytest

import methods
from methods.laws.contract import LAWS, check_law

METHOD = f"{{Path(__file__).with_name('{module}.py')}}:{cls}"


@pytest.mark.parametrize("law", LAWS)
def test_law(law):
    found = check_law(law, methods.get(METHOD))
    if found.outcome == "does not apply":
        pytest.skip(found.why)
    assert found.outcome == "holds", found.why
'''


def new(name: str, folder: Path) -> list[Path]:
    """Write `my_method.py` and `test_my_method.py` for the name "my-method".

    Raises:
        ValueError: the name cannot be made into the name of a class.
        FileExistsError: one of the files exists; nothing is written.
    """
    module = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", module) or keyword.iskeyword(module):
        raise ValueError(f"{name!r}: lower-case letters, digits and -, a letter first")
    cls = "".join(word.capitalize() for word in module.split("_"))
    files = {folder / f"{module}.py": METHOD, folder / f"test_{module}.py": TEST}
    for file in files:
        if file.exists():
            raise FileExistsError(f"{file} exists; nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    for file, template in files.items():
        file.write_text(template.format(cls=cls, module=module))
    return list(files)


def _table(title: str | None, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True)
    table.add_column(columns[-1], overflow="fold")
    return table


def check_method(name: str) -> tuple[bool, list[Table]]:
    """Whether no law fails, and a table with the outcome of each law, its name, and below it what
    there is to say. Raises KeyError or ValidationError."""
    import methods
    from methods.laws import contract

    findings = contract.check_method(methods.get(name))
    colours = {"holds": "green", "does not apply": "yellow", "fails": "bold red"}
    table = _table(None, "outcome", "law")
    for found in findings:
        said = Text(found.law)
        if found.why:
            said.append(f"\n  {found.why}", "red" if found.outcome == "fails" else "dim")
        table.add_row(Text(found.outcome, colours[found.outcome]), said)
    return all(found.outcome != "fails" for found in findings), [table]


def check_task(name: str, listed: int = 20) -> tuple[bool, list[Table]]:
    """Whether the contract holds, with tables: what is broken of it, how many questions each split
    has, the rows left out, and the questions that stand in two splits (which breaks nothing: the
    data are as their authors made them). Raises KeyError or ValidationError."""
    import tasks
    from tasks import TaskError, contract
    from tasks.overlap import NORMALISATIONS, split_overlaps

    task = tasks.get(name)
    findings = contract.check_task(task)
    rules = _table(f"{name}: contract", "rule", "broken by")
    for found in findings or [("every rule", "nothing")]:
        rules.add_row(*map(Text, found))
    try:
        data = _table("Data", "split", "questions", "rows left out")
        left_out = [line for split in task.splits for line in task.broken(split)]
        for split in task.splits:
            count = len(task.broken(split))
            data.add_row(split, f"{len(task.examples(split)):,}", str(count) if count else "")
        left = _table("Left out", "row: reason")
        for line in list(dict.fromkeys(left_out))[:listed]:
            left.add_row(Text(line))
        shared = {normal: split_overlaps(task, normal) for normal in NORMALISATIONS}
    except TaskError:
        return False, [rules]  # it is among the findings
    loosest = list(shared)[-1]
    counts = ", ".join(f"{normal} {len(pairs)}" for normal, pairs in shared.items())
    twice = _table(f"Questions in two splits, by normalisation: {counts}", "splits", loosest)
    for pair in shared[loosest][:listed]:
        flat = " ".join(pair.second.prompt.split())
        twice.add_row(" and ".join(pair.splits), Text(flat[:160] + " ..." * (len(flat) > 160)))
    rest = [table for table in (left, twice) if table.row_count]
    return not findings, [rules, data, *rest]
