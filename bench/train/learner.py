"""What is trained: the policy, a critic where an objective needs one, and their optimisers."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from bench.config.sections import Optimizer, RunConfig
from bench.model import lora
from bench.model.optim import AdamW
from bench.model.policy import Critic, Policy
from bench.record.store import CRITIC_FILE, OPTIMIZER_FILE

from .backward import Backward


class Applied(NamedTuple):
    norm: float  # of the policy's gradient before clipping
    diverged: str | None  # the reason, where nothing was applied


@dataclass(frozen=True)
class Learner:
    settings: Optimizer
    policy: Policy
    optimizer: AdamW
    critic: Critic | None = None
    critic_optimizer: AdamW | None = None

    @classmethod
    def of(cls, run: RunConfig, policy: Policy, with_critic: bool) -> Learner:
        """The critic begins as a copy of the policy."""
        o = run.optimizer
        critic = Critic(copy.deepcopy(policy.model), policy.asked) if with_critic else None

        def adamw(model: Policy | Critic, lr: float) -> AdamW:
            fused = policy.device.type == "cuda"
            return AdamW(
                model.parameters(), lr, o.betas, o.eps, weight_decay=o.weight_decay, fused=fused
            )

        own = adamw(policy, o.lr)
        return cls(
            o,
            policy,
            own,
            critic,
            critic_optimizer=adamw(critic, o.critic_lr or o.lr) if critic else None,
        )

    def apply(self, result: Backward, factor: float) -> Applied:
        """Clip the gradients and step, with the learning rates times `factor`. A non-finite loss or
        gradient is not applied."""
        o = self.settings
        if not result.has_gradient:
            return Applied(0.0, None)
        norm = self.optimizer.clip(o.clip_norm)
        loss = float(result.loss.value)
        if not (math.isfinite(norm) and math.isfinite(loss)):
            return Applied(norm, f"non-finite loss or gradient: loss {loss}, gradient norm {norm}")
        rates = {self.optimizer: o.lr}
        if self.critic_optimizer is not None:
            self.critic_optimizer.clip(o.clip_norm)
            rates[self.critic_optimizer] = o.critic_lr or o.lr
        for optimizer, lr in rates.items():
            optimizer.param_groups[0]["lr"] = lr * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return Applied(norm, None)

    def save(self, folder: Path) -> None:
        """Write all that going on needs."""
        self.policy.model.save_pretrained(folder)
        self.policy.tokenizer.save_pretrained(folder)
        torch.save(self.optimizer.state_dict(), folder / OPTIMIZER_FILE)
        if self.critic is not None and self.critic_optimizer is not None:
            states = [self.critic.state_dict(), self.critic_optimizer.state_dict()]
            torch.save(states, folder / CRITIC_FILE)

    def load(self, folder: Path) -> None:
        """Go back to what `save` wrote."""
        load_weights(self.policy, folder)
        self.optimizer.load_state_dict(torch.load(folder / OPTIMIZER_FILE, weights_only=True))
        if self.critic is not None and self.critic_optimizer is not None:
            weights, moments = torch.load(folder / CRITIC_FILE, weights_only=True)
            self.critic.load_state_dict(weights)
            self.critic_optimizer.load_state_dict(moments)


def load_weights(policy: Policy, folder: Path) -> None:
    """What trained, from a checkpoint: adapters, or all weights in one file or several."""
    from safetensors.torch import load_model

    if lora.adapted(policy.model):
        return lora.load(policy.model, folder)
    files = sorted(folder.glob("*.safetensors"))
    absent = [set(load_model(policy.model, f, strict=len(files) == 1)[0]) for f in files]
    if not files or (len(files) > 1 and set.intersection(*absent)):
        raise OSError(f"{folder}: weights are missing")
