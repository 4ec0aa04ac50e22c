"""Make every table and figure again that the records under results/runs support: `make tables`."""

from __future__ import annotations

import sys
from pathlib import Path

from svft_bench.compose import experiment_names
from svft_bench.record import load_records
from svft_bench.references import load_reference, reference_names
from svft_bench.tables.paper import paper_table
from svft_bench.tables.verb import experiment_results, write_experiment, write_table


def main(folder: Path) -> None:
    """Write the tables and figures of every experiment, and the published tables, that have at least one record."""
    for name in experiment_names():
        results = experiment_results(name, overrides=(), folder=folder)
        if any(result.records for result in results):
            for path in write_experiment(name, results, folder=folder):
                print(path)
    records = load_records(folder)
    for name in reference_names():
        made = paper_table(load_reference(name), records)
        if any(row.facts.get("runs") for row in made.rows):
            for path in write_table(made, folder=folder):
                print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("results"))
