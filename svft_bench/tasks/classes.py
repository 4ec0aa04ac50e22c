"""The classes that a column names, before a task is made of them: `classes_of(rows, "label")`."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from svft_bench.tasks.files import Row


def check_rows(rows: Sequence[Row], *columns: str) -> None:
    """Refuse a table of which some row has not these columns."""
    for number, row in enumerate(rows):
        for column in columns:
            if column not in row:
                raise ValueError(f"new task: row {number} has no column {column!r}; it has {', '.join(row)}")


def values_of(rows: Sequence[Row], column: str) -> list[Any]:
    check_rows(rows, column)
    return [row[column] for row in rows]


def classes_of(rows: Sequence[Row], column: str) -> list[str]:
    """The names of the classes in a column, in their order.

    Raises:
        ValueError: a row has none, or two of them are one to the eye.
    """
    values = values_of(rows, column)
    for number, value in enumerate(values):
        if value is None or value != value or not str(value).strip():
            raise ValueError(f"new task: row {number} has no {column}; take out the rows without one, or name theirs")
    _check_written_alike(values, column)
    classes = sorted({str(value) for value in values})
    seen: dict[str, str] = {}
    for name in classes:
        same = seen.setdefault(unicodedata.normalize("NFC", " ".join(name.split())), name)
        if same != name:
            raise ValueError(
                f"new task: column {column} has the classes {same!a} and {name!a}, which differ in spaces or in how a "
                "letter is coded alone; write both the same"
            )
    return classes


def _check_written_alike(values: Sequence[Any], column: str) -> None:
    """Refuse one value that is written in two ways, as 1 and 1.0 are.

    Raises:
        ValueError: names both, and the row of the second.
    """
    numbers: dict[Any, Any] = {}
    for number, value in enumerate(values):
        if not isinstance(value, list | dict) and str(same := numbers.setdefault(value, value)) != str(value):
            raise ValueError(
                f"new task: column {column} has {same!r} and, in row {number}, {value!r}, one value that would be two "
                "classes; write both the same"
            )
