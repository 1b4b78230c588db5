"""Every random number is a function of (seed, purpose, step, prompt, sample) and nothing else.

So resuming, compaction of finished rows, the number of workers and of ranks change nothing.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def key(*parts: object) -> int:
    """64 bits of the hash of the parts, e.g. `key(seed, "sample", step, prompt_id, sample)`."""
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def generator(*parts: object) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key(*parts)))


def uniforms(keys_N: Sequence[int], length: int) -> np.ndarray:
    """Uniform numbers in [0, 1), float64, shape (N, length): SplitMix64 counted from each row's key
    (Steele, Lea, Flood 2014), so a row's t-th number does not depend on the other rows."""
    keys = np.asarray(keys_N, dtype=np.uint64)[:, None]
    with np.errstate(over="ignore"):
        z = keys + np.arange(1, length + 1, dtype=np.uint64) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def prompt_order(seed: int, count: int, start: int, size: int) -> list[int]:
    """Indices `start .. start + size` of an endless sequence of seeded permutations of `count`
    prompts: the order that all methods of a seed share."""
    if count < 1:
        raise ValueError("no prompts to draw from")
    out: list[int] = []
    while len(out) < size:
        epoch, offset = divmod(start + len(out), count)
        order = generator(seed, "prompts", epoch).permutation(count)
        out.extend(int(i) for i in order[offset : offset + size - len(out)])
    return out
