"""The files that a run writes, and their columns. Everything else in `results` reads only this.

`runs/<suite>/<method>-<task>-s<seed>-<hash8>/` holds

| file | what |
|---|---|
| run.json | resolved config and provenance: RUN_FIELDS; written once, before the first step |
| steps.jsonl | append-only, a JSON object a step: STEP_COLUMNS, LEDGER_COLUMNS, method's metrics |
| evals.parquet | a row per question and sample of each evaluation: EVAL_COLUMNS |
| rollouts/ | optional: step-NNNNNN.parquet with ROLLOUT_COLUMNS, a rollout batch each |
| checkpoint/ | model (or adapter), optimiser, data cursor; absent once it is not kept |
| best/, checkpoints/ | optional: the best model on validation questions; every evaluation's |
| DONE | JSON, DONE_FIELDS; its presence means that the run is finished (also when it diverged) |

Beside the runs, `runs/<suite>/suite.json` holds the resolved recipe.
"""

from __future__ import annotations

SCHEMA_VERSION = 1

RUN_FIELDS = {
    "schema_version": "int",
    "id": "folder name",
    "suite": "name of the suite",
    "method": "label, unique in the suite",
    "objective": "registered name of the objective, or path.py:Class",
    "fields": "every hyper-parameter of the objective, resolved",
    "task": "name",
    "seed": "int",
    "source": "policy | replay | demonstrations",
    "config": "the whole resolved run config",
    "budget": "{axis: amount}, the one axis that ends the run",
    "packages": "{name: version}",
    "hardware": "{cpu, cores, threads, memory_gb, gpu}",
    "forward": "{train, sample, why}: packed | transformers; absent in earlier runs",
    "git": "{commit, dirty} or null",
    "data": "{split or file: hash}",
    "grader": "{version, options}",
    "base": "{id, cost}: the starting model and what its building cost",
    "warnings": "list of sentences: allowed but degenerate settings",
    "started": "ISO time; not part of the id",
}

STEP_COLUMNS = {
    "step": "int, updates done, 1-based",
    "rollout": "int, rollout batches drawn",
    "loss": "float, not a progress metric",
    "grad_norm": "float, before clipping",
    "lr": "float",
    "reward_mean": "float, of the sampled rows of the rollout batch",
    "accuracy": "float, share correct of the sampled rows of the rollout batch",
    "response_tokens": "float, mean length of the sampled rows",
    "finished": "float, share of sampled rows that ended by themselves",
    "format_ok": "float, share of sampled rows in the form asked for",
    "rows": "int, rows of the minibatch",
    "rows_trained": "int, of these with a forward and backward pass",
    "empty": "bool, nothing to train on: no optimiser call",
}

LEDGER_COLUMNS = {  # all cumulative since the run's start
    "updates": "int, optimiser steps scheduled (empty ones included)",
    "prompts": "int",
    "samples": "int, responses generated or gold rows consumed (a replayed sample counts)",
    "tokens_prompt": "int, prompt tokens processed for sampling, once a group",
    "tokens_sampled": "int, generated",
    "tokens_scored": "int, response tokens scored for old_logp",
    "tokens_reference": "int, response tokens scored by the reference",
    "tokens_critic": "int, response tokens through the critic, forward",
    "tokens_trained": "int, response tokens with a backward pass",
    "tokens": "int, the budget axis: generated + trained",
    "verifier_calls": "int",
    "flops": "float, the budget axis, algorithmic: the sum of the flops_* parts below",
    "flops_sample": "float",
    "flops_score": "float",
    "flops_reference": "float",
    "flops_critic": "float, forward and backward",
    "flops_train": "float",
    "flops_recomputed": "float, apart: what two passes or checkpointing computed again",
    "flops_evaluate": "float, apart",
    "seconds": "float, the budget axis: all phases but evaluate, store and wait",
    "seconds_sample": "float",
    "seconds_grade": "float",
    "seconds_score": "float",
    "seconds_train": "float",
    "seconds_evaluate": "float, apart",
    "seconds_store": "float, apart",
    "peak_memory_bytes": "int, of the process (CPU: resident; GPU: allocated)",
}

EVAL_COLUMNS = {
    "step": "int32, updates done",
    "split": "category: validation | test | ood... | train",
    "question_id": "str, content hash",
    "decoding": "category: greedy | sampled",
    "sample": "int16, 0..K-1 within the decoding",
    "correct": "bool, the task's headline reading",
    "strict": "bool, the task's official protocol",
    "status": "category: ok | wrong | unparsable_answer | unparsable_gold | timeout | limit",
    "format_ok": "bool",
    "finished": "bool",
    "tokens": "int32, length of the response",
    "response": "str, null where not kept",
    "extracted": "str, null where nothing was found",
    "prompt": "str, null but on greedy rows of the last evaluation",
    "gold": "str, likewise",
}

ROLLOUT_COLUMNS = {  # a row a sample and, where the task has it, a row a prompt's reference answer
    "question_id": "str, content hash",
    "group": "int, rows of one prompt of the batch share it",
    "sample": "int, 0..G-1; -1 for a reference answer",
    "kind": "int, 0 a sample, 1 the reference answer (also of methods that do not train on it)",
    "source": "str: policy | replay | demonstrations",
    "prompt": "str",
    "response": "str",
    "gold": "str",
    "reward": "float",
    "correct": "bool",
    "strict": "bool",
    "finished": "bool",
    "format_ok": "bool",
    "max_tokens": "int, the generation limit",
    "tokens": "list<int>",
    "logp": "list<float>, as the sampler reported it; null for a reference answer",
    "policy_logp": "list<float>, of the policy before the batch's updates",
    "ref_logp": "list<float>, of the starting model",
    "value": "list<float>, of the critic before the batch's updates; null without one",
}

DONE_FIELDS = {
    "status": "finished | diverged",
    "reason": "why it diverged, else null",
    "step": "int, updates done",
    "seconds": "float, wall time, all phases",
    "ended": "ISO time",
    "spent": "LEDGER_COLUMNS at the end, the last evaluation included",
}

BUDGET_AXES = ("updates", "samples", "tokens", "flops", "seconds")
