"""Starting models: loaded from a folder or hub, or built on the spot, pretrained on the task's
corpus and cached by content hash."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils.hub import cached_file

from bench.config import ConfigError, Model
from bench.core import rng
from bench.core.cache import cache_root, locked
from tasks import Task, content_id

from . import lora
from .backbone import recompute
from .chat import PLAIN, PLAIN_STOP, Chat
from .policy import Policy
from .probe import probe
from .rows import pad

Facts = dict[str, Any]  # of a model that was built: what it took, its size and loss
Progress = Callable[[int, int, str], None] | None  # done, total, what
PROBE = "Tom's 3 coins + 12.50 = $\\frac{31}{2}$ , then:\n  buys  10 more  (é)\n#### 26"
FORMAT = 7  # enters the cache key: raise it when building changes


def base_id(model: Model, task: Task) -> str:
    """What the starting model is: path and revision, or the hash of what it is built from."""
    if model.path:
        return f"{model.path}@{model.revision}" if model.revision else model.path
    texts = [f"{p}\x1e{r}" for p, r in islice(task.corpus(model.pretrain.seed), 256)]
    return content_id(str(FORMAT), model.starting_point(), *task.vocabulary(), *texts)


def ensure(model: Model, task: Task, progress: Progress = None, device: str = "cpu") -> Path | str:
    """The folder (or hub id) of the starting model, built first (on `device`) if it is not cached.
    CPUs of one kind build the same, to the last bit; GPUs do not."""
    if model.path:
        return model.path
    folder = cache_root() / "base" / base_id(model, task)
    with locked(folder.with_suffix(".lock")):
        if not (folder / "base.json").is_file():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            threads = torch.get_num_threads()
            torch.set_num_threads(1)  # the weights' last bits depend on it, and so would the runs
            policy, cost = build(model, task, progress, device)
            torch.set_num_threads(threads)
            save(policy, partial)
            (partial / "base.json").write_text(json.dumps(cost, indent=1))
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
    return folder


def cost(model: Model, task: Task) -> Facts:
    path = cache_root() / "base" / base_id(model, task) / "base.json"
    return json.loads(path.read_text()) if not model.path and path.is_file() else {}


def load(where: Path | str, model: Model, device: str = "cpu") -> Policy:
    """A fresh copy of the starting model. Raises ConfigError where it cannot be read."""
    with _explained(where, model):
        tokenizer, chat = _tokenizer_and_chat(where, model)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            where,
            revision=model.revision or "main",
            dtype=getattr(torch, model.dtype),
            attn_implementation=model.attention,
            ignore_mismatched_sizes=True,  # transformers says which in a log alone
            output_loading_info=True,
        )
        network, told = loaded
        absent = [*told["missing_keys"], *(str(key[0]) for key in told["mismatched_keys"])]
        if absent:  # transformers would go on with random numbers
            raise ValueError(
                f"{len(absent)} weights are missing or of another shape than config.json says: "
                f"{', '.join(sorted(absent)[:3])}"
            )
        if model.dtype == "float64" and network.config._attn_implementation == "eager":
            raise ValueError("eager attention has a float32 softmax, which float64 masks overflow")
        if model.lora:
            lora.add(network, model.lora)
        if model.checkpointing:
            recompute(network)
        stop = stop_strings(model)
        policy = Policy(network.to(device), tokenizer, chat, stop, asked=model.forward)
        probe(policy)
        return policy


def check(model: Model) -> None:
    """Refuse a model that cannot be loaded, before the first of many runs: by its config, tokenizer
    and chat template, with its adapters on weights that hold no numbers. Raises ConfigError."""
    if model.path is None:
        return
    with _explained(model.path, model):
        config = AutoConfig.from_pretrained(model.path, revision=model.revision or "main")
        tokenizer, chat = _tokenizer_and_chat(model.path, model)
        with torch.device("meta"):
            network = AutoModelForCausalLM.from_config(
                config, dtype=getattr(torch, model.dtype), attn_implementation=model.attention
            )
            if model.lora:
                lora.add(network, model.lora)
        # which asks for an end token, and whether the forward asked for takes the model
        Policy(network, tokenizer, chat, asked=model.forward)


@contextmanager
def _explained(where: Path | str, model: Model) -> Iterator[None]:
    """What stands in the way of a model, as a ConfigError with its path."""
    transformers.utils.logging.disable_progress_bar()
    name, at = str(where), f" at {model.revision}" if model.revision else ""
    local = Path(where).is_dir()
    if not local and (name.count("/") > 1 or name.startswith((".", "/"))):
        raise ConfigError(f"model.path = {name!r}: no such folder")
    try:
        yield
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        hub = (
            f"\nThere is no such folder, so it was looked for on the hub{at}. Where the hub cannot "
            "be reached, give a folder with the model: -o model.path=FOLDER"
        )
        why = error if local else f"{error}{hub}"
        raise ConfigError(f"model.path = {name!r}: cannot be loaded: {why}") from error


def stop_strings(model: Model) -> tuple[str, ...]:
    """What ends an answer, besides end tokens and the task's own strings."""
    return (*model.stop, PLAIN_STOP) if model.chat == "plain" else model.stop


def _tokenizer_and_chat(where: Path | str, model: Model) -> tuple[Any, Chat | None]:
    tokenizer = load_tokenizer(where, model.revision)
    if model.chat == "none":
        return tokenizer, None
    if model.chat == "plain":
        tokenizer.chat_template = PLAIN
    return tokenizer, Chat(tokenizer, model.system, model.chat_options)


def load_tokenizer(where: Path | str, revision: str | None = None) -> Any:
    """The tokenizer that a model's tokenizer.json describes.

    transformers 5 builds some models' tokenizers (Llama's, Qwen2's, ...) from their vocabulary
    alone, by rules of its own: another's rules in tokenizer.json are silently replaced, and text
    loses tokens. Where both disagree on a text, the file's are taken.
    """
    tokenizer: Any = AutoTokenizer.from_pretrained(where, revision=revision or "main")
    found = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    if not found:  # transformers 5 makes an empty one of no file at all
        raise ValueError("no tokenizer beside the weights (tokenizer.json or the like)")
    optional = {"_raise_exceptions_for_missing_entries": False}
    file = cached_file(where, "tokenizer.json", revision=revision, **optional)
    if file is None:
        return tokenizer
    stated = Tokenizer.from_file(file)
    ids = stated.encode(PROBE, add_special_tokens=False).ids
    same_ids = found == ids
    if same_ids and tokenizer.decode(ids, clean_up_tokenization_spaces=False) == stated.decode(ids):
        return tokenizer
    return transformers.PreTrainedTokenizerFast.from_pretrained(where, revision=revision or "main")


def save(policy: Policy, folder: Path) -> None:
    """A folder that `from_pretrained` reads."""
    transformers.utils.logging.disable_progress_bar()
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)


def build_tokenizer(model: Model, task: Task) -> transformers.PreTrainedTokenizerFast:
    """Word level where the task names its words, else a byte-level BPE trained on its corpus."""
    special = {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    if task.word_pattern:
        words = {w: i for i, w in enumerate([*special.values(), *task.vocabulary()])}
        tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(task.word_pattern), "isolated")
        tokenizer.decoder = decoders.Fuse()
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=model.vocabulary,
            special_tokens=list(special.values()),
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        texts = (f"{p}{r}" for p, r in islice(task.corpus(model.pretrain.seed), 2000))
        tokenizer.train_from_iterator(texts, trainer)
    start = [("<s>", tokenizer.token_to_id("<s>"))]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=start)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **special
    )


def build(model: Model, task: Task, progress: Progress, device: str) -> tuple[Policy, Facts]:
    """A Llama of the given shape, trained on the corpus to write responses to prompts. (Llama and
    not Qwen2: transformers 5 replaces a Qwen2 model's own tokenizer silently.)"""
    started = time.perf_counter()
    tokenizer: Any = build_tokenizer(model, task)
    shape = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=model.hidden,
        intermediate_size=model.intermediate,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        num_key_value_heads=model.heads,
        max_position_embeddings=model.positions,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.key(model.pretrain.seed, "init") % 2**63)
        network: Any = transformers.LlamaForCausalLM(shape)
    policy = Policy(network.to(device), tokenizer)
    tokens, loss = _pretrain(policy, model, task, progress)
    policy.model.to(getattr(torch, model.dtype))
    size = sum(p.numel() for p in policy.model.parameters())
    facts = {"tokens": tokens, "loss": loss, "parameters": size, "device": device}
    return policy, {"seconds": time.perf_counter() - started, **facts}


def _pretrain(policy: Policy, model: Model, task: Task, progress: Progress) -> tuple[int, float]:
    """Token mean NLL of prompts and responses, linear decay to zero. Muon for the layers' matrices,
    at AdamW's size of steps, and AdamW for the rest reach in 700 steps what AdamW alone reaches in
    1,900. (On responses alone the base learns to guess before it learns to reason.
    docs/decisions.md has both comparisons.)"""
    plan = model.pretrain
    matrices = [p for p in policy.model.model.layers.parameters() if p.ndim == 2]
    rest = [p for p in policy.parameters() if not any(p is matrix for matrix in matrices)]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=plan.lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=plan.lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    texts = task.corpus(plan.seed)
    start = policy.tokenizer.bos_token_id  # which `encode_prompt` begins with
    tokens, mean = 0, float("nan")
    for step in range(plan.steps):
        batch = [_text(policy, plan.length, *pair) for pair in islice(texts, plan.batch)]
        rows = pad([[start]], [0] * plan.batch, batch, [1.0] * plan.batch, pad_id=policy.pad_id)
        logp_NT, _ = policy.score(rows)
        loss = -logp_NT.sum() / int(rows.mask_NT.sum())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = plan.lr * (1 - step / plan.steps)
            optimizer.step()
            optimizer.zero_grad()
        tokens += int(rows.mask_NT.sum())
        mean = loss.item() if step == 0 else 0.95 * mean + 0.05 * loss.item()
        if progress:
            progress(step + 1, plan.steps, "base model")
    return tokens, mean


def _text(policy: Policy, length: int, prompt: str, response: str) -> list[int]:
    """Token ids of both parts, each cut to `length`, without the start token."""
    return policy.encode_prompt(prompt)[1:][-length:] + policy.encode_response(response)[:length]


def base_digest(where: Path | str) -> str:
    """Hash of a local model's weights and tokenizer; a hub id stands for itself."""
    path = Path(where)
    if not path.is_dir():
        return str(where)
    digest = hashlib.sha256()
    for pattern in ("*.safetensors", "tokenizer*", "chat_template*", "generation_config.json"):
        for name in sorted(path.glob(pattern)):
            with name.open("rb") as file:
                while block := file.read(1 << 24):
                    digest.update(block)
    return digest.hexdigest()[:16]
