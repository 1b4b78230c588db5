"""Memory that was freed stays with the process."""

from __future__ import annotations

import ctypes
import sys

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # names of glibc's malloc.h
LARGE = 2**30


def keep_freed() -> None:
    """glibc gives every large block back when it is freed and takes a new one, page after page, at
    the next step: 8 % of a GRPO step and a quarter of an evaluation on a virtual machine."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # musl has none
            libc.mallopt(MMAP_THRESHOLD, LARGE)
            libc.mallopt(TRIM_THRESHOLD, LARGE)
