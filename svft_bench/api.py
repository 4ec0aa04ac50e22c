"""What the command line does, for Python: `svft_bench.run`, `plan`, `load_records` and `table`."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from svft_bench.analysis.estimates import THIS, device
from svft_bench.analysis.references import load_reference, reference_names
from svft_bench.analysis.tables.paper import paper_table
from svft_bench.analysis.tables.value import Table
from svft_bench.analysis.tables.writing import experiment_or_pairs, experiment_results, paper_results
from svft_bench.commands.plan import plan as planned
from svft_bench.compose import cells
from svft_bench.records import RunRecord
from svft_bench.records import load_records as load


def run(*overrides: str) -> list[RunRecord]:
    """Run every cell that these overrides stand for and return the records, of those that had one too.

    Raises:
        ValueError: what the command line would refuse, in the same sentence.
    """
    from svft_bench.running.preflight import check_processes
    from svft_bench.running.run import run as run_one

    found = cells(list(overrides))
    check_processes(os.environ, [(cell.spec, cell.settings) for cell in found])
    return [run_one(cell.spec, cell.settings, command=cell.command) for cell in found]


def plan(*overrides: str, on: str = THIS) -> pd.DataFrame:
    """A row for every cell that these overrides stand for, with seconds and bytes on the device `on`.

    Raises:
        ValueError: what the command line would refuse, in the same sentence.
    """
    found = cells(list(overrides))
    records = load(found[0].settings.results_dir)
    rows = [
        {
            "model": item.cell.spec.model.name,
            "method": item.cell.spec.method.name,
            "task": item.cell.spec.task.name,
            "seed": item.cell.spec.seed,
            "run_id": item.cell.spec.run_id,
            "seconds": item.seconds,
            "memory_bytes": item.guess.memory.total,
            "fits": item.unfit is None,
            "state": item.state,
        }
        for item in planned(found, records=records, on=device(on, cpu=found[0].settings.device == "cpu"))
    ]
    return pd.DataFrame(rows)


def load_records(results: str | Path = "results") -> list[RunRecord]:
    """Every record below a results folder.

    Raises:
        ValueError: one of them cannot be trusted.
    """
    return load(Path(results))


def table(name: str, *overrides: str, results: str | Path = "results", pairs: bool = False) -> pd.DataFrame:
    """The facts behind a table, unformatted; its title and notes are in `attrs`.

    `name` is an experiment's, or a published table's; with `pairs`, every two methods of an experiment compared.

    Raises:
        ValueError: no such table, or records that cannot be trusted or mixed.
    """
    folder = Path(results)
    if name in reference_names():
        reference = load_reference(name)
        return _frame(paper_table(reference, paper_results(reference, extra=list(overrides), folder=folder)))
    found = experiment_results(name, overrides=list(overrides), folder=folder)
    return _frame(experiment_or_pairs(name, found, pairs=pairs, folder=folder))


def _frame(made: Table) -> pd.DataFrame:
    frame = pd.DataFrame([row.facts for row in made.rows])
    frame.attrs = {"title": made.title, "notes": made.notes}
    return frame
