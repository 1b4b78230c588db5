"""Objectives of one's own: a file to start from with its law test, and the table of what holds."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from methods.contract import Finding

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
        return Needs()  # ask here for a reference, a critic, gold answers, pairs, ...

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
from methods.contract import LAWS, check_law

METHOD = f"{{Path(__file__).with_name('{module}.py')}}:{cls}"


@pytest.mark.parametrize("law", LAWS)
def test_law(law):
    found = check_law(law, methods.get(METHOD))
    if found.verdict == "does not apply":
        pytest.skip(found.why)
    assert found.verdict == "holds", found.why
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


def check_table(findings: list[Finding]) -> Table:
    """A row a law: its verdict, its name, and below it what there is to say."""
    colours = {"holds": "green", "does not apply": "yellow", "fails": "bold red"}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("verdict", no_wrap=True)
    table.add_column("law", overflow="fold")
    for found in findings:
        said = Text(found.law)
        if found.why:
            said.append(f"\n  {found.why}", "red" if found.verdict == "fails" else "dim")
        table.add_row(Text(found.verdict, colours[found.verdict]), said)
    return table
