"""Are the log-probs of a run those of its model? Asked of every model when it is loaded.

Three answers to two prompts of other lengths are scored by the chosen forward, sampled token by
token by the one for sampling, and scored by transformers' `model(input_ids, attention_mask).logits`
without cache or packing. What the harness does not know of an architecture (a factor on the logits,
another rotary embedding) makes an error of nats; rounding stays below the limits.
"""

import torch
from torch import Tensor

from .policy import Policy
from .rows import Rows, pad, sent

# The largest difference of a log-prob (nats) that is taken for rounding. Random models of 24 layers
# reached 1e-5, 1e-4 and 0.3 in the packed forward, and 1e-14, 3e-5 and 0 in transformers' own.
LIMITS = {torch.float64: 1e-3, torch.float32: 1e-2, torch.bfloat16: 0.5}
PROMPTS, ANSWERS, PROMPT_OF = (3, 7), (4, 2, 3), (0, 0, 1)  # tokens; whose answers


@torch.no_grad()
def probe(policy: Policy) -> None:
    """Raises ValueError where the policy's log-probs are not its model's. On the meta device there
    are no numbers, and nothing is compared. No random number is drawn."""
    if policy.device.type == "meta":
        return
    vocabulary = policy.model.config.get_text_config().vocab_size
    ids = iter(torch.linspace(0, vocabulary - 1, sum(PROMPTS + ANSWERS)).long().tolist())
    prompts, answers = ([[next(ids) for _ in range(n)] for n in ns] for ns in (PROMPTS, ANSWERS))
    rows = pad(prompts, PROMPT_OF, answers, [1.0] * len(answers), pad_id=policy.pad_id)
    model, dtype, forward = type(policy.model).__name__, policy.model.dtype, policy.forward
    limit = LIMITS.get(dtype, LIMITS[torch.bfloat16])
    try:
        own_M, scored_NT = _own(policy, rows), policy.score(rows)[0]
        scored_M = scored_NT[sent(rows.mask_NT, policy.device)]
        gaps = {
            f"scoring by the {forward.train} forward": scored_M - own_M,
            f"sampling by the {forward.sample} forward": _sampled(policy, rows) - own_M,
        }
    except (AttributeError, IndexError, RuntimeError, TypeError) as error:
        raise ValueError(f"{model} cannot be used, its forward pass fails: {error}") from error
    for what, gap_M in gaps.items():
        if not (gap := float(gap_M.abs().max())) <= limit:
            raise ValueError(
                f"{model} cannot be used: {what} gives log-probs that differ by up to {gap:.2g} "
                f"nats from the model's own output (allowed in {dtype}: {limit:g})"
                + ("; set model.backbone = 'transformers'" if "packed" in what else "")
            )


def _own(policy: Policy, rows: Rows) -> Tensor:
    """Log-probs of the answers' tokens (M) by the model's own forward on whole texts."""
    prompts = [rows.prompt_PL[p][rows.prompt_mask_PL[p]] for p in PROMPT_OF]
    answers = [ids_T[mask_T] for ids_T, mask_T in zip(rows.response_NT, rows.mask_NT, strict=True)]
    texts = [torch.cat(pair).tolist() for pair in zip(prompts, answers, strict=True)]
    whole = pad([], PROMPT_OF, texts, [1.0] * len(texts), pad_id=policy.pad_id)
    ids_NS, mask_NS = (sent(x, policy.device) for x in (whole.response_NT, whole.mask_NT))
    output = policy.model(input_ids=ids_NS, attention_mask=mask_NS.long(), use_cache=False)
    wide_NSV = output.logits if output.logits.dtype == torch.float64 else output.logits.float()
    logp_NS = _chosen(wide_NSV[:, :-1], ids_NS[:, 1:])
    ends = zip(logp_NS, prompts, answers, strict=True)
    return torch.cat([logp_S[len(p) - 1 :][: len(a)] for logp_S, p, a in ends])


def _sampled(policy: Policy, rows: Rows) -> Tensor:
    """Log-probs (M) as the sampler would give them, had it drawn these tokens."""
    parts = (rows.prompt_N, rows.response_NT, rows.mask_NT)
    prompt_N, ids_NT, mask_NT = (sent(part, policy.device) for part in parts)
    hidden_PD, cache = policy.drawing.prefill(rows.prompt_PL, rows.prompt_mask_PL)
    hidden_TND, cache = [hidden_PD[prompt_N]], policy.drawing.expand(cache, prompt_N)
    hidden_TND += [policy.drawing.step(ids_N, cache) for ids_N in ids_NT.t()[:-1]]
    logits_NTV = torch.stack([policy.logits(hidden_ND) for hidden_ND in hidden_TND], 1)
    return _chosen(logits_NTV, ids_NT)[mask_NT]


def _chosen(logits: Tensor, ids: Tensor) -> Tensor:
    """Log-probs of tokens; the axis V of `logits` is its last one."""
    return logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
