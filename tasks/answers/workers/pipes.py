"""Messages between a process and its workers: pickles with their length before them."""

import os
import pickle
import struct
import subprocess
import sys
from typing import IO, Any

_HEADER = struct.Struct("!I")


def send(file: IO[bytes], message: Any) -> None:
    data = memoryview(pickle.dumps(message))
    file.write(_HEADER.pack(len(data)))
    while data:  # an unbuffered pipe may take less than all
        written = file.write(data)
        data = data[written:]
    file.flush()


def receive(file: IO[bytes]) -> Any:
    """The next message. Raises EOFError at the end of the stream."""
    (size,) = _HEADER.unpack(_read(file, _HEADER.size))
    return pickle.loads(_read(file, size))


def _read(file: IO[bytes], size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = file.read(size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def standard_streams() -> tuple[IO[bytes], IO[bytes]]:
    """This process's input and output as the protocol's pipes; prints go nowhere from now on."""
    requests, replies = os.fdopen(os.dup(0), "rb", 0), os.fdopen(os.dup(1), "wb", 0)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    return requests, replies


def start(module: str) -> subprocess.Popen[bytes]:
    """A fresh interpreter that runs `module.serve()`.

    It imports nothing of the caller's main module, so it works from scripts without a main guard,
    from threads and from daemonic processes; it ends when this process does, as its input closes.
    """
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return subprocess.Popen(
        [sys.executable, "-c", f"from {module} import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        bufsize=0,
        start_new_session=True,
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kills a worker and waits for its end."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.wait()
