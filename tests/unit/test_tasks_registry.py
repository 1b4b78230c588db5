import pytest

import tasks
from tasks import Task, registry

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
        registry.register("arithmetic")(cls)
    with pytest.raises(ValueError, match="no field pond"):
        registry.register("arithmetic-pond", pond=3)(cls)
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
