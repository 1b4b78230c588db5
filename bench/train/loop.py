"""The one loop that every objective shares.

prompts -> samples -> grades -> Rollout -> Signal -> loss -> exact gradient -> optimiser, with the
ledger counting at every arrow and evaluations at fixed points of the budget. A run writes its
folder (results/records.py) and can be killed and resumed at any moment: on a CPU the result is the
same, bit for bit.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.config import RunConfig
from bench.core import rng
from bench.record.ledger import forget_peak
from bench.record.store import RunFolder
from methods import GOLD, Method, Rollout
from results.records import DoneRecord

from .backward import Backward, backward
from .batch import ScoredBatch, batch_metrics, old_logp
from .correction import Correction
from .scoring import Scorer
from .session import Session, Trainer
from .sources import Source, count_seen


class Loop:
    """Trains a session's run.

    `methods` and `sources` (by name) take the place of the run's own, for measurements.
    """

    def __init__(
        self,
        session: Session,
        methods: Sequence[Method] | None = None,
        sources: Mapping[str, Source] | None = None,
    ):
        self.session = session
        own = [m for m in session.objectives if isinstance(m, Method)]
        self.methods = own if methods is None else methods
        learner, micro_tokens = session.learner, session.run.micro_tokens
        self.scorer = Scorer(
            learner.policy, session.start, learner.critic, session.flops, micro_tokens=micro_tokens
        )
        self._sources = dict(sources or {})

    def fit(self) -> DoneRecord:
        """Run to the end of the budget."""
        session, began = self.session, time.perf_counter()
        if not session.resume():
            session.begin()
        diverged = None
        while session.progress < 1 and diverged is None:
            diverged = self.step()
            if diverged is None:
                session.evaluate_if_due()
        return session.finish(diverged, time.perf_counter() - began)

    def step(self) -> str | None:
        """One rollout batch and its updates; the reason where the run has diverged."""
        session, run, ledger = self.session, self.session.run, self.session.ledger
        began = session.progress
        method, name = self.methods[session.phase], session.sources[session.phase]
        needs, position = method.needs(), session.position
        drawn = self._source(name).draw(position.rollout, position.cursor, ledger, needs.refill)
        position.cursor = drawn.cursor
        batch = session.assembler.batch(
            drawn.groups,
            needs,
            rollout=position.rollout,
            progress=began,
            gold_only=name == "demonstrations",
        )
        references = int((batch.rollout.kind_N == GOLD).sum())
        count_seen(
            run, session.task, name, cursor=position.cursor, references=references, ledger=ledger
        )
        correction = session.correction if name == "policy" else None
        old = old_logp(needs, name, run.rollout.updates, corrected=correction is not None)
        with ledger.phase("score"):
            scored = self.scorer.scored(batch, method, old, ledger)
        session.keep_rollout(replace(batch, rollout=scored.rollout), needs, name)
        rows: list[dict[str, Any]] = []
        diverged = None
        for part in self._minibatches(scored.rollout):
            # what was sampled is trained on; only a budget of updates ends inside a batch
            over = run.budget.axis == "updates" and session.progress >= 1
            if diverged is None and not over:
                known = correction if old != "none" else None
                # on the other axes sampling the batch has spent its part of the budget already
                at = session.progress if run.budget.axis == "updates" else began
                factor = run.optimizer.lr_at(at)
                row, diverged = self._update(method, scored.select(part), known, factor)
                told = batch_metrics(scored.rollout, scored.signal)
                rows.append({**row, **told, **ledger.row(), "rollout": position.rollout})
        position.rollout += 1
        session.record(rows)
        return diverged

    def _source(self, name: str) -> Source:
        if name not in self._sources:
            self._sources[name] = self.session.source(name)
        return self._sources[name]

    def _minibatches(self, rollout: Rollout) -> Iterator[Tensor]:
        """Row indices of each minibatch, epoch after epoch: whole prompts, in seeded order."""
        shape, device = self.session.run.rollout, rollout.group_N.device
        groups = torch.unique(rollout.group_N).cpu()
        for epoch in range(shape.epochs):
            if shape.minibatches == 1:
                yield torch.arange(len(rollout), device=device)
                continue
            seeded = (self.session.run.seed, "minibatches", self.session.position.rollout, epoch)
            order = rng.generator(*seeded).permutation(len(groups))
            for i in range(shape.minibatches):
                part = groups[torch.from_numpy(order[i :: shape.minibatches].copy())]
                yield torch.isin(rollout.group_N, part.to(device)).nonzero()[:, 0]

    def _update(
        self, method: Method, batch: ScoredBatch, correction: Correction | None, factor: float
    ) -> tuple[dict[str, Any], str | None]:
        """One optimiser step at the learning rate times `factor`: its row of steps.jsonl, and the
        reason where the run has diverged."""
        session, ledger, learner = self.session, self.session.ledger, self.session.learner
        with ledger.phase("train"):
            result = backward(
                learner.policy,
                method,
                batch,
                critic=learner.critic,
                micro_tokens=session.run.micro_tokens,
                correction=correction,
            )
            applied = learner.apply(result, factor)
        ledger.updates += 1
        ledger.empty_updates += not result.has_gradient
        trained = int(batch.signal.trained_N.sum())
        if trained:
            self._charge(batch, result)
        row = {
            "step": ledger.updates,
            "loss": float(result.loss.value),
            "grad_norm": applied.norm,
            "lr": session.run.optimizer.lr * factor,
            "rows": len(batch.rollout),
            "rows_trained": trained,
            "empty": not result.has_gradient,
            "drift": float(result.drift),
            **{name: float(value) for name, value in result.loss.metrics.items()},
        }
        return row, applied.diverged

    def _charge(self, batch: ScoredBatch, result: Backward) -> None:
        ledger, flops = self.session.ledger, self.session.flops
        rows = batch.tokens.select(batch.signal.trained_N.nonzero()[:, 0])
        tokens = int(rows.mask_NT.sum())
        ledger.tokens_trained += tokens
        ledger.flops_train += flops.training(rows)
        if result.passes == 2:
            ledger.flops_recomputed += flops.forward(rows)
        if self.session.learner.critic is not None:
            ledger.tokens_critic += tokens
            ledger.flops_critic += flops.training(rows, head=False)


def train(
    run: RunConfig, suite_folder: Path, suite: str, device: str = "cpu", by: type[Trainer] = Loop
) -> DoneRecord | None:
    """Train one run in its folder, or finish it; None where another process works on the run.
    `by`: another trainer than the loop."""
    folder = RunFolder(suite_folder / run.name)
    with folder.claimed() as mine:
        if not mine:
            return None
        if folder.done:
            return folder.done
        forget_peak()
        return by(Session(run, folder, suite, device)).fit()
