"""Make every table again that results/runs supports, and the figures that pages show: `make tables`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from svft_bench.analysis.references import load_reference, reference_names
from svft_bench.analysis.tables.headline import SOURCES
from svft_bench.analysis.tables.keeping import made_or_kept, shows_records, table_parts
from svft_bench.analysis.tables.writing import (
    experiment_results,
    paper_results,
    write_experiment,
    write_headline,
    write_paper,
)
from svft_bench.compose import experiment_names
from svft_bench.records import outlines
from svft_bench.records.durable import digests, write_whole

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.bench_tables import write_bench_page

PAGES = (Path("README.md"), Path("results/README.md"))
HEADLINE = "headline"
MARKED = re.compile(r"<!-- begin (\w+) -->.*?<!-- end \1 -->", re.DOTALL)


def main(folder: Path) -> list[Path]:
    """Write the tables of every experiment, and the published ones, that have a record, and the figures of `PAGES`.

    The others are a command away (`svft-bench table NAME --write`), and in the report. What follows from the same
    contents as before is not made again, and is written again only where the file has other contents. Returns tables
    that are there and that no record supports any more; they are left for a person to remove.
    """
    written: set[Path] = set()
    shown = sorted({name for page in PAGES for name in shown_figures(page)})
    for text in made_or_kept(
        partial(every_part, folder, shown=shown), partial(write_one, folder=folder, shown=shown)
    ).values():
        for name, content in json.loads(text).items():
            if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != content:
                write_whole(folder / name, content)
            written.add(folder / name)
            print(folder / name)
    print(write_bench_page(folder))
    return stale(folder, written=written)


def stale(folder: Path, *, written: Collection[Path]) -> list[Path]:
    """The tables of experiments, of their differences, of papers and of the headline that were not written."""
    names = {HEADLINE, *experiment_names(), *reference_names()}
    made = (path for path in sorted((folder / "tables").glob("*.*")) if path.suffix in (".md", ".csv"))
    return [path for path in made if path.stem.removesuffix("_pairs") in names and path not in written]


def every_part(folder: Path, *, shown: Collection[str]) -> dict[str, list[Any]]:
    """What every table follows from, by name; the headline from what its experiments do, and from timings."""
    names, found = [*sorted(set(experiment_names()) - set(reference_names())), *reference_names()], outlines(folder)
    parts = {name: table_parts(name, found, folder=folder) for name in names}
    above = [digests(folder / "bench"), *(parts[name] for name in SOURCES)]
    written = {name: ["written", shown, *own] for name, own in parts.items() if shows_records(own)}
    return written | {HEADLINE: ["written", *above]}


def write_one(name: str, *, folder: Path, shown: Collection[str]) -> str:
    """Write the headline, or the tables and figures of one experiment or published table; their texts by path."""
    if name == HEADLINE:
        written = write_headline(folder)
    elif name in reference_names():
        reference = load_reference(name)
        lines = paper_results(reference, folder=folder)
        written = write_paper(reference, lines, folder=folder) if any(line.records for line in lines) else []
    else:
        results = experiment_results(name, overrides=(), folder=folder)
        recorded = any(result.records for result in results)
        written = write_experiment(name, results, folder=folder, shown=shown) if recorded else []
    return json.dumps({str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in written})


def shown_figures(page: Path) -> set[str]:
    """The names of the figures that a page shows."""
    return set(re.findall(r"\bfigures/(\w+)\.svg", page.read_text(encoding="utf-8")))


def show_tables(page: Path, *, tables: Path) -> None:
    """Put the rows of every table for which a page has marks between them, so that no number there is typed.

    Of a table of pairs, the differences that survive their correction; of `NAME_answers` and `NAME_notes`, what stands
    under NAME.

    Raises:
        ValueError: there is no such table, or a mark without its other end, whose rows would stay as they are.
    """
    parts = {"answers": r"\d+\. ", "notes": "- "}

    def shown(mark: re.Match[str]) -> str:
        name, _, part = mark.group(1).rpartition("_")
        name = name if part in parts else mark.group(1)
        if not (table := tables / f"{name}.md").is_file():
            raise ValueError(f"{page} has marks for {mark.group(1)}, and there is no {table}")
        lines = table.read_text(encoding="utf-8").splitlines()
        rows = [line for line in lines if re.match(parts.get(part, r"\|"), line)]
        if mark.group(1).endswith("_pairs"):
            kept = [row for row in rows[2:] if "**" in row]
            rows = [*rows[:2], *kept] if kept else ["No difference survives."]
        return "\n".join([f"<!-- begin {mark.group(1)} -->", *rows, f"<!-- end {mark.group(1)} -->"])

    text = page.read_text(encoding="utf-8")
    if alone := re.findall(r"<!-- (?:begin|end)\b.*?-->", re.sub(MARKED, "", text)):
        raise ValueError(f"{page} has {alone[0]} without its other end")
    write_whole(page, re.sub(MARKED, shown, text))


def told(pages: Sequence[Path], *, tables: Path) -> list[str]:
    """Fill every page; what was wrong with one of them."""
    wrong = []
    for page in pages:
        try:
            show_tables(page, tables=tables)
        except ValueError as error:
            wrong.append(str(error))
    return wrong


if __name__ == "__main__":
    unsupported = main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("results"))
    wrong = told(PAGES, tables=Path("results/tables"))
    if unsupported:
        names = ", ".join(map(str, unsupported))
        wrong.append(f"no record supports {names} any more: bring the records back, or remove them")
    sys.exit("\n".join(wrong) or 0)
