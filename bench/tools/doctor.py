"""What is installed, what is missing, and what does not work without it.

Nothing heavy is imported: versions come from the packages' metadata, the build of torch from its
`version.py`. So `evenbench doctor` is quick, and also answers where an import would crash.
"""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from bench.model.choice import choose

Condition = Literal["ok", "differs", "missing", "broken", "info"]

# Without these nothing runs.
CORE = (
    "torch", "transformers", "accelerate", "safetensors", "tokenizers", "pydantic", "numpy",
    "pandas", "pyarrow", "scipy", "statsmodels", "sympy", "matplotlib", "jinja2", "rich", "tomlkit",
    "typer",
)  # fmt: skip
# What a missing package disables.
PACKAGES = {
    **dict.fromkeys(CORE, "everything"),
    "datasets": "tasks and models by hub id (local folders work); extra [eval] or [trl]",
    "lm_eval": "evenbench eval; extra [eval]",
    "math-verify": "the comparison of our checker with math-verify; extra [eval]",
    "trl": "TRL's trainers as entrants, evenbench speed, vLLM sampling; extra [trl]",
    "peft": "LoRA; extra [lora]",
    "vllm": "sampling with vLLM; extra [vllm], in an environment of its own",
    "tensorboard": "--track tensorboard; extra [track]",
    "pytest": "make test; extra [dev]",
    "hypothesis": "make test; extra [dev]",
    "ruff": "make lint; extra [dev]",
    "pyright": "make lint; extra [dev]",
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC_BROWSERS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)


@dataclass(frozen=True)
class Item:
    name: str
    found: str | None  # None: absent
    wanted: str  # a version, a requirement or ""
    state: Condition
    note: str = field(default="", kw_only=True)  # what its absence disables, or more on the state


def report() -> list[Item]:
    """Rows on the interpreter, the machine, the settings and the packages, in this order."""
    return [python_row(), *machine_rows(), *thread_rows(), *package_rows()]


def healthy(rows: Iterable[Item]) -> bool:
    """Whether the core can run: Python new enough, and nothing missing that everything needs."""
    return not any(
        r.state == "broken" or (r.state == "missing" and r.note == "everything") for r in rows
    )


def table(rows: Iterable[Item] | None = None) -> Table:
    """The rows, by default those of `report`, for a terminal."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("what", "found", "wanted", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("note", overflow="fold")
    styles = {"ok": "green", "differs": "yellow", "missing": "red", "broken": "red", "info": "dim"}
    for row in report() if rows is None else rows:
        note = f"disables {row.note}" if row.state == "missing" else row.note
        state = Text(row.state, styles[row.state])
        # Text, not markup: rich would read the extra's name in "[vllm]" as a style
        table.add_row(row.name, Text(row.found or "-"), row.wanted, state, Text(note))
    return table


def python_row() -> Item:
    state, note, version = "ok", sys.executable, sys.version_info[:2]
    if version < (3, 11):
        state, note = "broken", "too old"
    elif version > (3, 13):
        state, note = "differs", "newer than tested (3.13)"
    return Item("python", platform.python_version(), ">=3.11", state, note=note)


def package_rows(names: Iterable[str] = tuple(PACKAGES)) -> list[Item]:
    """A row per package. A version other than the pinned one "differs", but may well work."""
    pins = pinned()
    rows = []
    for name in names:
        wanted, note = pins.get(canonical(name), ""), PACKAGES.get(name, "")
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            rows.append(Item(name, None, wanted, "missing", note=note))
            continue
        same = not wanted or found.split("+")[0] == wanted  # 2.13.0+cpu is a build of 2.13.0
        state, said = ("ok", "") if same else ("differs", "not the pinned version")
        rows.append(Item(name, found, wanted, state, note=said))
    return rows


def pinned() -> dict[str, str]:
    """The versions in constraints.txt by canonical name; empty when run from an installed wheel."""
    file = Path(__file__).parents[2] / "constraints.txt"
    if not file.is_file():
        return {}
    lines = [line.split("#")[0].strip() for line in file.read_text().splitlines()]
    return {canonical(n): v for n, _, v in (line.partition("==") for line in lines if line)}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def machine_rows() -> list[Item]:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    gpus, cuda = nvidia_gpus(), torch_cuda()
    system, browser = f"{platform.system()} {platform.machine()}", find_browser()
    untested = "" if browser else "the browser tests of the report; apt install chromium"
    return [
        Item("system", system, "", "info", note=platform.release()),
        Item("CPU cores", str(cores()), "", "info", note="usable by this process"),
        Item("memory", f"{memory:.0f} GiB", "", "info"),
        Item("free disk", f"{free:.0f} GiB", "", "info", note=f"at {Path.cwd()}"),
        gpu_row(gpus, cuda),
        forward_row("cuda" if gpus and cuda else "cpu"),
        Item("browser", browser, "", "ok" if browser else "missing", note=untested),
    ]


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpu_row(gpus: list[str], cuda: str | None) -> Item:
    """`gpus` as the driver names them; `cuda` is the CUDA version torch was built for, or None."""
    wanted = f"CUDA {cuda}" if cuda else ""
    if gpus and not cuda:
        note = "torch is a CPU build: `make distclean`, then set TORCH_INDEX to a CUDA index"
        return Item("GPU", "; ".join(gpus), wanted, "differs", note=note)
    if gpus:
        return Item("GPU", "; ".join(gpus), wanted, "ok", note=f"torch is a CUDA {cuda} build")
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return Item("GPU", "Apple", "", "info", note="used through torch's MPS backend")
    return Item("GPU", None, wanted, "info", note="runs use the CPU; large recipes need a GPU")


def forward_row(device: str) -> Item:
    """Which forward pass `model.backbone = "auto"` takes on this machine."""
    chosen = choose("auto", device, misfit=None)
    note = f"of Llama and Qwen2 where model.backbone = 'auto': {chosen.why}; others: transformers"
    return Item("forward pass", chosen.sample, "", "info", note=note)


def nvidia_gpus() -> list[str]:
    """Name and memory of each GPU, from the driver's own tool; empty if it does not answer."""
    if not (tool := shutil.which("nvidia-smi")):
        return []
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired:  # the driver hangs
        return []
    return answer.stdout.strip().splitlines() if answer.returncode == 0 else []


def torch_cuda() -> str | None:
    """The CUDA version that the installed torch was built for, without importing torch."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    text = Path(spec.origin).with_name("version.py").read_text()
    match = re.search(r"^cuda\b[^=\n]*=\s*['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return match[1] if match else None


def find_browser() -> str | None:
    """Path of a Chromium that the report's tests can drive, or None."""
    installed = (shutil.which(name) for name in BROWSERS)
    bundled = (path for path in MAC_BROWSERS if Path(path).is_file())
    return next((path for path in (*installed, *bundled) if path), None)


def thread_rows() -> list[Item]:
    policy = os.environ.get("OMP_WAIT_POLICY")
    threads = os.environ.get("OMP_NUM_THREADS")
    slow = "idle threads spin: up to 50 times slower on a machine that does anything else"
    state, note = ("ok", "") if (policy or "").lower() == "passive" else ("differs", slow)
    return [
        Item("OMP_WAIT_POLICY", policy, "passive", state, note=note),
        Item("OMP_NUM_THREADS", threads, "", "info", note="a suite sets one thread per worker"),
    ]
