"""Memory of the process: keep freed blocks for reuse, and measure the peak."""

import ctypes
import resource
import sys
from pathlib import Path

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # names of glibc's malloc.h
LARGE = 2**30
UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss


def keep_freed() -> None:
    """glibc gives every large block back when it is freed and takes a new one, page after page, at
    the next step: 8 % of a GRPO step and a quarter of an evaluation on a virtual machine."""
    if libc := _libc("mallopt"):
        libc.mallopt(MMAP_THRESHOLD, LARGE)
        libc.mallopt(TRIM_THRESHOLD, LARGE)


def peak() -> int:
    """Peak resident memory in bytes since the last `forget_peak`. Where the peak cannot be reset
    (not Linux, or no permission): since the process started. (On Linux `ru_maxrss` would also count
    what the parent held.)"""
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


def forget_peak() -> None:
    """Give back what is free and begin to watch anew, so that one run's peak is not the next's."""
    if libc := _libc("malloc_trim"):
        libc.malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed: the peak is the process's
        return


def _libc(function: str) -> ctypes.CDLL | None:
    """The C library, where it is one with this function of glibc's (musl and macOS have none)."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, function) else None
