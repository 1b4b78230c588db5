"""What a run writes, as typed and versioned records: the one place that says so.

`runs/<suite>/<method>-<task>-s<seed>-<hash8>/` holds

| file | what |
|---|---|
| run.json | RunRecord: resolved config and provenance; written once, before the first step |
| steps.jsonl | a JSON object a step, appended: StepRow, LedgerRow and the method's metrics |
| evals.parquet | a row per question and sample of each evaluation: EvalRow |
| rollouts/ | optional: step-NNNNNN.parquet, a rollout batch each: RolloutRow |
| checkpoint/ | model (or adapter), optimiser, and state.json (StateRecord); absent if not kept |
| best/, checkpoints/ | optional: the best model on validation questions; every evaluation's |
| DONE | DoneRecord; its presence means that the run has ended (also when it diverged) |

Beside the runs, `runs/<suite>/suite.json` holds the resolved recipe; SuiteRecord is a part of it.

**Versions.** A JSON file says in `schema_version` which version of the format it has; where it says
nothing, it has version 1. A file of an older version is migrated when it is read, step by step:
`Record.migrations` holds the functions that turn the content of a version into that of the next.
Tables (steps, evals, rollouts) may gain columns but never lose or rename one, so they need no
migration: their readers accept files without the later columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field
from pydantic.dataclasses import dataclass

SCHEMA_VERSION = 1
BUDGET_AXES = ("updates", "samples", "tokens", "flops", "seconds")

Content = dict[str, Any]  # of a JSON file
Source = Literal["policy", "replay", "demonstrations"]
Value = str | int | float | None
# A column's dtype in parquet and pandas, where its Python type does not tell it
Int32, Int16 = Annotated[int, "int32"], Annotated[int, "int16"]
Category = Annotated[str, "category"]


class SchemaError(ValueError):
    """A file was written by a newer version of the format than this one."""


class Record(BaseModel):
    """The content of one JSON file in the folder of a run or of a suite."""

    model_config = ConfigDict(frozen=True)
    file: ClassVar[str]  # where it stands in that folder
    migrations: ClassVar[dict[int, Callable[[Content], Content]]] = {}  # from this version on

    schema_version: int = Field(SCHEMA_VERSION, description="of the format, see above")

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record in a file, migrated if its version is an older one.

        Raises:
            OSError: there is no such file, or it cannot be read.
            SchemaError: its version is newer than SCHEMA_VERSION.
            ValueError: it is broken; the message says how.
        """
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise ValueError(f"an object is expected, found {type(content).__name__}")
        try:
            return cls.model_validate(cls.migrate(content))
        except SchemaError as error:
            raise SchemaError(f"{path} {error}") from None
        except ValidationError as error:
            what = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ValueError("; ".join(what)) from None

    @classmethod
    def migrate(cls, content: Content) -> Content:
        """The content as SCHEMA_VERSION writes it. Raises SchemaError: its version is newer."""
        version = content.get("schema_version", 1)
        if not isinstance(version, int):
            return content  # refused afterwards, by its type
        if version > SCHEMA_VERSION:
            raise SchemaError(
                f"has schema_version {version}; this version reads {SCHEMA_VERSION}: "
                "update evenbench"
            )
        for older in range(version, SCHEMA_VERSION):
            content = cls.migrations.get(older, dict)(content)
        return {**content, "schema_version": SCHEMA_VERSION}

    def text(self) -> str:
        """As it stands in the file."""
        return json.dumps(self.model_dump(mode="json"), indent=1)


class Grader(BaseModel):
    version: str
    options: Content = Field({}, description="of the task and its checker")


class Base(BaseModel):
    id: str = Field(description="hash of the model's files")
    cost: dict[str, Value] = Field({}, description="of building it; empty for a given model")


class RunRecord(Record):
    file = "run.json"

    id: str = Field(description="name of the run's folder")
    suite: str = Field("", description="name of the suite")
    method: str = Field(description="label, unique in the suite")
    objective: str = Field("", description="its registered name, or path.py:Class")
    fields: Content = Field({}, description="every hyper-parameter of the objective, resolved")
    task: str
    seed: int
    source: str | None = Field(None, description="of each phase: a Source, joined by ' then '")
    config: Content = Field({}, description="the whole resolved config (bench.config.Run)")
    budget: dict[str, float] = Field({}, description="amount of the one axis that ends the run")
    packages: dict[str, str] = Field({}, description="versions")
    hardware: dict[str, Value] = Field({}, description="cpu, cores, threads, memory_gb, gpu")
    git: dict[str, str | bool] | None = Field(None, description="commit, dirty")
    data: dict[str, str] = Field({}, description="hashes, by split or file")
    grader: Grader | None = None
    base: Base | None = Field(None, description="the starting model")
    warnings: list[str] = Field([], description="settings that are allowed but degenerate")
    started: str = Field("", description="ISO time; not part of the id")


@dataclass
class LedgerRow:
    """What a run has spent since its start, cumulative. It stands in each row of steps.jsonl."""

    updates: int = Field(0, description="optimiser steps scheduled, empty ones included")
    prompts: int = 0
    samples: int = Field(
        0, description="responses generated or gold rows consumed; a replayed sample counts"
    )
    tokens_prompt: int = Field(0, description="prompt tokens read for sampling, once a group")
    tokens_sampled: int = Field(0, description="generated")
    tokens_scored: int = Field(0, description="response tokens scored for old_logp")
    tokens_reference: int = Field(0, description="response tokens scored by the reference")
    tokens_critic: int = Field(0, description="response tokens through the critic, forward")
    tokens_trained: int = Field(0, description="response tokens with a backward pass")
    verifier_calls: int = 0
    flops_sample: float = 0.0
    flops_score: float = 0.0
    flops_reference: float = 0.0
    flops_critic: float = Field(0.0, description="forward and backward")
    flops_train: float = 0.0
    flops_recomputed: float = Field(
        0.0, description="what two passes or checkpointing computed again; not in flops"
    )
    flops_evaluate: float = Field(0.0, description="not in flops")
    seconds_sample: float = 0.0
    seconds_grade: float = 0.0
    seconds_score: float = 0.0
    seconds_train: float = 0.0
    seconds_evaluate: float = Field(0.0, description="not in seconds")
    seconds_store: float = Field(0.0, description="not in seconds")
    empty_updates: int = Field(0, description="updates with nothing to train on")
    peak_memory_bytes: int = Field(0, description="of the process (CPU: resident; GPU: allocated)")

    @computed_field(description="the budget axis: generated and trained")
    @property
    def tokens(self) -> int:
        return self.tokens_sampled + self.tokens_trained

    @computed_field(description="the budget axis, algorithmic")
    @property
    def flops(self) -> float:
        return (
            self.flops_sample
            + self.flops_score
            + self.flops_reference
            + self.flops_critic
            + self.flops_train
        )

    @computed_field(description="the budget axis: without evaluating, storing and waiting")
    @property
    def seconds(self) -> float:
        return self.seconds_sample + self.seconds_grade + self.seconds_score + self.seconds_train


class DoneRecord(Record):
    file = "DONE"

    status: Literal["finished", "diverged"]
    reason: str | None = Field(None, description="why it diverged")
    step: int = Field(description="updates done")
    seconds: float = Field(description="wall time, all phases")
    ended: str = Field(description="ISO time")
    spent: LedgerRow | None = Field(None, description="at the end, the last evaluation included")


class StateRecord(Record):
    """The position from which a run goes on."""

    file = "checkpoint/state.json"

    ledger: LedgerRow
    rollout: int = Field(description="rollout batches drawn")
    cursor: int = Field(description="prompts drawn, of the seeded order")
    points: int = Field(description="evaluations done")
    best: float = Field(-1.0, description="accuracy on validation questions; -1 before any")
    keep: list[str] = Field([], description="folders that also hold this checkpoint's model")


class PlannedRun(BaseModel):
    method: str


class SuiteRecord(Record):
    """Of the resolved recipe, what says how its methods are to be compared."""

    file = "suite.json"

    runs: list[PlannedRun] = []
    control: str | None = Field(None, description="the method that the others are compared with")
    margin: float | None = Field(None, description="of equivalence, a share of 1")


class StepRow(BaseModel):
    """A row of steps.jsonl, without the ledger and the method's own metrics."""

    step: int = Field(description="updates done, 1-based")
    rollout: int = Field(description="rollout batches drawn before this one")
    loss: float = Field(description="not a progress metric")
    grad_norm: float = Field(description="before clipping")
    lr: float
    reward_mean: float = Field(description="of the sampled rows of the rollout batch")
    accuracy: float = Field(description="share correct of the sampled rows of the rollout batch")
    response_tokens: float = Field(description="mean length of the sampled rows")
    finished: float = Field(description="share of sampled rows that ended by themselves")
    format_ok: float = Field(description="share of sampled rows in the form asked for")
    rows: int = Field(description="of the minibatch")
    rows_trained: int = Field(description="of these, with a forward and backward pass")
    empty: bool = Field(description="nothing to train on: no optimiser call")


class EvalRow(BaseModel):
    """A row of evals.parquet: one answer to one question at one evaluation."""

    step: Int32 = Field(description="updates done")
    split: Category = Field(description="validation | test | ood... | train")
    question_id: str = Field(description="content hash")
    decoding: Category = Field(description="greedy | sampled")
    sample: Int16 = Field(description="0..K-1 within the decoding")
    correct: bool = Field(description="the task's headline reading")
    strict: bool = Field(description="the task's official protocol")
    status: Category = Field(
        description="ok | wrong | unparsable_answer | unparsable_gold | timeout | limit"
    )
    format_ok: bool
    finished: bool
    tokens: Int32 = Field(description="length of the response")
    response: str | None = Field(description="null where not kept")
    extracted: str | None = Field(description="null where nothing was found")
    prompt: str | None = Field(description="null but on greedy rows of the last evaluation")
    gold: str | None = Field(description="likewise")


class RolloutRow(BaseModel):
    """A row of rollouts/: a sample or, where the task has it, a prompt's reference answer."""

    question_id: str = Field(description="content hash")
    group: int = Field(description="rows of one prompt of the batch share it")
    sample: int = Field(description="0..G-1; -1 for a reference answer")
    kind: int = Field(
        description="0 a sample, 1 the reference answer (also of methods that do not train on it)"
    )
    source: Source
    prompt: str
    response: str
    gold: str
    reward: float
    correct: bool
    strict: bool
    finished: bool
    format_ok: bool
    max_tokens: int = Field(description="the generation limit")
    tokens: list[int]
    logp: list[float] | None = Field(
        description="as the sampler reported it; null for a reference answer"
    )
    policy_logp: list[float] = Field(description="of the policy before the batch's updates")
    ref_logp: list[float] = Field(description="of the starting model")
    value: list[float] | None = Field(
        description="of the critic before the batch's updates; null without one"
    )


STEP_COLUMNS, EVAL_COLUMNS, ROLLOUT_COLUMNS = (
    tuple(row.model_fields) for row in (StepRow, EvalRow, RolloutRow)
)
LEDGER_COLUMNS = (*LedgerRow.__pydantic_fields__, "tokens", "flops", "seconds")
EVAL_DTYPES = {n: str(f.metadata[0]) for n, f in EvalRow.model_fields.items() if f.metadata}
