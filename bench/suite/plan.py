"""What a suite will cost, estimated from its config and the model's shape before it runs."""

import math
import time
from dataclasses import dataclass

from bench.config import ConfigError, Hardware, RunConfig, Suite
from bench.model.choice import Forward, choose
from bench.model.shapes import Shape, shape
from bench.sampling.hf import CACHE_BYTES
from bench.train.batch import old_logp
from tasks import Task, TaskError

FILL = 0.35  # assumed mean response length, as a share of the limit; 0.3 to 0.4 on quick
EFFICIENCY = {"cpu": 0.35, "cuda": 0.25}  # of the matrix rate, all phases; cpu: from quick
BYTES = {"float32": 4, "bfloat16": 2, "float64": 8}
# Seconds per layer in a sampling step, besides reading its weights. The first is assumed for a GPU.
# Transformers' own layers take 2.7 times as long: measured on one CPU thread with models so small
# that arithmetic does not matter.
LAYER_SECONDS = {"packed": 2e-4, "transformers": 5.4e-4}
ACTIVATIONS = 40  # numbers kept per token and layer for the backward pass, in units of the width
# Assumed where the data cannot be read: characters of a prompt, questions of a split.
PROMPT, SPLIT = 400, 1000
SIZES = {
    "gsm8k": {"validation": 500, "test": 1319},
    "math": {"validation": 500, "test": 5000},
    "math500": {"validation": 500, "test": 500},
    "hh": {"validation": 500, "test": 2354},
}


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
    seconds_base: float  # once before them: building the base model, where model.path is not set
    parameters: float
    assumptions: str


def plan(
    suite: Suite,
    workers: int,
    device: str = "cpu",
    *,
    teraflops: float | None = None,
    hardware: Hardware | None = None,
) -> Cost:
    """Estimates for the whole suite. `teraflops`: matrix rate of one worker; None: measured now. On
    `hardware` a sampling step also waits for the GPU's memory, and memory is counted per GPU.

    Raises ConfigError where the model's shape is not known.
    """
    if hardware:
        rate, device = hardware.teraflops * 1e12 * hardware.gpus_per_run, "cuda"
    else:
        rate = teraflops * 1e12 if teraflops else matrix_rate(device)
    one = [_run(run, device, hardware) for run in suite.runs]
    total = {key: sum(r[key] for r in one) for key in one[0]}
    busy = (total["flops"] + total["evaluate"]) / (rate * EFFICIENCY[device])
    forward = _forward(suite.runs[0], _shape(suite.runs[0]), device)
    said = [f"responses of {FILL:.0%} of the limit", f"forward pass: {forward}"]
    said += [f"{rate / 1e12:.3g} TFLOP/s per worker at {EFFICIENCY[device]:.0%}"]
    if hardware:
        said += [f"a sampling step reads weights and cache at {hardware.bandwidth:g} TB/s"]
        said += [f"and takes {1e3 * LAYER_SECONDS[forward.sample]:g} ms more per layer"]
    if total["guessed"]:
        said += [f"the data are not here: prompts of {PROMPT} characters"]
    return Cost(
        runs=len(suite.runs),
        updates=int(total["updates"]),
        samples=total["samples"],
        tokens_sampled=total["sampled"],
        tokens_trained=total["trained"],
        flops=total["flops"],
        flops_evaluate=total["evaluate"],
        memory=max(r["memory"] for r in one),
        disk=total["disk"] + workers * max(r["state"] for r in one),
        seconds=(busy + total["waiting"]) / max(1, workers),
        seconds_base=one[0]["base"] / (rate * EFFICIENCY[device]),
        parameters=one[0]["parameters"],
        assumptions="; ".join(said),
    )


def _questions(task: Task) -> tuple[float, dict[str, int], bool]:
    """Mean characters of a prompt, number of questions by split, and whether both are assumed."""
    try:
        examples = task.examples("train")[:256]
        sizes = {s: len(task.examples(s)) for s in task.splits}
        return sum(len(e.prompt) for e in examples) / max(1, len(examples)), sizes, False
    except TaskError:
        known = SIZES.get(type(task).__name__.lower(), {})
        return PROMPT, {s: known.get(s, SPLIT) for s in task.splits}, True


def _shape(run: RunConfig) -> Shape:
    task = run.build_task()
    words = len(task.vocabulary()) + 4 if task.word_pattern else run.model.vocabulary
    return shape(run.model, words)


def _forward(run: RunConfig, model: Shape, device: str) -> Forward:
    try:
        apart = bool(run.model.lora or run.model.checkpointing)
        return choose(run.model.forward, device, model.misfit, apart)
    except ValueError as error:
        raise ConfigError(f"model.{error}") from error


def _run(run: RunConfig, device: str, hardware: Hardware | None) -> dict[str, float]:
    task, r, model = run.build_task(), run.rollout, _shape(run)
    characters, sizes, guessed = _questions(task)
    prompt = characters / (2 if task.word_pattern or not run.model.path else 4)
    length = FILL * run.max_tokens
    per_rollout = r.prompts * r.group

    def forward(prompts: float, rows: float) -> float:
        tokens = prompts * prompt + rows * length
        seen = prompts * prompt**2 / 2 + rows * (length * prompt + length**2 / 2)
        linear, head = 2 * model.linear * tokens, 2 * model.head * rows * length
        return linear + head + 4 * model.layers * model.width * seen

    def waiting(rows: float) -> float:
        return _waiting(run, model, prompt, rows, hardware=hardware) if hardware else 0.0

    out = dict.fromkeys(("samples", "sampled", "trained", "flops", "waiting"), 0.0)
    needs = [m.needs() for m in run.build_methods()]
    backward = 1 if run.model.lora else 2  # in forward passes; frozen weights get no gradient
    for i, phase in enumerate(run.phases):
        sampled = run.source(i) != "demonstrations"
        one = forward(r.prompts if sampled else per_rollout, per_rollout)
        cost = (one if sampled else 0.0) + (1 + backward) * r.epochs * one
        old = old_logp(needs[i], run.source(i), r.updates)
        cost += one * ((needs[i].reference or old == "start") + (old == "scored"))
        cost += one * (1 + (1 + backward) * r.epochs) if needs[i].critic else 0.0
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
        out["waiting"] += count * sampled * waiting(per_rollout)
    batch, steps = run.model.pretrain.batch, run.model.pretrain.steps
    built = 0.0 if run.model.path is not None else steps * 3 * forward(batch, batch)
    updates = out["samples"] / per_rollout * r.updates
    final = run.eval.final or {s: 0 for s in task.splits if s != "train"}
    questions = sum(n or sizes[s] for s, n in final.items()) + run.eval.train_questions
    curve = sum(n or sizes[s] for s, n in run.eval.curve.items())
    every, common = (
        sum(d.samples for d in drawn) for drawn in (run.eval.decodings, run.eval.curve_decodings)
    )
    judged = sum(
        part[s] or sizes[s] for part in (final, run.eval.curve) for s in part if s == task.headline
    )
    answers = (questions + curve * run.eval.points) * common + judged * (every - common)
    out["waiting"] += waiting(answers)
    trained, size = _trained(run, model), BYTES[run.model.dtype]
    copies = {"none": 0, "last": 1, "best": 2, "all": 2 + run.eval.points}[run.checkpoint]
    return {
        **out,
        "updates": updates,
        "evaluate": forward(questions + curve * run.eval.points, answers),
        "memory": _memory(run, model, prompt, device) / (hardware.gpus_per_run if hardware else 1),
        "disk": copies * trained * size + answers * 60 + updates * 1200,
        "state": trained * (12 if size == 2 else 8),
        "base": built,
        "parameters": float(model.parameters),
        "guessed": float(guessed),
    }


def _waiting(
    run: RunConfig, model: Shape, prompt: float, rows: float, *, hardware: Hardware
) -> float:
    """Seconds that sampling so many rows waits for the GPU's memory and for the launch of kernels:
    one step per token of the longest row, for each batch that fits into the cache."""
    size = BYTES[run.model.dtype]
    weights = model.parameters * size
    together = math.ceil(1.5 * weights / (hardware.memory_gb * 1e9))  # GPUs that hold one copy
    copies = max(1, hardware.gpus_per_run // together)
    row = model.cached() * size * (prompt + run.max_tokens)
    at_once = min(rows / copies, max(1.0, CACHE_BYTES * together / row))
    read = (weights + at_once * row * FILL) / (hardware.bandwidth * 1e12 * together)
    steps = run.max_tokens * max(1.0, rows / copies / at_once)
    layer = LAYER_SECONDS[_forward(run, model, "cuda").sample]
    return steps * (read + model.layers * layer)


def _memory(run: RunConfig, model: Shape, prompt: float, device: str) -> float:
    """Bytes of weights and optimiser, and of the cache or the activations, whichever is larger."""
    size, rows = BYTES[run.model.dtype], run.rollout.prompts * run.rollout.group
    needs = [m.needs() for m in run.build_methods()]
    critic = any(n.critic for n in needs)
    reference = any(n.reference for n in needs) and not run.model.lora
    trained = _trained(run, model)
    # gradient and two moments; weights of 16 bits have a float32 copy besides
    state = 3 * size if size > 2 else 16
    tokens = min(run.micro_tokens, rows * (prompt + FILL * run.max_tokens))
    deep = model.layers + ACTIVATIONS if run.model.checkpointing else model.layers * ACTIVATIONS
    cache = min(CACHE_BYTES, rows * model.cached() * size * (prompt + run.max_tokens))
    forward, models = _forward(run, model, device), 1 + reference + critic
    held = model.parameters * size * models + (1 + critic) * trained * state
    if forward.train == "packed":
        held += model.fused * size * models
    elif forward.sample == "packed":  # all matrices, with adapters added, while it samples
        cache += model.linear * size
    return held + max(tokens * deep * model.width * size, cache) + 4e8


def _trained(run: RunConfig, model: Shape) -> int:
    return model.adapters(run.model.lora) if run.model.lora else model.parameters


def matrix_rate(device: str = "cpu") -> float:
    """FLOP/s of a matrix product, measured for a tenth of a second: float32 on one CPU thread,
    bfloat16 on a GPU."""
    import torch

    n, dtype = (512, torch.float32) if device == "cpu" else (4096, torch.bfloat16)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a = torch.randn(n, n, dtype=dtype, device=device)
    float(torch.mm(a, a)[0, 0])  # on a GPU, reading a number waits for the product
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 0.1:
        float(torch.mm(a, a)[0, 0])
        count += 1
    rate = count * 2 * n**3 / (time.perf_counter() - start)
    torch.set_num_threads(threads)
    return rate
