"""The tables of `evenbench list`."""

from rich import box
from rich.table import Table
from rich.text import Text

import methods
import tasks
from bench.config import read_recipe, recipes
from bench.config.entrants import ENTRANTS, Entrant
from methods.search import LR, space

WANTS = ("reference", "critic", "entropy", "gold", "mismatched", "pairs", "refill")
WIDE = 110  # columns of a terminal that also has room for what each method is


def table_of(title: str | None, *columns: str, whole: int = -1) -> Table:
    """Without rows; the texts of columns up to `whole` are not broken into lines."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column in columns[:whole], overflow="fold")
    return table


def method_table(width: int = 80) -> Table:
    """A line per method: name, data sources (the default first), needs, what is tuned, paper, and
    on a wide terminal what it is."""
    known = methods.names()
    table = Table(title=f"Methods ({len(known)})", title_justify="left", box=box.SIMPLE_HEAD,
                  pad_edge=False, padding=(0, 1, 0, 0), caption_justify="left")  # fmt: skip
    columns = ["name", "data", "needs", "tuned", "paper", *(["about"] if width >= WIDE else [])]
    for column in columns:
        table.add_column(column, no_wrap=column not in ("about", "needs", "tuned"))
    for name in known:
        entry = methods.entry(name)
        needs = methods.get(name).needs()
        wants = [w for w in WANTS if getattr(needs, w)]
        wants += [f"group>={needs.group_min}"] if needs.group_min > 1 else []
        data = [needs.source, *(s for s in needs.sources if s != needs.source)]
        ranges = space(methods.get(name))
        tuned = ", ".join(f"{key} {values}" for key, values in ranges.items() if key != "lr")
        paper = entry.cls.paper.removeprefix("https://arxiv.org/abs/")
        row = (name, " ".join(data), " ".join(wants), tuned, paper, entry.about)
        table.add_row(*map(Text, row[: len(columns)]))
    more = "" if width >= WIDE else f"From {WIDE} columns on also what each is (COLUMNS=120)."
    table.caption = Text(
        "data: where training rows come from, the default first. tuned: what `evenbench tune`\n"
        f"searches beside the learning rate ({LR} times the recipe's). paper: at arxiv.org.\n"
        f"{more}\n",
        style="dim",
    )
    return table


def entrant_table() -> Table:
    """A line per trainer of another package."""
    table = table_of("Entrants", "name", "data", "paper", "fields", "about", whole=1)
    for name, cls in ENTRANTS.items():
        table.add_row(*map(Text, (name, cls().needs().source, *_about(cls), cls.about)))
    return table


def _about(cls: type[methods.Method | Entrant]) -> tuple[str, str]:
    """Its paper, and how many hyper-parameters it has."""
    return cls.paper.removeprefix("https://arxiv.org/abs/"), str(len(cls.model_fields))


def task_table() -> Table:
    table = table_of("Tasks", "name", "splits", "about", whole=1)
    for name in tasks.names():
        entry = tasks.entry(name)
        table.add_row(name, " ".join(entry.cls.splits), Text(entry.about))
    return table


def recipe_table() -> Table:
    table = table_of("Recipes", "name", "methods", "about", "expected cost", whole=1)
    for name in recipes():
        recipe = read_recipe(name)
        cost, labels = recipe.get("expected", ""), " ".join(recipe.get("methods", []))
        if why := recipe.get("plan_only"):
            cost += f". Plan only: {why}"
        table.add_row(*map(Text, (name, labels, recipe.get("about", ""), cost)))
    return table
