"""How long large suites take to read and to report. Not a test.

python -m tests.benchmark_results                # load a million evaluation rows
python -m tests.benchmark_results report         # 500 runs x 200 evaluations x 500 questions
python -m tests.benchmark_results report --runs 50
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import results
from tests.synthetic import METHODS, write_suite

PEAK = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss -> MB


def benchmark_load(rows: int = 1_000_000) -> dict[str, float]:
    """Seconds to write and to read a suite of about `rows` evaluation rows, and memory in MB."""
    questions = {"test": 512, "ood": 256}
    evaluations = round(rows / (len(METHODS) * 10 * sum(questions.values()) * 5))
    with tempfile.TemporaryDirectory() as temporary:
        started = time.perf_counter()
        suite = write_suite(
            Path(temporary) / "large",
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
    times["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / PEAK
    return times


def benchmark_report(
    runs: int = 500, evaluations: int = 200, questions: int = 500
) -> dict[str, float]:
    """Wall and CPU seconds, and memory in MB, of `evenbench report` in a process of its own, its
    start included: five methods, a greedy and a sampled answer to each question of one split."""
    seeds = max(runs // len(METHODS), 1)
    with tempfile.TemporaryDirectory() as temporary:
        started = time.perf_counter()
        suite = write_suite(
            Path(temporary) / "large",
            seeds=seeds,
            questions={"test": questions},
            samples=1,
            evaluations=evaluations,
            steps=evaluations,
            texts=False,
        )
        written = time.perf_counter() - started
        size = sum(f.stat().st_size for f in suite.rglob("*") if f.is_file()) / 2**20
        code = "from bench.cli import main; main()"
        started = time.perf_counter()
        command = [sys.executable, "-c", code, "report", str(suite)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - started
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "runs": seeds * len(METHODS),
        "rows": seeds * len(METHODS) * evaluations * questions * 2,
        "files_mb": size,
        "write": written,
        "wall": wall,
        "cpu": spent.ru_utime + spent.ru_stime,
        "peak_mb": spent.ru_maxrss / PEAK,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Time the reading of large suites.")
    kinds = parser.add_subparsers(dest="kind")
    load = kinds.add_parser("load")
    load.add_argument("--rows", type=int, default=1_000_000)
    report = kinds.add_parser("report")
    for name, size in (("runs", 500), ("evaluations", 200), ("questions", 500)):
        report.add_argument(f"--{name}", type=int, default=size)
    options = vars(parser.parse_args())
    measure = benchmark_report if options.pop("kind") == "report" else benchmark_load
    for name, value in measure(**options).items():
        print(f"{name:>10} {value:14.2f}")
