"""What papers print: their tables with provenance, and what can be recomputed from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from . import scores, stats

if TYPE_CHECKING:
    from .runs import Results

FOLDER = Path(__file__).parent / "published"
COLUMNS = ("paper", "version", "table", "row", "column", "value", "uncertainty", "provenance")
REQUIRED = ("paper", "row", "column", "value")
GRAO = "arXiv:2508.07750"
REGIMES = ("expert", "offline", "online")  # words of a row that say where the data came from
BASELINES = ("SFT", "DPO", "PPO", "GRPO")
PRINTED = 0.05  # two printed percentages agree within this


class PublishedError(ValueError):
    """A file of published numbers is broken; the message holds its path, and the line."""


def published(*files: str | Path) -> pd.DataFrame:
    """Every published number that comes with the project, then those of the given CSV files.

    Returns COLUMNS and `file`; `value` and `uncertainty` are floats in the paper's own unit.

    Raises:
        PublishedError: a file lacks a required column, or holds a value that is no number.
    """
    paths = [*sorted(FOLDER.glob("*.csv")), *map(Path, files)]
    return pd.concat([_read(path) for path in paths], ignore_index=True)


def _read(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (OSError, ValueError) as error:  # pandas' parser and decoder errors are ValueErrors
        raise PublishedError(f"{path}: {error}") from None
    missing = [c for c in REQUIRED if c not in frame]
    if missing:
        raise PublishedError(
            f"{path}: no column {', '.join(missing)}; found {', '.join(frame.columns)};"
            f" known: {', '.join(COLUMNS)}"
        )
    frame = frame.reindex(columns=[*COLUMNS], fill_value="")
    for column in ("value", "uncertainty"):
        numbers = pd.to_numeric(frame[column], errors="coerce")
        bad = numbers.isna() & ((frame[column] != "") | (column == "value"))
        if bad.any():
            at = int(bad.idxmax())
            found = frame[column][at]
            raise PublishedError(f"{path}, line {at + 2}: {column} = {found!r} is not a number")
        frame[column] = numbers
    return frame.assign(file=path.name)


def beside(results: Results, *files: str | Path) -> pd.DataFrame:
    """Each published number whose row names a method of the runs, and what the
    runs measured: `method`, `task`, `split`, `measured`, `low`, `high`, `seeds` (shares of 1 over
    seeds). Other models, data and protocols: for orientation, not a comparison."""
    split = scores.headline_split(results)
    by_seed = scores.seed_scores(scores.metric_scores(results, None, split))
    rows = []
    for (task, method), runs in by_seed.groupby(["task", "method"], observed=True):
        found = stats.seed_interval(runs["score"])
        rows.append([_key(str(method)), str(method), str(task), split, *found[:3], len(runs)])
    columns = ["key", "method", "task", "split", "measured", "low", "high", "seeds"]
    measured = pd.DataFrame(rows, columns=columns).astype({"key": "str"})
    printed = published(*files)
    printed["key"] = printed["row"].map(_key).astype("str")
    return printed.merge(measured, on="key").drop(columns="key")


def _key(name: str) -> str:
    """Lower case without the data regime: GRPO, grpo and "GRPO offline" name one objective."""
    return " ".join(word for word in name.lower().split() if word not in REGIMES)


def grao_headline() -> pd.DataFrame:
    """Recompute the "relative improvement over SFT, DPO, PPO, GRPO" of GRAO's abstract.

    It is the mean over the four cells (two models, two data sets) of GRAO's relative gain in RAS.
    From the tables as printed the last two do not come out; with the rows of PPO and GRPO swapped
    in one column (harmless, Moonlight) all four do, within 0.03. So either these rows are swapped
    in the table, or they were in the computation of the abstract.

    Returns: a row per baseline: baseline; abstract, printed, swapped in per cent; agrees (whether
    the abstract and the tables as printed do).
    """
    numbers = published()
    ours = numbers[numbers["paper"] == GRAO]
    ras = ours[ours["table"].isin(["helpful-base", "harmless-base"])]
    ras = ras[ras["column"].str.endswith(" RAS")]
    cells = ras.pivot(index="row", columns=["table", "column"], values="value")
    column = ("harmless-base", "Moonlight-16B-A3B RAS")
    swapped = cells.copy()
    swapped.loc[["PPO", "GRPO"], [column]] = cells.loc[["GRPO", "PPO"], [column]].to_numpy()
    abstract = ours[ours["table"] == "abstract"].set_index("row")["value"]
    abstract.index = abstract.index.str.removeprefix("GRAO over ")
    found = abstract.loc[[*BASELINES]].rename_axis("baseline").rename("abstract").to_frame()
    for name, table in (("printed", cells), ("swapped", swapped)):
        found[name] = [100 * (table.loc["GRAO"] / table.loc[b] - 1).mean() for b in BASELINES]
    found["agrees"] = (found["abstract"] - found["printed"]).abs() <= PRINTED
    return found.reset_index()
