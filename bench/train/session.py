"""One run's session: its folder, models, ledger, evaluations and checkpoints, whoever trains.

A trainer (the loop of loop.py, or another package's in bench/entrants/) works beside a session: it
begins it, or resumes it where it can, records its updates, asks it to evaluate where that is due,
and finishes it. A checkpoint is written at each evaluation; work after the last one is done again.
"""

import math
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import pandas as pd
import torch

from bench.config import ConfigError, RunConfig
from bench.model import start
from bench.model.policy import Policy
from bench.record.ledger import Flops, Ledger
from bench.record.provenance import describe
from bench.record.store import RunFolder
from bench.record.track import Track
from bench.sampling.hf import Sampler
from methods import Method, Needs
from methods.base import SourceName
from results.records import DoneRecord, StateRecord
from tasks import Task

from .batch import Assembler, Batch, Group, rollout_frame
from .correction import Correction
from .evaluate import Evaluator
from .learner import Learner
from .replay import ReplaySource
from .rewards import reward_function
from .scoring import score
from .sources import DemonstrationSource, Drawer, PolicySource, Source


@dataclass
class Position:
    """Where a run stands, beside its ledger."""

    rollout: int = 0  # rollout batches so far
    cursor: int = 0  # position in the order of prompts
    points: int = 0  # evaluations so far
    best: float = -1.0  # accuracy on validation questions, of the evaluations so far


class Session:
    """Everything of one run that does not depend on who trains."""

    def __init__(self, run: RunConfig, folder: RunFolder, suite: str, device: str = "cpu"):
        run.check_plugins()
        self.run, self.folder, self.suite = run, folder, suite
        self.task = run.build_task()
        self.objectives = run.build_methods()
        phases = range(len(self.objectives))
        self.sources: list[SourceName] = [run.source(i) for i in phases]
        self.origin = start.ensure(run.model, self.task, device=device)
        policy = start.load(self.origin, run.model, device)
        self.flops = Flops.of(policy.model)
        needs = [objective.needs() for objective in self.objectives]
        wanted = "replay" in self.sources or run.keep_rollouts or any(n.reference for n in needs)
        self.start = policy.reference() if wanted else None  # frozen
        self.learner = Learner.of(run, policy, any(n.critic for n in needs))
        self.assembler = Assembler(run, self.task, policy, reward_function(run.reward))
        self.sampler, self.correction = self._sampler()
        drawing = self.sampler if run.sampler.evaluate else Sampler()
        self.evaluate = Evaluator(run, self.task, policy, self.flops, sampler=drawing)
        self.warnings = self._warnings()
        self.ledger, self.position = Ledger(), Position()
        self.track = None
        if run.track:
            config = run.model_dump(mode="json")
            self.track = Track(run.track, suite, run.name, folder.path.parent, config=config)

    def _sampler(self) -> tuple[Sampler, Correction | None]:
        """Who draws, and what is done about an engine's other probabilities."""
        if self.run.sampler.name == "hf" or "policy" not in self.sources:
            return Sampler(), None
        from bench.sampling.vllm import VLLMSampler

        chosen = self.run.sampler
        return VLLMSampler(self.run, self.policy), Correction(chosen.correction, chosen.limit)

    def _warnings(self) -> list[str]:
        updates = self.run.rollout.updates
        found = [w for objective in self.objectives for w in objective.warnings(updates)]
        found += broken_rows(self.run, self.task)
        if self.correction:
            pairs = zip(self.objectives, self.sources, strict=True)
            fresh = [m for m, s in pairs if isinstance(m, Method) and s == "policy"]
            found += self.correction.warnings(fresh)
        return found

    @property
    def policy(self) -> Policy:
        return self.learner.policy

    @property
    def drawer(self) -> Drawer:
        return Drawer(self.run, self.task, self.policy, self.flops, sampler=self.sampler)

    def source(self, name: str) -> Source:
        """Where a batch's groups come from, by its name; a replay set is drawn first where it is
        missing."""
        if name == "policy":
            return PolicySource(self.drawer, self.assembler)
        if name == "demonstrations":
            return DemonstrationSource(self.run, self.task)
        assert self.start is not None
        drawer = replace(self.drawer, policy=self.start, sampler=Sampler())
        return ReplaySource(drawer, start.base_digest(self.origin))

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
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

    def begin(self) -> None:
        """Start anew: write run.json and evaluate the start."""
        record = describe(
            self.run, suite=self.suite, task=self.task, specs=self.objectives, policy=self.policy,
            origin=self.origin, warnings=self.warnings,
        )  # fmt: skip
        self.folder.write(record)
        self.folder.drop_after(0, 0)
        self._evaluate()

    def resume(self) -> bool:
        """Go back to the newest checkpoint, and drop what was done after it; False where there is
        none.

        Raises:
            ConfigError: the starting model is not the one that the run began with.
        """
        found = self.folder.restore(self.learner.load)
        if found is None:
            return False
        self._check_start()
        self.ledger = Ledger(**asdict(found.ledger))
        self.position = Position(**{k: getattr(found, k) for k in asdict(Position())})
        self.folder.retain(found.keep)  # the run may have been killed before it could
        self.folder.drop_after(self.ledger.updates, self.position.rollout)
        return True

    def _check_start(self) -> None:
        if self.start is None and not self.run.model.lora:
            return  # the checkpoint holds all there is
        base, now = self.folder.record.base, start.base_digest(self.origin)
        if base is not None and (began := base.id) != now:
            raise ConfigError(
                f"{self.origin}: this is not the model that the run began with, which is its "
                f"reference (hash {began} then, {now} now). Restore it, or delete "
                f"{self.folder.path}"
            )

    def record(self, rows: list[dict[str, Any]]) -> None:
        """Store the rows of some updates."""
        with self.ledger.phase("store"):
            self.folder.append_steps(rows)
            if self.track:
                self.track.steps(rows)

    def evaluate_if_due(self) -> None:
        if self.progress * self.run.eval.points >= self.position.points - 1e-9:
            self._evaluate()

    def _evaluate(self) -> None:
        """Evaluate, store, and leave a checkpoint from which the run can go on."""
        run, position, final = self.run, self.position, self.progress >= 1
        frame = self.evaluate(run.eval.asked(self.task.splits, final), self.ledger, final)
        with self.ledger.phase("store"):
            self.folder.write_evals(frame)
            if self.track:
                self.track.evaluation(frame)
            position.points = math.floor(self.progress * run.eval.points + 1e-9) + 1
            accuracy = self._validation(frame) if run.checkpoint == "best" else -1.0
            keep = ["best"] if accuracy > position.best else []
            keep += [f"checkpoints/step-{self.ledger.updates:06d}"] * (run.checkpoint == "all")
            position.best = max(accuracy, position.best)
            state = StateRecord(ledger=self.ledger.now(), keep=keep, **asdict(position))
            self.folder.save_checkpoint(self.learner.save, state)
            self.folder.retain(keep)

    def _validation(self, frame: pd.DataFrame) -> float:
        """Accuracy on the curve's validation questions, of samples where there are any."""
        count = self.run.eval.curve["validation"] or None
        asked = [e.id for e in self.task.examples("validation")[:count]]
        of_split = (frame["split"] == "validation") & frame["question_id"].isin(asked)
        decoding = "sampled" if self.run.eval.samples else "greedy"
        return float(frame.loc[of_split & (frame["decoding"] == decoding), "correct"].mean())

    def keep_rollout(self, batch: Batch, needs: Needs, source: str) -> None:
        """Store a rollout batch as `evenbench anatomy` reads it, where the run keeps them: with the
        reference answers, and all rows scored by the policy as it stands and by the start. These
        extra scores are not charged and do not affect the training."""
        if not self.run.keep_rollouts:
            return
        assert self.start is not None
        with self.ledger.phase("store"):
            parts = [batch]
            bare = [Group(group.example, []) for group in batch.groups]
            if not needs.gold and any(group.example.solution for group in bare):
                at = {"rollout": self.position.rollout, "progress": self.progress}
                parts.append(self.assembler.batch(bare, needs, gold_only=True, **at))
            frames = []
            for part in parts:
                every_N = torch.ones(len(part.tokens), dtype=torch.bool)
                own, first = (
                    score(model, part.tokens, every_N, self.run.micro_tokens)
                    for model in (self.policy, self.start)
                )
                frames.append(rollout_frame(part, source, own, first))
            frame = pd.concat(frames, ignore_index=True)
            self.folder.write_rollout(self.position.rollout, frame)

    def _complete_last(self) -> None:
        """Draw what the last evaluation lacks of the end's decodings, by the model of its
        checkpoint: a diverged run counts as its last evaluation."""
        asked = self.run.eval
        lacking = asked.decodings[len(asked.curve_decodings) :]
        state = self.folder.restore(self.learner.load) if lacking else None
        if state is None or state.ledger.updates == 0:  # the start has them all
            return
        judged = {s: n for s, n in asked.curve.items() if s == self.task.headline}
        frame = self.evaluate.answers(judged, lacking, self.ledger)
        self.folder.add_decodings(frame.assign(step=state.ledger.updates))

    def finish(self, diverged: str | None, seconds: float) -> DoneRecord:
        """Mark the run as ended after so much wall time."""
        if diverged is not None:
            self._complete_last()
        done = DoneRecord(
            status="finished" if diverged is None else "diverged",
            reason=diverged,
            step=self.ledger.updates,
            seconds=seconds,
            ended=datetime.now(UTC).isoformat(timespec="seconds"),
            spent=self.ledger.now(),
        )
        self.folder.finish(done, self.run.checkpoint)
        if self.track:
            self.track.close()
        return done


class Trainer(Protocol):
    """Who trains a session's run."""

    def __init__(self, session: Session) -> None: ...

    def fit(self) -> DoneRecord:
        """Run to the end of the budget."""
        ...


def broken_rows(run: RunConfig, task: Task, listed: int = 10) -> list[str]:
    """A warning where rows of the data that the run uses are left out: how many, which, and why."""
    asked = [run.eval.asked(task.splits, final) for final in (False, True)]
    splits = dict.fromkeys(["train", *asked[0], *asked[1]])
    # train and validation are parts of the same rows
    lines = list(dict.fromkeys(line for split in splits for line in task.broken(split)))
    if not lines:
        return []
    more = f"; and {len(lines) - listed} more" if len(lines) > listed else ""
    shown = "; ".join(lines[:listed])
    return [f"{len(lines)} row(s) of the data are left out and never score: {shown}{more}"]
