"""One table in five formats; every renderer is a function from a table to text."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Literal

from svft_bench.tables.value import Row, Table

if TYPE_CHECKING:
    from rich.table import Table as Grid

Format = Literal["terminal", "markdown", "csv", "latex", "json"]

LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$", "Δ": r"$\Delta$"}


def render(table: Table, *, form: Format) -> str:
    """The table as text that ends in one newline."""
    renderers = {"terminal": terminal, "markdown": markdown, "csv": as_csv, "latex": latex, "json": as_json}
    return renderers[form](table)


def terminal(table: Table) -> str:
    """For a terminal; a table wider than it keeps whole cells and runs over, its notes do not."""
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(title=table.title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        grid.add_column(column.title, justify=column.align, no_wrap=column.align == "right")
    for row in table.rows:
        grid.add_row(*(Text(cell, style="bold" if i in row.bold else "") for i, cell in enumerate(row.cells)))
    console = Console()
    with console.capture() as captured:
        for note in table.notes:
            console.print(Text(note, style="dim"))
    return whole(grid) + captured.get()


def whole(grid: Grid) -> str:
    """A rich table as text, wider than the terminal if its cells are."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console()
    endless = console.options.update(max_width=10**4)
    wide = Console(width=max(console.width, Measurement.get(console, endless, grid).maximum))
    with wide.capture() as captured:
        wide.print(grid)
    return captured.get()


def markdown(table: Table) -> str:
    """A GitHub table between a heading and a list of notes."""

    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def cell(row: Row, index: int) -> str:
        text = row.cells[index].replace("|", r"\|")
        return f"**{text}**" if index in row.bold else text

    lines = [f"# {table.title}", "", line([column.title for column in table.columns])]
    lines.append(line(["---" if column.align == "left" else "---:" for column in table.columns]))
    lines += [line([cell(row, index) for index in range(len(row.cells))]) for row in table.rows]
    lines += ["", *(f"- {_code(note)}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def _code(note: str) -> str:
    """Commands in backticks, so that nothing in them is read as markup."""
    start = note.find("svft-bench ")
    return note if start < 0 or not note.startswith("Not run: ") else f"{note[:start]}`{note[start:]}`"


def as_csv(table: Table) -> str:
    """The numbers behind the table, unrounded; columns in order of first appearance."""
    names = list(dict.fromkeys(name for row in table.rows for name in row.facts))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.facts for row in table.rows if row.facts)
    return text.getvalue()


def as_json(table: Table) -> str:
    """The numbers behind the table with its title and notes."""
    rows = [row.facts for row in table.rows if row.facts]
    body = {"name": table.name, "title": table.title, "rows": rows, "notes": table.notes}
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def latex(table: Table) -> str:
    """A booktabs table; the notes follow as a comment-free footnotesize paragraph each."""

    def cell(row: Row, index: int) -> str:
        text = _escape(row.cells[index])
        return rf"\textbf{{{text}}}" if index in row.bold else text

    layout = "".join("l" if column.align == "left" else "r" for column in table.columns)
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{_escape(table.title)}}}", rf"\label{{tab:{table.name}}}"]
    lines += [rf"\begin{{tabular}}{{{layout}}}", r"\toprule"]
    lines += [" & ".join(_escape(column.title) for column in table.columns) + r" \\", r"\midrule"]
    lines += [" & ".join(cell(row, index) for index in range(len(row.cells))) + r" \\" for row in table.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {_escape(note)}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _escape(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in text)
