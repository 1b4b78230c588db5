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

A run that was imported from another tool's log has no row in steps.jsonl, and its evals.parquet
holds the columns that the log tells, at least NEEDED of results.tally.

Beside the runs, `runs/<suite>/suite.json` holds the resolved recipe; SuiteRecord is a part of it.
`sequential.json` (SequentialRecord) is there where seeds were added until verdicts.

**Versions.** A JSON file says in `schema_version` which version of the format it has; where it says
nothing, it has version 1. A file of an older version is migrated when it is read, step by step:
`Record.migrations` holds the functions that turn the content of a version into that of the next.
Tables (steps, evals, rollouts) may gain columns but never lose or rename one, so they need no
migration: their readers accept files without the later columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, computed_field
from pydantic.dataclasses import dataclass

from .specification import Specification

SCHEMA_VERSION = 1
BUDGET_AXES = ("updates", "samples", "tokens", "flops", "seconds")

Content = dict[str, Any]  # of a JSON file
Value = str | int | float | None
# A column's dtype in parquet and pandas, where its Python type does not tell it
Int32 = Annotated[int, "int32"]
Int16 = Annotated[int, "int16"]
Category = Annotated[str, "category"]


class SchemaError(ValueError):
    """A file was written by a newer version of the format than this one."""


class Record(BaseModel):
    """The content of one JSON file in the folder of a run or of a suite."""

    model_config = ConfigDict(frozen=True)
    file: ClassVar[str]  # its name
    migrations: ClassVar[dict[int, Callable[[Content], Content]]] = {}  # from this version on

    schema_version: int = SCHEMA_VERSION  # of the format, see above

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
    options: Content = {}  # of the task and its checker


class Base(BaseModel):
    id: str  # hash of the model's files
    cost: dict[str, Value] = {}  # of building it; empty for a given model


class Imported(BaseModel):
    """Where the answers come from, if another tool's log was imported (`evenbench import`)."""

    tool: Literal["lm-eval", "inspect", "csv"]
    version: str = ""  # of the tool, as its log says
    model: str = ""  # as the log names it; the run's method may have another label
    files: dict[str, str]  # path as it was given: SHA-256 of its content


class RunRecord(Record):
    """Of an imported run, config and budget are empty: nothing is known of its training. A model
    without a known training seed has the objective "none"; its seed, 0, says nothing."""

    file = "run.json"

    id: str  # name of the run's folder
    suite: str = ""  # name of the suite
    method: str  # label, unique in the suite
    objective: str = ""  # its registered name, or path.py:Class
    fields: Content = {}  # every hyper-parameter of the objective, resolved
    task: str
    seed: int
    source: str | None = None  # policy | replay | demonstrations, of each phase, joined by ' then '
    config: Content = {}  # the whole resolved config (bench.config.RunConfig)
    budget: dict[str, float] = {}  # amount of the one axis that ends the run
    packages: dict[str, str] = {}  # versions
    hardware: dict[str, Value] = {}  # cpu, cores, threads, memory_gb, gpu
    forward: dict[str, str] = {}  # forward passes: train, sample (packed | transformers); why
    git: dict[str, str | bool] | None = None  # commit, dirty
    data: dict[str, str] = {}  # hashes, by split or file
    grader: Grader | None = None
    base: Base | None = None  # the starting model
    imported: Imported | None = None  # None: this project made the answers
    warnings: list[str] = []  # settings that are allowed but degenerate
    started: str = ""  # ISO time; not part of the id


@dataclass
class LedgerRow:
    """What a run has spent since its start, cumulative. It stands in each row of steps.jsonl."""

    updates: int = 0  # optimiser steps scheduled, empty ones included
    prompts: int = 0
    samples: int = 0  # responses generated or gold rows consumed; a replayed sample counts
    # what it saw; older runs lack these four, and then they are unknown
    samples_policy: int = 0  # of the samples, those of the policy in training
    prompts_distinct: int = 0  # of several phases the largest number
    references: int = 0  # reference answers in its batches, repeats counted
    references_distinct: int = 0
    tokens_prompt: int = 0  # prompt tokens read for sampling, once a group
    tokens_sampled: int = 0  # generated
    tokens_scored: int = 0  # response tokens scored for old_logp
    tokens_reference: int = 0  # response tokens scored by the reference
    tokens_critic: int = 0  # response tokens through the critic, forward
    tokens_trained: int = 0  # response tokens with a backward pass

    @computed_field  # the budget axis
    @property
    def tokens(self) -> int:
        """Generated and trained."""
        return self.tokens_sampled + self.tokens_trained

    verifier_calls: int = 0

    @computed_field  # the budget axis
    @property
    def flops(self) -> float:
        """Algorithmic, without evaluation and what was computed again."""
        sampling = self.flops_sample + self.flops_score + self.flops_reference
        return sampling + self.flops_critic + self.flops_train

    flops_sample: float = 0.0
    flops_score: float = 0.0
    flops_reference: float = 0.0
    flops_critic: float = 0.0  # forward and backward
    flops_train: float = 0.0
    flops_recomputed: float = 0.0  # what two passes or checkpointing computed again; not in flops
    flops_evaluate: float = 0.0  # not in flops

    @computed_field  # the budget axis
    @property
    def seconds(self) -> float:
        """Without evaluating, storing and waiting."""
        return self.seconds_sample + self.seconds_grade + self.seconds_score + self.seconds_train

    seconds_sample: float = 0.0
    seconds_grade: float = 0.0
    seconds_score: float = 0.0
    seconds_train: float = 0.0
    seconds_evaluate: float = 0.0  # not in seconds
    seconds_store: float = 0.0  # not in seconds
    empty_updates: int = 0  # updates with nothing to train on
    peak_memory_bytes: int = 0  # of the process (CPU: resident; GPU: allocated)


class DoneRecord(Record):
    file = "DONE"

    status: Literal["finished", "diverged"]
    reason: str | None = None  # why it diverged
    step: int  # updates done
    seconds: float  # wall time, all phases
    ended: str  # ISO time
    spent: LedgerRow | None = None  # at the end, the last evaluation included


class StateRecord(Record):
    """The position from which a run goes on; it stands in the checkpoint's folder."""

    file = "state.json"

    ledger: LedgerRow
    rollout: int  # rollout batches drawn
    cursor: int  # prompts drawn, of the seeded order
    points: int  # evaluations done
    best: float = -1.0  # accuracy on validation questions; -1 before any
    keep: list[str] = []  # folders that also hold this checkpoint's model


class PlannedRun(BaseModel):
    method: str


class SuiteRecord(Record):
    """Of the resolved recipe, what says how its methods are to be compared."""

    file = "suite.json"

    runs: list[PlannedRun] = []  # in the order in which the methods are shown
    control: str | None = None  # the method that the others are compared with
    margin: float | None = None  # of equivalence, a share of 1
    primary: Specification = Specification()

    def renamed(self, labels: Mapping[str, str]) -> SuiteRecord:
        runs = [PlannedRun(method=labels.get(run.method, run.method)) for run in self.runs]
        control = self.control and labels.get(self.control, self.control)
        return self.model_copy(update={"runs": runs, "control": control})


class SettledRow(BaseModel):
    """Where one comparison with the control stands, in a suite that adds seeds until verdicts."""

    method: str
    seeds: int  # looked at; no more are added where the verdict is not "undetermined"
    verdict: Literal["better", "worse", "equivalent", "undetermined"]
    difference: float | None  # to the control, a share of 1
    low: float | None  # confidence sequence; None where it has no bound yet
    high: float | None
    factor: float | None  # Bayes factor for a difference against none
    failed: int = 0  # runs of the two that diverged or collapsed: then it never stops early


class SequentialRecord(Record):
    """Beside suite.json: the design of `run --until-verdict`, and where it stands."""

    file = "sequential.json"

    control: str
    methods: list[str]  # compared with the control: the declared family
    margin: float  # of equivalence
    alpha: float  # of the family; each comparison has its share (Bonferroni)
    prior: float  # variance of the standardised effect
    max_seeds: int  # the fixed design: so many for every method
    rows: list[SettledRow] = []
    runs: int = 0  # that all looks so far took


class StepRow(BaseModel):
    """A row of steps.jsonl, without the ledger and the method's own metrics."""

    step: int  # updates done, 1-based
    rollout: int  # rollout batches drawn before this one
    loss: float  # not a progress metric
    grad_norm: float  # before clipping
    lr: float
    reward_mean: float  # of the sampled rows of the rollout batch
    accuracy: float  # share correct of the sampled rows of the rollout batch
    response_tokens: float  # mean length of the sampled rows
    finished: float  # share of sampled rows that ended by themselves
    format_ok: float  # share of sampled rows in the form asked for
    rows: int  # of the minibatch
    rows_trained: int  # of these, with a forward and backward pass
    empty: bool  # nothing to train on: no optimiser call


class EvalRow(BaseModel):
    """A row of evals.parquet: one answer to one question at one evaluation."""

    step: Int32  # updates done
    split: Category  # validation | test | ood... | train
    question_id: str  # content hash
    # greedy | sampled (at the headline's temperature) | T=0.6 (at a further temperature; only of
    # the first and the last evaluation)
    decoding: Category
    sample: Int16  # 0..K-1 within the decoding
    correct: bool  # the task's headline reading
    strict: bool  # the task's official protocol
    status: Category  # ok | wrong | unparsable_answer | unparsable_gold | timeout | limit
    format_ok: bool
    finished: bool
    tokens: Int32  # length of the response
    response: str | None  # null where not kept
    extracted: str | None  # null where nothing was found
    prompt: str | None  # null but on greedy rows of the last evaluation
    gold: str | None  # likewise
    # likewise: what the task says of the question, as a JSON object; a later column
    meta: str | None = None


class RolloutRow(BaseModel):
    """A row of rollouts/: a sample or, where the task has it, a prompt's reference answer."""

    question_id: str  # content hash
    group: int  # rows of one prompt of the batch share it
    sample: int  # 0..G-1; -1 for a reference answer
    kind: int  # 0 a sample, 1 the reference answer (also of methods that do not train on it)
    source: str  # policy | replay | demonstrations
    prompt: str
    response: str
    gold: str
    reward: float
    correct: bool
    strict: bool
    finished: bool
    format_ok: bool
    max_tokens: int  # the generation limit
    tokens: list[int]
    logp: list[float] | None  # as the sampler reported it; null for a reference answer
    policy_logp: list[float]  # of the policy before the batch's updates
    ref_logp: list[float]  # of the starting model
    value: list[float] | None  # of the critic before the batch's updates; null without one


STEP_COLUMNS, EVAL_COLUMNS, ROLLOUT_COLUMNS = (
    tuple(row.model_fields) for row in (StepRow, EvalRow, RolloutRow)
)
COUNTED = tuple(  # of the ledger, sums before their parts
    name
    for name, value in vars(LedgerRow).items()
    if isinstance(value, int | float | property) and not name.startswith("_")
)
LEDGER_COLUMNS = tuple(name for name in COUNTED if name != "empty_updates")  # costs
EVAL_DTYPES = {n: str(f.metadata[0]) for n, f in EvalRow.model_fields.items() if f.metadata}
