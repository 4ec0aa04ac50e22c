"""Make every table and figure again that the records under results/runs support: `make tables`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from svft_bench.compose import experiment_names
from svft_bench.record import load_records, write_whole
from svft_bench.references import load_reference, reference_names
from svft_bench.tables.paper import paper_lines
from svft_bench.tables.verb import experiment_results, write_experiment, write_paper

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.bench_tables import write_bench_page


def main(folder: Path) -> None:
    """Write the tables and figures of every experiment, and the published tables, that have at least one record."""
    for name in sorted(set(experiment_names()) - set(reference_names())):
        results = experiment_results(name, overrides=(), folder=folder)
        if any(result.records for result in results):
            for path in write_experiment(name, results, folder=folder):
                print(path)
    records = load_records(folder)
    for name in reference_names():
        reference = load_reference(name)
        lines = paper_lines(reference, records)
        if any(line.records for line in lines):
            for path in write_paper(reference, lines, folder=folder):
                print(path)
    print(write_bench_page(folder))


def show_tables(page: Path, *, tables: Path) -> None:
    """Put the rows of every table for which a page has marks between them, so that no number there is typed."""

    def shown(mark: re.Match[str]) -> str:
        lines = (tables / f"{mark.group(1)}.md").read_text(encoding="utf-8").splitlines()
        rows = [line for line in lines if line.startswith("|")]
        return "\n".join([f"<!-- begin {mark.group(1)} -->", *rows, f"<!-- end {mark.group(1)} -->"])

    text = page.read_text(encoding="utf-8")
    write_whole(page, re.sub(r"<!-- begin (\w+) -->.*?<!-- end \1 -->", shown, text, flags=re.DOTALL))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("results"))
    for page in (Path("README.md"), Path("results/README.md")):
        show_tables(page, tables=Path("results/tables"))
