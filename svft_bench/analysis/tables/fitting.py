"""A table on a terminal: as it is, its words wrapped, or where it is still too wide one row below the other."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from svft_bench.analysis.tables.value import Row, Table
from svft_bench.config.wording import nearest, plural

if TYPE_CHECKING:
    from rich.table import Table as Grid

COMMAND = "command"  # a column whose cells are copied, and so never broken
GAP = 2  # columns between two columns
# What a look at the scores can do without.
LESSER = frozenset(
    {"learns", "head", "checkpoint", "step", "memory", "p", "seeds", "stated", "reproduced by", "settings"}
)


def room() -> int | None:
    """The columns of the terminal, or those that COLUMNS names; None for a pipe or a file, whose lines have no end."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() or os.environ.get("COLUMNS") else None


def whole(grid: Grid) -> str:
    """A rich table as text that loses no letter and fits the terminal."""
    from rich.console import Console
    from rich.measure import Measurement

    console, width = Console(), room()
    endless = console.options.update(max_width=10**4)
    most = Measurement.get(console, endless, grid).maximum
    if width is not None and most > width and _least(grid) > width:
        return "".join(f"{line}\n" for line in _one_below_the_other(grid, width))
    wide = Console(markup=False, width=most if width is None else min(most, width))
    with wide.capture() as captured:
        wide.print(grid)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _least(grid: Grid) -> int:
    """The width below which a number or a word would be cut."""
    widths = []
    for column in grid.columns:
        texts = [str(cell) for cell in (column.header, *column.cells)]
        widths.append(
            max((len(part) for text in texts for part in ([text] if column.no_wrap else text.split())), default=0)
        )
    return sum(widths) + GAP * (len(widths) - 1)


def _one_below_the_other(grid: Grid, width: int) -> Iterator[str]:
    """Every row under its first cell, one line or more for each of its other cells that has something in it."""
    headers = [str(column.header) for column in grid.columns]
    indent = " " * (max(map(len, headers[1:]), default=0) + 2 + GAP)
    if grid.title:
        yield from textwrap.wrap(str(grid.title), width)
    for first, *cells in zip(*(map(str, column.cells) for column in grid.columns), strict=True):
        yield from textwrap.wrap(first, width) or [headers[0]]
        for header, cell in zip(headers[1:], cells, strict=True):
            if header == COMMAND:
                yield f"  {cell}"
            elif cell.strip():
                start = f"  {header}".ljust(len(indent))
                yield from textwrap.wrap(
                    cell, max(width, len(indent) + 20), initial_indent=start, subsequent_indent=indent
                )


def picked(table: Table, *, columns: str | None, brief: bool) -> Table:
    """The table with these of its columns, by their titles after commas, or without those of less interest.

    Settings are of interest where rows have one name.

    Raises:
        ValueError: there is no such column.
    """
    titles = [column.title for column in table.columns]
    if columns is None:
        alike = len({row.cells[0] for row in table.rows}) < len(table.rows)
        lesser = LESSER - ({"settings"} if alike else set()) if brief else ()
        chosen = [i for i, title in enumerate(titles) if title not in lesser]
    else:
        known = {title.lower(): i for i, title in enumerate(titles)}
        asked = [name.strip().lower() for name in columns.split(",")]
        if unknown := [name for name in asked if name not in known]:
            raise ValueError(f"--columns {columns}: {nearest(unknown[0], filter(None, titles))}")
        chosen = [known[name] for name in asked]
    return replace(
        table, columns=tuple(table.columns[i] for i in chosen), rows=tuple(_row(row, chosen) for row in table.rows)
    )


def _row(row: Row, chosen: Sequence[int]) -> Row:
    bold = frozenset(place for place, i in enumerate(chosen) if i in row.bold)
    return replace(row, cells=tuple(row.cells[i] for i in chosen), bold=bold)


def folded(table: Table) -> Table:
    """The table with one line in place of its notes."""
    if not table.notes:
        return table
    told = f"{plural(len(table.notes), 'note')}, which --notes shows"
    return replace(table, notes=(told,))
