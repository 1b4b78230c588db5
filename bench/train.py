"""The one loop that every objective shares.

prompts -> samples -> grades -> Rollout -> Signal -> loss -> exact gradient -> optimiser, with the
ledger counting at every arrow and evaluations at fixed points of the budget. A run writes its
folder (results/schema.py) and can be killed and resumed at any moment: on a CPU the result is the
same, bit for bit.
"""

from __future__ import annotations

import copy
import math
import os
import platform
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from methods import GOLD, MISMATCHED, SAMPLE, Method, Needs, Rollout, Signal
from results.schema import SCHEMA_VERSION

from . import base, rng
from .backward import Backward, backward, score, values
from .config import Run
from .evaluate import evaluate
from .ledger import Flops, Ledger
from .policy import Critic, Policy
from .rows import Rows
from .sources import (
    Batch,
    DemonstrationSource,
    PolicySource,
    ReplaySource,
    assemble,
    reward_function,
)
from .store import RunFolder

PACKAGES = (
    "evenbench",
    "torch",
    "transformers",
    "tokenizers",
    "numpy",
    "pandas",
    "sympy",
    "trl",
    "vllm",
)


class Trainer:
    """One run: its models, its position, its folder."""

    def __init__(self, run: Run, folder: RunFolder, suite: str, device: str = "cpu"):
        self.run, self.folder, self.suite = run, folder, suite
        self.task = run.build_task()
        self.methods = run.build_methods()
        self.sources = [run.source(i) for i in range(len(self.methods))]
        self.where = base.ensure(run.model, self.task)
        self.policy = base.load(self.where, run.model, device)
        self.flops = Flops.of(self.policy.model)
        needs = [m.needs() for m in self.methods]
        replay = "replay" in self.sources
        self.start = self._copy() if replay or any(n.reference for n in needs) else None
        self.critic = (
            Critic(copy.deepcopy(self.policy.model)) if any(n.critic for n in needs) else None
        )
        self.optimizer = self._adamw(self.policy.parameters(), run.optimizer.lr)
        self.critic_optimizer = None
        if self.critic is not None:
            self.critic_optimizer = self._adamw(
                self.critic.parameters(), run.optimizer.critic_lr or run.optimizer.lr
            )
        self.reward = reward_function(run.reward)
        self.feeds: dict[str, Any] = {}
        self.ledger = Ledger()
        self.rollout = self.cursor = self.points = (
            0  # rollout batches, prompts and evaluations so far
        )
        self.warnings = [w for m in self.methods for w in m.warnings(run.rollout.updates)]

    def _copy(self) -> Policy:
        frozen = Policy(copy.deepcopy(self.policy.model), self.policy.tokenizer)
        frozen.model.requires_grad_(False)
        return frozen

    def _adamw(self, parameters: Any, lr: float) -> torch.optim.AdamW:
        o = self.run.optimizer
        fused = self.policy.device.type == "cuda"
        return torch.optim.AdamW(parameters, lr, o.betas, o.eps, o.weight_decay, fused=fused)

    @property
    def progress(self) -> float:
        return min(self.ledger.spent(self.run.budget.axis) / self.run.budget.amount, 1.0)

    @property
    def phase(self) -> int:
        """Index of the objective whose share of the budget it is."""
        end, progress = 0.0, self.progress
        for i, phase in enumerate(self.run.phases):
            end += phase.share
            if progress < end - 1e-12:
                return i
        return len(self.run.phases) - 1

    def fit(self) -> dict[str, Any]:
        """Run to the end of the budget; what DONE holds."""
        started = time.perf_counter()
        state = self.folder.restore(self.policy, self.optimizer, self.critic, self.critic_optimizer)
        if state is None:
            self.folder.write_json("run.json", self.describe())
            self.folder.keep_steps(0)
            self._evaluate()
        else:
            self.ledger = Ledger.from_row(state["ledger"])
            self.rollout, self.cursor, self.points = (
                state["rollout"],
                state["cursor"],
                state["points"],
            )
            self.folder.keep_steps(self.ledger.updates)
        reason = None
        while self.progress < 1 and reason is None:
            reason = self._rollout()
            if reason is None and self.progress * self.run.eval.points >= self.points - 1e-9:
                self._evaluate()
        done = {
            "status": "finished" if reason is None else "diverged",
            "reason": reason,
            "step": self.ledger.updates,
            "seconds": time.perf_counter() - started,
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.folder.finish(done, self.run.checkpoint)
        return done

    def _rollout(self) -> str | None:
        """One rollout batch and its updates; the reason if the run has diverged."""
        phase, run = self.phase, self.run
        method, source = self.methods[phase], self.sources[phase]
        needs = method.needs()
        groups, self.cursor = self._feed(source).draw(
            self.rollout, self.cursor, self.ledger, needs.refill
        )
        batch = assemble(
            groups,
            needs,
            run,
            self.task,
            self.policy,
            self.reward,
            self.rollout,
            self.progress,
            source == "demonstrations",
        )
        with self.ledger.phase("score"):
            rollout, signal = self._judge(batch.rows, batch.rollout, method, source)
        if run.keep_rollouts:
            with self.ledger.phase("store"):
                self.folder.write_rollout(self.rollout, _rollout_frame(batch, self.rollout))
        rows_done: list[dict[str, Any]] = []
        reason = None
        for epoch in range(run.rollout.epochs):
            for part in self._minibatches(rollout, epoch):
                # what was sampled is trained on; only a budget of updates ends inside a batch
                over = run.budget.axis == "updates" and self.progress >= 1
                if reason is None and not over:
                    row, reason = self._update(
                        method, batch.rows.select(part), rollout.select(part), signal.select(part)
                    )
                    rows_done.append(
                        {
                            **row,
                            **_describe_batch(rollout, signal),
                            **self.ledger.row(),
                            "rollout": self.rollout,
                        }
                    )
        self.rollout += 1
        with self.ledger.phase("store"):
            self.folder.append_steps(rows_done)
        return reason

    def _feed(self, source: str) -> Any:
        if source not in self.feeds:
            if source == "policy":
                self.feeds[source] = PolicySource(self.run, self.task, self.policy)
            elif source == "replay":
                assert self.start is not None
                self.feeds[source] = ReplaySource(
                    self.run, self.task, self.start, base.base_digest(self.where)
                )
            else:
                self.feeds[source] = DemonstrationSource(self.run, self.task)
        return self.feeds[source]

    def _judge(
        self, rows: Rows, rollout: Rollout, method: Method, source: str
    ) -> tuple[Rollout, Signal]:
        """Scores that do not depend on theta, and the signal on all rows."""
        needs, micro = method.needs(), self.run.micro_tokens
        every_N = torch.ones(len(rows), dtype=torch.bool, device=rows.mask_NT.device)
        if needs.critic:
            assert self.critic is not None
            rollout = replace(
                rollout, old_value_NT=values(self.critic, rows, rollout.mask_NT.shape[1], micro)
            )
            self.ledger.tokens_critic += int(rows.mask_NT.sum())
            self.ledger.flops_critic += self.flops.forward(rows, head=False)
        if needs.old == "signal":  # KL in the reward: everything is scored before the signal
            rollout = self._score(rollout, rows, every_N, source, needs)
        signal = method.signal(rollout)
        if needs.old == "loss" and (self.run.rollout.updates > 1 or source != "policy"):
            rollout = self._score(
                rollout, rows, signal.trained_N, source, replace(needs, reference=False)
            )
        if needs.reference and rollout.ref_logp_NT is None:
            which_N = signal.trained_N | (rollout.kind_N == MISMATCHED)
            rollout = replace(rollout, ref_logp_NT=self._reference(rows, which_N, rollout))
        return rollout, signal

    def _score(
        self, rollout: Rollout, rows: Rows, which_N: torch.Tensor, source: str, needs: Needs
    ) -> Rollout:
        """old_logp_NT: of the policy that sampled the rows, for a replay set the start."""
        if source == "replay":
            rollout = replace(rollout, old_logp_NT=self._reference(rows, which_N, rollout))
        else:
            old = score(self.policy, rows, which_N, rollout.mask_NT.shape[1], self.run.micro_tokens)
            self.ledger.tokens_scored += int(rows.mask_NT[which_N].sum())
            if which_N.any():
                self.ledger.flops_score += self.flops.forward(rows.select(which_N.nonzero()[:, 0]))
            rollout = replace(rollout, old_logp_NT=old)
        return (
            replace(rollout, ref_logp_NT=self._reference(rows, which_N, rollout))
            if needs.reference
            else rollout
        )

    def _reference(self, rows: Rows, which_N: torch.Tensor, rollout: Rollout) -> torch.Tensor:
        assert self.start is not None
        self.ledger.tokens_reference += int(rows.mask_NT[which_N].sum())
        if which_N.any():
            self.ledger.flops_reference += self.flops.forward(rows.select(which_N.nonzero()[:, 0]))
        return score(self.start, rows, which_N, rollout.mask_NT.shape[1], self.run.micro_tokens)

    def _minibatches(self, rollout: Rollout, epoch: int) -> list[torch.Tensor]:
        """Row indices of each minibatch: whole prompts, in seeded order."""
        groups = torch.unique(rollout.group_N).cpu()
        count = self.run.rollout.minibatches
        if count == 1:
            return [torch.arange(len(rollout), device=rollout.group_N.device)]
        order = rng.generator(self.run.seed, "minibatches", self.rollout, epoch).permutation(
            len(groups)
        )
        parts = [groups[torch.from_numpy(order[i::count].copy())] for i in range(count)]
        return [
            torch.isin(rollout.group_N, p.to(rollout.group_N.device)).nonzero()[:, 0] for p in parts
        ]

    def _update(
        self, method: Method, rows: Rows, rollout: Rollout, signal: Signal
    ) -> tuple[dict[str, Any], str | None]:
        o = self.run.optimizer
        factor = o.lr_at(self.progress)
        with self.ledger.phase("train"):
            result = backward(
                self.policy, self.critic, method, rows, rollout, signal, self.run.micro_tokens
            )
            norm, reason = self._step(result, factor)
        trained = rows.select(signal.trained_N.nonzero()[:, 0]) if signal.trained_N.any() else None
        self.ledger.updates += 1
        self.ledger.empty_updates += not result.has_gradient
        if trained is not None:
            self._charge(trained, result)
        row = {
            "step": self.ledger.updates,
            "loss": float(result.loss.value),
            "grad_norm": norm,
            "lr": o.lr * factor,
            "rows": len(rollout),
            "rows_trained": int(signal.trained_N.sum()),
            "empty": not result.has_gradient,
            "drift": result.drift,
            **{k: float(v) for k, v in result.loss.metrics.items()},
        }
        return row, reason

    def _step(self, result: Backward, factor: float) -> tuple[float, str | None]:
        """Clip and apply; a non-finite loss or gradient is not applied and ends the run."""
        o = self.run.optimizer
        if not result.has_gradient:
            return 0.0, None
        norm = float(torch.nn.utils.clip_grad_norm_(self.policy.parameters(), o.clip_norm))
        value = float(result.loss.value)
        if not (math.isfinite(norm) and math.isfinite(value)):
            return norm, f"non-finite loss or gradient: loss {value}, gradient norm {norm}"
        pairs = [(self.optimizer, o.lr)]
        if self.critic is not None and self.critic_optimizer is not None:
            torch.nn.utils.clip_grad_norm_(self.critic.parameters(), o.clip_norm)
            pairs.append((self.critic_optimizer, o.critic_lr or o.lr))
        for optimizer, lr in pairs:
            optimizer.param_groups[0]["lr"] = lr * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return norm, None

    def _charge(self, trained: Rows, result: Backward) -> None:
        tokens, forward = int(trained.mask_NT.sum()), self.flops.forward(trained)
        self.ledger.tokens_trained += tokens
        self.ledger.flops_train += 3 * forward  # forward, and twice as much for the backward pass
        if result.passes == 2:
            self.ledger.flops_recomputed += forward
        if self.critic is not None:
            self.ledger.tokens_critic += tokens
            self.ledger.flops_critic += 3 * self.flops.forward(trained, head=False)

    def _evaluate(self) -> None:
        """Evaluate, store, and leave a checkpoint from which the run can go on."""
        plan, final = self.run.eval, self.progress >= 1
        splits = dict(plan.curve)
        if final:
            splits = (
                dict(plan.final)
                if plan.final is not None
                else {s: 0 for s in self.task.splits if s != "train"}
            )
            if plan.train_questions:
                splits["train"] = plan.train_questions
        frame = evaluate(
            self.policy,
            self.task,
            splits,
            plan,
            self.run.seed,
            self.ledger.updates,
            self.run.max_tokens,
            self.ledger,
            final,
        )
        with self.ledger.phase("store"):
            self.folder.write_evals(frame)
            self.points = math.floor(self.progress * plan.points + 1e-9) + 1
            state = {
                "ledger": self.ledger.row(),
                "rollout": self.rollout,
                "cursor": self.cursor,
                "points": self.points,
            }
            drop = {"tokens", "flops", "seconds"}
            state["ledger"] = {k: v for k, v in state["ledger"].items() if k not in drop}
            self.folder.save_checkpoint(
                self.policy, self.optimizer, self.critic, self.critic_optimizer, state
            )

    def describe(self) -> dict[str, Any]:
        """run.json: everything that determines the result, and where it was computed."""
        run, phase = self.run, self.run.phases[0]
        single = len(run.phases) == 1
        return {
            "schema_version": SCHEMA_VERSION,
            "id": run.name,
            "suite": self.suite,
            "method": run.method,
            "objective": phase.method if single else " then ".join(p.method for p in run.phases),
            "fields": self.methods[0].model_dump()
            if single
            else {p.method: m.model_dump() for p, m in zip(run.phases, self.methods, strict=True)},
            "task": run.task["name"],
            "seed": run.seed,
            "source": self.sources[0] if single else " then ".join(self.sources),
            "config": run.model_dump(mode="json"),
            "budget": {run.budget.axis: run.budget.amount},
            "packages": _packages(),
            "hardware": _hardware(self.policy.device),
            "git": _git(),
            "data": self.task.fingerprint(),
            "grader": {
                "version": self.task.grader_version,
                "options": self.task.model_dump(mode="json"),
            },
            "base": {"id": base.base_digest(self.where), "cost": base.cost(run.model, self.task)},
            "warnings": self.warnings,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def train(run: Run, suite_folder: Path, suite: str, device: str = "cpu") -> dict[str, Any] | None:
    """Train one run in its folder, or finish it; None where another process is at work on it."""
    folder = RunFolder(suite_folder / run.name)
    with folder.claimed() as mine:
        if not mine:
            return None
        return folder.done or Trainer(run, folder, suite, device).fit()


def _describe_batch(rollout: Rollout, signal: Signal) -> dict[str, Any]:
    """Metrics of the whole rollout batch, over its sampled rows where it has any."""
    sampled_N = rollout.kind_N == SAMPLE
    if not sampled_N.any():
        sampled_N = rollout.kind_N == GOLD

    def mean(x: torch.Tensor) -> float:
        return float(x[sampled_N].double().mean())

    return {
        "reward_mean": mean(rollout.reward_N),
        "accuracy": mean(rollout.correct_N),
        "finished": mean(rollout.finished_N),
        "format_ok": mean(rollout.format_ok_N),
        "response_tokens": mean(rollout.mask_NT.sum(-1)),
        **{k: float(v) for k, v in signal.metrics.items()},
    }


def _rollout_frame(batch: Batch, rollout: int) -> pd.DataFrame:
    rows = []
    for group in batch.groups:
        for k, r in enumerate(group.responses):
            rows.append(
                {
                    "question_id": group.example.id,
                    "sample": k,
                    "prompt": group.example.prompt,
                    "response": r.text,
                    "gold": group.example.gold,
                    "reward": float(r.grade.correct),
                    "correct": r.grade.correct,
                    "strict": r.grade.strict,
                    "finished": r.finished,
                    "kind": SAMPLE,
                    "tokens": r.ids,
                    "logp": r.logp,
                }
            )
    return pd.DataFrame(rows)


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"python": platform.python_version(), **found}


def _hardware(device: torch.device) -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(memory, 1),
        "gpu": gpu,
    }


def _git() -> dict[str, Any] | None:
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
