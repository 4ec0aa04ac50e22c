"""One table in five formats; every renderer is a function from a table to text."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from typing import Literal

from svft_bench.analysis.tables.fitting import COMMAND, room, whole
from svft_bench.analysis.tables.latex import latex
from svft_bench.analysis.tables.value import Row, Table
from svft_bench.config.wording import printable

Format = Literal["terminal", "markdown", "csv", "latex", "json"]


def render(table: Table, *, form: Format) -> str:
    """The table as text that ends in one newline."""
    renderers = {"terminal": terminal, "markdown": markdown, "csv": as_csv, "latex": latex, "json": as_json}
    return renderers[form](_printable(table))


def _printable(table: Table) -> Table:
    """The same table with every word on one line and nothing in it that a terminal would obey."""
    return replace(
        table,
        title=printable(table.title),
        columns=tuple(replace(column, title=printable(column.title)) for column in table.columns),
        rows=tuple(replace(row, cells=tuple(map(printable, row.cells))) for row in table.rows),
        notes=tuple(map(printable, table.notes)),
    )


def terminal(table: Table) -> str:
    """For a terminal, which it fits; in a pipe or a file a row is a line, however long."""
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(
        title=Text(table.title),
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for column in table.columns:
        grid.add_column(
            Text(column.title), justify=column.align, no_wrap=column.align == "right" or column.title == COMMAND
        )
    for row in table.rows:
        grid.add_row(*(Text(cell, style="bold" if i in row.bold else "") for i, cell in enumerate(row.cells)))
    console = Console(width=room())
    with console.capture() as captured:
        for note in table.notes:
            console.print(Text(note, style="dim"))
    return whole(grid) + captured.get()


def markdown(table: Table) -> str:
    """A GitHub table below its heading, then its answers, numbered, and its notes as a list."""

    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def cell(row: Row, index: int) -> str:
        text = _cell(row.cells[index])
        return f"**{text}**" if index in row.bold else text

    lines = [f"# {_cell(table.title)}", "", line([_cell(column.title) for column in table.columns])]
    lines.append(line(["---" if column.align == "left" else "---:" for column in table.columns]))
    lines += [line([cell(row, index) for index in range(len(row.cells))]) for row in table.rows]
    answers = [f"{turn}. {answer}" for turn, answer in enumerate(table.notes[: table.answers], 1)]
    notes = [f"- {_code(note)}" for note in table.notes[table.answers :]]
    for told in filter(None, (answers, notes)):
        lines += ["", *told]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text in which a bar parts no cells."""
    return _untagged(text).replace("|", r"\|")


def _untagged(text: str) -> str:
    """Text in which nothing is a tag, of which a page shows nothing: `<pad>` is a word of a tokenizer."""
    return re.sub(r"(?<!\\)<(?=[a-zA-Z/!?])", r"\<", text)


def _code(note: str) -> str:
    """Commands in backticks, so that nothing in them is read as markup."""
    start = note.find("svft-bench ")
    code = start >= 0 and note.startswith("Not run: ")
    return f"{note[:start]}`{note[start:]}`" if code else _untagged(note)


def as_csv(table: Table) -> str:
    """The numbers behind the table, unrounded; columns in order of first appearance."""
    names = list(dict.fromkeys(name for row in table.rows for name in row.facts))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _inert(value) for name, value in row.facts.items()} for row in table.rows if row.facts)
    return text.getvalue()


def _inert(value: object) -> object:
    """A value of CSV that no spreadsheet runs: a text that would be a formula begins with a quote."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def as_json(table: Table) -> str:
    """The numbers behind the table with its title and notes."""
    rows = [row.facts for row in table.rows if row.facts]
    body = {"name": table.name, "title": table.title, "rows": rows, "notes": table.notes}
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"
