"""A complete fake suite on disk, as results/records.py says, with known effects.

Reports, tables and statistics are tested on it: what was put in must come out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from results.records import LEDGER_COLUMNS, SCHEMA_VERSION

METHODS = ("sft", "rift", "grpo", "grao", "gift")
FINALS = {"sft": 0.40, "rift": 0.38, "grpo": 0.50, "grao": 0.50, "gift": 0.45}
SOURCES = {"sft": "demonstrations", "rift": "replay"}  # every other one: policy

RunKey = tuple[str, int]  # method, seed


@dataclass(frozen=True)
class Spread:
    """Standard deviations of the random effects, in logits."""

    question: float = 1.5
    seed: float = 0.10
    interaction: float = 0.4  # seed x question


@dataclass(frozen=True)
class _Suite:
    name: str
    task: str
    steps: int
    eval_steps: tuple[int, ...]
    samples: int
    start: float
    spread: Spread
    texts: bool
    curve: dict[str, int] | None = None
    splits: dict[str, np.ndarray] = field(default_factory=dict)  # split -> logits of its questions


def write_suite(
    path: str | Path,
    methods: Sequence[str] = METHODS,
    seeds: int | Sequence[int] | Mapping[str, Sequence[int]] = 5,
    questions: int | Mapping[str, int] = 64,
    samples: int = 4,
    evaluations: int = 7,
    effects: Mapping[str, float] | None = None,
    rng_seed: int = 0,
    *,
    steps: int = 60,
    start: float = 0.2,
    spread: Spread | None = None,
    curve: Mapping[str, int] | None = None,
    diverged: Mapping[RunKey, int] | None = None,
    unfinished: Mapping[RunKey, int] | None = None,
    texts: bool = True,
    task: str = "arithmetic",
    config: Mapping[str, Any] | None = None,
    control: str | None = None,
    margin: float = 0.02,
) -> Path:
    """Write a suite folder: suite.json and a folder a run. Returns its path, which names the suite.

    Args:
        seeds: a number, a list, or a list per method (unequal seeds).
        questions: of the test split (validation, train and ood get half as many), or per split.
        samples: K sampled responses a question, beside one greedy response.
        evaluations: evaluations a run, the first before any update (step 0).
        effects: final accuracy of a method on the test split where it is not FINALS (0.45 for
            unknown names); it grows from `start` as 1 - exp(-3 progress), validation alike,
            train ends 0.05 higher, ood 0.05 lower.
        curve: questions of a split that are evaluated before the end, as the harness does; splits
            that it lacks are evaluated at the end alone. None: everything, always.
        diverged: (method, seed) -> step of the non-finite loss; DONE says so.
        unfinished: (method, seed) -> last whole step; no DONE, a torn last line in steps.jsonl.
        texts: write response, extracted, prompt, gold and meta (1 to 3 steps) as the schema says.
        config: more entries of the runs' config.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(rng_seed)
    if not isinstance(questions, Mapping):
        half = max(questions // 2, 1)
        questions = {"validation": half, "test": questions, "ood": half, "train": half}
    spread = spread or Spread()
    suite = _Suite(
        path.name, task, steps, tuple(int(s) for s in np.linspace(0, steps, evaluations).round()),
        samples, start, spread, texts, dict(curve) if curve is not None else None,
        {split: rng.normal(0, spread.question, n) for split, n in questions.items()},
    )  # fmt: skip
    finals = {**FINALS, **(effects or {})}
    for method in methods:
        for seed in _seeds(seeds, method):
            key = (method, seed)
            stop = (diverged or {}).get(key) or (unfinished or {}).get(key) or steps
            ends = {"diverged": diverged or {}, "unfinished": unfinished or {}}
            state = next((name for name, runs in ends.items() if key in runs), "finished")
            own = np.random.default_rng([rng_seed, seed, *method.encode()])
            final = finals.get(method, 0.45)
            _write_run(path, suite, method, seed, final, stop, state, own, dict(config or {}))
    runs = [{"method": m, "seed": s} for m in methods for s in _seeds(seeds, m)]
    recipe = {"name": path.name, "runs": runs, "control": control, "margin": margin}
    (path / "suite.json").write_text(json.dumps(recipe, indent=1))
    return path


def _seeds(seeds: int | Sequence[int] | Mapping[str, Sequence[int]], method: str) -> Sequence[int]:
    if isinstance(seeds, Mapping):
        return seeds[method]
    return range(seeds) if isinstance(seeds, int) else seeds


def _write_run(
    path: Path, suite: _Suite, method: str, seed: int, final: float, stop: int, state: str,
    rng: np.random.Generator, config: dict[str, Any],
) -> None:  # fmt: skip
    digest = hashlib.sha256(f"{suite.name}/{method}/{seed}".encode()).hexdigest()[:8]
    folder = path / f"{method}-{suite.task}-s{seed}-{digest}"
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(
        json.dumps(_run_record(suite, folder.name, method, seed, config), indent=1)
    )
    lines = [json.dumps(row) for row in _step_rows(suite, method, stop, state, rng)]
    text = "\n".join(lines) + "\n"
    if state == "unfinished":
        text += lines[-1][: len(lines[-1]) // 2]  # killed while writing the next line
    (folder / "steps.jsonl").write_text(text)
    pq.write_table(_eval_rows(suite, final, stop, seed, rng), folder / "evals.parquet")
    if state != "unfinished":
        reason = f"loss is not finite at step {stop}" if state == "diverged" else None
        done = {"status": state, "reason": reason, "step": stop, "seconds": 0.2 * stop}
        (folder / "DONE").write_text(json.dumps(done | {"ended": "2026-01-01T00:10:00"}))


def _run_record(
    suite: _Suite, run: str, method: str, seed: int, config: dict[str, Any]
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION, "id": run, "suite": suite.name, "method": method,
        "objective": method, "fields": {"beta": 1.0} if method == "gift" else {},
        "task": suite.task, "seed": seed, "source": SOURCES.get(method, "policy"),
        "config": {"seed": seed, "method": method, "lr": 1e-4, **config},
        "budget": {"updates": suite.steps}, "packages": {"torch": "0.0"},
        "hardware": {"cpu": "synthetic", "cores": 1, "threads": 1, "memory_gb": 1, "gpu": None},
        "git": None,
        "data": {
            split: hashlib.sha256(logits.tobytes()).hexdigest()[:16]
            for split, logits in suite.splits.items()
        },
        "grader": {"version": "1", "options": {}},
        "base": {"id": "synthetic", "cost": {"seconds": 100.0, "flops": 1e12}},
        "warnings": [], "started": "2026-01-01T00:00:00",
    }  # fmt: skip


def _step_rows(
    suite: _Suite, method: str, stop: int, state: str, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Every method draws 128 samples an update; an offline one is charged its whole replay set
    first."""
    offline = method in SOURCES
    rows = []
    for step in range(1, stop + 1):
        total = dict.fromkeys(LEDGER_COLUMNS, 0)
        drawn = 128 * (suite.steps if offline else step)
        shown = SOURCES.get(method) == "demonstrations"
        sampled = 0 if shown else 20 * drawn
        trained = 20 * 128 * step
        total |= {
            "updates": step, "prompts": 16 * step, "samples": 128 * step,
            "verifier_calls": 0 if shown else drawn, "references": 128 * step * shown,
            "references_distinct": min(128 * step, 100) * shown,
            "prompts_distinct": min((128 if shown else 16) * step, 1000),
            "samples_policy": 0 if offline else 128 * step,
            "tokens_prompt": 21 * 16 * step, "tokens_sampled": sampled, "tokens_trained": trained,
            "tokens": sampled + trained, "flops_sample": 2e6 * sampled,
            "flops_train": 6e6 * trained, "flops": 2e6 * sampled + 6e6 * trained,
            "flops_evaluate": 1e10 * step,
            "seconds": (0.1 if offline else 0.2) * step * rng.uniform(0.95, 1.05),
            "seconds_train": 0.1 * step, "seconds_evaluate": 0.05 * step,
            "peak_memory_bytes": 10**9,
        }  # fmt: skip
        accuracy = suite.start + 0.3 * (1 - np.exp(-3 * step / suite.steps))
        bad = state == "diverged" and step == stop
        rows.append({
            "step": step, "rollout": step,
            "loss": float("nan") if bad else float(rng.normal(0, 0.1)),
            "grad_norm": float("nan") if bad else float(rng.lognormal()), "lr": 1e-4,
            "reward_mean": accuracy, "accuracy": accuracy, "finished": 0.98,
            "response_tokens": 20.0 + 2 * step / suite.steps,
            "format_ok": 0.9, "rows": 128, "rows_trained": 96, "empty": False, **total,
            "policy_kl": 0.01 * step, "entropy": 1.0 - 0.5 * step / suite.steps,
        })  # fmt: skip
    return rows


def _eval_rows(
    suite: _Suite, final: float, stop: int, seed: int, rng: np.random.Generator
) -> pa.Table:
    seed_effect = rng.normal(0, suite.spread.seed)
    steps = [s for s in suite.eval_steps if s <= stop]
    parts = []
    for split, question_logits in suite.splits.items():
        own = question_logits + rng.normal(0, suite.spread.interaction, len(question_logits))
        aim = final + {"train": 0.05, "ood": -0.05}.get(split, 0.0)
        for step in steps:
            progress = 1 - np.exp(-3 * step / suite.steps)
            target = suite.start + (aim - suite.start) * progress / (1 - np.exp(-3))
            # the shift that makes the mean over questions hit the target; seeds then move around it
            shift = _shift(question_logits, target) + seed_effect * (step > 0)
            logits = own + shift
            if suite.curve is not None and step < suite.steps:
                logits = logits[: suite.curve.get(split, 0)]
            if len(logits):
                parts.append(_evaluation(suite, split, step, logits, step == steps[-1], rng))
    return pa.concat_tables(parts)


def _shift(logits: np.ndarray, target: float) -> float:
    low, high = -20.0, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _sigmoid(logits + middle).mean() < target else (low, middle)
    return (low + high) / 2


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _evaluation(
    suite: _Suite, split: str, step: int, logits: np.ndarray, last: bool, rng: np.random.Generator
) -> pa.Table:
    n, k, text = len(logits), suite.samples, pa.string()
    chance = _sigmoid(logits)
    correct = np.concatenate([chance > 0.5, (rng.random((n, k)) < chance[:, None]).ravel()])
    question = np.concatenate([np.arange(n), np.repeat(np.arange(n), k)])
    greedy = np.arange(len(correct)) < n
    rows = len(correct)
    sample = np.concatenate([np.zeros(n), np.tile(np.arange(k), n)]).astype(np.int16)
    format_ok = correct | (rng.random(rows) < 0.8)
    status = np.where(correct, "ok", np.where(format_ok, "wrong", "unparsable_answer"))
    ids = np.array([hashlib.sha256(f"{split}/{i}".encode()).hexdigest()[:16] for i in range(n)])
    gold = np.array([str(17 + i) for i in range(n)])
    guess = np.array([str(i) for i in rng.integers(0, 10, rows)])
    extracted = np.where(correct, gold[question], guess).astype(object)
    extracted[~format_ok] = None
    shown = [*range(n)] if last and suite.texts else []
    blank = [None] * (rows - len(shown))
    responses = [f"3+4=7####{e}" for e in extracted] if suite.texts else [None] * rows
    return pa.table({
        "step": pa.array(np.full(rows, step, np.int32)),
        "split": pa.array([split] * rows, text).dictionary_encode(),
        "question_id": pa.array(ids[question], text),
        "decoding": pa.array(np.where(greedy, "greedy", "sampled"), text).dictionary_encode(),
        "sample": pa.array(sample),
        "correct": pa.array(correct),
        "strict": pa.array(correct & (rng.random(rows) < 0.95)),
        "status": pa.array(status, text).dictionary_encode(),
        "format_ok": pa.array(format_ok),
        "finished": pa.array(rng.random(rows) < 0.98),
        "tokens": pa.array(rng.integers(10, 30, rows).astype(np.int32)),
        "response": pa.array(responses, text),
        "extracted": pa.array(extracted if suite.texts else [None] * rows, text),
        "prompt": pa.array([f"Tom has {i} coins. now?" for i in shown] + blank, text),
        "gold": pa.array([*gold[shown], *blank] if shown else blank, text),
        "meta": pa.array([f'{{"steps": {1 + i % 3}}}' for i in shown] + blank, text),
    })  # fmt: skip
