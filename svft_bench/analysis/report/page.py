"""A report's content as one HTML text: everything inlined, nothing fetched."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

from svft_bench.analysis.report.content import HEADLINE, Content, Section
from svft_bench.analysis.report.packing import Kind, Line, packed
from svft_bench.analysis.tables.value import Row, Table
from svft_bench.config.wording import plural

LIMIT = 8_000_000  # bytes of a page, which mail and browsers still take
DATA, LEFT = "\0", "\1"  # stand where the packed data go, and what had no room among them
LINK = re.compile(r"\[(\w+)\]\([\w/.]+\)")  # to a file of the results folder, which a page alone does not have


def page(content: Content, *, limit: int = LIMIT) -> Iterator[str]:
    """The whole page, part by part, at most `limit` bytes if its tables leave room; it says what has none.

    Figures, runs and examples go in compressed, as letters that cannot end their own script element.
    """
    shown = content.shown
    there = {section.name for section in content.sections}
    figures = [(f"{one.name}-{turn}", svg) for one in shown for turn, (_, svg) in enumerate(one.figures)]
    whole = Template(_part("page.html")).substitute(
        style=_part("page.css"),
        script=_part("budgets.js") + _part("page.js"),
        data=DATA,
        left=LEFT,
        contents="\n".join(_link(section) for section in shown),
        sections="\n".join(_section(section, there) for section in shown),
        summary=_summary(content),
        headline=_headline(content),
        first="" if content.headline is None else _table(content.headline, there, folded=False),
        count=str(len(shown)),
    )
    lines = list(_lines(content, figures))
    data, left = packed(lines, room=limit - len(whole.encode()) - TOLD)
    before, _, after = whole.replace(LEFT, _left_out(lines, left, limit=limit)).partition(DATA)
    yield from (before, data, after)


def _part(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


TOLD = 500  # bytes at most of what is said of what has no room


def _lines(content: Content, figures: Sequence[tuple[str, str]]) -> Iterator[Line]:
    """What the page's script reads."""
    yield Line("points", len(content.points), json.dumps({"points": content.points}, ensure_ascii=False))
    for name, svg in figures:
        yield Line("figures", 1, json.dumps({"figures": {name: svg}}, ensure_ascii=False))
    for group in content.runs:
        yield from group.lines


def _left_out(lines: Sequence[Line], left: Mapping[Kind, int], *, limit: int) -> str:
    """A sentence on what has no room, empty if everything has."""
    total: Counter[Kind] = Counter()
    for line in lines:
        total[line.kind] += line.number
    told = [f"{left[kind]:,} of {total[kind]:,} {NAMES[kind]}" for kind in NAMES if left[kind]]
    return f"<p>Left out, so that this page stays below {limit / 1e6:g} MB: {'; '.join(told)}.</p>" if told else ""


NAMES: dict[Kind, str] = {
    "points": "cells of the figure of budgets",
    "figures": "figures",
    "runs": "runs in the list of all",
    "details": "runs' curves, specifications and provenance",
    "examples": "examples, of every run the later ones",
}


def _headline(content: Content) -> str:
    """How many of the differences between two methods on one eval survive their correction."""
    pairs = [row for section in content.sections for table in section.tables[1:] for row in table.rows]
    if not pairs:
        return "No two methods are compared yet."
    shown = sum(bool(row.bold) for row in pairs)
    return f"{shown:,} of {len(pairs):,} differences between two methods on one eval are more than noise."


def _summary(content: Content) -> str:
    dirty = sum(group.dirty for group in content.runs)
    cells = {group.place for group in content.runs}
    marks = f"; {dirty} made with uncommitted changes" if dirty else ""
    number = sum(group.number for group in content.runs)
    return f"{plural(number, 'run')}, {plural(len(cells), 'combination')} of model, method and task{marks}."


def _anchor(name: str) -> str:
    return name if name == HEADLINE else f"table-{name}"


def _link(section: Section) -> str:
    title = escape(section.title, quote=True)
    return f'<a href="#{_anchor(section.name)}" title="{title}">{escape(section.name)}</a>'


def _section(section: Section, there: Collection[str]) -> str:
    """Folded under its title, which the first table then does not repeat."""
    tables = "".join(_table(table, there, titled=bool(turn)) for turn, table in enumerate(section.tables))
    figures = "".join(_figure(f"{section.name}-{turn}", title) for turn, (title, _) in enumerate(section.figures))
    head = f'<details class="part" id="{_anchor(section.name)}"><summary>{escape(section.title)}</summary>'
    return f'{head}{tables}<div class="figures">{figures}</div></details>'


def _figure(name: str, title: str) -> str:
    image = f'<img alt="{escape(title, quote=True)}" data-figure="{name}">'
    return f"<figure>{image}<figcaption>{escape(title)}</figcaption></figure>"


def _table(table: Table, there: Collection[str], *, titled: bool = True, folded: bool = True) -> str:
    """A table that sorts by a click on a heading, unless its rows are read in groups; its notes folded or open."""
    heads = "".join(f'<th class="{column.align}">{escape(column.title)}</th>' for column in table.columns)
    aligns = [column.align for column in table.columns]
    rows = "".join(f"<tr>{_cells(row, aligns)}</tr>" for row in table.rows)
    told = [f"<li>{_linked(note, there)}</li>" for note in table.notes]
    answers, notes = "".join(told[: table.answers]), "".join(told[table.answers :])
    kind = ' class="sortable"' if all(row.facts for row in table.rows) else ""
    grid = f"<table{kind}><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    grid = f'<div class="wide">{grid}</div>' if rows else "<p>Nothing to show.</p>"
    about = f'<summary>Notes ({len(table.notes) - table.answers})</summary><ul class="notes">{notes}</ul>'
    about = f"<details>{about}</details>" if folded else f"<details open>{about}</details>"
    first = f"<ol>{answers}</ol>" if answers else ""
    return f"{f'<h3>{escape(table.title)}</h3>' if titled else ''}{grid}{first}{about}"


def _linked(note: str, there: Collection[str]) -> str:
    """A note whose links to the tables of a results folder lead to those of the page, as far as it has them."""
    return LINK.sub(lambda found: _to(found[1]) if found[1] in there else found[1], escape(note))


def _to(name: str) -> str:
    return f'<a href="#{_anchor(name)}">{name}</a>'


def _cells(row: Row, aligns: Sequence[str]) -> str:
    cells = []
    for index, (text, align) in enumerate(zip(row.cells, aligns, strict=True)):
        shown = f"<b>{escape(text)}</b>" if index in row.bold else escape(text)
        cells.append(f'<td class="{align}">{shown}</td>')
    return "".join(cells)
