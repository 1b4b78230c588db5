"""Verbs that turn results of other tools into runs: import lm-eval, import inspect, import csv."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from .console import refusing, say
from .look import summary

if TYPE_CHECKING:
    from bench.tools.foreign import Asked, Foreign

app = typer.Typer()
verbs = typer.Typer(
    no_args_is_help=True,
    help="Turn results of other tools into runs for table, report and plot. With a training seed "
    "they count as runs of a method, without one as single models. Your files stay as they are.",
)
app.add_typer(verbs, name="import")

Method = Annotated[str | None, Option(help="label; default: the model's name in the log")]
Seed = Annotated[int | None, Option(min=0, help="training seed, if it is a run of a method")]
TaskName = Annotated[str | None, Option(help="rows are compared within one task")]
Out = Annotated[Path, Option(help="folder for the runs")]
OUT = Path("runs/imported")


@verbs.command("lm-eval")
def lm_eval(
    folder: Annotated[Path, Argument(metavar="DIR", help="of lm_eval --log_samples")],
    method: Method = None,
    seed: Seed = None,
    task: TaskName = None,
    out: Out = OUT,
) -> None:
    """Import lm-eval's logs: each model of a folder, a split per benchmark."""
    from bench.tools.foreign import Asked, lm_eval_runs

    _import(lambda asked: lm_eval_runs(folder, asked), Asked(method, seed, task), out)


@verbs.command()
def inspect(
    log: Annotated[Path, Argument(metavar="LOG", help=".eval or .json")],
    method: Method = None,
    seed: Seed = None,
    task: TaskName = None,
    scorer: Annotated[str | None, Option(help="which one, if the log has several")] = None,
    out: Out = OUT,
) -> None:
    """Import a log of Inspect (inspect_ai): each epoch is a sample of the question."""
    from bench.tools.foreign import Asked, inspect_runs

    _import(lambda asked: inspect_runs(log, asked, scorer), Asked(method, seed, task), out)


@verbs.command("csv")
def csv_(
    file: Annotated[
        Path, Argument(metavar="FILE", help="columns question, correct, method, [sample, seed]")
    ],
    method: Annotated[str | None, Option(help="where the file has no column method")] = None,
    seed: Annotated[int | None, Option(min=0, help="where it has no column seed")] = None,
    task: TaskName = None,
    out: Out = OUT,
) -> None:
    """Import a CSV file with a row per answer: a run for each method and seed."""
    from bench.tools.foreign import Asked, csv_runs

    _import(lambda asked: csv_runs(file, asked), Asked(method, seed, task), out)


def _import(read: Callable[[Asked], list[Foreign]], asked: Asked, out: Path) -> None:
    """Write what was read, and show the main table of all that the folder holds now."""
    from bench.tools.foreign import LogError, write

    with refusing(LogError, OSError):
        found = read(asked)
        folders = write(found, out)
    for one, folder in zip(found, folders, strict=True):
        say(f"{folder}: {len(one.rows)} answers to {one.rows['question_id'].nunique()} questions")
    for line in dict.fromkeys(text for one in found for text in one.left_out):
        say(line, "yellow")
    summary([out])
