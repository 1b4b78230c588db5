"""Files that are whole at any moment: the old content or the new, never a part."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to; it takes the place of `path` when the block has ended."""
    partial = path.with_name(path.name + ".partial")
    yield partial
    partial.replace(path)


def write_atomic(path: Path, text: str) -> None:
    """Replace the content of a file; when this returns, the text is on the disk."""
    with replacing(path) as partial, partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
