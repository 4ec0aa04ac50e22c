"""An audit as a table: every print beside its count, then how many follow and which do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from svft_bench.analysis.audit.verdict import VERDICTS, AuditRow
from svft_bench.analysis.tables.value import Column, Row, Table

COLUMNS = (
    Column("table", "left"),
    Column("model", "left"),
    Column("method", "left"),
    Column("settings", "left"),
    Column("printed"),
    Column("counted"),
    Column("stated", "left"),
    Column("reproduced by", "left"),
    Column("verdict", "left"),
)


def audit_table(rows: Sequence[AuditRow]) -> Table:
    """All rows in the order of the tables, and the totals as notes."""
    return Table(
        name="audit",
        title="Parameter counts in print, recounted",
        columns=COLUMNS,
        rows=tuple(_row(row) for row in rows),
        notes=tuple(_notes(rows)),
    )


def _row(row: AuditRow) -> Row:
    printed = row.printed
    cells = (
        printed.table,
        printed.model,
        printed.method,
        _settings(row),
        printed.text,
        "" if row.counted is None else f"{row.counted:,}",
        "not stated" if printed.modules is None else _spelled(printed.modules),
        reproduced_by(row),
        row.verdict,
    )
    return Row(cells=cells, facts=_facts(row), bold=frozenset() if row.match else frozenset({len(cells) - 1}))


def reproduced_by(row: AuditRow) -> str:
    """What has to be adapted and how counted to get the print: "as stated", or what else, with its count."""
    if row.match is None:
        return row.reason or "nothing found"
    as_stated = row.match.modules == row.printed.modules
    if as_stated and row.match.count == row.counted:
        return "as stated"
    modules = "as stated" if as_stated else _spelled(row.match.modules)
    parts = [modules] + ([row.match.convention] if row.match.convention else [])
    return f"{', '.join(parts)}: {row.match.count:,}" + (
        f" ({row.alternatives} other sets)" if row.alternatives else ""
    )


def _spelled(modules: str) -> str:
    """Letters of matrices in capitals, as the papers write them; words stay words."""
    return " ".join(word if word in ("any", "of", "all") else word.upper() for word in modules.split())


def _facts(row: AuditRow) -> dict[str, Any]:
    match = row.match
    return {
        "table": row.printed.table,
        "model": row.printed.model,
        "method": row.printed.method,
        **dict(row.printed.settings),
        "printed": row.printed.text,
        "modules_stated": row.printed.modules,
        "counted": row.counted,
        "modules_reproducing": match.modules if match else None,
        "convention": match.convention if match else None,
        "count_reproducing": match.count if match else None,
        "alternatives": row.alternatives,
        "verdict": row.verdict,
        "reason": row.reason,
    }


def _notes(rows: Sequence[AuditRow]) -> list[str]:
    verdicts = Counter(row.verdict for row in rows)
    named = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in VERDICTS if verdicts[verdict])
    elsewhere = sum(row.match is not None and row.printed.modules not in (None, row.match.modules) for row in rows)
    silent = sum(row.match is not None and row.printed.modules is None for row in rows)
    notes = [
        f"{len(rows)} prints: {named}.",
        f"{elsewhere} of those that follow need other modules than the source states; for {silent} it states none.",
        "Counted with the tuners themselves on models without weights; heads are left out, as in the sources.",
        "q, k, v, o: attention; g, u, d: gate, up and down projection, in an encoder u and d are its two dense layers.",
        "AdaLoRA's own prints are left out: which ranks are left in the end, and so the count, depends on the data.",
    ]
    for table in dict.fromkeys(row.printed.table for row in rows):
        of_table = Counter(row.verdict for row in rows if row.printed.table == table)
        notes.append(f"{table}: " + ", ".join(f"{of_table[v]} {v}" for v in VERDICTS if of_table[v]) + ".")
    return notes


def _settings(row: AuditRow) -> str:
    return ", ".join(f"{name}={value}" for name, value in row.printed.settings) or "-"
