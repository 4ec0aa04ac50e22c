"""A report's content as one HTML text: everything inlined, nothing fetched."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template

from svft_bench.analysis.report.content import HEADLINE, Content, Section
from svft_bench.analysis.tables.value import Row, Table
from svft_bench.config.wording import plural

DATA = "\0"  # stands where the runs go, which are too long to be copied
LINK = re.compile(r"\[(\w+)\]\([\w/.]+\)")  # to a file of the results folder, which a page alone does not have


def page(content: Content) -> Iterator[str]:
    """The whole page, part by part; data go in compressed, as letters that cannot end their own script element."""
    shown = [section for section in content.sections if section.name != HEADLINE]
    parts = {name: (Path(__file__).parent / name).read_text(encoding="utf-8") for name in ("page.css", "page.js")}
    whole = Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8")).substitute(
        style=parts["page.css"],
        script=parts["page.js"],
        data=DATA,
        contents="\n".join(_link(index, section) for index, section in enumerate(shown)),
        sections="\n".join(_section(index, section) for index, section in enumerate(shown)),
        summary=_summary(content),
        headline=_headline(content),
        first="" if content.headline is None else _table(content.headline, folded=False),
        count=str(len(shown)),
    )
    before, _, after = whole.partition(DATA)
    yield before
    yield from _packed(_data(content))
    yield after


def _data(content: Content) -> Iterator[str]:
    """What the page's script reads, as JSON."""
    yield f'{{"points":{json.dumps(content.points, ensure_ascii=False)},"runs":['
    for index, group in enumerate(content.runs):
        yield ("," if index else "") + group.text[1:-1]
    yield "]}"


def _packed(texts: Iterable[str]) -> Iterator[str]:
    """One text, compressed by gzip and written in base64."""
    packer, rest = zlib.compressobj(wbits=31), b""
    for text in texts:
        rest += packer.compress(text.encode())
        whole = len(rest) // 3 * 3  # letters are made of three bytes
        yield base64.b64encode(rest[:whole]).decode()
        rest = rest[whole:]
    yield base64.b64encode(rest + packer.flush()).decode()


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


def _link(index: int, section: Section) -> str:
    return f'<a href="#part-{index}" title="{escape(section.title, quote=True)}">{escape(section.name)}</a>'


def _section(index: int, section: Section) -> str:
    tables = "".join(_table(table) for table in section.tables)
    figures = "".join(_figure(title, svg) for title, svg in section.figures)
    head = f'<section id="part-{index}"><h2>{escape(section.title)}</h2>'
    return f'{head}{tables}<div class="figures">{figures}</div></section>'


def _figure(title: str, svg: str) -> str:
    encoded = base64.b64encode(svg.encode()).decode()
    image = f'<img alt="{escape(title, quote=True)}" src="data:image/svg+xml;base64,{encoded}">'
    return f"<figure>{image}<figcaption>{escape(title)}</figcaption></figure>"


def _table(table: Table, *, folded: bool = True) -> str:
    """A table that sorts by a click on a heading, unless its rows are read in groups; its notes folded or open."""
    heads = "".join(f'<th class="{column.align}">{escape(column.title)}</th>' for column in table.columns)
    aligns = [column.align for column in table.columns]
    rows = "".join(f"<tr>{_cells(row, aligns)}</tr>" for row in table.rows)
    notes = "".join(f"<li>{escape(LINK.sub(lambda found: found[1], note))}</li>" for note in table.notes)
    kind = ' class="sortable"' if all(row.facts for row in table.rows) else ""
    grid = f"<table{kind}><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    about = f'<summary>Notes ({len(table.notes)})</summary><ul class="notes">{notes}</ul>'
    about = f"<details>{about}</details>" if folded else f"<details open>{about}</details>"
    return f'<h3>{escape(table.title)}</h3><div class="wide">{grid}</div>{about}'


def _cells(row: Row, aligns: Sequence[str]) -> str:
    cells = []
    for index, (text, align) in enumerate(zip(row.cells, aligns, strict=True)):
        shown = f"<b>{escape(text)}</b>" if index in row.bold else escape(text)
        cells.append(f'<td class="{align}">{shown}</td>')
    return "".join(cells)
