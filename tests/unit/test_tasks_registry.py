"""One registry class for tasks and methods: names, variants, plug-in files, installed packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import BaseModel

import methods
import tasks
from methods.grpo import GRPO
from methods.registry import METHODS
from methods.sft import SFT
from tasks import TASKS, Task, registry
from tasks.arithmetic import Arithmetic
from tasks.fractions import Fractions
from tasks.registry import Registry

ROOT = Path(__file__).parents[2]

PLUGIN = '''
"""A plug-in with postponed annotations, which are looked up in its module."""
from __future__ import annotations
from dataclasses import dataclass
from typing import Literal
from tasks import Example, Grade, Task

@dataclass(frozen=True)
class Loud:
    marks: int = 0

class Echo(Task):
    """Say it again."""
    word: Literal["hi", "yo"] = "hi"
    loud: Loud = Loud()
    def examples(self, split): return [Example("0", self.word, self.word)]
    def grade(self, example, responses):
        same = [r == example.gold for r in responses]
        return [Grade(s, s, "ok", "echo", r, True) for s, r in zip(same, responses)]
    def corpus(self, seed):
        while True: yield self.word, self.word
    def fingerprint(self): return {}
'''


def test_names_and_get():
    assert "arithmetic" in tasks.names()
    assert tasks.names() == sorted(tasks.names())
    assert tasks.get("arithmetic", pool=7).model_dump()["pool"] == 7
    assert tasks.entry("arithmetic").about.startswith("Running sums")


def test_unknown_task_names_the_nearest():
    with pytest.raises(KeyError, match="did you mean arithmetic"):
        tasks.get("arithmetics")
    with pytest.raises(KeyError, match=r"known: .*arithmetic"):
        tasks.get("zzzzzzzzzzzzzz")


def test_duplicate_name_and_wrong_preset_are_refused():
    cls = tasks.entry("arithmetic").cls
    with pytest.raises(ValueError, match="registered already, by Arithmetic"):
        tasks.register("arithmetic")(cls)
    with pytest.raises(ValueError, match="no field pond"):
        tasks.register("arithmetic-pond", pond=3)(cls)
    assert "arithmetic-pond" not in tasks.names()


def test_plugin_from_a_file(tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    task = tasks.get(f"{tmp_path}/mine.py:Echo", word="yo")
    assert isinstance(task, Task)
    assert [g.correct for g in task.grade(task.examples("test")[0], ["yo", "no"])] == [True, False]
    assert tasks.entry(f"{tmp_path}/mine.py:Echo").about == "Say it again."
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.py").write_text(PLUGIN.replace("Say it again.", "Another."))
    assert tasks.entry(f"{tmp_path}/other/mine.py:Echo").about == "Another."
    with pytest.raises(KeyError, match=r"no Task in .*there: Echo"):
        tasks.get(f"{tmp_path}/mine.py:Ecko")
    with pytest.raises(KeyError, match="no file"):
        tasks.get(f"{tmp_path}/none.py:Echo")
    with pytest.raises(KeyError, match=r"mine\.py:MyTask"):
        tasks.get(f"{tmp_path}/mine.py")
    for line, told in (("class A(:", "SyntaxError"), ("import no_such_package", "ModuleNotFound")):
        (tmp_path / f"{told}.py").write_text(f"x = 1\n{line}\n")
        with pytest.raises(KeyError, match=rf"{told}\.py:2: {told}"):
            tasks.get(f"{tmp_path}/{told}.py:A")


def test_a_method_that_cannot_be_built_is_refused():
    with pytest.raises(ValueError, match="greater than 0"):
        methods.register("grpo-unclipped", clip=0)(GRPO)
    assert "grpo-unclipped" not in methods.names()


@pytest.mark.parametrize(
    ("known", "name", "cls", "other"),
    [(METHODS, "grpo", GRPO, SFT), (TASKS, "arithmetic", Arithmetic, Fractions)],
)
def test_a_package_with_a_name_that_is_taken_is_refused(
    known: Registry[BaseModel], name, cls, other, monkeypatch
):
    for loaded in (cls, other):
        fresh = Registry(known.kind, known.base, known.package, known.complete)
        fresh.register(name)(cls)
        point = SimpleNamespace(name=name, load=lambda loaded=loaded: loaded)
        monkeypatch.setattr(registry, "entry_points", lambda group, point=point: [point])
        if loaded is cls:  # its module registered it before the entry point named it
            assert fresh.entry(name).cls is cls
            continue
        with pytest.raises(ValueError, match=f"{name!r} is registered already, by {cls.__name__}"):
            fresh.names()


def test_listing_names_imports_no_package_inside():
    """The laws, the checker and lm-eval's file are rooms of their own."""
    code = (
        "import sys, methods; methods.names()\n"
        "assert not [m for m in sys.modules if m.startswith('methods.laws')]\n"
        "import tasks; tasks.names()\n"
        "assert not [m for m in sys.modules if m.startswith('tasks.lm_eval')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_importing_the_registry_is_light():
    heavy = {"torch", "transformers", "pandas", "numpy", "rich"}
    code = f"import sys, tasks.registry; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
