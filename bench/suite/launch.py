"""Which trainer makes a run: the loop of bench/train, or another package's."""

from pathlib import Path

from bench.config import ConfigError, RunConfig
from bench.config.entrants import Entrant
from bench.train.loop import train
from results.records import DoneRecord


def launch(
    run: RunConfig, suite_folder: Path, suite: str, device: str = "cpu"
) -> DoneRecord | None:
    """`train.train` by the trainer that the run's method names.

    Raises ConfigError where an entrant cannot run as asked, or its package is missing.
    """
    (spec, *_) = run.build_methods()
    if not isinstance(spec, Entrant):
        return train(run, suite_folder, suite, device)
    # a resumed suite was checked elsewhere
    if problem := spec.problem(run, run.build_task()):
        raise ConfigError(f"{run.method}: {problem}")
    from bench.entrants.trl import TRLTrainer

    return train(run, suite_folder, suite, device, by=TRLTrainer)
