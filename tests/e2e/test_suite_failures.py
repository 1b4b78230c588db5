"""What becomes of a suite when the disk is full or the machine kills it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from bench.suite.grid import _explained

SUITE = """
import time
from bench.suite.grid import _hire
if __name__ == "__main__":
    print(_hire(1).process.pid, flush=True)
    time.sleep(600)
"""


def test_a_full_disk_is_named_even_where_nothing_can_be_written(tmp_path):
    (tmp_path / "run").write_text("in the place of the folder")  # so that error.txt cannot be
    text = _explained(RuntimeError("No space left on device"), tmp_path / "run")
    assert text.startswith(f"the disk of {tmp_path} is full: RuntimeError")
    assert (tmp_path / "run").is_file()


def test_what_is_known_is_short_and_what_is_not_comes_with_its_story(tmp_path):
    told = []
    for kind in (ValueError, ZeroDivisionError):
        try:
            raise kind("odd")
        except kind as error:
            told.append(_explained(error, tmp_path / "run"))
    assert told[0] == "ValueError: odd"
    assert "Traceback" in told[1] and (tmp_path / "run" / "error.txt").read_text() in told[1]


@pytest.mark.slow
def test_workers_of_a_killed_suite_end(tmp_path):
    (tmp_path / "suite.py").write_text(SUITE)
    command = [sys.executable, str(tmp_path / "suite.py")]
    here = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    parent = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": here}
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    time.sleep(20)  # the worker is at its work: it has imported torch
    os.kill(worker, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(50):
        time.sleep(0.2)
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
    pytest.fail("the worker lives on")
