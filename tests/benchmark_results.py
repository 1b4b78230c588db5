"""How long a large suite takes to read: `python -m tests.benchmark_results`. Not a test."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import results
from tests.synthetic import METHODS, write_suite


def benchmark_load(rows: int = 1_000_000, folder: Path | None = None) -> dict[str, float]:
    """Seconds to write and to read a suite of about `rows` evaluation rows, and memory in MB."""
    questions = {"test": 512, "ood": 256}
    evaluations = round(rows / (len(METHODS) * 10 * sum(questions.values()) * 5))
    with tempfile.TemporaryDirectory() as temporary:
        started = time.perf_counter()
        suite = write_suite(
            Path(folder or temporary) / "large",
            seeds=10,
            questions=questions,
            evaluations=evaluations,
            steps=120,
        )
        times = {"write": time.perf_counter() - started}
        r = results.load(suite)
        for table in ("runs", "evals", "responses", "steps"):
            started = time.perf_counter()
            len(getattr(r, table))
            times[table] = time.perf_counter() - started
        times["rows"] = len(r.evals)
        times["evals_mb"] = r.evals.memory_usage(deep=True).sum() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times["peak_mb"] = peak / (2**20 if sys.platform == "darwin" else 2**10)
    return times


if __name__ == "__main__":
    for name, value in benchmark_load().items():
        print(f"{name:>10} {value:12.2f}")
