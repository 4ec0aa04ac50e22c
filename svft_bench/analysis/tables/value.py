"""A table as a value: what people read, and the same facts for machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Column:
    """A heading and the side that its cells lean to."""

    title: str
    align: Literal["left", "right"] = "right"


@dataclass(frozen=True)
class Row:
    """Cells as printed, which of them stand out, and the numbers behind them."""

    cells: tuple[str, ...]
    facts: dict[str, Any]
    bold: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Table:
    """A titled grid with the notes that make it readable on its own; the first of them may be answers to questions."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    answers: int = 0
