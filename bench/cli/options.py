"""Options that several commands share, and what the commands make of them.

Heavy packages are imported inside the functions that use them, so that `--help` is quick.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from typer import Argument, Option

from .console import fail, refusing

if TYPE_CHECKING:
    from bench.config import Suite

T = TypeVar("T")


def _use_data_dir(folder: str | None) -> str | None:
    if folder:
        os.environ["EVENBENCH_DATA"] = folder
    return folder


Recipe = Annotated[
    str, Argument(help="name of a recipe (see `evenbench list`), or path to a .toml file")
]
Methods = Annotated[
    str | None, Option("--methods", "-m", help="comma-separated; use path.py:Class for your own")
]
Extra = Annotated[list[str] | None, Option(help="add one method, e.g. my_file.py:MyLoss")]
Seeds = Annotated[str | None, Option(help="a number of seeds, or a list such as 0,3,7")]
TaskOption = Annotated[str | None, Option(help="another task: name or path.py:Class")]
_DATA_HELP = "folder with the data sets (or set EVENBENCH_DATA)"
DataDir = Annotated[str | None, Option(help=_DATA_HELP, callback=_use_data_dir)]
Source = Annotated[str | None, Option(help="data source: policy | replay | demonstrations")]
Override = Annotated[
    list[str] | None,
    Option("--override", "-o", help="key=value, e.g. method.gift.beta=2 or rollout.group=16"),
]
Out = Annotated[Path, Option(help="where the suite's folder is written")]
Workers = Annotated[int | None, Option(help="runs at the same time; default: one per core or GPU")]
Device = Annotated[str | None, Option(help="cpu | cuda; default: cuda if there is a GPU")]
Runs = Annotated[list[Path], Argument(help="folders of suites, e.g. runs/quick")]
Query = Annotated[
    str | None, Option(help="use only these runs, e.g. \"method != 'ppo' and seed < 3\"")
]
Figures = Annotated[Path, Option(help="folder for the files")]


def listed(text: str, kind: Callable[[str], T] = str, option: str = "") -> list[T]:
    """The parts of a comma-separated list; ends the command where one is not of this kind."""
    try:
        return [kind(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError:
        fail(f"{option} {text!r}: expected numbers, comma-separated")


def present(folders: list[Path]) -> None:
    """Ends the command where one of them does not exist."""
    for path in folders:
        if not path.is_dir():
            fail(f"{path}: no such folder")


@dataclass(frozen=True)
class Changes:
    """What the command line changes in a recipe; None where it says nothing."""

    methods: str | None = None
    method: list[str] | None = None
    seeds: str | None = None
    task: str | None = None
    source: str | None = None
    override: list[str] | None = None

    def suite(self, recipe: str, data: bool = True) -> Suite:
        """The changed recipe, checked; without `data` the task's questions are not read. Ends the
        command where something is wrong."""
        from bench.config import build_suite

        content = self.recipe(recipe)
        with refusing(KeyError, ValueError):  # ConfigError and TaskError are ValueErrors
            return build_suite(content, recipe, data)

    def recipe(self, recipe: str) -> dict[str, Any]:
        """The changed recipe, not yet checked."""
        from bench.config import override, read_recipe

        with refusing(KeyError, ValueError):
            content = read_recipe(recipe)
            if self.task:
                _change_task(content, self.task)
            content = override(content, self.override or [])
            if self.methods:
                content["methods"] = listed(self.methods)
            content["methods"] = [*content.get("methods", []), *(self.method or [])]
            if self.seeds:
                seeds = listed(self.seeds, int, "--seeds")
                content["seeds"] = seeds[0] if self.seeds.isdigit() else seeds
            _refuse_unused(self.override or [], content["methods"])
            for label in content["methods"] if self.source else []:
                content.setdefault("method", {}).setdefault(label, {})["source"] = self.source
            return content


def _refuse_unused(overrides: list[str], labels: list[str]) -> None:
    """An override of a method that is not in the suite would change nothing. Raises ValueError."""
    import tomllib

    for assignment in overrides:
        key = assignment.partition("=")[0]
        try:
            changed = tomllib.loads(f"{key} = 0").get("method", {})
        except tomllib.TOMLDecodeError:
            continue  # `override` has said so
        for label in changed if isinstance(changed, dict) else ():
            if label not in labels:
                raise ValueError(
                    f"-o {assignment!r}: {label} is not among the methods {', '.join(labels)}; add"
                    f" it with --method {label}"
                )


def _change_task(content: dict[str, Any], name: str) -> None:
    """Put another task in the place of the recipe's, whose fields go. Its own splits take the
    places of those that it lacks, with as many questions. Raises KeyError."""
    from tasks import entry

    previous = content.get("task", {})
    if name == (previous if isinstance(previous, str) else previous.get("name")):
        return
    splits = entry(name).cls.splits
    content["task"] = {"name": name}
    content["name"] = f"{content.get('name', 'suite')}-{name.rpartition(':')[2]}"
    for part in ("curve", "final"):
        if chosen := content.get("eval", {}).get(part):
            kept = {split: n for split, n in chosen.items() if split in splits}
            gone = [n for split, n in chosen.items() if split not in splits]
            new = [split for split in splits if split not in (*kept, "train")] if gone else []
            content["eval"][part] = {**kept, **dict.fromkeys(new, min(gone, default=0))}


def place(device: str | None, workers: int | None, runs: int) -> tuple[str, int]:
    """The device, and how many of so many runs are made on it at the same time."""
    import torch

    from bench.tools.doctor import cores

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device not in ("cpu", "cuda"):
        fail(f"--device {device!r}: expected cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        fail("--device cuda: torch finds no CUDA device")
    default = cores() if device == "cpu" else torch.cuda.device_count()
    return device, max(1, min(workers or default, runs))
