"""The grid: the runs of a suite, spread over worker processes. A run that fails or a worker that is
killed does not stop the others.

The run folders are the only truth: the parent reads progress from them, and a second call skips
finished runs and resumes the others.
"""

import json
import multiprocessing
import os
import shutil
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Any, Literal

from bench.config import ConfigError, RunConfig, Suite
from bench.core.files import write_atomic
from bench.core.memory import keep_freed
from bench.record.store import RunFolder

from .merge import stored, union

ATTEMPTS = 2  # of a run whose worker was killed
FULL = 1 << 20  # bytes: below this much free space we report a full disk as the cause

RunStatus = Literal["waiting", "running", "finished", "diverged", "failed", "busy"]


@dataclass
class RunState:
    """One run, as the parent process sees it."""

    run: RunConfig
    status: RunStatus = "waiting"
    error: str | None = None
    attempts: int = 0

    def position(self, suite_folder: Path) -> dict[str, Any]:
        """The row of the last complete step on disk; empty before the first."""
        path = suite_folder / self.run.name / "steps.jsonl"
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - 16384))
                lines = file.read().split(b"\n")
        except OSError:
            return {}
        for line in reversed(lines[:-1]):  # what follows the last newline is incomplete
            with suppress(ValueError):
                return json.loads(line)
        return {}


@dataclass
class Worker:
    process: BaseProcess
    pipe: Connection
    state: RunState | None = None


def run_suite(
    suite: Suite,
    out: Path,
    workers: int,
    *,
    threads: int = 1,
    device: str = "cpu",
    watch: Callable[[list[RunState]], None] = lambda states: None,
) -> list[RunState]:
    """Run what is not done, with so many threads per worker. `watch` is called about twice a second
    with the states of all runs. The folder's suite.json keeps what it held before, so that `resume`
    finishes all of it.

    Raises:
        ConfigError: the folder's suite declares another comparison.
        OSError: `out` cannot be written to.
    """
    out.mkdir(parents=True, exist_ok=True)
    whole = union(stored(out), suite)
    write_atomic(out / "suite.json", json.dumps(whole.model_dump(mode="json"), indent=1))
    states = [RunState(run) for run in suite.runs]
    for state in states:
        if done := RunFolder(out / state.run.name).done:
            state.status = done.status
    queue = deque(state for state in states if state.status == "waiting")
    crew = [_hire(threads) for _ in range(min(workers, len(queue)))]

    def assign(worker: Worker) -> None:
        if queue:
            state = worker.state = queue.popleft()
            state.status, state.attempts = "running", state.attempts + 1
            worker.pipe.send((state.run, out, suite.name, device))

    try:
        for worker in crew:
            assign(worker)
        while any(worker.state for worker in crew):
            ready = wait([w.pipe for w in crew if w.state], timeout=0.5)
            for i, worker in enumerate(crew):
                if worker.state and worker.pipe in ready:
                    if not _collect(worker, queue):
                        crew[i] = _hire(threads)
                    assign(crew[i])
            watch(states)
    finally:
        for worker in crew:
            if worker.state:
                worker.process.terminate()
            else:
                worker.pipe.close()  # an idle worker ends when its pipe does
        for worker in crew:
            worker.process.join(timeout=10)
    watch(states)
    return states


def _hire(threads: int) -> Worker:
    # torch reads these when it is imported, in the child
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, threads), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours)


def _collect(worker: Worker, queue: deque[RunState]) -> bool:
    """Note how the worker's run ended; False if the worker itself is gone."""
    state, worker.state = worker.state, None
    assert state is not None
    try:
        state.status, state.error = worker.pipe.recv()
        return True
    except EOFError:
        worker.process.join()
        state.status = "failed" if state.attempts >= ATTEMPTS else "waiting"
        state.error = f"the worker process ended with exit code {worker.process.exitcode}"
        if state.status == "waiting":
            queue.append(state)
        return False


def _work(pipe: Connection, threads: int) -> None:
    """A worker: runs what comes through the pipe until it closes."""
    import logging

    import torch
    import transformers

    Thread(target=_end_with_the_parent, daemon=True).start()
    keep_freed()
    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for name in ("accelerate", "evenbench.tasks"):  # the parent warns of rows left out
        logging.getLogger(name).setLevel(logging.ERROR)
    from .launch import launch

    busy = ("busy", "another process is running it")
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            run, out, suite, device = pipe.recv()
            try:
                done = launch(run, out, suite, device)
                pipe.send((done.status, done.reason) if done else busy)
            except Exception as error:  # of any kind: the other runs go on
                pipe.send(("failed", _explained(error, out / run.name)))


def _end_with_the_parent() -> None:
    """End this worker when its suite is killed: it would keep its run locked for a resumed one."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _explained(error: Exception, folder: Path) -> str:
    """The message for a run that failed; the traceback is in its error.txt."""
    story = "".join(traceback.format_exception(error))
    with suppress(OSError):  # the disk may be full
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").write_text(story)
    if "No space left" in story or shutil.disk_usage(folder.parent).free < FULL:
        return f"the disk of {folder.parent} is full: {type(error).__name__}: {error}"
    known = isinstance(error, (ConfigError, ValueError, OSError))
    return f"{type(error).__name__}: {error if known else story}"


def expected_end(states: list[RunState], out: Path, started: float, workers: int) -> float | None:
    """Seconds left for the suite, from the share done since `started`; None before any is done."""
    share = float(sum(state.status not in ("waiting", "running") for state in states))
    for state in (s for s in states if s.status == "running"):
        budget = state.run.budget
        share += min(1.0, state.position(out).get(budget.axis, 0.0) / budget.amount)
    return None if share <= 0 else (time.time() - started) * (len(states) - share) / share
