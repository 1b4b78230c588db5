"""Objectives and tasks of your own: a file to start from with its law test, and checks."""

import keyword
import re
from pathlib import Path
from string import Template

from rich.table import Table
from rich.text import Text

from .listing import table_of

TEMPLATES = Path(__file__).parent / "templates"


def new(name: str, folder: Path) -> list[Path]:
    """Write `my_method.py` and `test_my_method.py` for the name "my-method".

    Raises ValueError: no class can have that name; FileExistsError: one of the files exists.
    """
    module = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", module) or keyword.iskeyword(module):
        raise ValueError(f"{name!r}: use lower-case letters, digits and -, beginning with a letter")
    cls = "".join(word.capitalize() for word in module.split("_"))
    files = {folder / f"{start}{module}.py": f"{start}method.py.txt" for start in ("", "test_")}
    if there := next((file for file in files if file.exists()), None):
        raise FileExistsError(f"{there} exists; nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    for file, template in files.items():
        text = Template((TEMPLATES / template).read_text())
        file.write_text(text.substitute(cls=cls, module=module))
    return list(files)


def check_method(name: str) -> tuple[bool, list[Table]]:
    """Whether no law fails, and a table of the laws with their outcomes and the reasons.

    Raises KeyError: no such method; ValidationError: it cannot be built.
    """
    import methods
    from methods.laws import contract

    findings = contract.check_method(methods.get(name))
    colours = {"holds": "green", "does not apply": "yellow", "fails": "bold red"}
    table = table_of(None, "outcome", "law")
    for found in findings:
        said = Text(found.law)
        if found.why:
            said.append(f"\n  {found.why}", "red" if found.outcome == "fails" else "dim")
        table.add_row(Text(found.outcome, colours[found.outcome]), said)
    return all(found.outcome != "fails" for found in findings), [table]


def check_task(name: str, listed: int = 20) -> tuple[bool, list[Table]]:
    """Whether the contract holds, and tables: broken rules, questions by split, rows left out, and
    questions that stand in two splits (no broken rule: their authors made the data so).

    Raises KeyError: no such task; ValidationError: it cannot be built.
    """
    import tasks
    from tasks import TaskError, contract
    from tasks.overlap import NORMALISATIONS, split_overlaps

    task = tasks.get(name)
    findings = contract.check_task(task)
    rules = table_of(f"{name}: contract", "rule", "broken by")
    for found in findings or [("every rule", "nothing")]:
        rules.add_row(*map(Text, found))
    try:
        data = table_of("Data", "split", "questions", "rows left out")
        left_out: dict[str, None] = {}
        for split in task.splits:
            broken = task.broken(split)
            data.add_row(split, f"{len(task.examples(split)):,}", str(len(broken) or ""))
            left_out |= dict.fromkeys(broken)
        left = table_of("Left out", "row: reason")
        for line in list(left_out)[:listed]:
            left.add_row(Text(line))
        shared = {normal: split_overlaps(task, normal) for normal in NORMALISATIONS}
    except TaskError:
        return False, [rules]  # it is among the findings
    loosest = list(shared)[-1]
    counts = ", ".join(f"{normal} {len(pairs)}" for normal, pairs in shared.items())
    twice = table_of(f"Questions in two splits, by normalisation: {counts}", "splits", loosest)
    for pair in shared[loosest][:listed]:
        flat = " ".join(pair.second.prompt.split())
        twice.add_row(" and ".join(pair.splits), Text(flat[:160] + " ..." * (len(flat) > 160)))
    rest = [table for table in (left, twice) if table.row_count]
    return not findings, [rules, data, *rest]
