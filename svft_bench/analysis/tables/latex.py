r"""A table in LaTeX: booktabs and threeparttable where it fits a page, else longtable, in the largest size that fits.

Widths are those of Computer Modern and of a page of `article` in 10 pt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from svft_bench.analysis.tables.value import Row, Table

SIGNS = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
SIGNS |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$", "Δ": r"$\Delta$"}
SIGNS |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}", '"': "''"}
SIGNS |= {"φ": r"$\varphi$", "σ": r"$\sigma$", "Σ": r"$\Sigma$", "√": r"$\surd$", "²": r"$^2$", "₁": r"$_1$"}
SIGNS |= {"≈": r"$\approx$", "≤": r"$\le$", "≥": r"$\ge$", "→": r"$\to$", "·": r"$\cdot$", "‖": r"$\Vert$", "−": "$-$"}
SIGNS |= {"–": "--", "—": "---", "…": r"\ldots{}", "š": r"\v{s}", "§": r"\S{}", "°": r"$^\circ$", "ᵢ": r"$_i$"}
SIGNS |= {"`": r"\textasciigrave{}"}

SIZES = {"normalsize": 5.2, "small": 4.75, "footnotesize": 4.3, "scriptsize": 4.0, "tiny": 3.5}  # points a letter
READABLE = tuple(SIZES)[:-1]
BOLD = 1.15  # times as wide
LINE, TURNED = 345.0, 550.0  # points of a line on a page, and on one on its side
GAP = 8.0  # points between two columns
PAGE = 44  # lines of a table and its notes on one page
NOTE = 80  # letters in a line of a note
SHORT = 8  # letters after which a heading wraps there
WORDS = 26  # letters after which words wrap, where a table is set over several pages


def latex(table: Table) -> str:
    """A float with its notes below where that fits a page, else a table that breaks over pages, turned if too wide."""
    lines = len(table.rows) + sum(1 + len(note) // NOTE for note in table.notes)
    size = _fitting(_widths(table), READABLE, LINE)
    if size is not None and lines <= PAGE:
        return "\n".join(_float(table, size)) + "\n"
    widths = _wrapped(table)
    upright = _fitting(widths, READABLE, LINE)
    turned = _fitting(widths, tuple(SIZES), TURNED)
    body = _long(table, widths, upright or turned or "tiny")
    if upright:
        return "\n".join([r"% \usepackage{array,booktabs,longtable,makecell}", *body]) + "\n"
    packages = r"% \usepackage{array,booktabs,longtable,makecell,pdflscape}"
    packages += "" if turned else "; wider than a page on its side: --brief or --columns make it narrower"
    return "\n".join([packages, r"\begin{landscape}", *body, r"\end{landscape}"]) + "\n"


def _float(table: Table, size: str) -> Iterator[str]:
    yield from (r"% \usepackage{booktabs,threeparttable}", r"\begin{table}", r"\centering", rf"\{size}")
    yield from _narrow(size)
    yield from (r"\begin{threeparttable}", _caption(table))
    yield rf"\begin{{tabular}}{{{''.join('l' if left else 'r' for left in _left(table))}}}"
    yield from (r"\toprule", _head(table), r"\midrule")
    for row in table.rows:
        yield " & ".join(_bold(row, i, escape(cell)) for i, cell in enumerate(row.cells)) + r" \\"
    yield from (r"\bottomrule", r"\end{tabular}")
    if table.notes:
        notes = (rf"\item {_breakable(note)}" for note in table.notes)
        yield from (r"\begin{tablenotes}", r"\footnotesize\raggedright", *notes, r"\end{tablenotes}")
    yield from (r"\end{threeparttable}", r"\end{table}")


def _long(table: Table, widths: Sequence[float], size: str) -> Iterator[str]:
    left = _left(table)
    layout = (_wrapping(width, size) if side else "r" for side, width in zip(left, widths, strict=True))
    titles = [column.title for column in table.columns]
    head = [
        _breakable(title) if side else _stacked(_lines(title, width), at="br")
        for title, side, width in zip(titles, left, widths, strict=True)
    ]
    heading = [r"\toprule", " & ".join(head) + r" \\", r"\midrule"]
    yield from ("{" + rf"\{size}", *_narrow(size), rf"\begin{{longtable}}{{{''.join(layout)}}}")
    yield from (
        _caption(table) + r" \\",
        *heading,
        r"\endfirsthead",
        *heading,
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
    )
    for row in table.rows:
        cells = (_breakable(cell) if left[i] else _stacked(_tasks(cell), at="tr") for i, cell in enumerate(row.cells))
        yield " & ".join(_bold(row, i, cell) for i, cell in enumerate(cells)) + r" \\"
    yield from (r"\end{longtable}", "}")
    if table.notes:
        yield r"{\footnotesize\raggedright"
        yield from (rf"\noindent {_breakable(note)}\par" for note in table.notes)
        yield "}"


def _caption(table: Table) -> str:
    return rf"\caption{{{escape(table.title)}}}\label{{tab:{table.name}}}"


def _head(table: Table) -> str:
    return " & ".join(escape(column.title) for column in table.columns) + r" \\"


def _narrow(size: str) -> list[str]:
    return [] if size == "normalsize" else [rf"\setlength{{\tabcolsep}}{{{GAP / 2:g}pt}}"]


def _wrapping(letters: float, size: str) -> str:
    """A column of words that is as wide as so many letters."""
    return rf">{{\raggedright\arraybackslash}}p{{{letters * SIZES[size]:.0f}pt}}"


def _tasks(cell: str) -> list[str]:
    """The numbers of several tasks, to stand below each other."""
    *parts, last = cell.split(" / ")
    return [*(f"{part} /" for part in parts), last]


def _lines(text: str, letters: float) -> list[str]:
    """Text in lines of at most so many letters, where its words are no longer."""
    lines = [""]
    for word in re.findall(r"[^ _/]+[ _/]?|[ _/]", text):
        if lines[-1] and len(lines[-1] + word.rstrip()) > letters:
            lines.append("")
        lines[-1] += word
    return [line.strip() for line in lines]


def _stacked(lines: Sequence[str], *, at: str) -> str:
    body = r"\\ ".join(map(escape, lines))
    return body if len(lines) == 1 else rf"\makecell[{at}]{{{body}}}"


def _breakable(text: str) -> str:
    """Text that may break within names of fields, paths and commands."""
    return re.sub(r"(\\_|[=/,.])(?=\w)", r"\1\\allowbreak{}", escape(text))


def _bold(row: Row, index: int, text: str) -> str:
    return rf"\textbf{{{text}}}" if index in row.bold else text


def _left(table: Table) -> list[bool]:
    return [column.align == "left" for column in table.columns]


def _widths(table: Table) -> list[float]:
    """Letters of the widest cell of each column."""
    rows = [(row.cells, row.bold) for row in table.rows] + [(tuple(c.title for c in table.columns), frozenset())]
    return [
        max(len(cells[i]) * (BOLD if i in bold else 1.0) for cells, bold in rows) for i in range(len(table.columns))
    ]


def _wrapped(table: Table) -> list[float]:
    """The same where words wrap and numbers of several tasks stand below each other; headings may be longer."""
    rows = [Row(tuple(max(_tasks(cell), key=len) for cell in row.cells), {}, row.bold) for row in table.rows]
    titles = [column.title for column in table.columns]
    bare = replace(table, rows=tuple(rows), columns=tuple(replace(column, title="") for column in table.columns))
    return [
        max(min(width, WORDS) if left else width, *map(len, _lines(title, SHORT)))
        for width, left, title in zip(_widths(bare), _left(table), titles, strict=True)
    ]


def _fitting(widths: Sequence[float], sizes: Sequence[str], line: float) -> str | None:
    """The largest of these sizes in which a line holds all columns."""
    for size in sizes:
        gap = GAP if _narrow(size) else 12.0
        if SIZES[size] * sum(widths) + gap * len(widths) <= line:
            return size
    return None


def escape(text: str) -> str:
    """Text as LaTeX sets it: what is no letter of ASCII by a command, since not every engine has its glyph."""
    return "".join(SIGNS.get(letter, letter) for letter in text)
