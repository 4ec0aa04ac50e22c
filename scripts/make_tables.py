"""Make every table again that results/runs supports, and the figures that pages show: `make tables`."""

from __future__ import annotations

import re
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from svft_bench.analysis.references import load_reference, reference_names
from svft_bench.analysis.tables.writing import (
    experiment_results,
    paper_results,
    write_experiment,
    write_headline,
    write_paper,
)
from svft_bench.compose import experiment_names
from svft_bench.records.durable import write_whole

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.bench_tables import write_bench_page

PAGES = (Path("README.md"), Path("results/README.md"))


def main(folder: Path) -> None:
    """Write the tables of every experiment, and the published ones, that have a record, and the figures of `PAGES`.

    The others are a command away (`svft-bench table NAME --write`), and in the report.
    """
    shown = {name for page in PAGES for name in shown_figures(page)}
    names = [*sorted(set(experiment_names()) - set(reference_names())), *reference_names()]
    with ProcessPoolExecutor() as processes:
        for written in processes.map(partial(write_one, folder=folder, shown=shown), names):
            for path in written:
                print(path)
    for path in write_headline(folder):
        print(path)
    print(write_bench_page(folder))


def write_one(name: str, *, folder: Path, shown: set[str]) -> list[Path]:
    """Write the tables and figures of one experiment or published table, if it has a record; says what was written."""
    if name in reference_names():
        reference = load_reference(name)
        lines = paper_results(reference, folder=folder)
        return write_paper(reference, lines, folder=folder) if any(line.records for line in lines) else []
    results = experiment_results(name, overrides=(), folder=folder)
    recorded = any(result.records for result in results)
    return write_experiment(name, results, folder=folder, shown=shown) if recorded else []


def shown_figures(page: Path) -> set[str]:
    """The names of the figures that a page shows."""
    return set(re.findall(r"\bfigures/(\w+)\.svg", page.read_text(encoding="utf-8")))


def show_tables(page: Path, *, tables: Path) -> None:
    """Put the rows of every table for which a page has marks between them, so that no number there is typed.

    Of a table of pairs, the differences that survive their correction; of `NAME_notes`, what stands under NAME.
    """

    def shown(mark: re.Match[str]) -> str:
        name = mark.group(1).removesuffix("_notes")
        lines = (tables / f"{name}.md").read_text(encoding="utf-8").splitlines()
        rows = [line for line in lines if line.startswith("|" if name == mark.group(1) else "- ")]
        if mark.group(1).endswith("_pairs"):
            kept = [row for row in rows[2:] if "**" in row]
            rows = [*rows[:2], *kept] if kept else ["No difference survives."]
        return "\n".join([f"<!-- begin {mark.group(1)} -->", *rows, f"<!-- end {mark.group(1)} -->"])

    text = page.read_text(encoding="utf-8")
    write_whole(page, re.sub(r"<!-- begin (\w+) -->.*?<!-- end \1 -->", shown, text, flags=re.DOTALL))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("results"))
    for page in PAGES:
        show_tables(page, tables=Path("results/tables"))
