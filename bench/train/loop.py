"""The one loop that every objective shares.

prompts -> samples -> grades -> Rollout -> Signal -> loss -> exact gradient -> optimiser, with the
ledger counting at every arrow and evaluations at fixed points of the budget. A run writes its
folder (results/records.py) and can be killed and resumed at any moment: on a CPU the result is the
same, bit for bit.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from bench.config import ConfigError, Run
from bench.core import rng
from bench.model import start
from bench.model.optim import AdamW
from bench.model.policy import Critic
from bench.model.rows import Rows
from bench.record.ledger import Flops, Ledger, forget_peak
from bench.record.provenance import describe
from bench.record.store import RunFolder
from bench.record.track import Track
from bench.sampling.hf import Sampler
from methods import Method, Needs, Rollout, Signal
from results.records import DoneRecord, StateRecord

from .backward import Backward, backward, score
from .correction import Correction
from .evaluate import evaluate
from .scoring import Scorer
from .sources import (
    Batch,
    DemonstrationSource,
    Group,
    PolicySource,
    ReplaySource,
    assemble,
    batch_metrics,
    broken_rows,
    reward_function,
    rollout_frame,
)


class Trainer:
    """One run: its models, its position, its folder."""

    def __init__(self, run: Run, folder: RunFolder, suite: str, device: str = "cpu"):
        self.run, self.folder, self.suite = run, folder, suite
        run.check_plugins()
        self.task = run.build_task()
        self.specs = run.build_methods()
        self.methods = [s for s in self.specs if isinstance(s, Method)]
        self.sources = [run.source(i) for i in range(len(self.specs))]
        self.where = start.ensure(run.model, self.task, device=device)
        self.policy = start.load(self.where, run.model, device)
        self.flops = Flops.of(self.policy.model)
        needs = [s.needs() for s in self.specs]
        replay = "replay" in self.sources
        wanted = replay or run.keep_rollouts or any(n.reference for n in needs)
        self.start = self.policy.reference() if wanted else None
        self.critic = None
        if any(n.critic for n in needs):
            self.critic = Critic(copy.deepcopy(self.policy.model), self.policy.general)
        self.optimizer = self._adamw(self.policy.parameters(), run.optimizer.lr)
        self.critic_optimizer = None
        if self.critic is not None:
            self.critic_optimizer = self._adamw(
                self.critic.parameters(), run.optimizer.critic_lr or run.optimizer.lr
            )
        self.scorer = Scorer(run, self.policy, self.start, self.critic, self.flops)
        self.reward = reward_function(run.reward)
        self.sampler, self.correction = Sampler(), None
        self.warnings = [w for s in self.specs for w in s.warnings(run.rollout.updates)]
        self.warnings += broken_rows(run, self.task)
        if run.sampler.name == "vllm" and "policy" in self.sources:
            from bench.sampling.vllm import VLLMSampler

            self.sampler = VLLMSampler(run, self.policy)
            self.correction = Correction(run.sampler.correction, run.sampler.limit)
            fresh = [m for m, s in zip(self.methods, self.sources, strict=True) if s == "policy"]
            self.warnings += self.correction.warnings(fresh)
        self.feeds: dict[str, Any] = {}
        self.ledger = Ledger()
        self.rollout = self.cursor = self.points = (
            0  # rollout batches, prompts and evaluations so far
        )
        self.best = -1.0  # accuracy on validation questions, of the evaluations so far
        self.track = None
        if run.track:
            config = run.model_dump(mode="json")
            self.track = Track(run.track, suite, run.name, folder.path.parent, config)

    def _adamw(self, parameters: Any, lr: float) -> AdamW:
        o = self.run.optimizer
        fused = self.policy.device.type == "cuda"
        return AdamW(parameters, lr, o.betas, o.eps, o.weight_decay, fused=fused)

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

    def fit(self) -> DoneRecord:
        """Run to the end of the budget."""
        started = time.perf_counter()
        state = self.folder.restore(self.policy, self.optimizer, self.critic, self.critic_optimizer)
        if state is None:
            self._begin()
        else:
            self._same_start()
            self.ledger = Ledger(**asdict(state.ledger))
            self.rollout, self.cursor, self.points = state.rollout, state.cursor, state.points
            self.best = state.best
            self.folder.retain(state.keep)  # a kill may have come before
            self.folder.keep_steps(self.ledger.updates)
        reason = None
        while self.progress < 1 and reason is None:
            reason = self._rollout()
            if reason is None:
                self._evaluate_if_due()
        return self._end(reason, time.perf_counter() - started)

    def _begin(self) -> None:
        what = (self.run, self.suite, self.task, self.specs, self.where)
        self.folder.write(describe(*what, self.policy.device, self.warnings))
        self.folder.keep_steps(0)
        self._evaluate()

    def _same_start(self) -> None:
        """Raises ConfigError where a resumed run would go on from another start: its folder was
        changed, or a GPU has built it anew."""
        if self.start is None and not self.run.model.lora:
            return  # the checkpoint holds all there is
        base = self.folder.record.base
        began = base and base.id
        if (now := start.base_digest(self.where)) != began:
            raise ConfigError(
                f"{self.where}: not the model that the run began with (its hash was {began} and is "
                f"{now}), which is its reference; restore it, or delete {self.folder.path}"
            )

    def _end(self, reason: str | None, seconds: float) -> DoneRecord:
        done = DoneRecord(
            status="finished" if reason is None else "diverged",
            reason=reason,
            step=self.ledger.updates,
            seconds=seconds,
            ended=datetime.now(UTC).isoformat(timespec="seconds"),
            spent=self.ledger.now(),
        )
        self.folder.finish(done, self.run.checkpoint)
        if self.track:
            self.track.close()
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
            rollout, signal = self.scorer.judge(
                batch.rows, batch.rollout, method, source, self.ledger
            )
        if run.keep_rollouts:
            with self.ledger.phase("store"):
                self._keep(replace(batch, rollout=rollout), needs, source)
        # the log-probs of the weights that sampled are those of the first update, or scored
        known = source == "policy" and (needs.old != "no" or run.rollout.updates == 1)
        correction = self.correction if known else None
        rows_done: list[dict[str, Any]] = []
        reason = None
        for epoch in range(run.rollout.epochs):
            for part in self._minibatches(rollout, epoch):
                # what was sampled is trained on; only a budget of updates ends inside a batch
                over = run.budget.axis == "updates" and self.progress >= 1
                if reason is None and not over:
                    chosen = batch.rows.select(part), rollout.select(part), signal.select(part)
                    row, reason = self._update(method, *chosen, correction)
                    rows_done.append(
                        {
                            **row,
                            **batch_metrics(rollout, signal),
                            **self.ledger.row(),
                            "rollout": self.rollout,
                        }
                    )
        self.rollout += 1
        self._store(rows_done)
        return reason

    def _keep(self, batch: Batch, needs: Needs, source: str) -> None:
        """Store a rollout batch as `evenbench anatomy` reads it: with the reference answers, and
        all rows scored by the policy as it stands and by the start. Nothing of it is charged, since
        no method asked for it, and nothing of it enters the training."""
        assert self.start is not None
        parts = [batch]
        told = [Group(g.example, []) for g in batch.groups]
        if not needs.gold and any(g.example.solution for g in told):
            where = (self.run, self.task, self.policy, self.reward, self.rollout, self.progress)
            parts.append(assemble(told, needs, *where, gold_only=True))
        frames = []
        for part in parts:
            every_N = torch.ones(len(part.rows), dtype=torch.bool)
            how = (part.rows, every_N, part.rows.mask_NT.shape[1], self.run.micro_tokens)
            scored = (score(model, *how) for model in (self.policy, self.start))
            frames.append(rollout_frame(part, source, *scored))
        self.folder.write_rollout(self.rollout, pd.concat(frames, ignore_index=True))

    def _store(self, rows: list[dict[str, Any]]) -> None:
        with self.ledger.phase("store"):
            self.folder.append_steps(rows)
            if self.track:
                self.track.steps(rows)

    def _feed(self, source: str) -> Any:
        if source not in self.feeds:
            if source == "policy":
                self.feeds[source] = PolicySource(self.run, self.task, self.policy, self.sampler)
            elif source == "replay":
                assert self.start is not None
                self.feeds[source] = ReplaySource(
                    self.run, self.task, self.start, start.base_digest(self.where)
                )
            else:
                self.feeds[source] = DemonstrationSource(self.run, self.task)
        return self.feeds[source]

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
        self,
        method: Method,
        rows: Rows,
        rollout: Rollout,
        signal: Signal,
        correction: Correction | None,
    ) -> tuple[dict[str, Any], str | None]:
        o = self.run.optimizer
        factor = o.lr_at(self.progress)
        with self.ledger.phase("train"):
            result = backward(
                self.policy, self.critic, method, rows, rollout, signal, self.run.micro_tokens,
                correction,
            )  # fmt: skip
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
            "drift": float(result.drift),
            **{k: float(v) for k, v in result.loss.metrics.items()},
        }
        return row, reason

    def _step(self, result: Backward, factor: float) -> tuple[float, str | None]:
        """Clip and apply; a non-finite loss or gradient is not applied and ends the run."""
        o = self.run.optimizer
        if not result.has_gradient:
            return 0.0, None
        norm = self.optimizer.clip(o.clip_norm)
        value = float(result.loss.value)
        if not (math.isfinite(norm) and math.isfinite(value)):
            return norm, f"non-finite loss or gradient: loss {value}, gradient norm {norm}"
        pairs = [(self.optimizer, o.lr)]
        if self.critic_optimizer is not None:
            self.critic_optimizer.clip(o.clip_norm)
            pairs.append((self.critic_optimizer, o.critic_lr or o.lr))
        for optimizer, lr in pairs:
            optimizer.param_groups[0]["lr"] = lr * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return norm, None

    def _charge(self, trained: Rows, result: Backward) -> None:
        tokens, forward = int(trained.mask_NT.sum()), self.flops.forward(trained)
        self.ledger.tokens_trained += tokens
        self.ledger.flops_train += self.flops.training(trained)
        if result.passes == 2:
            self.ledger.flops_recomputed += forward
        if self.critic is not None:
            self.ledger.tokens_critic += tokens
            self.ledger.flops_critic += self.flops.training(trained, head=False)

    def _evaluate_if_due(self) -> None:
        if self.progress * self.run.eval.points >= self.points - 1e-9:
            self._evaluate()

    def _evaluate(self) -> None:
        """Evaluate, store, and leave a checkpoint from which the run can go on."""
        run, final = self.run, self.progress >= 1
        asked = run.eval.asked(self.task.splits, final)
        draw = self.sampler if run.sampler.evaluate else None
        frame = evaluate(self.policy, self.task, asked, run, self.ledger, final, draw)
        with self.ledger.phase("store"):
            self.folder.write_evals(frame)
            if self.track:
                self.track.evaluation(frame)
            self.points = math.floor(self.progress * run.eval.points + 1e-9) + 1
            score = self._validation(frame) if run.checkpoint == "best" else -1.0
            keep = ["best"] if score > self.best else []
            keep += [f"checkpoints/step-{self.ledger.updates:06d}"] * (run.checkpoint == "all")
            self.best = max(score, self.best)
            state = StateRecord(
                ledger=self.ledger.now(),
                rollout=self.rollout,
                cursor=self.cursor,
                points=self.points,
                best=self.best,
                keep=keep,
            )
            self.folder.save_checkpoint(
                self.policy, self.optimizer, self.critic, self.critic_optimizer, state
            )
            self.folder.retain(keep)

    def _validation(self, frame: pd.DataFrame) -> float:
        """Accuracy on the curve's validation questions, of samples where there are any."""
        count = self.run.eval.curve["validation"] or None
        asked = [e.id for e in self.task.examples("validation")[:count]]
        of_split = (frame["split"] == "validation") & frame["question_id"].isin(asked)
        decoding = "sampled" if self.run.eval.samples else "greedy"
        return float(frame.loc[of_split & (frame["decoding"] == decoding), "correct"].mean())


def train(
    run: Run,
    suite_folder: Path,
    suite: str,
    device: str = "cpu",
    trainer: type[Trainer] = Trainer,
) -> DoneRecord | None:
    """Train one run in its folder, or finish it; None where another process is at work on it."""
    folder = RunFolder(suite_folder / run.name)
    with folder.claimed() as mine:
        if not mine:
            return None
        if folder.done:
            return folder.done
        forget_peak()
        return trainer(run, folder, suite, device).fit()
