"""What a suite will cost, before anything is spent: estimated from config and model shape."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from .config import Model, Run, Suite

FILL = 0.35  # assumed mean response length, as a share of the limit; 0.3 to 0.4 on quick
EFFICIENCY = {"cpu": 0.35, "cuda": 0.25}  # of the matrix rate, all phases; cpu: from quick
BYTES = {"float32": 4, "bfloat16": 2, "float64": 8}


@dataclass(frozen=True)
class Cost:
    runs: int
    updates: int
    samples: float
    tokens_sampled: float
    tokens_trained: float
    flops: float  # training, all runs
    flops_evaluate: float
    memory: float  # bytes, one worker
    disk: float  # bytes, all runs
    seconds: float  # all runs, on `workers`
    parameters: float
    assumptions: str


def shape(model: Model, vocabulary: int) -> tuple[float, float, int, int]:
    """(linear weights, head weights, layers, width) of a model, from its config alone."""
    if model.path:
        from transformers import AutoConfig

        c = AutoConfig.from_pretrained(
            model.path, revision=model.revision or "main"
        ).get_text_config()
        hidden, layers, inner, vocab = (
            c.hidden_size,
            c.num_hidden_layers,
            c.intermediate_size,
            c.vocab_size,
        )
        heads, kv = (
            c.num_attention_heads,
            getattr(c, "num_key_value_heads", None) or c.num_attention_heads,
        )
        head_dim = getattr(c, "head_dim", None) or hidden // heads
    else:
        hidden, layers, inner, vocab = model.hidden, model.layers, model.intermediate, vocabulary
        heads = kv = model.heads
        head_dim = hidden // heads
    linear = layers * (hidden * head_dim * (2 * heads + 2 * kv) + 3 * hidden * inner)
    return float(linear), float(hidden * vocab), layers, heads * head_dim


def plan(suite: Suite, workers: int, device: str = "cpu", teraflops: float | None = None) -> Cost:
    """Estimates for the whole suite. `teraflops`: matrix rate of one worker; None: measured now."""
    rate = teraflops * 1e12 if teraflops else matrix_rate()
    totals = dict.fromkeys(("updates", "samples", "sampled", "trained", "flops", "evaluate"), 0.0)
    memory = disk = parameters = 0.0
    for run in suite.runs:
        one = _run(run)
        for key in totals:
            totals[key] += one[key]
        memory, parameters = max(memory, one["memory"]), max(parameters, one["parameters"])
        disk += one["disk"]
    seconds = (totals["flops"] + totals["evaluate"]) / (rate * EFFICIENCY[device]) / max(1, workers)
    return Cost(
        len(suite.runs),
        int(totals["updates"]),
        totals["samples"],
        totals["sampled"],
        totals["trained"],
        totals["flops"],
        totals["evaluate"],
        memory,
        disk,
        seconds,
        parameters,
        f"responses of {FILL:.0%} of the limit; {rate / 1e12:.3g} TFLOP/s a worker "
        f"at {EFFICIENCY[device]:.0%}",
    )


def _run(run: Run) -> dict[str, float]:
    task, r = run.build_task(), run.rollout
    vocabulary = len(task.vocabulary()) + 4 if task.word_pattern else run.model.vocabulary
    linear, head, layers, width = shape(run.model, vocabulary)
    examples = task.examples("train")[:256]
    characters = sum(len(e.prompt) for e in examples) / max(1, len(examples))
    prompt = characters / (2 if task.word_pattern or not run.model.path else 4)
    length = FILL * run.max_tokens
    per_rollout = r.prompts * r.group

    def forward(prompts: float, rows: float) -> float:
        tokens = prompts * prompt + rows * length
        seen = prompts * prompt**2 / 2 + rows * (length * prompt + length**2 / 2)
        return 2 * linear * tokens + 2 * head * rows * length + 4 * layers * width * seen

    out = dict.fromkeys(("samples", "sampled", "trained", "flops"), 0.0)
    needs = [m.needs() for m in run.build_methods()]
    for i, phase in enumerate(run.phases):
        sampled = run.source(i) != "demonstrations"
        one = forward(r.prompts if sampled else per_rollout, per_rollout)
        cost = (
            (one if sampled else 0.0)
            + 3 * r.epochs * one
            + one * (needs[i].reference + (r.updates > 1))
        )
        cost += one * (1 + 3 * r.epochs) if needs[i].critic else 0.0
        spent = {
            "updates": r.updates,
            "samples": per_rollout,
            "flops": cost,
            "seconds": math.inf,
            "tokens": per_rollout * length * (sampled + r.epochs),
        }[run.budget.axis]
        count = run.budget.amount * phase.share / spent
        out["samples"] += count * per_rollout
        out["sampled"] += count * per_rollout * length * sampled
        out["trained"] += count * per_rollout * length * r.epochs
        out["flops"] += count * cost
    updates = out["samples"] / per_rollout * r.updates
    decodings = run.eval.samples + run.eval.greedy
    sizes = {s: len(task.examples(s)) for s in task.splits}
    final = run.eval.final or {s: 0 for s in task.splits if s != "train"}
    questions = sum(n or sizes[s] for s, n in final.items()) + run.eval.train_questions
    curve = sum(n or sizes[s] for s, n in run.eval.curve.items()) * run.eval.points
    weights = linear + head
    copies = 1 + any(n.reference for n in needs) + any(n.critic for n in needs)
    trained = 1 + any(n.critic for n in needs)
    bytes_each = BYTES[run.model.dtype]
    activations = run.micro_tokens * layers * width * 40 * bytes_each
    return {
        **out,
        "updates": updates,
        "evaluate": forward(1, 1) * (questions + curve) * decodings,
        "memory": weights * bytes_each * copies
        + trained * weights * 3 * bytes_each
        + min(activations, per_rollout * (prompt + length) * layers * width * 40 * bytes_each)
        + 4e8,
        "disk": weights * bytes_each * 3 + (questions + curve) * decodings * 60 + updates * 1200,
        "parameters": weights,
    }


def matrix_rate() -> float:
    """float32 FLOP/s of one thread on a matrix product, measured for about a tenth of a second."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a = torch.randn(512, 512)
    torch.mm(a, a)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 0.1:
        torch.mm(a, a)
        count += 1
    rate = count * 2 * 512**3 / (time.perf_counter() - start)
    torch.set_num_threads(threads)
    return rate
