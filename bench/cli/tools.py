"""The other verbs: what there is, what is done with a run later, and checks of the tools."""

import gc
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from . import options
from .console import console, fail, refusing, say

app = typer.Typer()


@app.command("list")
def list_(
    methods: Annotated[bool, Option("--methods", help="only the methods")] = False,
    tasks: Annotated[bool, Option("--tasks", help="only the tasks")] = False,
    recipes: Annotated[bool, Option("--recipes", help="only the recipes")] = False,
) -> None:
    """Print the known methods, tasks and recipes."""
    gc.disable()  # importing torch makes many objects that all stay; searching them costs a quarter
    from bench.tools import listing

    gc.freeze()
    gc.enable()
    terminal, everything = console(), not (methods or tasks or recipes)
    if methods or everything:
        terminal.print(listing.method_table(terminal.width), listing.entrant_table())
    if tasks or everything:
        terminal.print(listing.task_table())
    if recipes or everything:
        terminal.print(listing.recipe_table())


@app.command()
def export(
    run: Annotated[Path, Argument(help="the folder of one run, e.g. runs/quick/gift-...")],
    out: Annotated[Path | None, Option(help="default: export/ in the run's folder")] = None,
    which: Annotated[str, Option(help="kept checkpoint: last, best, or a step")] = "last",
    adapter: Annotated[bool, Option("--adapter", help="the adapter alone, not merged")] = False,
) -> None:
    """Write a run's model, with a model card, for from_pretrained and vLLM."""
    from bench.config import ConfigError
    from bench.tools.export import export as write

    with refusing(ConfigError):
        typer.echo(str(write(run, out, which, adapter)))


@app.command()
def merge(
    folders: Annotated[list[Path], Argument(help="folders of suites, e.g. of two machines")],
    out: Annotated[Path, Option(help="the folder that gets all runs")],
) -> None:
    """Copy the runs of several folders into one suite. Nothing is overwritten.

    A run that stands in two folders with other answers is a conflict: it is named, the first one
    stays, and the command ends with exit code 1.
    """
    from bench.config import ConfigError
    from bench.suite.merge import merge as join
    from results import SchemaError

    options.present(folders)
    with refusing(ConfigError, SchemaError, OSError):
        found = join(folders, out)
    say(f"{out}: {len(found.copied)} runs copied, {len(found.there)} were there already")
    for run in found.conflicts:
        name = Path(run).name
        say(f"conflict: {run} differs from {out / name}, which stays as it is", "red")
    if found.conflicts:
        raise typer.Exit(1)


@app.command("eval")
def evaluate(
    given: Annotated[
        str, Argument(metavar="RUN|MODEL", help="a run's folder, a model's folder, or a hub id")
    ],
    names: Annotated[
        str, Option("--tasks", help="lm-eval's benchmarks or groups; evenbench_NAME for our tasks")
    ],
    json_file: Annotated[Path | None, Option("--json", help="file for all metrics")] = None,
    backend: Annotated[str, Option(help="hf | vllm | local-completions")] = "hf",
    limit: Annotated[int | None, Option(min=1, help="only the first questions")] = None,
    url: Annotated[
        str | None, Option(help="server for local-completions: http://host:8000/v1/completions")
    ] = None,
    revision: Annotated[str | None, Option(help="revision of a hub id")] = None,
    chat: Annotated[bool, Option("--chat", help="use the model's chat template")] = False,
    device: options.Device = None,
    batch_size: Annotated[int | None, Option(min=1)] = None,
    model_args: Annotated[
        list[str] | None, Option("--model-arg", help="name=value for the backend")
    ] = None,
    data_dir: options.DataDir = None,
    out: Annotated[Path, Option(help="folder for the answers of models")] = Path("runs/eval"),
) -> None:
    """Evaluate a run or a model with lm-eval; a run's answers are added to its tables.

    E.g. evenbench eval runs/quick/gift-... --tasks evenbench_arithmetic, or evenbench eval
    Qwen/Qwen2.5-0.5B --tasks gsm8k,minerva_math500,evenbench_gsm8k --json scores.json
    """
    from bench.config import ConfigError, override
    from bench.tools import lm_eval

    with refusing(ConfigError):
        result = lm_eval.evaluate(
            given, options.listed(names), backend=backend, limit=limit, json_file=json_file,
            revision=revision, url=url, device=device, batch_size=batch_size, chat=chat,
            model_args=override({}, model_args or []), out=out,
        )  # fmt: skip
    if not result:
        return
    console().print(lm_eval.show(result))
    for written in filter(None, (result["rows"], json_file)):
        say(str(written))


@app.command()
def regrade(
    runs: options.Runs,
    option: Annotated[
        list[str] | None, Option(help="of checker or task, e.g. units=strict")
    ] = None,
    examples: Annotated[int, Option(help="answers to show whose verdict changed")] = 10,
    write: Annotated[bool, Option(help="write the new verdicts beside the old ones")] = True,
) -> None:
    """Grade stored responses again, with this version's grader or with other options.

    Nothing is sampled and no file is overwritten. A run keeps the responses of its last evaluation,
    and with keep_rollouts = true also those that it was trained on.
    """
    from bench.config import ConfigError, override
    from bench.tools import regrade as again
    from tasks.answers import Options

    options.present(runs)
    of_checker = Options.__dataclass_fields__.keys()
    changes = option or []
    changes = [f"checker.{o}" if o.partition("=")[0].strip() in of_checker else o for o in changes]
    with refusing(ConfigError):
        found = again.regrade(runs, override({}, changes), write)
    for table in again.tables(found, examples):
        console().print(table)
    for problem in found.problems:
        say(problem, "yellow")
    for path in found.written:
        say(str(path))
    if not len(found.responses):
        raise typer.Exit(1)


@app.command("audit-checker")
def audit_checker(
    files: Annotated[
        list[Path] | None,
        Argument(help="JSONL files of cases; default: the project's and EVENBENCH_DATA's"),
    ] = None,
    against: Annotated[str | None, Option(help="a checker to compare with: math-verify")] = None,
    variants: Annotated[
        str | None,
        Option(help="a task, e.g. math: also wrong and rewritten forms of its gold answers"),
    ] = None,
    examples: Annotated[int, Option(help="wrong verdicts to show")] = 20,
) -> None:
    """Measure the answer checker: accuracy, false positives and negatives, speed, disagreements."""
    import tasks
    from tasks.answers import audit, audit_tables

    with refusing(KeyError, OSError, ValueError, RuntimeError):
        found = audit.audit(files or audit.default_files(), against=against)
        shown = audit_tables.tables(found, examples)
        if variants:
            task = tasks.get(variants)
            golds = [e.gold for split in task.splits for e in task.examples(split)]
            shown.append(audit_tables.robustness_table(audit.robustness(golds)))
    console().print(*shown)


@app.command()
def speed(
    only: Annotated[str, Option(help="comma-separated: grpo, dpo, sft")] = "grpo,dpo,sft",
    threads: Annotated[str, Option(help="numbers of threads, comma-separated")] = "1,2",
    steps: Annotated[int, Option(min=2, help="measured steps on each side")] = 12,
    prompts: Annotated[int, Option(min=1, help="prompts per step")] = 16,
    group: Annotated[int, Option(min=2, help="samples per prompt")] = 8,
    tokens: Annotated[int, Option(min=4, help="new tokens at most")] = 36,
    shape: Annotated[str | None, Option(help="other dimensions: qwen2.5-0.5b")] = None,
    methods: Annotated[bool, Option("--methods", help="also every method of quick")] = False,
    growth: Annotated[bool, Option("--growth", help="also growth with size; minutes")] = False,
    json_file: Annotated[Path | None, Option("--json", help="file for all figures")] = None,
    out: Annotated[Path, Option(help="folder for the figures of --growth")] = Path("."),
    device: options.Device = None,
) -> None:
    """Time our training step and TRL's on the same work, alternating, and relative to the FLOPs."""
    from bench.tools.speed.show import SpeedJob, watch_speed
    from bench.tools.speed.trl import PEERS
    from bench.tools.speed.work import SHAPES, Work

    kinds = options.listed(only)
    for kind in kinds:
        if kind not in PEERS:
            fail(f"--only {kind!r}: expected {', '.join(PEERS)}")
    if shape is not None and shape not in SHAPES:
        fail(f"--shape {shape!r}: expected {', '.join(SHAPES)}")
    if find_spec("trl") is None:
        fail("evenbench speed needs the package trl: pip install 'evenbench[trl]'")
    counts = options.listed(threads, int, "--threads")
    device, _ = options.place(device, 1, 1)
    work = Work(prompts, group, tokens, device=device)
    counts = [1] if device == "cuda" else counts
    more: Any = {"work": work, "shape": shape, "methods": methods, "growth": growth}
    figures, frame = watch_speed(console(), SpeedJob(kinds, counts, steps, **more))
    if frame is not None:
        from reports.plots import growth as draw

        for path in draw(frame).save(out):
            say(str(path))
    if json_file:
        json_file.write_text(json.dumps(figures, indent=1) + "\n")
        say(str(json_file))


@app.command()
def check(
    method: Annotated[str | None, Argument(help="a method's name, or my_file.py:MyMethod")] = None,
    task: Annotated[
        str | None, Option(help="check a task instead: a name, or my_file.py:MyTask")
    ] = None,
    on: Annotated[
        list[Path] | None, Option(help="with --task: a finished suite on it, e.g. runs/quick")
    ] = None,
    data_dir: options.DataDir = None,
) -> None:
    """Check a method or a task against its contract: what holds, what fails, and why.

    Of a task also what it can measure: on a finished suite (--on) whether it tells the methods
    apart; without one, for an embedded task, what its base model does, which is built first if it
    is not in the cache (minutes).
    """
    from pydantic import ValidationError

    from bench.tools import plugin

    if (method is None) == (task is None):
        fail("give a method, or --task and a task")
    if on and task is None:
        fail("--on goes with --task")
    options.present(on or [])
    with refusing(KeyError, ValidationError):
        holds, tables = plugin.check_task(task) if task else plugin.check_method(str(method))
    console().print(*tables)
    if not holds:
        raise typer.Exit(1)
    if task:
        from bench.tools import ground

        with refusing(FileNotFoundError, ValueError):
            measured = ground.suite_tables(task, on) if on else ground.base_tables(task)
        for table in measured:
            console().print(table)


@app.command()
def new(
    name: Annotated[str, Argument(help="e.g. my-method")],
    out: Annotated[Path, Option(help="folder for the two files")] = Path("."),
) -> None:
    """Write a method to start from, and a test that holds it to the laws."""
    from bench.tools.plugin import new as write

    with refusing(ValueError, FileExistsError):
        for path in write(name, out):
            typer.echo(str(path))


@app.command()
def doctor() -> None:
    """Show what is installed, what is missing, and what does not work without it."""
    from bench.tools.doctor import table

    console().print(table())


@app.command()
def clean(yes: Annotated[bool, Option("--yes", "-y", help="do not ask")] = False) -> None:
    """Empty the cache of base models and replay sets. Runs are never touched."""
    import shutil

    from bench.core.cache import cache_root

    root = cache_root()
    size = sum(f.stat().st_size for f in root.rglob("*") if f.is_file()) if root.is_dir() else 0
    if not size:
        typer.echo(f"{root}: nothing to clean")
        return
    if yes or typer.confirm(f"delete {root} ({size / 1e6:.1f} MB)?"):
        shutil.rmtree(root)
        typer.echo(f"deleted {root}")
