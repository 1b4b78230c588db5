"""Verbs that make runs, or say what they would cost: run, resume, plan, tune."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from . import options
from .console import console, fail, refusing, say
from .look import summary

if TYPE_CHECKING:
    from bench.config import Suite
    from results.records import SequentialRecord

app = typer.Typer()
MAX_SEEDS = 20  # of --until-verdict
TUNING_SEEDS = 3  # below which a trial says little


@app.command()
def run(
    recipe: options.Recipe,
    methods: options.Methods = None,
    method: options.Extra = None,
    seeds: options.Seeds = None,
    task: options.TaskOption = None,
    data_dir: options.DataDir = None,
    source: options.Source = None,
    override: options.Override = None,
    out: options.Out = Path("runs"),
    workers: options.Workers = None,
    device: options.Device = None,
    track: Annotated[
        str | None, Option(help="to follow live: tensorboard | wandb | trackio")
    ] = None,
    until_verdict: Annotated[
        bool, Option("--until-verdict", help="add seeds only where a comparison is still open")
    ] = False,
    max_seeds: Annotated[
        int | None, Option(min=3, help="with --until-verdict: at most so many; default 20")
    ] = None,
) -> None:
    """Train and evaluate every method and seed of a recipe, then print the main table.

    Finished runs are skipped and interrupted ones resumed, so the same command continues a suite.
    """
    from bench.config import ConfigError, recipe_path
    from bench.suite.tune import bring_log

    if max_seeds is not None and not until_verdict:
        fail("--max-seeds: only with --until-verdict; a fixed design takes --seeds")
    if seeds and until_verdict:
        fail("--seeds is a fixed design: leave it out, or give --max-seeds with --until-verdict")
    if until_verdict:
        seeds = str(max_seeds or MAX_SEEDS)  # 3 at least
    override = [*(override or []), f"track={track}"] if track else override
    suite = options.Changes(
        methods=methods, method=method, seeds=seeds, task=task, source=source, override=override
    ).suite(recipe)
    folder = out / suite.name if out.name != suite.name else out
    with refusing(ConfigError, OSError):
        bring_log(recipe_path(recipe), suite, folder)
    plan = None
    if until_verdict:
        from bench.suite.settle import design

        with refusing(ConfigError):
            plan = design(suite, int(str(seeds)))
    _execute(suite, folder, workers, device, plan=plan)


@app.command()
def resume(
    folder: Annotated[Path, Argument(help="a suite's folder, e.g. runs/quick")],
    workers: options.Workers = None,
    device: options.Device = None,
    data_dir: options.DataDir = None,
) -> None:
    """Finish an interrupted suite with the settings that it was started with."""
    from bench.config import Suite
    from results import sequential

    file = folder / "suite.json"
    if not file.is_file():
        fail(f"{file}: no such file; give the folder of a suite")
    with refusing(ValueError, where=f"{file}: "):  # of pydantic, or a ConfigError
        suite = Suite.model_validate_json(file.read_text())
        for run in suite.runs:
            run.check_plugins()
        plan = sequential.record(folder)
    _execute(suite, folder, workers, device, plan=plan)


def _execute(
    suite: Suite,
    folder: Path,
    workers: int | None,
    device: str | None,
    *,
    plan: SequentialRecord | None,
) -> None:
    """Make the runs: all of the suite, or with a plan those that it asks for."""
    from bench.config import ConfigError
    from bench.model import start
    from bench.suite.progress import show_plan, watch_suite
    from bench.suite.settle import settle
    from results import sequential

    _refuse_plan_only(suite)
    device, workers = options.place(device, workers, len(suite.runs))
    try:
        with refusing(ConfigError, OSError):  # e.g. a folder that cannot be written to
            for model in {run.model.model_dump_json(): run.model for run in suite.runs}.values():
                start.check(model)
            show_plan(console(), suite, workers, device=device)
            watch = partial(watch_suite, console(), folder=folder, workers=workers, device=device)
            if plan:
                say(f"at most: seeds are added where a comparison with {plan.control} is open")
                plan, states = settle(suite, folder, plan, watch)
            else:
                states = watch(suite)
    except KeyboardInterrupt:
        say(f"\nInterrupted. Finished work is kept. To continue, run: evenbench resume {folder}")
        raise typer.Exit(130) from None
    failed = [s for s in states if s.status in ("failed", "busy")]
    for state in failed:
        say(f"{state.run.name}: {state.status}: {state.error or ''}", "red")
    for state in (s for s in states if s.status == "diverged"):
        say(f"{state.run.name} diverged: {state.error or ''}", "yellow")
    summary([folder])
    if plan:
        console().print(sequential.table(plan))
    if failed:
        say(f"{len(failed)} run(s) did not finish. After fixing it, run: evenbench resume {folder}")
        raise typer.Exit(1)


def _refuse_plan_only(suite: Suite) -> None:
    if suite.plan_only:
        fail(
            f"{suite.name} can only be planned (evenbench plan): {suite.plan_only}. "
            "If your settings change that, add -o plan_only="
        )


@app.command()
def plan(
    recipe: options.Recipe,
    methods: options.Methods = None,
    method: options.Extra = None,
    seeds: options.Seeds = None,
    task: options.TaskOption = None,
    data_dir: options.DataDir = None,
    source: options.Source = None,
    override: options.Override = None,
    workers: options.Workers = None,
    device: options.Device = None,
    teraflops: Annotated[
        float | None, Option(help="matrix rate of a worker, for other machines")
    ] = None,
) -> None:
    """Print a recipe's cost in tokens, FLOPs, memory, disk and time, without running anything.

    The estimate is for the hardware that the recipe names, unless an option says otherwise. No
    network is used.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    from bench.config import ConfigError
    from bench.suite.progress import show_plan

    changes = options.Changes(
        methods=methods, method=method, seeds=seeds, task=task, source=source, override=override
    )
    suite = changes.suite(recipe, data=bool(data_dir))
    meant = None if device or teraflops else suite.hardware
    if meant:
        most = meant.gpus // meant.gpus_per_run
        where, count = "cuda", max(1, min(workers or most, most, len(suite.runs)))
    else:
        where, count = options.place(device, workers, len(suite.runs))
    machine: Any = {"device": where, "teraflops": teraflops, "hardware": meant}
    with refusing(ConfigError):
        show_plan(console(), suite, count, every_run=True, **machine)


@app.command()
def tune(
    recipe: options.Recipe,
    trials: Annotated[
        int | None, Option(min=1, help="random settings of each method; default: the recipe's")
    ] = None,
    trial_seeds: Annotated[
        int | None, Option(min=1, help="seeds of each trial, which no reported run uses")
    ] = None,
    lr: Annotated[
        str | None, Option(help="range of learning rates as factors of the recipe's, e.g. 0.1,10")
    ] = None,
    widen: Annotated[
        float | None,
        Option(
            help="let every range of every method reach this factor further, where a best"
            " value stood at an edge"
        ),
    ] = None,
    write: Annotated[
        Path | None, Option(help="the tuned recipe; default: in the folder of the trials")
    ] = None,
    methods: options.Methods = None,
    method: options.Extra = None,
    task: options.TaskOption = None,
    data_dir: options.DataDir = None,
    override: options.Override = None,
    out: options.Out = Path("runs"),
    workers: options.Workers = None,
    device: options.Device = None,
) -> None:
    """Tune every method alike: equally many random trials and seeds, scored on validation
    questions.

    Finished trials are kept, so the same command continues, and a larger --trials adds to them.
    """
    import tomlkit

    from bench.config import build_suite, recipe_path
    from bench.suite import tune as tuning
    from bench.suite.progress import show_plan, watch_suite

    design = {
        "trials": trials, "seeds": trial_seeds, "widen": widen,
        "lr": options.listed(lr or "", float, "--lr"),
    }  # fmt: skip
    searched = [f"tune.{key}={value}" for key, value in design.items() if value]
    changes = options.Changes(methods, method, task=task, override=[*(override or []), *searched])
    with refusing(KeyError, ValueError):
        content = tuning.untuned(changes.recipe(recipe), recipe)
        suite = build_suite(content, recipe)
        grid = tuning.trials(suite)
        if write:
            tuning.check_target(write, recipe_path(recipe), suite)
    _refuse_plan_only(suite)
    folder = out / grid.name
    device, workers = options.place(device, workers, len(grid.runs))
    plan = suite.tune
    labels = {run.method for run in suite.runs}
    say(
        f"{len(labels)} methods x ({plan.trials} random trials and the recipe's own settings) x"
        f" {plan.seeds} seed(s), scored on validation questions"
    )
    if plan.seeds < TUNING_SEEDS:
        say(f"Fewer than {TUNING_SEEDS} seeds a trial: noise may choose the setting.", "yellow")
    show_plan(console(), grid, workers, device=device)
    watch = partial(watch_suite, console(), workers=workers, device=device)
    log = tuning.tune(suite, folder, run=watch)
    if log.empty:
        fail(f"{folder}: no trial has finished")
    console().print(tuning.table(log, tuning.best(log)))
    changed = override or task or methods or method
    text = tomlkit.dumps(content) if changed else recipe_path(recipe).read_text()
    target = write or folder / f"{suite.name}.toml"
    tuning.write_tuned(target, text, suite, log)
    say(f"all trials: {folder / tuning.TRIALS_FILE}\nthe tuned recipe: {target}")
