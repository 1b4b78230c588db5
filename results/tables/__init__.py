"""The tables of a report. Each function takes loaded runs and gives one Table.

A table never crashes for want of data: what cannot be said is a dash, and a note says why.
"""

# ruff: noqa: F403, F405
from collections.abc import Callable
from functools import partial

from ..records import BUDGET_AXES
from ..render import Table
from ..sequential import sequential_table
from .answers import *
from .costs import *
from .information import *
from .main import *
from .overall import *
from .parts import *
from .tuning import *

TABLES: dict[str, Callable[..., Table]] = {
    "main": main_table,
    "comparisons": comparison_table,
    "specifications": specification_table,
    "sequential": sequential_table,
    "information": information_table,
    "passk": pass_table,
    "selection": selection_table,
    "generalisation": generalisation_table,
    **{f"efficiency-{axis}": partial(efficiency_table, axis=axis) for axis in BUDGET_AXES},
    "axes": axes_table,
    "costs": cost_table,
    "tuning": tuning_table,
    "variance": variance_table,
    "drift": drift_table,
    "checker": checker_table,
    "wins": win_table,
    "aggregate": aggregate_table,
    "failures": failures_table,
    "grao-headline": grao_table,
}
