"""The command `evenbench`. Heavy packages are imported inside the commands that use them."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from results import Results

app = typer.Typer(
    name="evenbench",
    help="Honest comparison of the objectives that align language models.\n\n"
    "Start with `evenbench run quick`, then `evenbench report runs/quick`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Recipe = Annotated[
    str, typer.Argument(help="a packaged recipe (see `evenbench list`) or a path to a .toml")
]
Methods = Annotated[
    str | None,
    typer.Option("--methods", "-m", help="comma-separated; path.py:Class for an own one"),
]
Extra = Annotated[
    list[str] | None, typer.Option("--method", help="add one method, e.g. my_file.py:MyLoss")
]
Seeds = Annotated[str | None, typer.Option("--seeds", help="a count, or a list such as 0,3,7")]
TaskOption = Annotated[
    str | None,
    typer.Option("--task", help="name, or path.py:Class; takes the place of the recipe's"),
]
DataDir = Annotated[
    str | None, typer.Option("--data-dir", help="folder with the data sets (also EVENBENCH_DATA)")
]
Source = Annotated[
    str | None,
    typer.Option("--source", help="policy | replay | demonstrations, for all methods that take it"),
]
Override = Annotated[
    list[str] | None,
    typer.Option("--override", "-o", help="key=value, e.g. method.gift.beta=2 or rollout.group=16"),
]
Out = Annotated[Path, typer.Option("--out", help="folder of suites")]
Workers = Annotated[
    int | None, typer.Option("--workers", help="runs at once; default: one a core, or one a GPU")
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu | cuda; default: cuda where there is one")
]


def _console(**options: Any) -> Any:
    """For the terminal; `path.py:M:` holds no emoji."""
    from rich.console import Console

    return Console(emoji=False, **options)


def fail(message: str) -> NoReturn:
    _console(stderr=True, soft_wrap=True).print(f"[bold red]error[/] {_escape(message)}")
    raise typer.Exit(2)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _suite(
    recipe: str,
    methods: str | None,
    extra: list[str] | None,
    seeds: str | None,
    task: str | None,
    data_dir: str | None,
    source: str | None,
    overrides: list[str] | None,
    data: bool = True,
) -> Any:
    """The recipe with the command line's changes, checked, without `data` as far as is possible
    without the task's questions."""
    from bench.config import ConfigError, build_suite, override, read_recipe
    from tasks import TaskError

    if data_dir:
        os.environ["EVENBENCH_DATA"] = data_dir
    try:
        content = read_recipe(recipe)
        if task:
            _change_task(content, task)
        content = override(content, overrides or [])
        if methods:
            content["methods"] = [m.strip() for m in methods.split(",") if m.strip()]
        content["methods"] = [*content.get("methods", []), *(extra or [])]
        if seeds:
            content["seeds"] = int(seeds) if seeds.isdigit() else [int(s) for s in seeds.split(",")]
        for label in content["methods"] if source else []:
            content.setdefault("method", {}).setdefault(label, {})["source"] = source
        return build_suite(content, recipe, data)
    except (ConfigError, TaskError) as error:
        fail(str(error))
    except ValueError:
        fail(f"--seeds {seeds!r}: a count, or a list such as 0,3,7")


def _change_task(content: dict[str, Any], name: str) -> None:
    """Another task than the recipe's: its fields and the splits that the new one lacks go."""
    import tasks
    from tasks import entry

    previous = content.get("task", {})
    previous = previous if isinstance(previous, str) else previous.get("name")
    if name == previous:
        return
    content["task"] = {"name": name}
    content["name"] = f"{content.get('name', 'suite')}-{name.rpartition(':')[2]}"
    try:
        splits = entry(name).cls.splits
    except KeyError as error:
        fail(error.args[0])
    del tasks
    for part in ("curve", "final"):
        chosen = content.get("eval", {}).get(part)
        if chosen:
            content["eval"][part] = {k: v for k, v in chosen.items() if k in splits}


@app.command()
def run(
    recipe: Recipe,
    methods: Methods = None,
    method: Extra = None,
    seeds: Seeds = None,
    task: TaskOption = None,
    data_dir: DataDir = None,
    source: Source = None,
    override: Override = None,
    out: Out = Path("runs"),
    workers: Workers = None,
    device: Device = None,
    track: Annotated[
        str | None, typer.Option("--track", help="tensorboard | wandb | trackio, to watch it live")
    ] = None,
) -> None:
    """Train and evaluate every method and seed of a recipe, then print the table.

    Runs that are done are skipped, interrupted ones resumed: the same command goes on where it
    stopped.
    """
    override = [*(override or []), f"track={track}"] if track else override
    suite = _suite(recipe, methods, method, seeds, task, data_dir, source, override)
    _execute(suite, out / suite.name if out.name != suite.name else out, workers, device)


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(help="a suite's folder, e.g. runs/quick")],
    workers: Workers = None,
    device: Device = None,
    data_dir: DataDir = None,
) -> None:
    """Finish an interrupted suite exactly as it was started."""
    from pydantic import ValidationError

    from bench.config import ConfigError, Suite

    if data_dir:
        os.environ["EVENBENCH_DATA"] = data_dir
    file = folder / "suite.json"
    if not file.is_file():
        fail(f"{file}: no such file; give the folder of a suite")
    try:
        suite = Suite.model_validate_json(file.read_text())
        for run in suite.runs:
            run.check_plugins()
    except (ValidationError, ConfigError) as error:
        fail(f"{file}: {error}")
    _execute(suite, folder, workers, device)


def _execute(suite: Any, folder: Path, workers: int | None, device: str | None) -> None:
    from bench.config import ConfigError
    from bench.model import start
    from bench.suite.progress import show_plan, watch_suite

    console = _console()
    device, workers = _resources(device, workers, len(suite.runs))
    try:
        for model in {run.model.model_dump_json(): run.model for run in suite.runs}.values():
            start.check(model)
        show_plan(console, suite, workers, device)
        states = watch_suite(console, suite, folder, workers, device)
    except KeyboardInterrupt:
        console.print(
            "\nInterrupted; nothing that was finished is lost. "
            f"Go on with: evenbench resume {folder}"
        )
        raise typer.Exit(130) from None
    except (ConfigError, OSError) as error:  # a folder that cannot be written to
        fail(str(error))
    failed = [s for s in states if s.status in ("failed", "busy")]
    for state in failed:
        console.print(
            f"[red]{state.run.name}: {state.status}[/] {_escape(state.error or '')}", soft_wrap=True
        )
    for state in states:
        if state.status == "diverged":
            console.print(f"[yellow]{state.run.name} diverged:[/] {_escape(state.error or '')}")
    _summary(console, [folder])
    if failed:
        console.print(
            f"{len(failed)} run(s) did not finish. "
            f"When mended, go on with: evenbench resume {folder}"
        )
        raise typer.Exit(1)


def _resources(device: str | None, workers: int | None, runs: int) -> tuple[str, int]:
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device not in ("cpu", "cuda"):
        fail(f"--device {device!r}: cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        fail("--device cuda: torch sees no CUDA device")
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    default = cores if device == "cpu" else torch.cuda.device_count()
    return device, max(1, min(workers or default, runs))


def _read(folders: list[Path]) -> Results:
    import results

    for path in folders:
        if not path.is_dir():
            fail(f"{path}: no such folder")
    try:
        return results.load(folders)
    except (FileNotFoundError, results.SchemaError) as error:
        fail(str(error))


def _summary(console: Any, folders: list[Path]) -> Results:
    """Show the main table of some suites; returns what was loaded for it."""
    from results.tables import main_table

    loaded = _read(folders)
    if len(loaded.runs):
        table = main_table(loaded)
        narrow = ("task", "method", "accuracy", "greedy", "flops", "difference", "mde", "verdict")
        shown = [c.key for c in table.columns if c.key in narrow]
        console.print(table if console.width >= 120 else table.select(*shown))
    for problem in loaded.problems:
        console.print(f"[yellow]{_escape(str(problem))}[/]")
    return loaded


@app.command()
def plan(
    recipe: Recipe,
    methods: Methods = None,
    method: Extra = None,
    seeds: Seeds = None,
    task: TaskOption = None,
    data_dir: DataDir = None,
    source: Source = None,
    override: Override = None,
    workers: Workers = None,
    device: Device = None,
    teraflops: Annotated[
        float | None, typer.Option(help="matrix rate of one worker, to plan for another machine")
    ] = None,
) -> None:
    """Print what a recipe will cost in tokens, FLOPs, memory, disk and time. Nothing is spent, and
    the hub is not asked: on the hardware that the recipe names, unless an option says otherwise."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from bench.config import ConfigError
    from bench.suite.progress import show_plan

    suite = _suite(recipe, methods, method, seeds, task, data_dir, source, override, bool(data_dir))
    meant = None if device or teraflops else suite.hardware
    if meant:
        most = meant.gpus // meant.gpus_per_run
        where, count = "cuda", max(1, min(workers or most, most, len(suite.runs)))
    else:
        where, count = _resources(device, workers, len(suite.runs))
    try:
        show_plan(_console(), suite, count, where, teraflops, every_run=True, hardware=meant)
    except ConfigError as error:
        fail(str(error))


@app.command()
def tune(
    recipe: Recipe,
    rates: Annotated[
        str, typer.Option(help="learning rates, comma-separated")
    ] = "1e-5,3e-5,1e-4,3e-4",
    trial_seeds: Annotated[
        int, typer.Option(help="seeds a rate; none of them is used by a reported run")
    ] = 1,
    methods: Methods = None,
    method: Extra = None,
    task: TaskOption = None,
    data_dir: DataDir = None,
    override: Override = None,
    out: Out = Path("runs"),
    workers: Workers = None,
    device: Device = None,
) -> None:
    """Choose learning rates from equal trials of every method on validation questions."""
    from bench.suite.progress import watch_suite
    from bench.suite.tune import best
    from bench.suite.tune import tune as run_trials

    try:
        grid = [float(r) for r in rates.split(",")]
    except ValueError:
        fail(f"--rates {rates!r}: numbers, comma-separated")
    suite = _suite(recipe, methods, method, "1", task, data_dir, None, override)
    console = _console()
    folder = out / f"{suite.name}-tune"
    device, workers = _resources(device, workers, len(suite.runs) * len(grid) * trial_seeds)
    console.print(
        f"{len(suite.runs)} methods x {len(grid)} learning rates x {trial_seeds} seed(s), "
        "on validation questions"
    )
    log = run_trials(
        suite,
        grid,
        trial_seeds,
        folder,
        workers,
        device,
        run=lambda s, f: watch_suite(console, s, f, workers, device),
    )
    table = log.pivot_table(index="method", columns="lr", values="score", sort=False)
    console.print((100 * table).round(1).to_string())
    console.print("\nchosen, for the recipe:", style="bold")
    for row in best(log).to_dict("records"):
        console.print(
            f"[method.{row['method']}.optimizer]\nlr = {row['lr']:g}", markup=False, highlight=False
        )
    console.print(f"\nall trials: {folder / 'trials.jsonl'}", soft_wrap=True)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="the folder of one run, e.g. runs/quick/gift-...")],
    out: Annotated[
        Path | None, typer.Option("--out", help="default: export/ in the run's folder")
    ] = None,
    which: Annotated[
        str, typer.Option(help="checkpoint: last, best, or a step, as far as they were kept")
    ] = "last",
    adapter: Annotated[
        bool, typer.Option("--adapter", help="the adapter alone, not merged into the weights")
    ] = False,
) -> None:
    """Write a run's model for from_pretrained and vLLM, with a model card."""
    from bench.config import ConfigError
    from bench.tools.export import export as write

    try:
        typer.echo(str(write(run, out, which, adapter)))
    except ConfigError as error:
        fail(str(error))


def _torch_later() -> None:
    """Leave torch out until somebody uses it: the methods name it at their top, and to list them
    needs none of its two seconds."""
    from importlib import import_module
    from types import ModuleType

    class Later(ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            if sys.modules.get("torch") is self:
                del sys.modules["torch"]
            return getattr(import_module("torch"), name)

    sys.modules.setdefault("torch", Later("torch"))


@app.command("list")
def list_(
    methods: Annotated[bool, typer.Option("--methods", help="only the methods")] = False,
    tasks: Annotated[bool, typer.Option("--tasks", help="only the tasks")] = False,
    recipes: Annotated[bool, typer.Option("--recipes", help="only the recipes")] = False,
) -> None:
    """Print the known methods, tasks and recipes."""
    _torch_later()
    from bench.tools.listing import entrant_table, method_table, recipe_table, task_table

    console = _console()
    chosen = [(methods, lambda: method_table(console.width)), (methods, entrant_table)]
    chosen += [(tasks, task_table), (recipes, recipe_table)]
    for wanted, table in chosen:
        if wanted or not (methods or tasks or recipes):
            console.print(table())


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="folders of suites, e.g. runs/quick")],
    out: Annotated[
        Path | None, typer.Option("--out", help="default: report/ in the first folder")
    ] = None,
) -> None:
    """Write report.html, report.md, figures and tables of finished and unfinished runs."""
    from reports.report import write_report

    console = _console()
    written = write_report(_summary(console, runs), out or runs[0] / "report")
    for path in written.paths[:2]:
        console.print(str(path), soft_wrap=True)
    folder = written.paths[0].parent
    console.print(
        f"{folder}/figures, {folder}/tables: {len(written.paths) - 2} files", soft_wrap=True
    )


Runs = Annotated[list[Path], typer.Argument(help="folders of suites, e.g. runs/quick")]
Query = Annotated[
    str | None,
    typer.Option("--query", help="keep these runs, e.g. \"method != 'ppo' and seed < 3\""),
]


def _load(runs: list[Path], query: str | None = None) -> Any:
    loaded = _read(runs)
    try:
        return loaded.query(query) if query else loaded
    except Exception as error:  # pandas raises many kinds for a wrong expression
        fail(f"--query {query!r}: {error}")


@app.command()
def claims(
    runs: Runs,
    file: Annotated[
        list[Path] | None, typer.Option(help="own TOML files of claims beside the papers'")
    ] = None,
    query: Query = None,
) -> None:
    """Hold the papers' claims against runs: supported, contradicted, undetermined, not tested."""
    from reports.claims import ClaimError, claims_table, evaluate, load_claims
    from results.tables import grao_table

    console = _console()
    try:
        wanted = load_claims(*(file or ()))
    except ClaimError as error:
        fail(str(error))
    console.print(claims_table(evaluate(_load(runs, query), wanted)))
    if not file:
        console.print(grao_table())


@app.command("compare-published")
def compare_published(
    runs: Runs,
    csv: Annotated[
        list[Path] | None, typer.Option(help="own CSV files beside the packaged ones")
    ] = None,
    query: Query = None,
) -> None:
    """Set the papers' printed numbers beside what the runs measured."""
    from results.papers import PublishedError
    from results.tables import published_table

    try:
        made = published_table(_load(runs, query), *(csv or ()))
    except PublishedError as error:
        fail(str(error))
    _console().print(made)


@app.command()
def table(
    name: Annotated[str, typer.Argument(help="main, comparisons, passk, costs, ...")],
    runs: Runs,
    query: Query = None,
    split: Annotated[
        str | None, typer.Option(help="other questions than the headline's, e.g. gsm8k of lm-eval")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="avg | greedy | pass@k | maj@k")] = None,
    form: Annotated[
        str, typer.Option("--format", help="terminal | markdown | latex | csv | html")
    ] = "terminal",
) -> None:
    """Print one table of the report."""
    from inspect import signature

    from results.tables import TABLES

    if name not in TABLES:
        fail(f"no table {name!r}; there are {', '.join(TABLES)}")
    chosen = {k: v for k, v in (("split", split), ("metric", metric)) if v}
    if others := chosen.keys() - signature(TABLES[name]).parameters.keys():
        fail(f"table {name}: --{min(others)} does not change it")
    loaded = _load(runs, query)
    if split and split not in (known := set(loaded.evals["split"].astype("str"))):
        fail(f"--split {split!r}: these runs have {', '.join(sorted(known))}")
    try:
        made = TABLES[name](loaded, **chosen)
    except ValueError as error:
        fail(str(error))
    forms = {"markdown": made.markdown, "latex": made.latex, "csv": made.csv, "html": made.html}
    if form == "terminal":
        _console().print(made)
    elif form in forms:
        typer.echo(forms[form]())
    else:
        fail(f"--format {form!r}: terminal, {', '.join(forms)}")


@app.command()
def plot(
    name: Annotated[str, typer.Argument(help="forest, convergence-flops, cost-seconds, ...")],
    runs: Runs,
    query: Query = None,
    out: Annotated[Path, typer.Option("--out", help="folder of the files")] = Path("."),
) -> None:
    """Draw one figure of the report as SVG, PDF and PNG, with the CSV behind it."""
    from reports.figures import draw

    try:
        made = draw(_load(runs, query), name)
    except KeyError as error:
        fail(error.args[0])
    if not made:
        fail(f"{name}: these runs do not give this figure")
    for figure in made:
        for path in figure.save(out):
            typer.echo(str(path))


@app.command("eval")
def evaluate(
    given: Annotated[
        str,
        typer.Argument(metavar="RUN|MODEL", help="a run's folder, a model's folder, or a hub id"),
    ],
    names: Annotated[
        str, typer.Option("--tasks", help="lm-eval's benchmarks or groups, evenbench_NAME for ours")
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="file for accuracies and every metric")
    ] = None,
    backend: Annotated[str, typer.Option(help="hf | vllm | local-completions")] = "hf",
    limit: Annotated[
        int | None, typer.Option(min=1, help="only the first questions of each benchmark")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="of local-completions: http://host:8000/v1/completions")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="of a hub id")] = None,
    chat: Annotated[
        bool,
        typer.Option("--chat", help="with the chat template; a run has its own setting"),
    ] = False,
    device: Device = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    model_args: Annotated[
        list[str] | None, typer.Option("--model-arg", help="name=value for lm-eval's backend")
    ] = None,
    data_dir: DataDir = None,
    out: Annotated[Path, typer.Option("--out", help="folder for the rows of models")] = Path(
        "runs/eval"
    ),
) -> None:
    """Evaluate a run or a model with lm-eval; the answers join the run's tables.

    E.g. evenbench eval runs/quick/gift-... --tasks evenbench_arithmetic, or evenbench eval
    Qwen/Qwen2.5-0.5B --tasks gsm8k,minerva_math500,evenbench_gsm8k --json scores.json
    """
    from bench.config import ConfigError, override
    from bench.tools import lm_eval

    if data_dir:
        os.environ["EVENBENCH_DATA"] = data_dir
    try:
        result = lm_eval.evaluate(
            given,
            [name.strip() for name in names.split(",") if name.strip()],
            backend,  # pyright: ignore[reportArgumentType]: checked there
            limit,
            json_file,
            revision=revision,
            url=url,
            device=device,
            batch_size=batch_size,
            chat=chat,
            model_args=override({}, model_args or []),
            out=out,
        )
    except ConfigError as error:
        fail(str(error))
    if not result:
        return
    console = _console()
    console.print(lm_eval.show(result))
    for written in (result["rows"], json_file):
        if written:
            console.print(_escape(str(written)), soft_wrap=True)


@app.command()
def anatomy(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="folders of suites or runs made with -o keep_rollouts=true"),
    ] = None,
    methods: Methods = None,
    override: Override = None,
    rewards: Annotated[
        str, typer.Option(help="of the three answers; the best are right, the first of them gold")
    ] = "1,1,0",
    start: Annotated[
        str, typer.Option(help="the reference's probabilities of the three answers")
    ] = "0.15,0.35,0.5",
    group: Annotated[int, typer.Option(min=1, max=6, help="samples of the prompt")] = 4,
    batches: Annotated[int, typer.Option(min=1, help="stored rollout batches at most")] = 24,
    out: Annotated[Path, typer.Option("--out", help="folder of the files")] = Path("anatomy"),
) -> None:
    """Draw what objectives do: where each leads on three answers; with runs, what each makes of
    the same stored rollouts.

    Without runs: expected gradient flows of the recipe quick's methods, or of --methods, and where
    theory says that they end. With runs: token weights -dL/dlogp of every method on their stored
    rollouts, as cosines, against probability and reward, and as shares.
    """
    chosen = [m.strip() for m in methods.split(",") if m.strip()] if methods else None
    if runs:
        if override:
            fail("-o is for flows; on stored rollouts a run's own methods keep the run's fields")
        table, plots = _weights(runs, chosen, batches)
    else:
        table, plots = _flows(methods, override, rewards, start, group)
    paths = [path for plot in plots for path in plot.save(out)] + table.save(out)
    for path in paths:
        typer.echo(str(path))
    _console().print(table)


def _flows(
    methods: str | None, override: list[str] | None, rewards: str, start: str, group: int
) -> Any:
    """The table and figure of flows of the recipe quick's methods, or of others."""
    from reports.anatomy.simplex import flows, problem

    suite = _suite("quick", methods, None, "1", None, None, None, override)
    several = [run.method for run in suite.runs if len(run.phases) > 1]
    if several:
        fail(f"{', '.join(several)}: phases have no flow of their own; name their methods")
    try:
        of = problem(*([float(x) for x in text.split(",")] for text in (rewards, start)))
    except ValueError as error:
        fail(f"--rewards {rewards!r}, --start {start!r}: {error}")
    found = flows({run.method: run.build_methods()[0] for run in suite.runs}, of, group)
    return found.table(), [found.plot()]


def _weights(runs: list[Path], names: list[str] | None, batches: int) -> Any:
    """The table and figures of token weights on stored rollouts."""
    from pydantic import ValidationError

    from reports.anatomy import anatomy, objectives

    loaded = _load(runs)
    try:
        found = anatomy(loaded, objectives(loaded, names), batches)
    except KeyError as error:
        fail(error.args[0])
    except (FileNotFoundError, ValidationError, ValueError) as error:
        fail(str(error))
    return found.table(), found.plots()


@app.command()
def regrade(
    runs: Runs,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="of the checker or task, e.g. units=strict or style=hashes"),
    ] = None,
    examples: Annotated[int, typer.Option(help="answers shown whose verdict changed")] = 10,
    write: Annotated[bool, typer.Option(help="the new verdicts, beside the old ones")] = True,
) -> None:
    """Grade stored responses again, under this version's grader or other options of it.

    Nothing is sampled and nothing is written over. A run keeps the responses of its last
    evaluation, and with keep_rollouts = true those that it was trained on.
    """
    from bench.config import ConfigError, override
    from bench.tools import regrade as again
    from tasks.answers import Options

    for path in runs:
        if not path.is_dir():
            fail(f"{path}: no such folder")
    conventions = Options.__dataclass_fields__
    changes = [
        f"checker.{o}" if o.partition("=")[0].strip() in conventions else o for o in option or ()
    ]
    try:
        found = again.regrade(runs, override({}, changes), write)
    except ConfigError as error:
        fail(str(error))
    console = _console()
    for table in again.tables(found, examples):
        console.print(table)
    for problem in found.problems:
        console.print(f"[yellow]{_escape(problem)}[/]", soft_wrap=True)
    for path in found.written:
        console.print(_escape(str(path)), soft_wrap=True)
    if not len(found.responses):
        raise typer.Exit(1)


@app.command("audit-checker")
def audit_checker(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="JSONL files of cases; default: the project's and EVENBENCH_DATA's"),
    ] = None,
    against: Annotated[str | None, typer.Option(help="a second opinion: math-verify")] = None,
    variants: Annotated[
        str | None,
        typer.Option(help="a task, e.g. math: wrong and rewritten forms of its gold answers too"),
    ] = None,
    examples: Annotated[int, typer.Option(help="misses shown")] = 20,
) -> None:
    """Measure the answer checker: accuracy, false positives and negatives, speed, disagreements."""
    import tasks
    from tasks.answers import audit, audit_tables

    try:
        found = audit.audit(files or audit.default_files(), against=against)
        shown = audit_tables.tables(found, examples)
        if variants:
            task = tasks.get(variants)
            golds = [e.gold for split in task.splits for e in task.examples(split)]
            shown.append(audit_tables.robustness_table(audit.robustness(golds)))
    except KeyError as error:
        fail(error.args[0])
    except (OSError, ValueError, RuntimeError) as error:
        fail(str(error))
    for table in shown:
        _console().print(table)


@app.command()
def speed(
    only: Annotated[
        str, typer.Option("--only", help="comma-separated: grpo, dpo, sft")
    ] = "grpo,dpo,sft",
    threads: Annotated[str, typer.Option("--threads", help="comma-separated")] = "1,2",
    steps: Annotated[int, typer.Option("--steps", min=2, help="counted steps of each side")] = 12,
    prompts: Annotated[int, typer.Option("--prompts", min=1)] = 16,
    group: Annotated[int, typer.Option("--group", min=2)] = 8,
    tokens: Annotated[int, typer.Option("--tokens", min=4, help="new tokens at most")] = 36,
    shape: Annotated[
        str | None, typer.Option("--shape", help="random weights of these dimensions: qwen2.5-0.5b")
    ] = None,
    methods: Annotated[
        bool, typer.Option("--methods", help="also every objective of quick beside GRPO")
    ] = False,
    growth: Annotated[
        bool, typer.Option("--growth", help="also time and memory against size; minutes")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="all figures as JSON")] = None,
    out: Annotated[Path, typer.Option("--out", help="folder of the growth figures")] = Path("."),
    device: Device = None,
) -> None:
    """Time a step of ours beside TRL's on the same work, in turn; and against the arithmetic."""
    from importlib.util import find_spec

    from bench.tools.speed import PEERS, SHAPES
    from bench.tools.speed_show import watch_speed

    chosen = [k.strip() for k in only.split(",") if k.strip()]
    for kind in chosen:
        if kind not in PEERS:
            fail(f"--only {kind!r}: {', '.join(PEERS)}")
    if shape is not None and shape not in SHAPES:
        fail(f"--shape {shape!r}: {', '.join(SHAPES)}")
    if find_spec("trl") is None:
        fail("evenbench speed needs the package trl: pip install 'evenbench[trl]'")
    try:
        counts = [int(t) for t in threads.split(",")]
    except ValueError:
        fail(f"--threads {threads!r}: numbers such as 1,2")
    device, _ = _resources(device, 1, 1)
    work = {"prompts": prompts, "group": group, "tokens": tokens, "device": device}
    console = _console()
    figures, frame = watch_speed(
        console, chosen, [1] if device == "cuda" else counts, steps, work, shape, methods, growth
    )
    if frame is not None:
        from reports.plots import growth as draw

        for path in draw(frame).save(out):
            console.print(str(path), soft_wrap=True)
    if json_file:
        import json

        json_file.write_text(json.dumps(figures, indent=1) + "\n")
        console.print(str(json_file), soft_wrap=True)


@app.command()
def check(
    method: Annotated[
        str | None, typer.Argument(help="a method's name, or my_file.py:MyMethod")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", help="check a task instead: a name, or my_file.py:MyTask"),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Hold a method or a task against its contract: what holds, what fails, and why."""
    from pydantic import ValidationError

    from bench.tools import plugin

    if data_dir:
        os.environ["EVENBENCH_DATA"] = data_dir
    if (method is None) == (task is None):
        fail("give a method, or --task and a task")
    try:
        if task:
            holds, tables = plugin.check_task(task)
        else:
            holds, tables = plugin.check_method(str(method))
    except KeyError as error:
        fail(error.args[0])
    except ValidationError as error:
        fail(str(error))
    for table in tables:
        _console().print(table)
    if not holds:
        raise typer.Exit(1)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="e.g. my-method")],
    out: Annotated[Path, typer.Option("--out", help="folder of the two files")] = Path("."),
) -> None:
    """Write a method to start from, and its law test."""
    from bench.tools.plugin import new as write

    try:
        for path in write(name, out):
            typer.echo(str(path))
    except (ValueError, FileExistsError) as error:
        fail(str(error))


@app.command()
def doctor() -> None:
    """Say what is installed, what is missing, and what that disables."""
    from bench.tools.doctor import table

    _console().print(table())


@app.command()
def clean(yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False) -> None:
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


def main() -> None:
    # the commands themselves show what it warns of
    logging.getLogger("evenbench.tasks").setLevel(logging.ERROR)
    app()


if __name__ == "__main__":
    sys.exit(main())
