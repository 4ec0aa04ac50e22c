"""From printed counts to verdicts: as stated, with other modules, or with an account of the slip in print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from svft_bench.analysis.audit.verdict import (
    AuditRow,
    Counts,
    Match,
    Printed,
    fit,
    rounds_twice,
    search,
    shifted,
    split_modules,
    total,
)

CountsOf = Callable[[Printed], Counts]


def judge(prints: Sequence[Printed], *, counts_of: CountsOf, groups: Sequence[str]) -> list[AuditRow]:
    """One row for each print, in order.

    `groups` are the sets of modules that papers adapt, the only ones that may stand in for what a source states.
    """
    first = [_row(item, counts_of(item), groups=groups) for item in prints]
    return [row if row.match else _explained(row, first, counts_of=counts_of) for row in first]


def _row(printed: Printed, counts: Counts, *, groups: Sequence[str]) -> AuditRow:
    stated = _as_stated(printed, counts)
    counted = next(iter(stated.values()), None)
    for convention, count in stated.items():
        if how := fit(count, printed.text):
            assert printed.modules is not None
            return AuditRow(printed, counted, Match(printed.modules, convention, count, how), 0, how, "")
    found = search(counts, printed.text, groups=groups)
    if not found:
        return AuditRow(printed, counted, None, 0, "unresolved", "")
    others = {match.modules for match in found} - {found[0].modules}
    return AuditRow(printed, counted, found[0], len(others), found[0].fit, "")


def _as_stated(printed: Printed, counts: Counts) -> dict[str, int]:
    """The count of the stated modules by convention; empty where the source states none that the model has."""
    stated = {}
    for convention, letters in counts.items():
        chosen = split_modules(printed.modules, letters) if printed.modules else None
        if chosen is not None:
            stated[convention] = total(letters, chosen)
    return stated


def _explained(row: AuditRow, rows: Sequence[AuditRow], *, counts_of: CountsOf) -> AuditRow:
    """Call a print wrong where its origin is plain, and leave it unresolved where it is not."""
    reason = _right_elsewhere(row, rows) or _slip(row, rows, counts_of) or _copied(row, rows, counts_of)
    return replace(row, verdict="wrong in print", reason=reason) if reason else row


def _right_elsewhere(row: AuditRow, rows: Sequence[AuditRow]) -> str:
    for other in rows:
        same = replace(other.printed, table=row.printed.table, text=row.printed.text) == row.printed
        if same and other.match and other.match.modules == row.printed.modules:
            return f"{other.printed.table} prints {other.printed.text} for the same cell"
    return ""


def _slip(row: AuditRow, rows: Sequence[AuditRow], counts_of: CountsOf) -> str:
    """A misplaced decimal point or a second rounding, of the stated modules or those of the same cell elsewhere."""
    counts = counts_of(row.printed)
    candidates = set(_as_stated(row.printed, counts).values())
    for other in rows:
        if other.match and _same_cell(other.printed, row.printed) and other.match.convention in counts:
            letters = counts[other.match.convention]
            chosen = split_modules(other.match.modules, letters)
            candidates |= {total(letters, chosen)} if chosen is not None else set()
    for count in sorted(candidates):
        if rounds_twice(count, row.printed.text):
            return f"{count:,} rounded twice"
        if shifted(count, row.printed.text):
            return f"{count:,} with the decimal point in another place"
    return ""


def _copied(row: AuditRow, rows: Sequence[AuditRow], counts_of: CountsOf) -> str:
    """The count of the same cell of another model, or of another cell of the same model in the same table."""
    for other in rows:
        if other.printed.model != row.printed.model:
            same = _as_stated(other.printed, counts_of(other.printed)) if _same_cell(other.printed, row.printed) else {}
            if any(fit(count, row.printed.text) for count in same.values()):
                return f"the count of {other.printed.model}"
        elif other.printed.table == row.printed.table and other.match and fit(other.match.count, row.printed.text):
            settings = "".join(f" {name}={value}" for name, value in other.printed.settings)
            return f"the count of {other.printed.method}{settings} in the same table"
    return ""


def _same_cell(one: Printed, other: Printed) -> bool:
    """The same method, settings and stated modules, on whatever model."""
    return (one.method, one.settings, one.modules) == (other.method, other.settings, other.modules)
