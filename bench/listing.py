"""The tables of `evenbench list`."""

from __future__ import annotations

from rich.table import Table

import methods
import tasks

from .config import read_recipe, recipes


def method_table() -> Table:
    table = Table("name", "default data", "also takes", "needs", "paper", "fields", "about", title="Methods", title_justify="left")
    for name in methods.names():
        entry = methods.entry(name)
        needs = methods.get(name).needs()
        wants = [w for w in ("reference", "critic", "entropy", "gold", "mismatched", "pairs", "refill") if getattr(needs, w)]
        if needs.group_min > 1:
            wants.append(f"group >= {needs.group_min}")
        others = [s for s in needs.sources if s != needs.source]
        table.add_row(name, needs.source, " ".join(others), " ".join(wants), entry.cls.paper,
                      str(len(entry.cls.model_fields)), entry.about)  # fmt: skip
    return table


def task_table() -> Table:
    table = Table("name", "splits", "about", title="Tasks", title_justify="left")
    for name in tasks.names():
        entry = tasks.entry(name)
        table.add_row(name, " ".join(entry.cls.splits), entry.about)
    return table


def recipe_table() -> Table:
    table = Table("name", "methods", "about", "expected cost", title="Recipes", title_justify="left")
    for name in recipes():
        recipe = read_recipe(name)
        table.add_row(name, " ".join(recipe.get("methods", [])), recipe.get("about", ""), recipe.get("expected", ""))
    return table
