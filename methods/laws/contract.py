"""The contract of an objective, as checks: `check_method(method)` holds it to every law.

The laws stand in rules.py and declarations.py, the rollouts that they are tested on in rollouts.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from methods.base import Method

from . import declarations, rules

Outcome = Literal["holds", "does not apply", "fails"]

LAWS: dict[str, Callable[[Method], str | None]] = {
    law.__name__.replace("_", " "): law
    for law in (
        rules.gradient_equals_finite_differences,
        rules.order_of_rows_does_not_matter,
        rules.padding_does_not_matter,
        rules.masked_tokens_have_no_influence,
        rules.untrained_rows_have_no_influence,
        rules.finite_on_degenerate_batches,
        declarations.bounded_at_logp_minus_500_or_declared,
        rules.no_forward_pass_is_wasted,
        rules.pure,
        rules.metrics_use_the_vocabulary,
        rules.a_minibatch_is_the_objective_of_its_own_groups,
        rules.micro_batches_give_the_exact_gradient,
        declarations.what_it_learns_from_is_declared,
        declarations.what_it_reads_is_declared,
        declarations.what_is_tuned_is_declared,
    )
}


@dataclass(frozen=True)
class LawResult:
    """One law held against one method."""

    law: str
    outcome: Outcome
    why: str  # what is violated, why it does not apply, or under which restriction it holds


def check_method(method: Method) -> list[LawResult]:
    """The result of every law."""
    return [check_law(name, method) for name in LAWS]


def check_law(name: str, method: Method) -> LawResult:
    """The result of one law by its name; an exception of the method's own is a failure."""
    try:
        return LawResult(name, "holds", LAWS[name](method) or "")
    except rules.DoesNotApply as reason:
        return LawResult(name, "does not apply", str(reason))
    except Exception as error:  # whatever an unfinished method raises is what its author must read
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        return LawResult(name, "fails", kind + str(error))
