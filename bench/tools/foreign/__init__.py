"""`evenbench import`: results of other tools become runs that `results.load` reads.

    found = csv_runs(Path("mine.csv"))            # or lm_eval_runs(folder), inspect_runs(log)
    folders = write(found, Path("runs/imported"))

A log says which answers were right, but rarely which training run gave them. With a seed, the
answers count as a run of a method. Without one they are those of a single model: two such models
are compared on new questions, paired by question, and nothing is said of methods. No file of the
user's is changed.
"""

from .inspect_log import inspect_runs
from .lm_eval_log import lm_eval_runs
from .rows import Asked, Foreign, LogError, write
from .table import csv_runs

__all__ = ["Asked", "Foreign", "LogError", "csv_runs", "inspect_runs", "lm_eval_runs", "write"]
