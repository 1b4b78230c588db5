"""`evenbench eval`: lm-eval's benchmarks on a run or a model.

Every answer becomes a row like those of a run's own evaluations (EVAL_COLUMNS of results.records).
Its question_id is the document's hash, so a suite's paired statistics apply. A run's rows are added
to its evals.parquet, with the benchmark's name as their split; a model's rows make a folder that
`results.load` reads like a run.

On a run's own task (`evenbench_arithmetic` on a run of `arithmetic`) the model, questions, task
options and token limit are those of the run's last evaluation, so its greedy accuracy and lm-eval's
are equal to the last digit.
"""

from .evaluation import evaluate, show
from .subject import subject

__all__ = ["evaluate", "show", "subject"]
