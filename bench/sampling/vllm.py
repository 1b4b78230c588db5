"""Sampling with vLLM, through TRL's VLLMGeneration: in this process ("colocate") or by a server.

TRL writes the policy's weights into the engine (also of FSDP, DeepSpeed and LoRA models). The
engine's own log-probs are kept; `bench.train.correction` measures how far they are off and weighs
the samples.

Greedy answers are the engine's. Samples are drawn with its random numbers: in this process they are
seeded from the batch's keys, so that a run repeats as far as the engine's kernels and batching do;
a server is not seeded. Unlike our own sampler's, a row's samples depend on the rest of its batch.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

import torch

from bench.config import ConfigError, RunConfig
from bench.model import lora
from bench.model.policy import Policy
from bench.model.rows import pad

from .hf import STOP_TAIL, Sampler, Samples, per_row

os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
# TRL writes weights into the engine's model, which must therefore live in this process
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")


class VLLMSampler(Sampler):
    """Draws with an engine that holds a copy of the policy's weights.

    Raises ConfigError where the engine cannot be started, or a server does not fit.
    """

    def __init__(self, run: RunConfig, policy: Policy):
        from accelerate import Accelerator

        self.policy, chosen = policy, run.sampler
        on_cpu = policy.device.type == "cpu"
        options = dict(chosen.engine)
        if on_cpu and chosen.mode == "colocate":
            options = {"dtype": run.model.dtype, "enforce_eager": True, **options}
            _keep_weights_writable()
        if run.model.revision:
            options = {"revision": run.model.revision, **options}
        generation: Any = import_module("trl.generation.vllm_generation")
        try:
            with _engine_options(generation, options):
                self.engine = generation.VLLMGeneration(
                    policy.model,
                    Accelerator(cpu=on_cpu),
                    policy.tokenizer,
                    mode=chosen.mode,
                    server_base_url=chosen.server,
                    tensor_parallel_size=chosen.tensor_parallel,
                    gpu_memory_utilization=chosen.memory,
                    enable_sleep_mode=chosen.sleep,
                )
        except (NotImplementedError, ConnectionError) as error:  # no CUDA, no server
            raise ConfigError(f"sampler.mode = {chosen.mode!r}: {error}") from error
        if lora.adapted(policy.model):  # ours are injected, which TRL does not look for
            self.engine._iter_named_params = partial(lora.full_parameters, policy.model)
        if chosen.mode == "server":
            told = self.engine.vllm_client.get_server_info()["model_config"]["logprobs_mode"]
            if told != "processed_logprobs":
                raise ConfigError(
                    f"sampler.server = {chosen.server!r} runs with --logprobs-mode {told}; "
                    "log-probs at the sampling temperature need processed_logprobs"
                )

    def sync(self) -> None:
        self.engine.sync_weights()

    def __call__(
        self,
        policy: Policy,
        prompts: Sequence[list[int]],
        group: int,
        keys_N: Sequence[int] | None,
        max_tokens: int,
        temperature: float | Sequence[float] = 1.0,
        stop: Sequence[str] = (),
    ) -> Samples:
        assert policy is self.policy  # of no other model does the engine have the weights
        engine = self.engine
        engine.max_completion_length = max_tokens
        stop = (*stop, *policy.stop)
        engine.generation_kwargs = {"stop_token_ids": policy.stop_ids}
        if stop:
            engine.generation_kwargs |= {"stop": [*stop], "include_stop_str_in_output": True}
        if keys_N:
            torch.manual_seed(keys_N[0] % 2**63)
        temperature_G, N = per_row(temperature, group), len(prompts) * group
        prompt_N = [n // group for n in range(N)]
        ids_N: list[list[int]] = [[]] * N
        found_N: list[list[Sequence[float | None]]] = [[]] * N
        asked_G = temperature_G if keys_N is not None else [0.0] * group
        for one in dict.fromkeys(asked_G):  # a call has one temperature
            at = [n for n in range(N) if asked_G[n % group] == one]
            engine.temperature = one
            asked = [prompts[prompt_N[n]] for n in at]
            _, ids, found, _ = engine.generate(asked, None, asked_G.count(one))
            for n, row, logp in zip(at, ids, found, strict=True):
                ids_N[n], found_N[n] = row, logp
        at_N = [t or 1.0 for t in temperature_G] * len(prompts)
        rows = pad(prompts, prompt_N, ids_N, at_N, pad_id=policy.pad_id)
        logp_NT = torch.zeros(rows.mask_NT.shape)
        for n, found in enumerate(found_N):
            # the drawn token's alone; None where the engine could not tell
            values = [x[0] if x[0] is not None else float("nan") for x in found]
            logp_NT[n, : len(values)] = torch.tensor(values)
        ended_N = [self._ended(ids, max_tokens, stop) for ids in ids_N]
        return Samples(rows, logp_NT, torch.tensor(ended_N, dtype=torch.bool))

    def _ended(self, ids: list[int], max_tokens: int, stop: Sequence[str]) -> bool:
        if len(ids) < max_tokens or ids[-1] in self.policy.stop_ids:
            return True
        return any(s in self.policy.decode(ids[-STOP_TAIL:]) for s in stop)


@contextmanager
def _engine_options(generation: Any, options: dict[str, Any]) -> Iterator[None]:
    """TRL hands a fixed set of arguments to vLLM's LLM; these are added to them."""
    stock = getattr(generation, "LLM", None)  # absent without vLLM, as TRL then says
    if stock is None or not options:
        yield
        return
    generation.LLM = partial(stock, **options)
    try:
        yield
    finally:
        generation.LLM = stock


def _keep_weights_writable() -> None:
    """vLLM's CPU build packs a layer's weights for oneDNN once they are loaded and drops them, so
    that TRL can write no others (`'Parameter' object has no attribute 'weight_loader'`). vLLM's own
    reload can, but it leaves a tied output layer as it was. Without oneDNN the weights stay."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # the trainer's threads too
    operations: Any = import_module("vllm._custom_ops")
    operations._supports_onednn = False
