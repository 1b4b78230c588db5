"""What the terminal shows of a suite: its plan, a progress bar per run, the time left."""

import time
from collections import Counter
from collections.abc import Sized
from pathlib import Path

from rich import progress
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.config import Hardware, Suite
from bench.model import start
from bench.record.store import RunFolder
from bench.train.session import broken_rows

from .grid import RunState, expected_end, run_suite
from .plan import plan

UNITS = ((1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def human(value: float, unit: str = "") -> str:
    """1234567 -> '1.2 M'."""
    for size, prefix in UNITS:
        if abs(value) >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".rstrip()


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def bars_of(console: Console, refresh: float = 10) -> progress.Progress:
    """Progress bars that vanish at the end, redrawn so many times a second; tasks have a `note`."""
    text, elapsed = progress.TextColumn, progress.TimeElapsedColumn()
    columns = (text("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn())
    columns += (elapsed, text("{task.fields[note]}"))
    return progress.Progress(*columns, console=console, transient=True, refresh_per_second=refresh)


def show_plan(
    console: Console,
    suite: Suite,
    workers: int,
    *,
    device: str = "cpu",
    teraflops: float | None = None,
    every_run: bool = False,
    hardware: Hardware | None = None,
) -> None:
    """Print what the suite is and what it will cost: in a line, or in a table with `every_run`."""
    cost, where = plan(suite, workers, device, teraflops=teraflops, hardware=hardware), device
    if hardware:
        where = f"{hardware.gpus} x {hardware.name}, {hardware.gpus_per_run} per run"
    labels, seeds = dict.fromkeys(r.method for r in suite.runs), {r.seed for r in suite.runs}
    first = suite.runs[0]
    shapes = Counter((r.rollout.prompts, r.rollout.group) for r in suite.runs)
    prompts, group = shapes.most_common(1)[0][0]
    console.print(f"[bold]{suite.name}[/]  {suite.about}")
    if suite.plan_only:
        console.print(f"[yellow]only a plan[/]: this cannot be run, since {suite.plan_only}")
    console.print(
        f"{_count(labels, 'method')} x {_count(seeds, 'seed')} on {first.task['name']}: "
        f"{', '.join(labels)}\n"
        f"budget per run: {first.budget.amount:g} {first.budget.axis}; "
        f"{prompts} prompts x {group} samples; "
        f"{_count(range(workers), 'worker')} on {where}"
    )
    time_needed = f"about {clock(cost.seconds)}"
    if cost.seconds_base >= 1:
        time_needed += f" and {clock(cost.seconds_base)} to build the base model once"
    if suite.expected:
        time_needed += f" (recipe: {suite.expected})"
    if not every_run:
        sampled, trained = human(cost.tokens_sampled), human(cost.tokens_trained)
        flops = human(cost.flops + cost.flops_evaluate, "FLOP")
        console.print(
            f"expected: {sampled} tokens generated, {trained} trained, {flops}, "
            f"{human(cost.memory, 'B')} per worker, {human(cost.disk, 'B')} on disk, "
            f"about {clock(cost.seconds)}"
        )
        return
    table = Table(title="Expected cost of the suite", title_justify="left", show_header=False)
    for row in (
        ("parameters", human(cost.parameters)),
        ("updates", human(cost.updates)),
        ("samples", human(cost.samples)),
        ("tokens generated", human(cost.tokens_sampled)),
        ("tokens trained", human(cost.tokens_trained)),
        ("FLOPs, training", human(cost.flops, "FLOP")),
        ("FLOPs, evaluation", human(cost.flops_evaluate, "FLOP")),
        ("memory per GPU" if hardware else "memory per worker", human(cost.memory, "B")),
        ("disk", human(cost.disk, "B")),
        ("time", time_needed),
    ):
        table.add_row(*row)
    console.print(table, f"assumed: {cost.assumptions}", sep="\n")
    if hardware and cost.memory > hardware.memory_gb * 1e9:
        console.print(f"[yellow]does not fit[/] into the {hardware.memory_gb:g} GB of a GPU")


def watch_suite(
    console: Console, suite: Suite, folder: Path, workers: int, *, device: str = "cpu"
) -> list[RunState]:
    """Build the starting model if it is not cached, then run the grid; show both as they go on."""
    first = suite.runs[0]
    with bars_of(console) as bar:
        shown: dict[str, progress.TaskID] = {}

        def building(done: int, total: int, what: str) -> None:
            if what not in shown:
                shown[what] = bar.add_task(what, total=total, note="built once, then cached")
            bar.update(shown[what], completed=done)

        where = start.ensure(first.model, first.build_task(), building, device)
    if facts := start.cost(first.model, first.build_task()):
        fresh = "built in" if shown else "cached; it was built in"
        console.print(
            f"base model {where}: {human(facts['parameters'])} parameters, "
            f"{fresh} {clock(facts['seconds'])}, "
            f"{human(facts['tokens'])} tokens, final loss {facts['loss']:.3f}",
            soft_wrap=True,
        )
    if first.model.path is None and first.build_task().word_pattern is None:
        console.print(
            f"[yellow]note[/] this toy model of {human(facts['parameters'])} parameters will score "
            f"near zero on {first.task['name']}; set model.path"
        )
    for warning in _warnings(suite):
        console.print(f"[yellow]note[/] {escape(warning)}", soft_wrap=True)
    started = time.time()
    with bars_of(console, refresh=2) as bar:
        total = bar.add_task("[bold]suite", total=len(suite.runs), note="")
        bars: dict[str, progress.TaskID] = {}
        said: set[str] = set()

        def watch(states: list[RunState]) -> None:
            for state in states:
                name = f"{state.run.method} seed {state.run.seed}"
                if state.status == "running":
                    amount = state.run.budget.amount
                    spent = state.position(folder).get(state.run.budget.axis, 0)
                    if name not in bars:
                        bars[name] = bar.add_task(name, total=amount, note=state.run.budget.axis)
                    bar.update(bars[name], completed=min(spent, amount))
                elif name in bars:
                    bar.remove_task(bars.pop(name))
                    if name not in said and state.status != "waiting":
                        said.add(name)
                        took = ""
                        if row := state.position(folder):
                            took = f", {row['updates']} updates in {clock(row['seconds'])}"
                        bar.console.print(f"{name}: {state.status}{took}")
            ended = sum(s.status not in ("waiting", "running") for s in states)
            left = expected_end(states, folder, started, workers)
            note = f"about {clock(left)} left" if left is not None and ended else ""
            bar.update(total, completed=ended, note=note)

        threads = 1 if device == "cpu" else 4
        states = run_suite(suite, folder, workers, threads=threads, device=device, watch=watch)
    _where_time_went(console, states, folder, time.time() - started)
    if any(state.run.sampler.name != "hf" for state in states):
        _engine_drift(console, folder)
    return states


def _where_time_went(console: Console, states: list[RunState], folder: Path, wall: float) -> None:
    """Print the seconds by phase over all runs; `else` is start-up, assembling batches, waiting."""
    ended = [RunFolder(folder / state.run.name).done for state in states]
    counted = [done for done in ended if done and done.spent]
    if counted:
        phases = ("sample", "grade", "score", "train", "evaluate", "store")
        spent = {p: float(sum(getattr(d.spent, f"seconds_{p}") for d in counted)) for p in phases}
        spent["else"] = max(0.0, sum(d.seconds for d in counted) - sum(spent.values()))
        parts = ", ".join(f"{p} {clock(v)}" for p, v in spent.items() if v >= 0.5)
        console.print(f"where the time went, over {len(counted)} runs: {parts}; wall {clock(wall)}")


def _engine_drift(console: Console, folder: Path) -> None:
    """Print how far the sampler's log-probs were from the trainer's, over the suite's updates."""
    import results

    steps = results.load(folder).steps
    if "sampler_drift" in steps:
        mean, most = steps["sampler_drift"].mean(), steps["sampler_drift_max"].max()
        console.print(
            f"log-probs of sampler and trainer differ by {mean:.2g} nats per token on average, "
            f"by {most:.2g} at most"
        )


def _warnings(suite: Suite) -> list[str]:
    found: dict[str, None] = {}
    for run in suite.runs:
        said = [text for m in run.build_methods() for text in m.warnings(run.rollout.updates)]
        found |= dict.fromkeys(f"{run.method}: {text}" for text in said)
        found |= dict.fromkeys(broken_rows(run, run.build_task()))
    return list(found)


def _count(things: Sized, noun: str) -> str:
    return f"{len(things)} {noun}{'s' * (len(things) != 1)}"
