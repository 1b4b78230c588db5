"""A stand-in for vLLM under TRL's VLLMGeneration: what TRL uses of its API, on a policy of its own.
`install` puts it where TRL looks for vLLM."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch

from bench.config import Model
from bench.model import start
from bench.sampling.hf import sample


@dataclass
class Engine:
    """Holds weights of its own, and counts what it is asked."""

    model: str
    dtype: str = "float32"
    more: dict[str, Any] = field(default_factory=dict)
    written: int = 0  # tensors since the start
    resets: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    asleep: bool = False

    def __post_init__(self):
        self.policy = start.load(self.model, Model(path=self.model, dtype=self.dtype))  # pyright: ignore[reportArgumentType]

    @torch.no_grad()
    def write(self, name: str, weight: torch.Tensor) -> None:
        assert not self.asleep
        self.policy.model.get_parameter(name).copy_(weight)
        self.written += 1

    def draw(self, prompts: list[list[int]], n: int, **asked: Any) -> list[tuple[list[int], Any]]:
        """Token ids and log-probs of n answers to each prompt, with torch's random numbers."""
        assert not self.asleep
        self.asked.append(asked)
        keys = torch.randint(2**62, (len(prompts) * n,)).tolist()
        drawn = sample(
            self.policy, prompts, n, keys if asked["temperature"] else None, asked["max_tokens"],
            asked["temperature"] or 1.0, asked.get("stop") or (),
        )  # fmt: skip
        return [
            (ids, logp[: len(ids)])
            for ids, logp in zip(drawn.response_ids(), drawn.logp_NT.tolist(), strict=True)
        ]


class LLM(Engine):
    """`vllm.LLM` in the trainer's process."""

    made: list[Engine] = []  # noqa: RUF012

    def __init__(self, model: str, dtype: str = "float32", **more: Any):
        assert more["logprobs_mode"] == "processed_logprobs"
        super().__init__(model, dtype, more)
        LLM.made.append(self)
        runner = SimpleNamespace(model=SimpleNamespace(load_weights=self._load))
        worker = SimpleNamespace(model_runner=runner)
        self.llm_engine = SimpleNamespace(model_executor=SimpleNamespace(driver_worker=worker))

    def _load(self, weights: list[tuple[str, torch.Tensor]]) -> None:
        for name, weight in weights:
            self.write(name, weight)

    def reset_prefix_cache(self) -> None:
        self.resets += 1

    def sleep(self, level: int) -> None:
        self.asleep = True

    def wake_up(self, tags: list[str]) -> None:
        self.asleep = False

    def generate(self, prompts: list[dict[str, Any]], sampling_params: Any, use_tqdm: bool) -> Any:
        ids = [p["prompt_token_ids"] for p in prompts]
        drawn = self.draw(ids, **vars(sampling_params))
        return [
            SimpleNamespace(
                prompt_token_ids=prompt,
                outputs=[
                    SimpleNamespace(
                        token_ids=answer,
                        logprobs=[
                            {t: SimpleNamespace(rank=1, logprob=p)}
                            for t, p in zip(answer, logp, strict=True)
                        ],
                    )
                ],
            )
            for prompt, (answer, logp) in zip(ids, drawn, strict=True)
        ]


class Client(Engine):
    """TRL's client of a vLLM server, with the server behind it."""

    folder = ""  # of the model that the server was started with
    logprobs_mode = "processed_logprobs"

    def __init__(self, base_url: str, group_port: int, connection_timeout: float):
        super().__init__(self.folder)
        self.url = base_url
        LLM.made.append(self)

    def init_communicator(self, device: Any) -> None: ...

    def get_server_info(self) -> dict[str, Any]:
        return {"model_config": {"logprobs_mode": self.logprobs_mode}}

    def update_named_params(self, metadata: Any, named_params: Any) -> None:
        for (name, dtype, shape), (other, weight) in zip(metadata, named_params, strict=True):
            assert (name, dtype, shape) == (other, "float32", list(weight.shape))
            self.write(name, weight)

    def reset_prefix_cache(self) -> None:
        self.resets += 1

    def generate(self, prompts: Any, features: Any, n: int, **asked: Any) -> dict[str, Any]:
        drawn = self.draw(prompts, n, **{**asked, **asked.pop("generation_kwargs")})
        return {
            "prompt_ids": prompts,
            "completion_ids": [ids for ids, _ in drawn],
            "logprobs": [[[p] for p in logp] for _, logp in drawn],
        }


def install(patch: Any, folder: str = "") -> None:
    """Where TRL's module looks, until `patch` (a pytest.MonkeyPatch) is undone."""
    from trl.generation import vllm_generation

    import bench.config.checks
    import bench.sampling.vllm

    LLM.made = []
    patch.setattr(Client, "folder", folder)
    names = {"is_vllm_available": lambda: True, "LLM": LLM, "VLLMClient": Client,
             "SamplingParams": SimpleNamespace}  # fmt: skip
    for name, value in names.items():
        patch.setattr(vllm_generation, name, value, raising=False)
    patch.setattr(bench.sampling.vllm, "_keep_weights_writable", contextlib.nullcontext)
    found = bench.config.checks.find_spec
    patch.setattr(bench.config.checks, "find_spec", lambda name: name == "vllm" or found(name))
