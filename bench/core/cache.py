"""The one folder of caches: starting models and replay sets, by content hash."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_root() -> Path:
    """`EVENBENCH_CACHE`, or `~/.cache/evenbench`. `evenbench clean` empties it."""
    return Path(os.environ.get("EVENBENCH_CACHE") or Path.home() / ".cache" / "evenbench")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Exclusive lock between processes; released when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
