"""An audit of the checker as rich tables."""

from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from tasks.answers.audit import CheckerAudit, Miss, Robustness, Score


def _shorten(text: str, size: int = 60) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= size else f"...{flat[-size:]}"


def tables(found: CheckerAudit, examples: int = 20) -> list[Table]:
    """The audit as rich tables, to be printed."""
    title = f"Checker {found.version} on {', '.join(found.files)}"
    scores = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("cases", "n", "negative", "accuracy", "false neg.", "false pos.", "unread"):
        first = heading == "cases"
        scores.add_column(heading, justify="left" if first else "right", overflow="fold")

    def add(parts: dict[str, Score], title: str) -> None:
        if parts and title:
            scores.add_row(title)
        for name, score in sorted(parts.items()):
            counts = (score.false_negatives, score.false_positives, score.unparsable)
            shown = (score.cases, score.negatives, f"{100 * score.accuracy:.1f} %", *counts)
            scores.add_row("  " * bool(title) + name, *map(str, shown))
        scores.add_section()

    add(found.groups, "")
    add(found.policies, "by policy")
    add(found.opinion, found.against or "")

    facts = Table(show_header=False, title="Speed, symmetry, protocols")
    facts.add_column()
    facts.add_column(justify="right")
    facts.add_row("checks a second, one process", f"{found.throughput:,.0f}")
    for share in (0.5, 0.99):
        facts.add_row(f"p{100 * share:.0f}", f"{1e3 * found.quantile(share):.3f} ms")
    facts.add_row("slowest", f"{1e3 * max(found.seconds, default=0.0):.1f} ms")
    facts.add_row("check(a, b) != check(b, a)", str(len(found.asymmetric)))
    for name, part in found.official.items():
        agree = part.cases - part.missed - part.only
        facts.add_row(f"verdict as by {name}", f"{agree} of {part.cases}")
        facts.add_row(f"  right for {name} alone", str(part.only))
        facts.add_row(f"  against the label, {name}", f"{part.false_positives} false pos.")
    for status, count in found.statuses.most_common():
        facts.add_row(f"status {status}", str(count))
    for rule, count in found.rules.most_common():
        facts.add_row(f"decided by {escape(rule)}", str(count))
    result: list[Table] = [scores, facts]
    if found.misses:
        result.append(_listing("Against the label", found.misses[:examples], len(found.misses)))
    if found.against:
        title = (
            f"Other than {found.against} (the label is on its side in {found.lost}; "
            f"{found.stuck} without its answer)"
        )
        shown = found.disagreements[:examples]
        result.append(_listing(title, shown, len(found.disagreements)))
    return result


def _listing(title: str, misses: Sequence[Miss], total: int) -> Table:
    first = f", the first {len(misses)}" if total > len(misses) else ""
    table = Table(title=f"{title}: {total}{first}")
    for heading in ("where", "kind", "label", "gold", "answer", "verdict"):
        table.add_column(heading, overflow="fold")
    for case, verdict in misses:
        answer = verdict.extracted if verdict.extracted is not None else case.answer
        cells = (case.where, case.policy or case.kind, "equal" if case.equal else "different")
        said = f"{verdict.status} ({verdict.how})"
        table.add_row(*cells, escape(_shorten(case.gold)), escape(_shorten(answer)), escape(said))
    return table


def robustness_table(found: Robustness) -> Table:
    """The robustness as a rich table."""
    table = Table(show_header=False, title=f"Variants of {found.golds:,} gold answers")
    table.add_column()
    table.add_column(justify="right")
    table.add_row("golds that do not equal themselves", str(len(found.not_itself)))
    accepted = f"{len(found.accepted)} of {found.mutants:,}"
    table.add_row("one digit or sign changed: accepted", accepted)
    share = 100 * len(found.rejected) / found.reformatted if found.reformatted else 0.0
    rejected = f"{len(found.rejected)} of {found.reformatted:,} ({share:.3f} %)"
    table.add_row("other notation: rejected", rejected)
    table.add_row("check(a, b) != check(b, a)", str(len(found.asymmetric)))
    ordered = sorted(found.seconds)
    if ordered:
        table.add_row("checks a second, one process", f"{len(ordered) / sum(ordered):,.0f}")
        table.add_row("p50", f"{1e3 * ordered[len(ordered) // 2]:.3f} ms")
        table.add_row("p99", f"{1e3 * ordered[int(0.99 * len(ordered))]:.3f} ms")
    return table
