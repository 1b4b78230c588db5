"""TRL's stock trainers under this harness: its start, data order, optimiser, budget, evaluation.

TRL's trainers do all of the training; the online ones also sample. The offline ones receive token
rows in fixed batches, so TRL's data preparation is skipped. Nothing else of TRL is replaced. What
a run counts is seen from outside: the reward function, a
callback after each update, and the rows that were handed over. An interrupted run begins anew.
"""

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from tempfile import TemporaryDirectory
from typing import Any

import datasets
import huggingface_hub.constants
import torch
import trl
from transformers import PrinterCallback, TrainerCallback

from bench.config import ConfigError
from bench.config.entrants import (
    Entrant,
    Online,
    TrlDPO,
    TrlGRPO,
    TrlKTO,
    TrlRLOO,
    TrlSFT,
)
from bench.core import rng
from bench.model import start
from bench.model.choice import Forward
from bench.record.ledger import Ledger
from bench.train.batch import Batch, Group, Response, batch_metrics, old_logp
from bench.train.session import Session
from bench.train.sources import count_seen
from methods import Needs
from results.records import DoneRecord

from .trl_rows import as_given, demonstrations, pairs, verdicts

OURS = {"micro_batches", "pairing"}  # fields that no config of TRL's has
STOCK: Any = trl  # its names are loaded lazily, which type checkers cannot see
ELSEWHERE = {"learning_rate", "epoch", "step_time"}  # what TRL logs and the ledger has


@dataclass(frozen=True)
class Update:
    """What one update is about to train on."""

    spent: Ledger  # what drawing its rows costs
    metrics: dict[str, float]  # of its rollout batch
    rows: int
    trained: int  # of these
    tokens: int  # of the trained rows' responses
    forward: float  # FLOPs of a pass forward over them


class Diverged(Exception):
    pass


class Follow(TrainerCallback):
    """Stops before an update with non-finite gradients. Reports every completed update."""

    def __init__(self, done: Any):
        self.done = done

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        gradients = (p.grad for p in more["model"].parameters() if p.grad is not None)
        if not all(g.isfinite().all() for g in gradients):
            raise Diverged(f"non-finite gradient in update {state.global_step + 1}")

    def on_log(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if "loss" in more["logs"]:  # else the summary at the end
            self.done(more["logs"])


class TRLTrainer:
    """A run whose training is TRL's."""

    def __init__(self, session: Session):
        self.session, self.run = session, session.run
        (self.spec,) = session.objectives
        assert isinstance(self.spec, Entrant)
        why = "TRL trains; answers of evaluations and replay sets are sampled here"
        session.policy.forward = Forward("transformers", session.policy.forward.sample, why)
        huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
        datasets.disable_progress_bars()
        shape, budget = self.run.rollout, self.run.budget
        self.rows = shape.prompts * shape.group
        if budget.axis == "updates":
            self.updates = math.ceil(budget.amount)
        else:
            self.updates = math.ceil(budget.amount / self.rows) * shape.updates
        self.rollouts = math.ceil(self.updates / shape.updates)
        self.pending: list[Update] = []  # empty ones stand before the one that TRL works on
        self.mark = time.perf_counter()

    def fit(self) -> DoneRecord:
        session, began = self.session, time.perf_counter()
        session.begin()
        with TemporaryDirectory() as scratch, warnings.catch_warnings():
            # TRL's own configs still set the name that transformers 5 deprecates
            warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
            online = isinstance(self.spec, Online)
            trainer = self._online(scratch) if online else self._offline(scratch)
            trainer.remove_callback(PrinterCallback)
            diverged = self._run(trainer)
        if diverged is None and session.progress < 1:
            made = session.ledger.updates
            raise RuntimeError(f"TRL ended after {made} of {self.updates} updates")
        return session.finish(diverged, time.perf_counter() - began)

    def _run(self, trainer: Any) -> str | None:
        """TRL's loop, to its end or until it diverges; then the reason."""
        self.mark = time.perf_counter()
        try:
            trainer.train()
        except Diverged as error:
            return str(error)
        except RuntimeError as error:  # transformers' generate() cannot draw from NaN
            if "probability tensor contains" not in str(error):
                raise
            return f"non-finite probabilities after update {self.session.ledger.updates}: {error}"
        for update in self.pending:  # batches without a pair, after the last one with any
            self._advance(update, {})
        return None

    # online: TRL samples, and calls the reward function with what it has sampled

    def _online(self, scratch: str) -> Any:
        run, spec, shape, policy = self.run, self.spec, self.run.rollout, self.session.policy
        assert isinstance(spec, Online)
        if not run.keep_rollouts:
            self.session.start = None  # TRL loads its own reference
        self.examples = self.session.task.examples("train")
        count = self.rollouts * shape.prompts
        order = rng.prompt_order(run.seed, len(self.examples), 0, count)
        prompts = [self.examples[i].prompt for i in order]
        if policy.tokenizer(prompts[0])["input_ids"] != policy.encode_prompt(prompts[0]):
            raise ConfigError(
                f"{run.method}: the tokenizer appends an end token to prompts, and TRL keeps it"
            )
        cls, config = {
            TrlGRPO: (STOCK.GRPOTrainer, STOCK.GRPOConfig),
            TrlRLOO: (STOCK.RLOOTrainer, STOCK.RLOOConfig),
        }[type(spec)]
        parts = shape.minibatches * spec.micro_batches
        arguments = config(
            **self._arguments(scratch, range(self.updates)),
            per_device_train_batch_size=self.rows // parts,
            gradient_accumulation_steps=spec.micro_batches,
            steps_per_generation=parts,
            num_iterations=shape.epochs,
            num_generations=shape.group,
            max_completion_length=run.max_tokens,
            temperature=shape.temperature,
            top_p=1.0,
            top_k=0,
            shuffle_dataset=False,
        )
        return cls(
            model=policy.model,
            reward_funcs=self._judge,
            args=arguments,
            train_dataset=datasets.Dataset.from_dict({"prompt": prompts, "place": order}),
            **self._parts(range(self.updates)),
        )

    def _judge(
        self, prompts: list[str], completions: list[str], completion_ids: list[list[int]],
        place: list[int], **_: Any,
    ) -> list[float]:  # fmt: skip
        """Rewards of one rollout batch, whose rows stand group by group; it is all counted here."""
        self._lap("sample")
        session, run, G = self.session, self.run, self.run.rollout.group
        groups = []
        for n in range(0, len(place), G):
            example, texts, rows = self.examples[place[n]], completions[n : n + G], []
            grades = session.task.grade(example, texts)
            for text, ids, grade in zip(texts, completion_ids[n : n + G], grades, strict=True):
                rows.append(Response(ids, text, grade, ids[-1] in session.policy.stop_ids))
            groups.append(Group(example, rows))
        batch = self._assemble(groups)
        self._lap("grade")
        spent = Ledger()
        lengths = [len(ids) for ids in completion_ids]
        session.drawer.charge(spent, batch.tokens.prompt_mask_PL.sum(-1).tolist(), lengths)
        self._charge_scoring(spent, batch)
        parts = run.rollout.minibatches
        whole = self._update_on(batch, range(len(place)), spent)
        for k in range(run.rollout.updates):
            tokens = whole.tokens * (k + 1) // parts - whole.tokens * k // parts
            self.pending.append(
                Update(
                    spent=spent if k == 0 else Ledger(),
                    metrics=whole.metrics,
                    rows=len(place) // parts,
                    trained=len(place) // parts,
                    tokens=tokens,
                    forward=whole.forward / parts,
                )
            )
        session.keep_rollout(batch, Needs(), "policy")
        self.mark = time.perf_counter()
        return batch.rollout.reward_N.tolist()

    def _charge_scoring(self, spent: Ledger, batch: Batch) -> None:
        """Passes that TRL makes over all samples before the first update."""
        needs, flops = self.spec.needs(), self.session.flops
        tokens, forward = int(batch.tokens.mask_NT.sum()), flops.forward(batch.tokens)
        if old_logp(needs, "policy", self.run.rollout.updates) == "scored":
            spent.tokens_scored += tokens
            spent.flops_score += forward
        if needs.reference:
            spent.tokens_reference += tokens
            spent.flops_reference += forward

    # offline: the whole data set is handed over, with the batches in which it is to be read

    def _offline(self, scratch: str) -> Any:
        session, run, spec = self.session, self.run, self.spec
        cls, config, records_of = {
            TrlSFT: (STOCK.SFTTrainer, STOCK.SFTConfig, demonstrations),
            TrlDPO: (STOCK.DPOTrainer, STOCK.DPOConfig, pairs),
            TrlKTO: (STOCK.KTOTrainer, STOCK.KTOConfig, verdicts),
        }[type(spec)]
        source = session.source(session.sources[0])
        records: list[dict[str, Any]] = []
        batches: list[list[int]] = []
        full = []  # numbers of the updates that have rows
        for rollout in range(self.rollouts):
            spent = Ledger()
            groups, session.position.cursor = source.draw(
                rollout, session.position.cursor, spent, refill=False
            )
            new, rows = records_of(spec, groups, session.policy)
            update = self._update_on(self._assemble(groups), rows, spent)
            self._charge_reference(spent, update)
            self.pending.append(update)
            if new:
                full.append(rollout)
                batches.append([*range(len(records), len(records) + len(new))])
                records += new
        if not records:
            raise ValueError(f"{run.method}: no rollout batch of the replay set holds a pair")
        arguments = config(
            **self._arguments(scratch, full),
            per_device_train_batch_size=max(map(len, batches)),
            max_length=None,
        )
        reference = {} if session.start is None else {"ref_model": self._reference()}
        trainer = as_given(cls)(
            model=session.policy.model,
            args=arguments,
            train_dataset=datasets.Dataset.from_list(records),
            **reference,
            **self._parts(full),
        )
        trainer.batches = batches
        return trainer

    def _reference(self) -> Any:
        """A model of its own: with adapters, ours is the trained one with them switched off."""
        frozen, policy = self.session.start, self.session.policy
        assert frozen is not None
        if frozen.model is not policy.model:
            return frozen.model
        plain = self.run.model.model_copy(update={"lora": None})
        return start.load(self.session.origin, plain, str(policy.device)).model

    def _charge_reference(self, spent: Ledger, update: Update) -> None:
        if self.session.start is not None:
            passes = 1 + isinstance(self.spec, TrlKTO)  # KTO's mismatched rows too
            spent.tokens_reference += passes * update.tokens
            spent.flops_reference += passes * update.forward
            spent.tokens_scored += (passes - 1) * update.tokens
            spent.flops_score += (passes - 1) * update.forward

    # what both share

    def _arguments(self, scratch: str, steps: Sequence[int]) -> dict[str, Any]:
        run, o = self.run, self.run.optimizer
        spec = self.spec.model_dump(exclude=OURS)
        if isinstance(self.spec, TrlDPO):
            spec["loss_type"] = [spec["loss_type"]]
        return {
            **spec,
            "output_dir": scratch,
            "seed": run.seed,
            "max_steps": len(steps),
            "learning_rate": o.lr,
            "max_grad_norm": o.clip_norm,
            "use_cpu": self.session.policy.device.type == "cpu",
            "bf16": run.model.dtype == "bfloat16",
            "logging_steps": 1,
            "logging_nan_inf_filter": False,
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
        }

    def _parts(self, steps: Sequence[int]) -> dict[str, Any]:
        """Arguments of TRL's trainers that are objects; `steps` are the numbers of the updates."""
        rates = [self.run.optimizer.lr_at(self._progress_before(k)) for k in steps]
        schedule = torch.optim.lr_scheduler.LambdaLR(
            self.session.learner.optimizer, lambda k: rates[min(k, len(rates) - 1)]
        )
        return {
            "processing_class": self.session.policy.tokenizer,
            "callbacks": [Follow(self._after)],
            "optimizers": (self.session.learner.optimizer, schedule),
        }

    def _progress_before(self, update: int) -> float:
        """Share of the budget that is spent when an update (0-based) begins, its rows included."""
        if self.run.budget.axis == "updates":
            return update / self.run.budget.amount
        drawn = (update // self.run.rollout.updates + 1) * self.rows
        return min(drawn / self.run.budget.amount, 1.0)

    def _assemble(self, groups: list[Group]) -> Batch:
        session, gold = self.session, self.session.sources[0] == "demonstrations"
        at = {"rollout": session.position.rollout, "progress": session.progress}
        return session.assembler.batch(groups, Needs(gold=gold), gold_only=gold, **at)

    def _count_seen(self) -> None:
        """What the next rollout batch shows."""
        session, source = self.session, self.session.sources[0]
        shown = source == "demonstrations"
        session.ledger.samples_policy += self.rows * (source == "policy")
        count_seen(
            self.run,
            session.task,
            source,
            cursor=(session.position.rollout + 1)
            * (self.rows if shown else self.run.rollout.prompts),
            references=self.rows * shown,
            ledger=session.ledger,
        )

    def _update_on(self, batch: Batch, rows: Sequence[int], spent: Ledger) -> Update:
        tokens, forward = 0, 0.0
        if rows:
            part = batch.tokens.select(torch.tensor([*rows]))
            tokens, forward = int(part.mask_NT.sum()), self.session.flops.forward(part)
        return Update(
            spent=spent,
            metrics=batch_metrics(batch.rollout),
            rows=len(batch.tokens),
            trained=len(rows),
            tokens=tokens,
            forward=forward,
        )

    def _lap(self, phase: str) -> None:
        """Charge the time since the last mark to a phase."""
        now, ledger = time.perf_counter(), self.session.ledger
        name = f"seconds_{phase}"
        setattr(ledger, name, getattr(ledger, name) + now - self.mark)
        self.mark = now

    def _after(self, logs: dict[str, Any]) -> None:
        """After an update of TRL's: count it, write its row, evaluate where that is due."""
        self._lap("train")
        while not self.pending[0].trained:
            self._advance(self.pending.pop(0), {})
        self._advance(self.pending.pop(0), logs)
        self.mark = time.perf_counter()

    def _advance(self, update: Update, logs: dict[str, Any]) -> None:
        session, ledger, o = self.session, self.session.ledger, self.run.optimizer
        rate = o.lr * o.lr_at(self._progress_before(ledger.updates))
        for field in fields(Ledger):
            if field.name != "peak_memory_bytes":
                old = getattr(ledger, field.name)
                setattr(ledger, field.name, old + getattr(update.spent, field.name))
        if ledger.updates % self.run.rollout.updates == 0:
            self._count_seen()
        ledger.updates += 1
        ledger.empty_updates += not update.trained
        ledger.tokens_trained += update.tokens
        ledger.flops_train += 3 * update.forward
        known = {"loss": float(logs.get("loss", 0)), "grad_norm": float(logs.get("grad_norm", 0))}
        rest = {
            f"trl/{name}": float(value)
            for name, value in logs.items()
            if isinstance(value, int | float) and name not in {*known, *ELSEWHERE}
        }
        row = {"step": ledger.updates, **known, "lr": rate, "rows": update.rows,
               "rows_trained": update.trained, "empty": not update.trained, **rest,
               **update.metrics, **ledger.row(), "rollout": session.position.rollout}  # fmt: skip
        session.record([row])
        last = ledger.updates == self.updates  # a budget of updates may end inside a batch
        if ledger.updates % self.run.rollout.updates == 0 or last:
            session.position.rollout += 1
            session.policy.model.eval()
            session.evaluate_if_due()
            session.policy.model.train()
