"""A wrong configuration: the error, and the nearest known name."""

import difflib
from collections.abc import Sequence


class ConfigError(ValueError):
    """The configuration is wrong; the message holds the key's path, what was found and what is
    allowed."""


def nearest(word: str, options: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, options, n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else f"; allowed: {', '.join(options)}"
