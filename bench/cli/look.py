"""Verbs that show what runs measured: report, claims, compare-published, table, plot, anatomy."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from . import options
from .console import console, fail, refusing, say

if TYPE_CHECKING:
    from reports.plots import Plot
    from results import Results
    from results.render import Table

    Drawn = tuple[Table, list[Plot]]

app = typer.Typer()


def load(runs: list[Path], query: str | None = None) -> Results:
    """The runs of folders that must exist, or those of them that the query keeps."""
    import results

    options.present(runs)
    with refusing(FileNotFoundError, results.SchemaError):
        loaded = results.load(runs)
    with refusing(Exception, where=f"--query {query!r}: "):  # pandas raises many kinds
        return loaded.query(query) if query else loaded


def summary(folders: list[Path]) -> Results:
    """Print the main table of some suites; returns what was loaded for it."""
    from results.tables import main_table

    loaded, terminal = load(folders), console()
    if len(loaded.runs):
        table = main_table(loaded)
        terminal.print(table)
    for problem in loaded.problems:
        say(str(problem), "yellow")
    return loaded


@app.command()
def report(
    runs: options.Runs,
    out: Annotated[Path | None, Option(help="default: report/ in the first folder")] = None,
) -> None:
    """Write report.html, report.md, figures and tables. Unfinished runs are listed, not counted."""
    from reports.report import write_report

    written = write_report(summary(runs), out or runs[0] / "report")
    for path in written.paths[:2]:
        say(str(path))
    folder = written.paths[0].parent
    say(f"{folder}/figures, {folder}/tables: {len(written.paths) - 2} files")


@app.command()
def claims(
    runs: options.Runs,
    file: Annotated[list[Path] | None, Option(help="TOML files of further claims")] = None,
    query: options.Query = None,
) -> None:
    """Test the papers' claims on runs: supported, contradicted, undetermined or not tested."""
    from reports.claims import ClaimError, claims_table, evaluate, load_claims
    from results.tables import grao_table

    with refusing(ClaimError):
        wanted = load_claims(*(file or ()))
    console().print(claims_table(evaluate(load(runs, query), wanted)))
    if not file:
        console().print(grao_table())


@app.command("compare-published")
def compare_published(
    runs: options.Runs,
    csv: Annotated[list[Path] | None, Option(help="further CSV files of numbers")] = None,
    query: options.Query = None,
) -> None:
    """Show the papers' printed numbers beside those that the runs measured."""
    from results.papers import PublishedError
    from results.tables import published_table

    with refusing(PublishedError):
        console().print(published_table(load(runs, query), *(csv or ())))


@app.command()
def table(
    name: Annotated[
        str, Argument(help="main, comparisons, specifications, information, costs, ...")
    ],
    runs: options.Runs,
    query: options.Query = None,
    split: Annotated[
        str | None, Option(help="other questions than the headline's, e.g. gsm8k")
    ] = None,
    metric: Annotated[str | None, Option(help="avg | greedy | pass@k | maj@k")] = None,
    form: Annotated[str, Option("--format", help="markdown | latex | csv | html")] = "terminal",
    columns: Annotated[
        int | None,
        Option(min=1, max=2, help="LaTeX for one or both columns of a two-column paper; default 2"),
    ] = None,
) -> None:
    """Print one table of the report."""
    from inspect import signature

    from results.tables import TABLES

    if name not in TABLES:
        fail(f"no table {name!r}; there are {', '.join(TABLES)}")
    chosen = {k: v for k, v in (("split", split), ("metric", metric)) if v}
    if others := chosen.keys() - signature(TABLES[name]).parameters.keys():
        fail(f"table {name} has no option --{min(others)}")
    loaded = load(runs, query)
    if split and split not in (known := set(loaded.evals["split"].astype("str"))):
        fail(f"--split {split!r}: these runs have {', '.join(sorted(known))}")
    with refusing(ValueError):
        made = TABLES[name](loaded, **chosen)
    if columns and form != "latex":
        fail("--columns: only --format latex takes it")
    latex = partial(made.latex, 1 if columns == 1 else 2)
    forms = {"markdown": made.markdown, "latex": latex, "csv": made.csv, "html": made.html}
    if form == "terminal":
        console().print(made)
    elif form in forms:
        typer.echo(forms[form]())
    else:
        fail(f"--format {form!r}: terminal, {', '.join(forms)}")


@app.command()
def plot(
    name: Annotated[str, Argument(help="forest, specifications, convergence-flops, ...")],
    runs: options.Runs,
    query: options.Query = None,
    by: Annotated[
        str | None, Option(help="of lift: what questions are grouped by, e.g. steps, level, rung")
    ] = None,
    out: options.Figures = Path("."),
) -> None:
    """Draw one figure of the report as SVG, PDF and PNG, with its data as CSV."""
    from reports.figures import draw

    with refusing(KeyError, ValueError):
        made = draw(load(runs, query), name, by)
    if not made:
        fail(
            f"{name}: these runs do not hold the data for this figure"
            + (", or all methods cost the same" if name.startswith("cost-") else "")
        )
    for figure in made:
        for path in figure.save(out):
            typer.echo(str(path))


@app.command()
def anatomy(
    runs: Annotated[
        list[Path] | None, Argument(help="suites or runs with keep_rollouts=true")
    ] = None,
    methods: options.Methods = None,
    override: options.Override = None,
    rewards: Annotated[
        str, Option(help="rewards of the three answers; the best are right, the first is gold")
    ] = "1,1,0",
    start: Annotated[str, Option(help="the answers' probabilities at the start")] = "0.15,0.35,0.5",
    group: Annotated[int, Option(min=1, max=6, help="samples of the prompt")] = 4,
    batches: Annotated[int, Option(min=1, help="stored rollout batches at most")] = 24,
    out: options.Figures = Path("anatomy"),
) -> None:
    """Draw what objectives do: where they lead on three answers, or how they weigh stored rollouts.

    Without runs: expected gradient flows of the methods of the recipe quick, or of --methods, and
    the end points that theory predicts. With runs: every method's token weights -dL/dlogp on their
    stored rollouts, as cosines, against probability and reward, and as shares.
    """
    if not runs:
        table, plots = _flows(options.Changes(methods, override=override), (rewards, start), group)
    elif override:
        fail("-o works without runs only; on stored rollouts each method keeps the run's fields")
    else:
        table, plots = _weights(runs, options.listed(methods) if methods else None, batches)
    for drawn in (*plots, table):
        for path in drawn.save(out):
            typer.echo(str(path))
    console().print(table)


def _flows(changes: options.Changes, given: tuple[str, str], group: int) -> Drawn:
    """The table and figure of the flows; `given` are --rewards and --start."""
    from dataclasses import replace

    from methods import Method
    from reports.anatomy.simplex import flows, problem

    suite = replace(changes, seeds="1").suite("quick")
    built = {run.method: run.build_methods() for run in suite.runs}
    chosen = {name: m for name, (m, *more) in built.items() if isinstance(m, Method) and not more}
    if without := built.keys() - chosen.keys():
        fail(f"{', '.join(without)}: only single methods of this project have a flow; name these")
    with refusing(ValueError, where="--rewards {!r}, --start {!r}: ".format(*given)):
        of = problem(*([float(x) for x in text.split(",")] for text in given))
    found = flows(chosen, of, group)
    return found.table(), [found.plot()]


def _weights(runs: list[Path], names: list[str] | None, batches: int) -> Drawn:
    """The table and figures of token weights on stored rollouts."""
    from reports.anatomy import anatomy, objectives

    loaded = load(runs)
    with refusing(KeyError, FileNotFoundError, ValueError):  # pydantic's is a ValueError
        found = anatomy(loaded, objectives(loaded, names), batches)
    return found.table(), found.plots()
