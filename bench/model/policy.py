"""The policy: a causal language model with its tokenizer, and log-probs of token rows."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from . import lora
from .backbone import AdapterOff, Backbone, TransformersBackbone, recomputing
from .chat import Chat
from .choice import Forward, choose, head_width
from .head import Head
from .packed import PackedBackbone, misfit
from .rows import Rows, sent

LOGIT_CHUNK = 1 << 24  # logits held at once (numbers, not bytes): 64 MiB in float32


def forward_of(model: Any, asked: str) -> Forward:
    """What `model.backbone = asked` means for a model where it stands. Raises ValueError."""
    apart = lora.adapted(model) or recomputing(model)
    return choose(asked, model.device.type, misfit(model), apart)


class Policy:
    """A model, its tokenizer and its backbones. The model stays in eval mode: no dropout, so that
    both passes of the exact backward see the same function.

    `end_id` closes a reference answer; any of `stop_ids` (a tokenizer's, a generation config's, a
    chat template's) ends a sample, and so does any of the strings `stop`. `asked` is the section's
    `backbone`; `forward` says what has come of it.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        chat: Chat | None = None,
        stop: tuple[str, ...] = (),
        asked: str = "auto",
    ):
        self.model = model.eval()
        self.tokenizer, self.chat, self.stop, self.asked = tokenizer, chat, stop, asked
        self.forward = forward_of(model, asked)
        packed = PackedBackbone(model) if self.forward.sample == "packed" else None
        trains = self.forward.train == "packed"
        self.backbone: Backbone[Any] = packed if packed and trains else TransformersBackbone(model)
        # For sampling adapters can be added to the weights and nothing is recomputed.
        self.lean = None if trains else packed
        self.logits = Head(model)
        eos = tokenizer.eos_token_id
        if eos is None:
            raise ValueError(f"the tokenizer of {model.name_or_path!r} has no eos token")
        turn = chat.end_id() if chat else None
        self.end_id = int(eos if turn is None else turn)
        named = getattr(model.generation_config, "eos_token_id", None)
        named = named if isinstance(named, list) else [] if named is None else [named]
        self.stop_ids = sorted({int(eos), self.end_id, *map(int, named)})
        self.pad_id = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else eos)

    def reference(self) -> "Policy":
        """The policy as it is now, for good: with its adapters off, or a frozen copy."""
        shared = lora.adapted(self.model)
        model = self.model if shared else copy.deepcopy(self.model).requires_grad_(False)
        frozen = Policy(model, self.tokenizer, self.chat, self.stop, asked=self.asked)
        if shared:
            frozen.backbone = AdapterOff(model)
            frozen.lean = frozen.lean and PackedBackbone(model, adapters=False)
        return frozen

    @property
    def drawing(self) -> Backbone[Any]:
        """The backbone to sample with."""
        return self.lean or self.backbone

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def positions(self) -> int:
        """Tokens that the model can hold; none stated: no limit."""
        config = self.model.config.get_text_config()
        return getattr(config, "max_position_embeddings", None) or 2**31

    def cached_rows(self, size: int, tokens: int) -> int:
        """Rows of so many tokens whose keys and values take at most `size` bytes."""
        c = self.model.config.get_text_config()
        heads = getattr(c, "num_key_value_heads", None) or c.num_attention_heads
        each = 2 * c.num_hidden_layers * heads * head_width(c) * self.model.dtype.itemsize
        return size // (each * max(1, tokens))

    def parameters(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def encode_prompt(self, text: str) -> list[int]:
        if self.chat:
            return self.chat.prompt(text)
        ids = list(self.tokenizer(text)["input_ids"])
        if ids and ids[-1] == self.tokenizer.eos_token_id:  # some tokenizers close what they encode
            ids.pop()
        bos = self.tokenizer.bos_token_id
        return ids or [bos if bos is not None else self.tokenizer.eos_token_id]

    def encode_response(self, text: str) -> list[int]:
        """Token ids of a whole response, closed by the end token."""
        if self.chat:
            return [*self.chat.answer(text), self.end_id]
        return [*self.tokenizer(text, add_special_tokens=False)["input_ids"], self.end_id]

    def decode(self, ids: list[int]) -> str:
        return self.decode_many([ids])[0]

    def decode_many(self, rows: list[list[int]]) -> list[str]:
        """Texts to the letter: no space is tidied away."""
        how = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        return self.tokenizer.batch_decode(rows, **how)

    def score(self, rows: Rows, entropy: bool = False) -> tuple[Tensor, Tensor | None]:
        """Log-probs of the response tokens, and entropies (nats) if asked for; both (N, T), zero
        where masked, at each row's temperature."""
        if self.lean and torch.is_grad_enabled():
            self.lean.weights.release()  # training needs the room, and will change them
        hidden_MD = self.backbone.hidden(rows)
        target_M = sent(rows.response_NT.flatten()[rows.places_M], self.device)
        temperature_M = sent(rows.temperature_N.repeat_interleave(rows.lengths_N), self.device)
        logp_M, entropy_M = self._token_scores(entropy, hidden_MD, target_M, temperature_M)
        return rows.placed(logp_M), rows.placed(entropy_M) if entropy else None

    def _token_scores(self, entropy: bool, *parts: Tensor):
        """Of hidden states, targets and temperatures, in chunks whose logits are recomputed in the
        backward pass, so that a large vocabulary's logits never stand whole in memory."""

        def chunk(hidden: Tensor, target: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
            logp_MV = (self.logits(hidden) / temperature[:, None]).log_softmax(-1)
            entropy_M = -(logp_MV.exp() * logp_MV).sum(-1) if entropy else logp_MV[:, 0]
            return logp_MV.gather(-1, target[:, None])[:, 0], entropy_M

        size = max(1, LOGIT_CHUNK // self.model.config.get_text_config().vocab_size)
        if len(parts[0]) <= size:
            return chunk(*parts)
        pieces = zip(*(part.split(size) for part in parts), strict=True)
        scores = [checkpoint(chunk, *piece, use_reentrant=False) for piece in pieces]
        return tuple(torch.cat(s) for s in zip(*scores, strict=True))


class Critic(nn.Module):
    """A separate copy of the starting model with a scalar head that starts at zero. It trains what
    the policy trains: all weights, or adapters of its own."""

    def __init__(self, model: Any, asked: str = "auto"):
        super().__init__()
        self.model = model.eval()
        self.head = nn.Linear(model.config.get_text_config().hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.head.to(model.device, model.dtype)
        packed = forward_of(model, asked).train == "packed"
        self.backbone: Backbone[Any] = (PackedBackbone if packed else TransformersBackbone)(model)

    def score(self, rows: Rows) -> Tensor:
        """Values (N, T) of the states before each response token, zero where masked."""
        return rows.placed(self.head(self.backbone.hidden(rows))[:, 0].float())
