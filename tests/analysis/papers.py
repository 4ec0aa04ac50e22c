"""Records beside a published table: SVFT plain on GSM8K, in the first table of SVFT."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from svft_bench.analysis.references import Reference
from svft_bench.analysis.tables.lines import paper_lines
from svft_bench.analysis.tables.paper import paper_table
from svft_bench.analysis.tables.value import Table
from svft_bench.compose import Cell, cells
from svft_bench.records import RunRecord
from tests.made_records import made_record

CELL = ["model=gemma-2b", "method=svft_plain", "task=gsm8k", "method.modules=qkvudog"]  # printed: 40.34


@cache
def seeds(count: int, *more: str) -> list[Cell]:
    return cells([*CELL, *more, f"seed={','.join(str(seed) for seed in range(count))}"], any_data=True)


def runs(scores: Sequence[float], *more: str, items: int = 1319) -> list[RunRecord]:
    asked = seeds(len(scores), *more)
    return [made_record(cell, score=score, items=items) for cell, score in zip(asked, scores, strict=True)]


def made(reference: Reference, records: Sequence[RunRecord], *, extra: Sequence[str] = ()) -> Table:
    return paper_table(reference, paper_lines(reference, records, extra=extra))


def gsm8k(table: Table, line: str = "verdict") -> str:
    """What stands in the GSM8K column of the only row with records."""
    return next(row.cells[-2] for row in table.rows if line in row.cells[:-2])


def facts(table: Table) -> dict[str, object]:
    return next(row.facts for row in table.rows if row.facts.get("runs"))
