"""Where the rows of a rollout batch come from: fresh samples of the policy, samples that the
starting model drew once for everyone (replay), or reference answers (demonstrations).

All three walk through the prompts in the one seeded order, so methods of a seed see equal prompts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from bench.config import ConfigError, Run, installed_rewards
from bench.core import rng
from bench.core.cache import cache_root, locked
from bench.model.policy import Policy
from bench.model.rows import Rows, pad
from bench.record.ledger import Flops, Ledger
from bench.sampling.hf import Sampler
from methods import GOLD, MISMATCHED, SAMPLE, Needs, Rollout, Signal
from tasks import Example, Grade, Task, content_id
from tasks.registry import load_plugin

Reward = Callable[[Example, str, Grade, int], float]


@dataclass(frozen=True)
class Response:
    ids: list[int]  # closed by the end token where the model gave it
    text: str
    grade: Grade
    finished: bool
    logp: list[float] | None = None  # as the sampler reported it


@dataclass(frozen=True)
class Group:
    """One prompt with its samples; empty for a demonstration."""

    example: Example
    responses: list[Response]


def reward_function(name: str) -> Reward:
    """`correct`, `format`, `random` (a control: a fair coin), a name of the entry-point group
    `evenbench.rewards`, or `path.py:function`, called with (example, response, grade).

    Raises:
        ConfigError: no such function.
        ValueError: by the reward itself, where it raises or is not a finite number.
    """
    function = _reward(name)

    def reward(example: Example, text: str, grade: Grade, key: int) -> float:
        where = f"for question {example.id} (response {text[:80]!r})"
        try:
            value = function(example, text, grade, key)
        except Exception as error:  # of any kind: the function is a plug-in's
            told = f"reward {name!r} raises {type(error).__name__}: {error} {where}"
            raise ValueError(told) from error
        try:
            number = math.nan if isinstance(value, str) else float(value)
        except Exception:  # of any kind: the value is a plug-in's
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"reward {name!r} is {value!r} {where}: it must be a finite number")
        return number

    return reward


def _reward(name: str) -> Callable[[Example, str, Grade, int], Any]:
    if name == "correct":
        return lambda example, text, grade, key: (
            grade.correct if grade.reward is None else grade.reward
        )
    if name == "format":
        return lambda example, text, grade, key: grade.format_ok
    if name == "random":
        return lambda example, text, grade, key: key & 1
    if name in installed_rewards():
        function = installed_rewards()[name].load()
    else:
        try:
            module, attribute, path = load_plugin(name)
        except KeyError as error:
            raise ConfigError(f"reward: {error.args[0]}") from None
        function = getattr(module, attribute, None)
        if not callable(function):
            raise ConfigError(f"reward = {name!r}: {path} has no function {attribute!r}")
    return lambda example, text, grade, key: function(example, text, grade)


def broken_rows(run: Run, task: Task, listed: int = 10) -> list[str]:
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


def draw_samples(
    policy: Policy,
    task: Task,
    examples: Sequence[Example],
    run: Run,
    rollout: int,
    ledger: Ledger,
    flops: Flops,
    draw: Sampler,
) -> list[Group]:
    """G fresh samples of each prompt, graded; all of it charged."""
    G, max_tokens = run.rollout.group, run.max_tokens
    with ledger.phase("sample"):
        prompts = [policy.encode_prompt(e.prompt) for e in examples]
        keys = [rng.key(run.seed, "sample", rollout, e.id, g) for e in examples for g in range(G)]
        drawn = draw(policy, prompts, G, keys, max_tokens, run.rollout.temperature, stop=task.stop)
        ids_N = drawn.response_ids()
        logp_N = drawn.logp_NT.tolist()
        finished_N = drawn.finished_N.tolist()
        texts_N = policy.decode_many(ids_N)
    with ledger.phase("grade"):
        groups = []
        for p, example in enumerate(examples):
            at = range(p * G, (p + 1) * G)
            grades = task.grade(example, [texts_N[n] for n in at])
            rows = [
                Response(ids_N[n], texts_N[n], g, finished_N[n], logp_N[n][: len(ids_N[n])])
                for n, g in zip(at, grades, strict=True)
            ]
            groups.append(Group(example, rows))
    charge(ledger, flops, [len(p) for p in prompts], [len(i) for i in ids_N], G)
    return groups


def charge(
    ledger: Ledger, flops: Flops, prompt_P: list[int], length_N: list[int], group: int
) -> None:
    """Count the drawing and grading of `group` samples of each prompt."""
    ledger.prompts += len(prompt_P)
    ledger.samples += len(length_N)
    ledger.verifier_calls += len(length_N)
    ledger.tokens_prompt += sum(prompt_P)
    ledger.tokens_sampled += sum(length_N)
    length, prompt = torch.tensor(length_N).double(), torch.tensor(prompt_P).double()
    ledger.flops_sample += flops.forward_lengths(prompt, prompt.repeat_interleave(group), length)


class PolicySource:
    """Fresh samples of the policy as it stands."""

    def __init__(self, run: Run, task: Task, policy: Policy, sampler: Sampler | None = None):
        self.run, self.task, self.policy = run, task, policy
        self.sampler = sampler or Sampler()
        self.examples = task.examples("train")
        self.flops = Flops.of(policy.model)
        self.reward = reward_function(run.reward)

    def draw(
        self, rollout: int, cursor: int, ledger: Ledger, refill: bool
    ) -> tuple[list[Group], int]:
        """Q groups and the new position in the order of prompts. With `refill`, groups whose
        samples all earn the same are dropped and further prompts drawn, up to `refill_cap`
        batches; what is then missing is made up from the dropped groups, which have no signal."""
        Q = self.run.rollout.prompts
        live: list[Group] = []
        dead: list[Group] = []
        with ledger.phase("sample"):
            self.sampler.sync()
        for _ in range(self.run.rollout.refill_cap if refill else 1):
            at = rng.prompt_order(self.run.seed, len(self.examples), cursor, Q)
            cursor += Q
            drawn = draw_samples(
                self.policy,
                self.task,
                [self.examples[i] for i in at],
                self.run,
                rollout,
                ledger,
                self.flops,
                self.sampler,
            )
            for group in drawn:
                uniform = refill and len(set(self._rewards(group, rollout))) == 1
                (dead if uniform else live).append(group)
            if len(live) >= Q:
                break
        return (live + dead)[:Q], cursor

    def _rewards(self, group: Group, rollout: int) -> list[float]:
        return [
            self.reward(group.example, r.text, r.grade, reward_key(self.run, rollout, group, k))
            for k, r in enumerate(group.responses)
        ]


def reward_key(run: Run, rollout: int, group: Group, sample: int) -> int:
    """What a random reward is made from."""
    return rng.key(run.seed, "reward", rollout, group.example.id, sample)


class ReplaySource:
    """The starting model's samples, in the order in which a policy run would have drawn them."""

    def __init__(self, run: Run, task: Task, start: Policy, base_digest: str):
        self.run, self.task, self.policy = run, task, start
        self.flops = Flops.of(start.model)
        self.by_id = {e.id: e for e in task.examples("train")}
        self.path = self._ensure(base_digest)
        frame = pd.read_parquet(self.path)
        self.rollouts = [part.to_dict("records") for _, part in frame.groupby("rollout")]
        self.seconds = json.loads(self.path.with_suffix(".json").read_text())

    def _ensure(self, base_digest: str) -> Path:
        run, shape, rollouts = self.run, self.run.rollout, self.run.rollouts
        assert rollouts is not None  # checked with the config
        asked = {"revision", "dtype", "chat", "chat_options", "system", "stop"}
        content = [
            base_digest,
            run.model.model_dump(mode="json", include=asked),
            run.task,
            self.task.fingerprint(),
            self.task.grader_version,
            run.seed,
            shape.prompts,
            shape.group,
            shape.temperature,
            run.max_tokens,
            rollouts,
        ]
        path = (
            cache_root() / "replay" / f"{content_id(json.dumps(content, sort_keys=True))}.parquet"
        )
        with locked(path.with_suffix(".lock")):
            if not (path.is_file() and path.with_suffix(".json").is_file()):
                ledger = Ledger()
                examples = self.task.examples("train")
                parts = []
                for i in range(rollouts):
                    at = rng.prompt_order(run.seed, len(examples), i * shape.prompts, shape.prompts)
                    groups = draw_samples(
                        self.policy,
                        self.task,
                        [examples[j] for j in at],
                        run,
                        i,
                        ledger,
                        self.flops,
                        Sampler(),
                    )
                    parts += [
                        {
                            "rollout": i,
                            "question_id": g.example.id,
                            "sample": k,
                            "tokens": r.ids,
                            "logp": r.logp,
                            "response": r.text,
                            "finished": r.finished,
                            **asdict(r.grade),
                        }
                        for g in groups
                        for k, r in enumerate(g.responses)
                    ]
                partial = path.with_suffix(".partial")
                pd.DataFrame(parts).to_parquet(partial, index=False, compression="zstd")
                seconds = {k: ledger.spent(f"seconds_{k}") / rollouts for k in ("sample", "grade")}
                path.with_suffix(".json").write_text(json.dumps(seconds))
                partial.replace(path)
        return path

    def draw(
        self, rollout: int, cursor: int, ledger: Ledger, refill: bool
    ) -> tuple[list[Group], int]:
        """The stored batch, around again when the set is used up; charged as if drawn now."""
        rows = self.rollouts[rollout % len(self.rollouts)]
        G = self.run.rollout.group
        blocks = [rows[start : start + G] for start in range(0, len(rows), G)]
        drawn = [Group(self.by_id[b[0]["question_id"]], [_response(r) for r in b]) for b in blocks]
        prompt_P = [len(self.policy.encode_prompt(g.example.prompt)) for g in drawn]
        length_N = [len(r.ids) for g in drawn for r in g.responses]
        if rollout < len(self.rollouts):  # a second pass over the set costs no sampling
            charge(ledger, self.flops, prompt_P, length_N, self.run.rollout.group)
            ledger.seconds_sample += self.seconds["sample"]
            ledger.seconds_grade += self.seconds["grade"]
        else:
            ledger.samples += len(length_N)
        return drawn, cursor + len(drawn)


def _response(row: dict[Hashable, Any]) -> Response:
    grade = Grade(**{name: row[name] for name in Grade.__dataclass_fields__})
    if grade.reward is not None and grade.reward != grade.reward:  # parquet has NaN for None
        grade = replace(grade, reward=None)
    ids, logp = row["tokens"].tolist(), row["logp"].tolist()
    return Response(ids, row["response"], grade, bool(row["finished"]), logp)


class DemonstrationSource:
    """Reference answers: as many rows as a policy run has samples."""

    def __init__(self, run: Run, task: Task):
        self.run = run
        self.examples = [e for e in task.examples("train") if e.solution]

    def draw(
        self, rollout: int, cursor: int, ledger: Ledger, refill: bool
    ) -> tuple[list[Group], int]:
        rows = self.run.rollout.prompts * self.run.rollout.group
        at = rng.prompt_order(self.run.seed, len(self.examples), cursor, rows)
        ledger.prompts += rows
        ledger.samples += rows
        return [Group(self.examples[i], []) for i in at], cursor + rows


@dataclass(frozen=True)
class Batch:
    rows: Rows
    rollout: Rollout
    groups: list[Group]  # for storing rollouts


GOLD_GRADE = Grade(True, True, "ok", "reference", None, True)


def assemble(
    groups: list[Group],
    needs: Needs,
    run: Run,
    task: Task,
    policy: Policy,
    reward: Reward,
    step: int,
    progress: float,
    gold_only: bool,
) -> Batch:
    """Token rows and the Rollout of a batch: samples, and gold or mismatched rows where needed."""
    prompts = [policy.encode_prompt(g.example.prompt) for g in groups]
    table: list[tuple[int, int, list[int], Grade, bool, list[float] | None, float]] = []
    for p, group in enumerate(groups):
        for k, r in enumerate(group.responses):
            value = reward(group.example, r.text, r.grade, reward_key(run, step, group, k))
            table.append((p, SAMPLE, r.ids, r.grade, r.finished, r.logp, value))
        if (needs.gold or gold_only) and group.example.solution:
            ids = policy.encode_response(group.example.solution)
            table.append((p, GOLD, ids, GOLD_GRADE, True, None, task.gold_reward))
        if needs.mismatched and not gold_only:
            for r in groups[(p + 1) % len(groups)].responses:
                table.append((p, MISMATCHED, r.ids, r.grade, r.finished, None, 0.0))
    T = run.rollout.temperature
    rows = pad(
        prompts,
        [t[0] for t in table],
        [t[2] for t in table],
        [1.0 if t[1] == GOLD else T for t in table],
        policy.pad_id,
    )
    sampler_logp_NT = torch.zeros(rows.mask_NT.shape)
    for n, t in enumerate(table):
        if t[5] is not None:
            sampler_logp_NT[n, : len(t[5])] = torch.tensor(t[5])
    device = policy.device
    rollout = Rollout(
        mask_NT=rows.mask_NT.to(device),
        reward_N=torch.tensor([t[6] for t in table], dtype=torch.float32).to(device),
        group_N=rows.prompt_N.to(device),
        kind_N=torch.tensor([t[1] for t in table]).to(device),
        correct_N=torch.tensor([t[3].correct for t in table]).to(device),
        finished_N=torch.tensor([t[4] for t in table]).to(device),
        format_ok_N=torch.tensor([t[3].format_ok for t in table]).to(device),
        max_tokens=run.max_tokens,
        progress=progress,
        sampler_logp_NT=sampler_logp_NT.to(device),
    )
    return Batch(rows, rollout, groups)


def batch_metrics(rollout: Rollout, signal: Signal) -> dict[str, float]:
    """Means over the sampled rows of a rollout batch, or over its gold rows where it has no others,
    and the signal's own metrics. `sampler_entropy`, nats a token: minus the mean log-prob that the
    sampler gave to what it drew, an unbiased estimate unless top-p or top-k cuts it."""
    sampled_N = rollout.kind_N == SAMPLE
    drawn_NT = rollout.mask_NT & sampled_N[:, None]
    if not sampled_N.any():
        sampled_N = rollout.kind_N == GOLD
    columns = {
        "reward_mean": rollout.reward_N,
        "accuracy": rollout.correct_N,
        "finished": rollout.finished_N,
        "format_ok": rollout.format_ok_N,
        "response_tokens": rollout.mask_NT.sum(-1),
    }
    means = {name: float(x[sampled_N].double().mean()) for name, x in columns.items()}
    if rollout.sampler_logp_NT is not None and rollout.sampler_logp_NT[drawn_NT].any():
        means["sampler_entropy"] = -float(rollout.sampler_logp_NT[drawn_NT].double().nanmean())
    return {**means, **{name: float(value) for name, value in signal.metrics.items()}}


def rollout_frame(
    batch: Batch, source: str, policy_NT: torch.Tensor, ref_NT: torch.Tensor
) -> pd.DataFrame:
    """Rows of results.records.RolloutRow, one a sample or reference answer. Mismatched rows, which
    stand elsewhere as samples, are left out. The log-probs are [N, T]."""
    r = batch.rollout
    drawn = iter((k, x) for g in batch.groups for k, x in enumerate(g.responses))
    rows = []
    for n, (p, kind) in enumerate(zip(r.group_N.tolist(), r.kind_N.tolist(), strict=True)):
        if kind == MISMATCHED:
            continue
        example, length = batch.groups[p].example, int(r.mask_NT[n].sum())
        ids = batch.rows.response_NT[n, :length].tolist()
        reference = (-1, Response(ids, example.solution or "", GOLD_GRADE, True))
        k, answer = next(drawn) if kind == SAMPLE else reference
        values = None if r.old_value_NT is None else r.old_value_NT[n, :length].tolist()
        rows.append({
            "question_id": example.id, "group": p, "sample": k, "kind": kind, "source": source,
            "prompt": example.prompt, "response": answer.text, "gold": example.gold,
            "reward": float(r.reward_N[n]), "correct": answer.grade.correct,
            "strict": answer.grade.strict, "finished": answer.finished,
            "format_ok": answer.grade.format_ok, "max_tokens": r.max_tokens, "tokens": ids,
            "logp": answer.logp, "policy_logp": policy_NT[n, :length].tolist(),
            "ref_logp": ref_NT[n, :length].tolist(), "value": values,
        })  # fmt: skip
    return pd.DataFrame(rows)
