"""What the checker returns, and the options that decide where conventions differ."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args, get_type_hints

GRADER_VERSION = "2"  # raise it with every change that can change a verdict

Status = Literal["ok", "wrong", "unparsable_answer", "unparsable_gold", "timeout", "limit"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The checker's verdict on one answer, and how it was reached.

    correct: the answer equals the gold. status: `ok` when correct, `wrong` when both sides were
    understood and differ; the other values say why no comparison was possible, and are never
    correct. how: the rule that decided (`string`, `number`, `structure`, ...). extracted: the
    answer that was compared, None where a response holds none.
    """

    correct: bool
    status: Status
    how: str
    extracted: str | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """Conventions, each by its name; docs/checker.md gives the reason for every default."""

    percent: Literal["either", "value", "bare"] = "either"
    rounding: Literal["digits", "off"] = "digits"
    min_digits: int = 3
    rel_tol: float = 0.0
    list_order: Literal["any", "same"] = "any"
    decimal_comma: Literal["auto", "never"] = "auto"
    boxes: Literal["join", "last"] = "join"
    units: Literal["lenient", "ignore", "strict"] = "lenient"
    fractions: Literal["any", "reduced"] = "any"
    bases: Literal["digits", "strict"] = "digits"
    choices: bool = True
    timeout: float = 0.8


@lru_cache(maxsize=256)
def _build(items: tuple[tuple[str, Any], ...]) -> Options:
    options = Options(**dict(items))
    for name, hint in get_type_hints(Options).items():
        value, allowed = getattr(options, name), get_args(hint)
        if allowed and value not in allowed:
            shown = ", ".join(map(repr, allowed))
            raise ValueError(f"option {name}={value!r}: allowed are {shown}")
    return options


def resolve(options: Options | None, named: dict[str, Any]) -> Options:
    """The options of one call. Raises ValueError or TypeError for names and values not known."""
    if not named:
        return options or DEFAULT
    if options is not None:
        raise TypeError("give either options= or options by name, not both")
    return _build(tuple(sorted(named.items())))


DEFAULT = Options()
