"""Grading in several processes: order kept, killed workers replaced."""

import contextlib
import os
import selectors
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from tasks.answers.check import grade
from tasks.answers.extract import Style
from tasks.answers.options import CheckResult, Options, resolve
from tasks.answers.workers import pipes

SMALLEST = 64  # fewer pairs are graded faster than a worker starts
CHUNK = 200
ATTEMPTS = 3  # of a chunk, and then of each of its pairs alone
SECONDS_PER_PAIR = 20.0  # far above what a pair may take: a worker that needs more is stuck

Pairs = Sequence[tuple[str, str]]


class Job(NamedTuple):
    """Pairs [start, stop), given out for the `attempt`-th time."""

    start: int
    stop: int
    attempt: int


def serve() -> None:
    """A worker: grades the chunks that come in until the input closes."""
    requests, replies = pipes.standard_streams()
    with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        while True:
            pairs, style, options = pipes.receive(requests)
            pipes.send(replies, [grade(answer, gold, style, options) for answer, gold in pairs])


class Pool:
    """Worker processes that stay for the next call."""

    def __init__(self, size: int) -> None:
        self.lock = threading.Lock()  # one call at a time
        self.processes = [pipes.start("tasks.answers.workers.pool") for _ in range(size)]

    def run(
        self, pairs: Pairs, style: str, options: Options, advance: Callable[[int], None]
    ) -> list[CheckResult]:
        """The verdicts of all pairs, in their order."""
        with self.lock:
            return self._run(pairs, style, options, advance)

    def _run(
        self, pairs: Pairs, style: str, options: Options, advance: Callable[[int], None]
    ) -> list[CheckResult]:
        verdicts: list[CheckResult | None] = [None] * len(pairs)
        size = max(1, min(CHUNK, len(pairs) // (4 * len(self.processes))))
        waiting = deque(Job(n, min(n + size, len(pairs)), 1) for n in range(0, len(pairs), size))
        busy: dict[int, tuple[Job, float]] = {}  # by worker: its job and the time to give up
        while waiting or busy:
            for n in range(len(self.processes)):
                if n not in busy and waiting:
                    job = waiting.popleft()
                    if self._give(n, pairs[job.start : job.stop], style, options):
                        seconds = 30.0 + SECONDS_PER_PAIR * (job.stop - job.start)
                        busy[n] = job, time.monotonic() + seconds
                    else:
                        self._retry(n, job, waiting, verdicts, advance=advance)
            for n in self._ready(busy):
                job, _ = busy.pop(n)
                result = self._take(n)
                if result is None:
                    self._retry(n, job, waiting, verdicts, advance=advance)
                    continue
                verdicts[job.start : job.stop] = result
                advance(job.stop - job.start)
        return [verdict for verdict in verdicts if verdict is not None]

    def _give(self, n: int, *message: Any) -> bool:
        stdin = self.processes[n].stdin
        assert stdin is not None
        try:
            pipes.send(stdin, message)
        except OSError:
            return False
        return True

    def _take(self, n: int) -> list[CheckResult] | None:
        """The worker's result, None if it died."""
        stdout = self.processes[n].stdout
        assert stdout is not None
        try:
            return pipes.receive(stdout)
        except (EOFError, OSError):
            return None

    def _ready(self, busy: dict[int, tuple[Job, float]]) -> list[int]:
        """Workers that have something to say, have died, or are out of time (these are killed)."""
        with selectors.DefaultSelector() as selector:
            for n in busy:
                stdout = self.processes[n].stdout
                assert stdout is not None
                selector.register(stdout, selectors.EVENT_READ, n)
            end = min((end for _, end in busy.values()), default=0.0)
            patience = max(0.0, end - time.monotonic())
            ready = [key.data for key, _ in selector.select(patience)]
        if not ready:
            now = time.monotonic()
            ready = [n for n, (_, end) in busy.items() if end <= now]
            for n in ready:
                self.processes[n].kill()
        return ready

    def _retry(
        self,
        n: int,
        job: Job,
        waiting: deque[Job],
        verdicts: list[CheckResult | None],
        advance: Callable[[int], None],
    ) -> None:
        """Replaces a dead worker; its pairs go out again, at last one by one."""
        pipes.stop(self.processes[n])
        self.processes[n] = pipes.start("tasks.answers.workers.pool")
        if job.attempt < ATTEMPTS:
            waiting.appendleft(job._replace(attempt=job.attempt + 1))
        elif job.stop - job.start > 1:
            waiting.extendleft(Job(k, k + 1, 1) for k in range(job.start, job.stop))
        else:
            verdicts[job.start] = CheckResult(False, "limit", "the worker died", None)
            advance(1)

    def close(self) -> None:
        for process in self.processes:
            pipes.stop(process)


_pools: dict[int, Pool] = {}


def shared(size: int) -> Pool:
    """The pool of this process with so many workers, started at its first use."""
    if size not in _pools:
        close()
        _pools[size] = Pool(size)
    return _pools[size]


def close() -> None:
    """Ends the workers; the next call that needs them starts new ones."""
    while _pools:
        _pools.popitem()[1].close()


os.register_at_fork(after_in_child=_pools.clear)


def grade_many(
    pairs: Iterable[Sequence[str]],
    workers: int = 1,
    style: Style = "auto",
    options: Options | None = None,
    progress: bool | None = None,
    **named: Any,
) -> list[CheckResult]:
    """Grades (response, gold) pairs; the verdicts stand in the order of the pairs.

    workers: processes that share the work (1: this process; 0: one for each core). A worker that
    is killed is replaced and its pairs graded again; a pair that kills its worker twice gets the
    status `limit`. progress: a bar on stderr; None shows it where stderr is a terminal.
    """
    chosen = resolve(options, named)
    listed = [(str(response), str(gold)) for response, gold in pairs]
    workers = workers or os.cpu_count() or 1
    with _progress(len(listed), progress) as advance:
        if workers > 1 and len(listed) >= SMALLEST:
            return shared(workers).run(listed, style, chosen, advance)
        verdicts = []
        for response, gold in listed:
            verdicts.append(grade(response, gold, style, chosen))
            advance(1)
        return verdicts


@contextlib.contextmanager
def _progress(total: int, wanted: bool | None) -> Iterator[Callable[[int], None]]:
    """A function that advances a bar on stderr, or does nothing."""
    if not (sys.stderr.isatty() and total >= 2_000 if wanted is None else wanted):
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=console.is_terminal) as bar:
        task = bar.add_task("grading", total=total)
        yield lambda count: bar.advance(task, count)
