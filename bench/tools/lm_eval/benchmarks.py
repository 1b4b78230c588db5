"""Which questions are asked: benchmarks of lm-eval by name, with their data."""

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import tasks
from bench.config import ConfigError
from bench.model import start
from tasks.files import data_dir_from_environment

from .subject import Subject

OURS = Path(tasks.__file__).parent / "lm_eval"

# Benchmarks of lm-eval that can be read from the local files of this project's tasks.
_GSM8K = {"train": "gsm8k/train.jsonl", "test": "gsm8k/test.jsonl"}
_MATH500 = {"test": "math/math500.jsonl"}
LOCAL = {
    **dict.fromkeys(("gsm8k", "gsm8k_cot", "gsm8k_cot_zeroshot", "gsm8k_cot_llama"), _GSM8K),
    **dict.fromkeys(("hendrycks_math500", "minerva_math500"), _MATH500),
}


def find(names: Sequence[str]) -> tuple[dict[str, Path], Any]:
    """The YAML files of single benchmarks, and lm-eval's manager, which knows the others. Only for
    groups and tags does it index all 13,000 files of lm-eval, which takes long."""
    import lm_eval.tasks

    files = {name: file for name in names if (file := _file(name))}
    rest = [name for name in names if name not in files]
    ours = [f"evenbench_{task}" for task in tasks.names()]
    ours += [file.stem for file in OURS.glob("evenbench_*.yaml")]
    for name in rest:
        if name.startswith("evenbench_") and name not in ours:
            raise ConfigError(f"--tasks: no benchmark {name!r}{_nearest(name, ours)}")
    manager = lm_eval.tasks.TaskManager(include_path=str(OURS), include_defaults=bool(rest))
    for name in rest:
        if name not in manager.task_index:
            near = _nearest(name, [*manager.all_tasks, *ours])
            raise ConfigError(f"--tasks: lm-eval has no benchmark {name!r}{near}")
    return files, manager


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, [*dict.fromkeys(known)], n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _file(name: str) -> Path | None:
    """The file that describes a single benchmark, if it has the benchmark's name."""
    import lm_eval.tasks
    import yaml

    if _ours(name):
        return OURS / "_common.yaml"
    theirs = Path(lm_eval.tasks.__file__).parent
    for file in sorted(theirs.rglob(f"{name.replace('_', '[_-]')}.yaml")):
        lines = [line for line in file.read_text().splitlines() if line.startswith("task:")]
        if any(yaml.safe_load(line) == {"task": name} for line in lines):
            return file
    return None


def _ours(name: str) -> str | None:
    """The task of a benchmark such as `evenbench_gsm8k`; every task of the project has one."""
    task = name.removeprefix("evenbench_")
    return task if task != name and task in tasks.names() else None


def load(
    names: Sequence[str], files: dict[str, Path], manager: Any, *, about: Subject, folder: Path
) -> list[Any]:
    """lm-eval's tasks and groups, with their data."""
    loaded: list[Any] = []
    for name in names:
        changed = folder / f"{name}.yaml"  # a file that includes the real one, with changes
        if name in files:
            content = {"include": str(files[name]), "task": name, **_changes(name, about)}
            changed.write_text(json.dumps(content))
        try:
            found = manager.load([str(changed) if name in files else name])
        except Exception as error:  # of any kind: benchmarks run their own code and ask the hub
            needed = wanted(name, manager)
            raise ConfigError(f"--tasks {name}: cannot be loaded: {error}{needed}") from error
        group = found.get("groups", {}).get(name)
        loaded += [group] if group is not None else found["tasks"].values()
    return loaded


def wanted(name: str, manager: Any) -> str:
    """The end of an error message: which data a benchmark or group needs."""
    if name in LOCAL:
        files = ", ".join(LOCAL[name].values())
        return f"; EVENBENCH_DATA or --data-dir must hold {files}"
    sets = sorted(_data_sets(name, manager)) if name in manager.task_index else []
    return f"\nIt needs from the hub or its cache: {', '.join(sets)}" if sets else ""


def _data_sets(name: str, manager: Any) -> set[str]:
    """Data sets on the hub of a benchmark, or of a group's members."""
    from lm_eval.tasks._yaml_loader import load_yaml

    entry = manager.task_index[name]
    content = load_yaml(entry.yaml_path, resolve_func=False) if entry.yaml_path else entry.cfg or {}
    members = content.get("task") if "group" in content else None
    if entry.kind.name == "TAG":
        members = list(entry.tags)
    if isinstance(members, list):
        names = [m if isinstance(m, str) else m.get("task") for m in members]
        return set().union(*(_data_sets(n, manager) for n in names if n in manager.task_index))
    return {content["dataset_path"]} if content.get("dataset_path") else set()


def _changes(name: str, about: Subject) -> dict[str, Any]:
    """What replaces parts of a benchmark's file: our task's settings, or local data files."""
    if task := _ours(name):
        cls = tasks.entry(task).cls
        fields, limit = {"name": task}, cls.max_tokens
        if about.run and name == about.own:
            fields, limit = about.run.task, about.run.max_tokens
        until = [*cls.stop, *(start.stop_strings(about.run.model) if about.run else ())]
        limits = {"until": until, "do_sample": False, "max_gen_toks": limit}
        return {"dataset_kwargs": {"evenbench_task": fields}, "generation_kwargs": limits}
    data = data_dir_from_environment()
    local = {split: str(data / file) for split, file in LOCAL.get(name, {}).items()} if data else {}
    if not (local and all(Path(file).is_file() for file in local.values())):
        return {}
    return {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": local}}


def questions(about: Subject, seen: pd.Series) -> dict[str, list[int]]:
    """Positions in the test split of the questions that the run's last evaluation asked."""
    assert about.run is not None and about.own is not None
    examples = about.run.build_task().examples("test")
    return {about.own: [i for i, e in enumerate(examples) if e.id in seen.index]}
