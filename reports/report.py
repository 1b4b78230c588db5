"""`evenbench report`: a folder with report.html, report.md, tables and figures.

    from reports.report import write_report
    write_report("runs/quick").paths[0]      # runs/quick/report/report.html

The page is one file that needs no network. Everything in it that a model, a data set or a user
wrote is escaped, and its content security policy lets only the page's own script run.
"""

import base64
import collections
import hashlib
import json
import multiprocessing
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup

from results import Results, curves, load, neighbours, scores
from results.records import BUDGET_AXES
from results.render import Column, Table
from results.tables import TABLES, axis_word

from . import claims, figures, plots, questions, verdicts
from .plots import Plot

TEMPLATES = Path(__file__).parent / "templates"
# sections that fold away: a table, a figure or both of that name, and what to say of the figure
FURTHER = {
    "sequential": "",
    "passk": "unbiased estimate from all samples; bands are 95 % confidence intervals across seeds",
    "wins": "over all pairs of runs; a tie counts half; the table gives the intervals",
    "profile": "Performance profiles over tasks and seeds, with pointwise bootstrap bands",
    "tuning": "mean over all subsets of that many trials (unbiased)",
    "loss-shares": "Share of each term in the loss",
    "selection": "", "checker": "", "aggregate": "",
    "variance": "for new questions and new seeds; on the right the mean's standard error",
}  # fmt: skip


@dataclass(frozen=True)
class Written:
    """What was written: report.html, report.md, then figures and tables."""

    paths: list[Path]


def write_report(
    runs: str | Path | Iterable[str | Path] | Results, out: str | Path | None = None
) -> Written:
    """Write a report of one or many suites, finished or not.

    Args:
        runs: folder of a suite (or of one run, or of several suites), or several of them, or what
            was loaded from them.
        out: folder to write into; default `report/` in the (first) folder.

    Raises:
        ValueError: loaded runs without `out`.
        FileNotFoundError: a path does not exist or holds no run.
    """
    if isinstance(runs, Results):
        results = runs
    else:
        places = [Path(runs)] if isinstance(runs, str | Path) else [Path(p) for p in runs]
        results, out = load(places), out or places[0] / "report"
    if out is None:
        raise ValueError("write_report: loaded runs have no single folder; pass `out`")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    made_figures = all_figures(results)
    made_tables = {name: make(results) for name, make in TABLES.items()}
    for name in ("tuning", "sequential"):  # without a log of trials; with a fixed number of seeds
        if made_tables[name].frame.empty:
            del made_tables[name]
    found = claims.evaluate(results) if len(scores.counted(results)) else []
    if any(f.effect == f.effect for f in found):  # these runs can test one of them
        made_tables["claims"] = claims.claims_table(found)
    made_tables["questions"] = _questions_table(results)
    page = context(results, made_figures, made_tables)
    every = [plot for group in made_figures.values() for plot in group]
    paths = [folder / "report.html", folder / "report.md"]
    with _saving(every, folder / "figures"):
        for path in paths:
            path.write_text(render(path.name, page), encoding="utf-8")
    for plot in every:
        paths += plot.paths(folder / "figures")
    for table in made_tables.values():
        paths += table.save(folder / "tables")
    return Written(paths)


@contextmanager
def _saving(plots: list[Plot], folder: Path) -> Iterator[None]:
    """Save the figures, where there is a second core while the block draws the page. matplotlib
    takes nearly all of a report's time, and threads do not share it."""
    if not (sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1):
        yield
        return _save(plots, folder)
    # a forked process has the figures, whose functions cannot be sent to another one
    child = multiprocessing.get_context("fork").Process(target=_save, args=(plots, folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: none of them draws
        child.start()
    yield
    child.join()
    if child.exitcode:
        _save(plots, folder)


def _save(plots: list[Plot], folder: Path) -> None:
    for plot in plots:
        plot.save(folder)


def all_figures(results: Results) -> dict[str, list[Plot]]:
    """Every figure that the data give, by name."""
    if scores.counted(results).empty or not results.tally.counts:
        return {}
    return {name: made for name, make in figures.FIGURES.items() if (made := make(results))}


def context(
    results: Results, made_figures: dict[str, list[Plot]], made_tables: dict[str, Table]
) -> dict[str, object]:
    """All that the templates show."""
    found = verdicts.verdicts(results)
    records = [record.model_dump(mode="json") for record in results.provenance]
    picked = questions.pick(results)
    suites = sorted({str(s) for s in results.runs["suite"]})
    return {
        "title": ", ".join(suites) or "no runs",
        "tasks": sorted({str(t) for t in results.runs["task"]}),
        "methods": results.methods,
        "runs": results.runs,
        "counted": len(scores.counted(results)),
        "seeds": sorted({int(s) for s in results.runs["seed"]}),
        "split": scores.headline_split(results),
        "how": neighbours.words(results, neighbours.primary(results)),
        "curve_questions": _curve_questions(results),
        "control": results.control,
        "verdicts": found,
        "summary": verdicts.summary(results, found),
        "limits": verdicts.limits(results),
        "tables": made_tables,
        "figures": collections.defaultdict(list, made_figures),
        "convergence": _by_axis(made_figures, "convergence"),
        "cost": _by_axis(made_figures, "cost"),
        "questions": picked,
        "kinds": questions.KINDS,
        "further": FURTHER,
        "settings": settings_table(results),
        "configs": _configs(results),
        "provenance": provenance(records),
        "warnings": _warnings(results),
        "version": metadata.version("evenbench"),
        "written": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "classes": {m: plots.css_class(m) for m in plots.looks(results.methods)},
        "main": _main(made_tables["main"]),
        "claims": claims.claim_sentences(made_tables["claims"]) if "claims" in made_tables else [],
    }


def render(template: str, page: dict[str, object]) -> str:
    """One template with the page's context; HTML is escaped throughout."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["md"] = _markdown
    script = (TEMPLATES / "report.js").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        page,
        style=Markup((TEMPLATES / "report.css").read_text()),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        Markup=Markup,
    )


def settings_table(results: Results) -> Table:
    """A row per method: the settings in which the methods may differ."""
    rows = []
    for (task, method), runs in results.runs.groupby(["task", "method"], observed=True):
        first = runs.iloc[0]
        axis = first["budget_axis"]
        optimizer = first["config"].get("optimizer") or first["config"]
        rows.append({
            "task": task, "method": str(method), "objective": first["objective"],
            "source": first["source"], "lr": str(optimizer.get("lr", "")) or None,
            "budget": f"{first['budget']:g} {first['budget_axis']}" if axis else None,
            "fields": ", ".join(f"{k}={v}" for k, v in first["fields"].items()) or None,
            "seeds": ", ".join(str(s) for s in sorted(runs["seed"])),
        })  # fmt: skip
    keys = ["task", "method", "objective", "source", "lr", "budget", "fields", "seeds"]
    frame = pd.DataFrame(rows, columns=keys)
    shown = [k for k in keys if k != "task" or frame["task"].nunique() > 1]
    heads = {"lr": "learning rate", "fields": "hyper-parameters"}
    columns = tuple(Column(k, heads.get(k, k.capitalize() if k == "method" else k)) for k in shown)
    return Table("settings", "Settings of each method", frame, columns)


def provenance(records: list[dict[str, object]]) -> list[tuple[str, list[str]]]:
    """Label -> the distinct values in the runs' records; one value where all runs agree."""

    def values(name: str) -> list[str]:
        found = [record.get(name) for record in records]
        return [*dict.fromkeys(_shown(value) for value in found if value)]

    kinds = ["packages", "hardware", "git", "data", "grader", "base"]
    parts = [(kind, values(kind)) for kind in kinds]
    started = sorted(str(r["started"]) for r in records if r.get("started"))
    if started:
        first, last = started[0], started[-1]
        parts.append(("started", [first if first == last else f"{first} to {last}"]))
    return [(name, found) for name, found in parts if found]


def _shown(value: object) -> str:
    if not isinstance(value, dict):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    inner = {k: f"({_shown(v)})" if isinstance(v, dict) else _shown(v) for k, v in value.items()}
    return ", ".join(f"{k} {v}" for k, v in inner.items())


def _by_axis(made: dict[str, list[Plot]], kind: str) -> list[tuple[str, str, list[Plot]]]:
    """(axis, its label, plots) of the figures that come once per axis."""
    first = ("flops",) if kind == "cost" else ()
    order = [*first, *(axis for axis in BUDGET_AXES if axis not in first)]
    found = ((axis, made.get(f"{kind}-{axis}", [])) for axis in order)
    return [(axis, axis_word(axis), group) for axis, group in found if group]


def _curve_questions(results: Results) -> str:
    """How many questions the curves are measured on; the last evaluation may ask more."""
    counts = sorted({int(n) for n in curves.points(results)["questions"]})
    return " or ".join(f"{n:,}" for n in counts)


def _main(table: Table) -> Table:
    """The main table with the verdict beside the accuracy, so that a narrow page shows it."""
    costs = [c.key for c in table.columns if c.kind in ("si", "number")]
    there = [c.key for c in table.columns]
    first = [key for key in ("task", "method", "accuracy", "difference", "mde_adjusted", "verdict",
                             "robust", "flags") if key in there]  # fmt: skip
    last = [key for key in there if key not in (*first, *costs)]
    return table.select(*first, *last, *costs)


def _questions_table(results: Results) -> Table:
    """Every question with every method's share, for the CSV."""
    frame = questions.score_table(results)
    methods = [m for m in results.methods if m in frame]
    columns = (Column("question_id", "question"), *(Column(m, m, "percent") for m in methods))
    return Table("questions", "Share of right sampled answers, all seeds", frame, columns)


def _configs(results: Results) -> list[tuple[str, str]]:
    """The whole config of the first run of each method, as JSON."""
    first = results.runs.sort_values(["task", "method"]).drop_duplicates(["task", "method"])
    return [
        (f"{r.method}, seed {r.seed}", json.dumps(r.config, indent=1, default=str))
        for r in first.itertuples()
    ]


def _warnings(results: Results) -> list[tuple[str, str]]:
    """(warning, methods that have it)."""
    who: dict[str, dict[str, None]] = {}
    for run in results.runs.itertuples():
        for warning in run.warnings:
            who.setdefault(str(warning), {})[str(run.method)] = None
    return [(warning, ", ".join(methods)) for warning, methods in who.items()]


def _markdown(text: object) -> str:
    escaped = str(text)
    for character in "\\`*_<>|[]#":
        escaped = escaped.replace(character, "\\" + character)
    return escaped.replace("\n", " ")
