"""TRL's stock trainers under this harness: its start, data order, optimiser, budget, evaluation.

TRL's trainers do all of the training, and for the online ones the sampling. The offline ones are
given token rows in ready batches, in place of what their data preparation would make of texts; else
nothing of theirs is replaced. What a run counts is seen from outside: the reward function, a
callback after each update, and the rows that were handed over. An interrupted run begins anew.
"""

from __future__ import annotations

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
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainerCallback

from bench.config import ConfigError, Run
from bench.config.entrants import Offline, Online, TrlDPO, TrlGRPO, TrlKTO, TrlRLOO, TrlSFT
from bench.core import rng
from bench.model import start
from bench.model.policy import Policy
from bench.record.ledger import Ledger
from bench.record.store import RunFolder
from bench.train.loop import Trainer
from bench.train.sources import Batch, Group, Response, assemble, batch_metrics, charge
from methods import Needs, Signal
from results.records import DoneRecord

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
    """Stops before an update that is not finite, and tells of every one that was made."""

    def __init__(self, done: Any):
        self.done = done

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        gradients = (p.grad for p in more["model"].parameters() if p.grad is not None)
        if not all(g.isfinite().all() for g in gradients):
            raise Diverged(f"non-finite gradient in update {state.global_step + 1}")

    def on_log(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if "loss" in more["logs"]:  # else the summary at the end
            self.done(more["logs"])


class TRLTrainer(Trainer):
    """A run whose training is TRL's."""

    def __init__(self, run: Run, folder: RunFolder, suite: str, device: str = "cpu"):
        super().__init__(run, folder, suite, device)
        huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
        datasets.disable_progress_bars()
        shape, budget = run.rollout, run.budget
        self.rows = shape.prompts * shape.group
        if budget.axis == "updates":
            self.updates = math.ceil(budget.amount)
        else:
            self.updates = math.ceil(budget.amount / self.rows) * shape.updates
        self.rollouts = math.ceil(self.updates / shape.updates)
        self.pending: list[Update] = []  # empty ones stand before the one that TRL works on
        self.mark = time.perf_counter()

    def fit(self) -> DoneRecord:
        started = time.perf_counter()
        self._begin()
        with TemporaryDirectory() as scratch, warnings.catch_warnings():
            # TRL's own configs still set the name that transformers 5 deprecates
            warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
            online = isinstance(self.specs[0], Online)
            trainer = self._online(scratch) if online else self._offline(scratch)
            trainer.remove_callback(PrinterCallback)
            reason = self._run(trainer)
        if reason is None and self.progress < 1:
            raise RuntimeError(f"TRL ended after {self.ledger.updates} of {self.updates} updates")
        return self._end(reason, time.perf_counter() - started)

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
            return f"non-finite probabilities after update {self.ledger.updates}: {error}"
        for update in self.pending:  # batches without a pair, after the last one with any
            self._advance(update, {})
        return None

    # online: TRL samples, and calls the reward function with what it has sampled

    def _online(self, scratch: str) -> Any:
        run, spec, shape = self.run, self.specs[0], self.run.rollout
        assert isinstance(spec, Online)
        if not run.keep_rollouts:
            self.start = None  # TRL loads its own reference
        self.examples = self.task.examples("train")
        count = self.rollouts * shape.prompts
        order = rng.prompt_order(run.seed, len(self.examples), 0, count)
        prompts = [self.examples[i].prompt for i in order]
        if self.policy.tokenizer(prompts[0])["input_ids"] != self.policy.encode_prompt(prompts[0]):
            raise ConfigError(
                f"{run.method}: the tokenizer closes prompts, and TRL would leave it so"
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
            model=self.policy.model,
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
        run, G = self.run, self.run.rollout.group
        groups = []
        for n in range(0, len(place), G):
            example, texts, rows = self.examples[place[n]], completions[n : n + G], []
            grades = self.task.grade(example, texts)
            for text, ids, grade in zip(texts, completion_ids[n : n + G], grades, strict=True):
                rows.append(Response(ids, text, grade, ids[-1] in self.policy.stop_ids))
            groups.append(Group(example, rows))
        batch = self._assemble(groups)
        self._lap("grade")
        spent = Ledger()
        lengths = [len(ids) for ids in completion_ids]
        charge(spent, self.flops, batch.rows.prompt_mask_PL.sum(-1).tolist(), lengths, G)
        self._charge_scoring(spent, batch)
        parts = run.rollout.minibatches
        whole = self._update_on(batch, range(len(place)), spent)
        for k in range(run.rollout.updates):
            tokens = whole.tokens * (k + 1) // parts - whole.tokens * k // parts
            share = (len(place) // parts, len(place) // parts, tokens, whole.forward / parts)
            self.pending.append(Update(spent if k == 0 else Ledger(), whole.metrics, *share))
        if run.keep_rollouts:
            self._keep(batch, Needs(), "policy")
        return batch.rollout.reward_N.tolist()

    def _charge_scoring(self, spent: Ledger, batch: Batch) -> None:
        """Passes that TRL makes over all samples before the first update."""
        spec, tokens = self.specs[0], int(batch.rows.mask_NT.sum())
        if isinstance(spec, TrlRLOO) or self.run.rollout.updates > 1:
            spent.tokens_scored += tokens
            spent.flops_score += self.flops.forward(batch.rows)
        if spec.needs().reference:
            spent.tokens_reference += tokens
            spent.flops_reference += self.flops.forward(batch.rows)

    # offline: the whole data set is handed over, with the batches in which it is to be read

    def _offline(self, scratch: str) -> Any:
        run, spec = self.run, self.specs[0]
        cls, config, records_of = {
            TrlSFT: (STOCK.SFTTrainer, STOCK.SFTConfig, demonstrations),
            TrlDPO: (STOCK.DPOTrainer, STOCK.DPOConfig, pairs),
            TrlKTO: (STOCK.KTOTrainer, STOCK.KTOConfig, verdicts),
        }[type(spec)]
        feed = self._feed(self.sources[0])
        records: list[dict[str, Any]] = []
        batches: list[list[int]] = []
        full = []  # numbers of the updates that have rows
        for rollout in range(self.rollouts):
            spent = Ledger()
            groups, self.cursor = feed.draw(rollout, self.cursor, spent, False)
            new, rows = records_of(spec, groups, self.policy)
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
        reference = {} if self.start is None else {"ref_model": self._reference()}
        trainer = as_given(cls)(
            model=self.policy.model,
            args=arguments,
            train_dataset=datasets.Dataset.from_list(records),
            **reference,
            **self._parts(full),
        )
        trainer.batches = batches
        return trainer

    def _reference(self) -> Any:
        """A model of its own: with adapters, ours is the trained one with them switched off."""
        assert self.start is not None
        if self.start.model is not self.policy.model:
            return self.start.model
        plain = self.run.model.model_copy(update={"lora": None})
        return start.load(self.where, plain, str(self.policy.device)).model

    def _charge_reference(self, spent: Ledger, update: Update) -> None:
        if self.start is not None:
            passes = 1 + isinstance(self.specs[0], TrlKTO)  # KTO's mismatched rows too
            spent.tokens_reference += passes * update.tokens
            spent.flops_reference += passes * update.forward
            spent.tokens_scored += (passes - 1) * update.tokens
            spent.flops_score += (passes - 1) * update.forward

    # what both share

    def _arguments(self, scratch: str, steps: Sequence[int]) -> dict[str, Any]:
        run, o = self.run, self.run.optimizer
        spec = self.specs[0].model_dump(exclude=OURS)
        if isinstance(self.specs[0], TrlDPO):
            spec["loss_type"] = [spec["loss_type"]]
        return {
            **spec,
            "output_dir": scratch,
            "seed": run.seed,
            "max_steps": len(steps),
            "learning_rate": o.lr,
            "max_grad_norm": o.clip_norm,
            "use_cpu": self.policy.device.type == "cpu",
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
            self.optimizer, lambda k: rates[min(k, len(rates) - 1)]
        )
        return {
            "processing_class": self.policy.tokenizer,
            "callbacks": [Follow(self._after)],
            "optimizers": (self.optimizer, schedule),
        }

    def _progress_before(self, update: int) -> float:
        """Share of the budget that is spent when an update (0-based) begins, its rows included."""
        if self.run.budget.axis == "updates":
            return update / self.run.budget.amount
        drawn = (update // self.run.rollout.updates + 1) * self.rows
        return min(drawn / self.run.budget.amount, 1.0)

    def _assemble(self, groups: list[Group]) -> Batch:
        gold = self.sources[0] == "demonstrations"
        needs = Needs(gold=gold)
        return assemble(
            groups, needs, self.run, self.task, self.policy, self.reward, self.rollout,
            self.progress, gold,
        )  # fmt: skip

    def _update_on(self, batch: Batch, rows: Sequence[int], spent: Ledger) -> Update:
        which = torch.tensor([*rows], dtype=torch.int64, device=self.policy.device)
        metrics = batch_metrics(batch.rollout, Signal(None, None, torch.zeros(0)))
        tokens, forward = 0, 0.0
        if len(which):
            part = batch.rows.select(which)
            tokens, forward = int(part.mask_NT.sum()), self.flops.forward(part)
        return Update(spent, metrics, len(batch.rows), len(which), tokens, forward)

    def _lap(self, phase: str) -> None:
        """Charge the time since the last mark to a phase."""
        now = time.perf_counter()
        name = f"seconds_{phase}"
        setattr(self.ledger, name, getattr(self.ledger, name) + now - self.mark)
        self.mark = now

    def _after(self, logs: dict[str, Any]) -> None:
        """After an update of TRL's: count it, write its row, evaluate where that is due."""
        self._lap("train")
        while not self.pending[0].trained:
            self._advance(self.pending.pop(0), {})
        self._advance(self.pending.pop(0), logs)
        self.mark = time.perf_counter()

    def _advance(self, update: Update, logs: dict[str, Any]) -> None:
        ledger, o = self.ledger, self.run.optimizer
        rate = o.lr * o.lr_at(self._progress_before(ledger.updates))
        for field in fields(Ledger):
            if field.name != "peak_memory_bytes":
                old = getattr(ledger, field.name)
                setattr(ledger, field.name, old + getattr(update.spent, field.name))
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
               **update.metrics, **ledger.row(), "rollout": self.rollout}  # fmt: skip
        self._store([row])
        last = ledger.updates == self.updates  # a budget of updates may end inside a batch
        if ledger.updates % self.run.rollout.updates == 0 or last:
            self.rollout += 1
            self.policy.model.eval()
            self._evaluate_if_due()
            self.policy.model.train()


def as_given(cls: Any) -> Any:
    """One of TRL's trainers that reads ready token rows in given batches: `batches`, of numbers."""

    class AsGiven(cls):
        batches: list[list[int]]

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

        def get_train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(
                self.train_dataset, batch_sampler=self.batches, collate_fn=self.data_collator
            )

    return AsGiven


# A rollout batch as TRL's collators want it, and which of the batch's rows are trained on (its rows
# stand group by group).
Records = tuple[list[dict[str, Any]], list[int]]


def demonstrations(spec: Offline, groups: list[Group], policy: Policy) -> Records:
    records = []
    for group in groups:
        assert group.example.solution is not None  # checked with the config
        prompt = policy.encode_prompt(group.example.prompt)
        answer = policy.encode_response(group.example.solution)
        records.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
    return records, [*range(len(records))]


def pairs(spec: TrlDPO, groups: list[Group], policy: Policy) -> Records:
    """A prompt's right and wrong samples: the k-th of each, or every one with every one."""
    records: list[dict[str, Any]] = []
    used: set[int] = set()
    first = 0
    for group in groups:
        prompt = policy.encode_prompt(group.example.prompt)
        right = [k for k, r in enumerate(group.responses) if r.grade.correct]
        wrong = [k for k, r in enumerate(group.responses) if not r.grade.correct]
        all_pairs = [(a, b) for a in right for b in wrong]
        for a, b in zip(right, wrong, strict=False) if spec.pairing == "matched" else all_pairs:
            chosen, rejected = group.responses[a].ids, group.responses[b].ids
            records.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
            used |= {first + a, first + b}
        first += len(group.responses)
    return records, sorted(used)


def verdicts(spec: Offline, groups: list[Group], policy: Policy) -> Records:
    """Each sample, and beside it the next prompt's sample for TRL's estimate of the KL."""
    records = [
        {"prompt_ids": policy.encode_prompt(group.example.prompt), "completion_ids": own.ids,
         "KL_completion_ids": other.ids, "label": own.grade.correct}
        for group, following in zip(groups, [*groups[1:], groups[0]], strict=True)
        for own, other in zip(group.responses, following.responses, strict=True)
    ]  # fmt: skip
    return records, [*range(len(records))]
