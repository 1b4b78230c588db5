"""The computer algebra system in a process of its own that can be killed at any moment.

A signal handler does not run in a thread or inside of C code, so a limit on time has to be a limit
on a process. A server process imports sympy once and never computes; it forks a child that does,
which the kernel ends when its processor time is used up (so that verdicts do not depend on how busy
the machine is), and forks the next one in milliseconds. The server ends when its input closes, that
is when its owner ends, however it ends. Each process that checks answers has its own server,
launched at the first values whose canonical forms alone do not decide.
"""

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from typing import Any, Literal

from tasks.answers.values.algebra import Value
from tasks.answers.workers import pipes

START_SECONDS = 60.0  # to import sympy on a machine that is busy
PATIENCE = 10.0  # waiting for a computation, in multiples of the processor time it may take
MEMORY = 400 << 20  # bytes that a computation may take beyond what the server has
REQUESTS_PER_CHILD = 2_000

SolverOutcome = Literal["proved", "disproved", "open", "timeout", "limit"]
# In the server process


def serve() -> None:
    """Answers requests (one, two, seconds) from standard input until it closes."""
    requests, replies = pipes.standard_streams()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C belongs to the owner
    from tasks.answers.values import symbolic

    child = _Child(symbolic.is_zero)
    pipes.send(replies, "ready")
    served = 0
    try:
        while True:
            one, two, seconds = pipes.receive(requests)
            if served >= REQUESTS_PER_CHILD:
                child.kill()
                served = 0
            served += 1
            pipes.send(replies, child.ask(one, two, seconds))
    except (EOFError, BrokenPipeError):
        child.kill()


class _Child:
    """A forked process that computes."""

    def __init__(self, compute: Any) -> None:
        self.compute = compute
        self.pid = 0

    def start(self) -> None:
        down_read, down_write = os.pipe()
        up_read, up_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(down_write)
            os.close(up_read)
            signal.signal(signal.SIGPROF, signal.SIG_DFL)  # no handler: it ends also inside C code
            _limit_memory()
            requests, replies = os.fdopen(down_read, "rb", 0), os.fdopen(up_write, "wb", 0)
            with contextlib.suppress(EOFError, BrokenPipeError):
                while True:
                    pipes.send(replies, self.answer(*pipes.receive(requests)))
            os._exit(0)
        os.close(down_read)
        os.close(up_write)
        self.requests, self.replies = os.fdopen(down_write, "wb", 0), os.fdopen(up_read, "rb", 0)

    def answer(self, one: Value, two: Value, seconds: float) -> SolverOutcome:
        """Computes in the forked process; the kernel ends it after so much processor time."""
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            proved = self.compute(one, two)
        except (MemoryError, RecursionError):
            return "limit"
        except Exception:  # whatever sympy cannot do leaves the question open
            return "open"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        return "open" if proved is None else "proved" if proved else "disproved"

    def ask(self, one: Value, two: Value, seconds: float) -> SolverOutcome:
        if not self.pid:
            self.start()
        try:
            pipes.send(self.requests, (one, two, seconds))
            ready, _, _ = select.select([self.replies], [], [], PATIENCE * seconds)
            if ready:
                return pipes.receive(self.replies)
        except (EOFError, BrokenPipeError):
            return "timeout" if self.kill() == signal.SIGPROF else "limit"
        self.kill()
        return "timeout"

    def kill(self) -> int:
        """Ends the forked process; the signal that ended it (its own end may have come before)."""
        if not self.pid:
            return 0
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        self.requests.close()
        self.replies.close()
        self.pid = 0
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def _limit_memory() -> None:
    try:
        import resource

        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    except (ImportError, OSError, ValueError):
        return  # a system without this limit: time is the only one


# In the process that checks answers


class SolverProcess:
    """The server of one process, shared by its threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.ready = False

    def launch(self) -> None:
        """Launches the server, which goes on to import sympy; waits for nothing."""
        if self.process is None or self.process.poll() is not None:
            self.stop()
            self.process = pipes.start("tasks.answers.workers.worker")

    def start(self) -> None:
        """Launches the server and waits until sympy is imported."""
        self.launch()
        if not self.ready and self._reply(START_SECONDS) != "ready":
            self.stop()
            raise RuntimeError("the computer algebra worker did not start")
        self.ready = True

    def _reply(self, seconds: float) -> Any:
        """The next message, None if none comes in time."""
        assert self.process is not None and self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        return pipes.receive(self.process.stdout) if ready else None

    def ask(self, one: Value, two: Value, seconds: float) -> SolverOutcome:
        """Whether two values are equal; at most `seconds` of computation."""
        with self.lock:
            for attempt in (0, 1):
                try:
                    self.start()
                    assert self.process is not None and self.process.stdin is not None
                    pipes.send(self.process.stdin, (one, two, seconds))
                    reply = self._reply(PATIENCE * seconds + 10.0)
                    if reply is not None:
                        return reply
                    self.stop()
                    return "timeout"
                except (EOFError, BrokenPipeError, OSError):  # the server was killed
                    self.stop()
                    if attempt:
                        return "limit"
                    time.sleep(0.01)
        return "limit"

    def stop(self) -> None:
        if self.process is not None:
            pipes.stop(self.process)
            self.process = None
            self.ready = False


_worker = SolverProcess()


def _after_fork() -> None:
    """A forked process must not share its parent's server or its locked lock."""
    global _worker
    _worker = SolverProcess()


os.register_at_fork(after_in_child=_after_fork)


def ask(one: Value, two: Value, seconds: float) -> SolverOutcome:
    return _worker.ask(one, two, seconds)


def prepare() -> None:
    """Launches this process's server where none runs: an answer that needs it may come soon."""
    if _worker.process is None:
        with _worker.lock:
            _worker.launch()


def warm_up() -> None:
    """Starts this process's server now, so that no later answer waits for it."""
    with _worker.lock:
        _worker.start()


def shut_down() -> None:
    """Ends this process's server; the next answer that needs one starts it again."""
    with _worker.lock:
        _worker.stop()
