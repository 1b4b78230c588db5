"""A run's model as a folder for `from_pretrained` and vLLM, with a model card: how it was trained,
and what was measured."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pydantic import ValidationError
from transformers import AutoTokenizer, GenerationConfig

from bench.config import ConfigError, Model, RunConfig
from bench.model import lora, start
from bench.model.policy import Policy
from bench.record.store import RunFolder
from results.records import StateRecord
from results.stats import question_interval
from tasks import Task


def export(
    folder: Path, out: Path | None = None, which: str = "last", adapter: bool = False
) -> Path:
    """Write the model of a run's checkpoint to `out`, by default `export` in the run's folder, and
    return that folder. `which`: last, best, or the step of a kept checkpoint. Adapters are merged
    into the weights, or with `adapter` written alone.

    Raises ConfigError: there is no such checkpoint, or `out` holds something else.
    """
    run, record = _read(folder)
    there = checkpoints(folder)
    if which not in there:
        names = f"{', '.join(there) or 'none'} (the recipe's `checkpoint` decides)"
        raise ConfigError(f"{folder}: no checkpoint {which!r}; kept: {names}")
    kept = there[which]
    out = out or folder / "export"
    if out.exists() and any(out.iterdir()) and not (out / "README.md").is_file():
        raise ConfigError(f"{out}: holds files that are not an export; give another folder")
    if adapter and not run.model.lora:
        raise ConfigError(f"{folder}: trained without adapters, so there is no adapter to export")
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    task = run.build_task()
    place = start.ensure(run.model, task) if run.model.lora else kept
    own = {"lora": None} if run.model.lora else {"path": str(kept), "revision": None}
    policy = start.load(place, run.model.model_copy(update=own))
    if adapter:
        shutil.copytree(kept, partial, ignore=shutil.ignore_patterns("*.pt", "state.json"))
    else:
        if run.model.lora:  # added in float32, then rounded once
            policy.model = lora.merged(policy.model.float(), kept)
            policy.model.to(getattr(torch, run.model.dtype))
        policy.model.save_pretrained(partial)
    policy.tokenizer.save_pretrained(partial)
    _generation(policy, run).save_pretrained(partial)
    step = StateRecord.read(kept / StateRecord.file).ledger.updates
    use = _use(run, task, adapter=adapter, replaced=_replaced(partial, policy))
    text = card(run, record, folder, step, use=use, library="peft" if adapter else "transformers")
    (partial / "README.md").write_text(text)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return out


def _read(folder: Path) -> tuple[RunConfig, dict[str, Any]]:
    if not (folder / "run.json").is_file():
        raise ConfigError(f"{folder}: no run.json; give the folder of one run, runs/SUITE/RUN")
    record = RunFolder(folder).record.model_dump(mode="json")
    try:
        return RunConfig.model_validate(record["config"]), record
    except ValidationError as error:
        raise ConfigError(f"{folder / 'run.json'}: {error}") from None


def checkpoints(folder: Path) -> dict[str, Path]:
    """The checkpoints that a run has kept, by the names that `which` takes."""
    there = {"last": RunFolder(folder).checkpoint, "best": folder / "best"}
    steps = sorted(folder.glob("checkpoints/step-??????"))
    there |= {str(int(path.name.removeprefix("step-"))): path for path in steps}
    return {name: path for name, path in there.items() if path and path.is_dir()}


def _generation(policy: Policy, run: RunConfig) -> GenerationConfig:
    """The tokens that ended samples in training end them here too; the default decoding is the
    headline's."""
    ends = {"eos_token_id": policy.stop_ids, "pad_token_id": policy.pad_id}
    headline = run.eval.temperatures[0]
    decoding = {"do_sample": True, "temperature": headline, "top_p": 1.0, "top_k": 0}
    return GenerationConfig(bos_token_id=policy.tokenizer.bos_token_id, **ends, **decoding)


def _replaced(folder: Path, policy: Policy) -> bool:
    """Whether AutoTokenizer builds a different tokenizer from the files (start.load_tokenizer)."""
    loaded: Any = AutoTokenizer.from_pretrained(folder)
    return loaded(start.PROBE)["input_ids"] != policy.tokenizer(start.PROBE)["input_ids"]


def measured(folder: Path, step: int, run: RunConfig) -> list[str]:
    """Rows of the card's table: the accuracy of each split and decoding at a step, with its 95 %
    interval over questions."""
    columns = ["step", "split", "decoding", "question_id", "sample", "correct"]
    evals: Any = pd.read_parquet(folder / "evals.parquet", columns=columns)
    at, rows = evals[evals["step"] == step], []
    at_temperature = {d.label: d.temperature for d in run.eval.decodings}
    for (split, decoding), part in at.groupby(["split", "decoding"], observed=True, sort=False):
        table = part.pivot(index="question_id", columns="sample", values="correct")
        x = question_interval(table.to_numpy(dtype=float))
        sampled = f"avg@{table.shape[1]}, temperature {at_temperature[decoding]:g}, top-p 1"
        how = "greedy" if decoding == "greedy" else sampled
        mean, half, low, high = (f"{100 * v:.1f}" for v in (x.mean, x.half, x.low, x.high))
        accuracy = f"**{mean}** ± {half} ({low} to {high})"
        rows.append(f"| {split} | {how} | {table.shape[0]:,} | {accuracy} |")
    return rows


def card(
    run: RunConfig, record: dict[str, Any], folder: Path, step: int, *, use: list[str], library: str
) -> str:
    """README.md of an export; `use` says how the model is asked."""
    done = RunFolder(folder).done
    hub, start = getattr(run.build_task(), "hub", ""), _start(run.model)
    front = ["---", f"library_name: {library}", "pipeline_tag: text-generation"]
    front += [f"base_model: {run.model.path}"] if _is_hub_id(run.model.path) else []
    front += [f"datasets:\n- {hub}"] if hub else []
    front += [f"tags:\n- evenbench\n- {record['objective'].replace(' then ', '-then-')}", "---"]
    status = done.status if done else "unfinished"
    status += f": {done.reason}" if done and done.reason else ""
    measurement = (
        f"Answers of at most {run.max_tokens} tokens, graded by evenbench's checker "
        f"{record['grader']['version']}. ± is the half-width of the 95 % interval over questions; "
        "it holds for this checkpoint and says nothing about other seeds."
    )
    header = ["| split | decoding | questions | correct, % |", "|---|---|---|---|"]
    blocks = [
        "\n".join([*front, f"# {record['objective']} on {record['task']}, seed {record['seed']}"]),
        f"{start}, trained with `{record['objective']}` on `{record['task']}` by "
        f"Evenbench ({record['source']} data; run `{record['id']}` of the suite "
        f"`{record['suite']}`; {status}; this is the model after update {step}).",
        "## Accuracy",
        measurement,
        "\n".join(header + measured(folder, step, run)),
        "## Use",
        "\n".join(use),
        "## Method",
        _json({"objective": record["objective"], "fields": record["fields"]}),
        "## Training",
        f"Budget: {_amounts(record['budget'])}. Spent: {_spent(folder, step)}.",
        _json({k: record["config"][k] for k in ("rollout", "optimizer", "reward")}),
        "## Data",
        _json({"task": record["config"]["task"], "hashes": record["data"]}),
        "## Provenance",
        _json({k: record[k] for k in ("packages", "git", "hardware", "base", "started")}),
    ]
    if record["warnings"]:
        blocks += ["## Warnings", "\n".join(f"- {w}" for w in record["warnings"])]
    return "\n\n".join(blocks) + "\n"


def _is_hub_id(path: str | None) -> bool:
    return path is not None and not Path(path).exists() and path.count("/") == 1


def _start(model: Model) -> str:
    if model.path is None:
        return "A small Llama built by Evenbench"
    if not _is_hub_id(model.path):
        return "A local model"
    return f"`{model.path}`" + (f" at `{model.revision}`" if model.revision else "")


def _use(run: RunConfig, task: Task, *, adapter: bool, replaced: bool) -> list[str]:
    """How the model is asked, and what to know when it is loaded."""
    model, stop = run.model, [*task.stop, *run.model.stop]
    text = f"`{json.dumps(getattr(task, 'prompt', '{question}'))}`"
    if model.chat == "none":
        lines = [f"The model continues this text; no chat template is used: {text}."]
    else:
        options = "".join(f", {k}={v!r}" for k, v in model.chat_options.items())
        lines = [
            f"The user's message holds the question like this: {text}. The prompt is "
            f"`tokenizer.apply_chat_template(messages, add_generation_prompt=True{options})`."
        ]
    if model.system:
        lines += [f"The messages begin with this system prompt: `{json.dumps(model.system)}`."]
    if stop:
        lines += [f"An answer also ends at: {', '.join(f'`{json.dumps(s)}`' for s in stop)}."]
    if adapter:
        lines += ["The folder holds an adapter (peft) without the weights that it was trained on."]
    if replaced:
        lines += [
            "`AutoTokenizer` of transformers 5 builds a different tokenizer for this architecture; "
            "load it with `PreTrainedTokenizerFast.from_pretrained`."
        ]
    return lines


def _json(value: Any) -> str:
    return f"```json\n{json.dumps(value, indent=1, default=str)}\n```"


def _amounts(amounts: dict[str, float]) -> str:
    return ", ".join(f"{value:,.0f} {name}" for name, value in amounts.items())


def _spent(folder: Path, step: int) -> str:
    rows = (json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines())
    if not (row := next((r for r in rows if r["step"] == step), None)):
        return "nothing yet"
    amounts = {k: row[k] for k in ("updates", "samples", "tokens_sampled", "tokens_trained")}
    return f"{_amounts(amounts)}, {row['flops']:.3g} FLOPs, {row['seconds']:,.0f} seconds"
