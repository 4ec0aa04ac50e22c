"""Make every table and figure again that the records under results/runs support: `make tables`."""

from __future__ import annotations

import sys
from pathlib import Path

from svft_bench.compose import experiment_names
from svft_bench.record import load_records, write_whole
from svft_bench.references import load_reference, reference_names
from svft_bench.tables.paper import paper_lines
from svft_bench.tables.verb import experiment_results, write_experiment, write_paper


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


def show_in_readme(table: Path, readme: Path) -> None:
    """Put the rows of a Markdown table between the README's marks for it, so that no number there is typed."""
    begin, end = (f"<!-- {word} {table.stem} -->" for word in ("begin", "end"))
    before, _, rest = readme.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    rows = [line for line in table.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    write_whole(readme, "\n".join([before + begin, *rows, end + after]))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("results"))
    show_in_readme(Path("results/tables/demo.md"), Path("README.md"))
