"""`svft-bench table NAME [OVERRIDES]`: an experiment's or a paper's table from the records, printed or written."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from svft_bench.compose import cells, experiment_names
from svft_bench.durable import write_whole
from svft_bench.estimates import device, device_names
from svft_bench.record import load_records
from svft_bench.references import Reference, load_reference, reference_names
from svft_bench.tables.choosing import choices, tuned_files
from svft_bench.tables.experiment import experiment_table
from svft_bench.tables.missing import missing_table
from svft_bench.tables.pairs import pairs_table
from svft_bench.tables.paper import Line, missing_commands, paper_lines, paper_table
from svft_bench.tables.predictions import with_noise
from svft_bench.tables.render import Format, render
from svft_bench.tables.results import CellResult, cell_results
from svft_bench.tables.searches import with_searches
from svft_bench.tables.selecting import narrow
from svft_bench.tables.value import Table
from svft_bench.wording import Parser, folder, nearest

WRITTEN: dict[Format, str] = {"markdown": "md", "csv": "csv"}


def table(argv: Sequence[str]) -> int:
    """Print one table; with --write also leave it and its figure under the results folder."""
    asked = _parser().parse_intermixed_args(argv)
    for path in (_published if asked.name in reference_names() else _recorded)(asked):
        print(path)
    return 0


def _published(asked: argparse.Namespace) -> list[Path]:
    """A paper's table; what is written is all of it, whatever part is printed."""
    if asked.pairs or asked.choose:
        flag = "--pairs" if asked.pairs else "--choose"
        raise ValueError(f"table {asked.name}: {flag} is for an experiment of ours, this is a published table")
    reference = load_reference(asked.name)
    narrowed = narrow(reference, asked.overrides)
    lines = paper_lines(reference, load_records(asked.results), extra=asked.overrides)
    shown = [line for line in lines if line.row in narrowed]
    if asked.missing:
        _missing(asked, missing_commands(reference, shown), title=reference.title)
        return []
    print(render(paper_table(reference, shown), form=asked.format), end="")
    return write_paper(reference, lines, folder=asked.results) if asked.write else []


def _recorded(asked: argparse.Namespace) -> list[Path]:
    """The table of an experiment, or what was asked for instead of it."""
    results = experiment_results(asked.name, overrides=asked.overrides, folder=asked.results)
    if asked.choose:
        print(tuned_files(choices(results), name=asked.name), end="")
        return []
    if asked.missing:
        commands = [command for result in results for command in result.missing]
        _missing(asked, commands, title=experiment_names()[asked.name])
        return []
    made = _experiment(asked.name, results, pairs=asked.pairs, folder=asked.results)
    print(render(made, form=asked.format), end="")
    return write_experiment(asked.name, results, folder=asked.results) if asked.write else []


def _missing(asked: argparse.Namespace, commands: Sequence[str], *, title: str) -> None:
    made = missing_table(commands, name=asked.name, title=title, on=device(asked.on))
    print(render(made, form=asked.format), end="")


def experiment_results(name: str, *, overrides: Sequence[str], folder: Path) -> list[CellResult]:
    """The cells of an experiment, each with its records.

    Raises:
        ValueError: no such experiment, or records that cannot be trusted or mixed.
    """
    known = experiment_names()
    if name not in known:
        every = [*known, *reference_names()]
        raise ValueError(f"table {name}: {nearest(name, every)}")
    asked = cells([f"experiment={name}", *overrides], any_data=True)
    records = load_records(folder)
    return with_searches(with_noise(cell_results(asked, records), folder=folder), records)


def _experiment(name: str, results: Sequence[CellResult], *, pairs: bool, folder: Path) -> Table:
    title = experiment_names()[name]
    if pairs:
        return pairs_table(results, name=name, title=title, folder=folder)
    return experiment_table(results, name=name, title=title)


def experiment_tables(name: str, results: Sequence[CellResult], *, folder: Path) -> list[Table]:
    """The table of an experiment, and that of the differences where it compares methods, one cell for each."""
    single = len({(one.spec.model.name, one.spec.method.name, one.spec.task.name) for one in results}) == len(results)
    compares = single and sum(bool(result.records) for result in results) > 1
    return [_experiment(name, results, pairs=pairs, folder=folder) for pairs in (False, True)[: 1 + compares]]


def write_experiment(name: str, results: Sequence[CellResult], *, folder: Path) -> list[Path]:
    """Write results/tables/NAME.md and .csv and its figures below results/figures; says what was written.

    A comparison of methods, one cell for each and two of them recorded, also gets its paired differences; a search over
    settings does not.
    """
    from svft_bench.figures import experiment_figures

    return [
        *(
            path
            for table in experiment_tables(name, results, folder=folder)
            for path in write_table(table, folder=folder)
        ),
        *(
            path
            for figure in experiment_figures(results, folder=folder)
            for path in figure.draw(path=folder / "figures" / f"{name}{figure.suffix}")
        ),
    ]


def write_paper(reference: Reference, lines: Sequence[Line], *, folder: Path) -> list[Path]:
    """Write results/tables/NAME.md and .csv and results/figures/NAME.svg and .png; says what was written."""
    from svft_bench.figures import paper_points

    written = write_table(paper_table(reference, lines), folder=folder)
    return written + paper_points(reference, lines, path=folder / "figures" / reference.name)


def write_table(table: Table, *, folder: Path) -> list[Path]:
    """Write results/tables/NAME.md and .csv; says what was written."""
    written = []
    for form, suffix in WRITTEN.items():
        written.append(folder / "tables" / f"{table.name}.{suffix}")
        write_whole(written[-1], render(table, form=form))
    return written


def _parser() -> Parser:
    parser = Parser(
        prog="svft-bench table",
        description="An experiment's or a paper's table from the records; nothing is written without --write.",
        epilog="svft-bench table demo --format latex; svft-bench table demo seed=0,1,2",
    )
    parser.add_argument("name", help="an experiment, or a published table such as svft_table1_math")
    parser.add_argument(
        "overrides",
        nargs="*",
        help="as for the run whose records are meant; model= and method= show a part of a published table",
    )
    parser.add_argument("--format", choices=get_args(Format), default="terminal")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--pairs", action="store_true", help="every two methods compared item by item (an experiment)")
    instead.add_argument("--choose", action="store_true", help="each method's best rate on validation rows")
    instead.add_argument(
        "--missing", action="store_true", help="instead: the cells not run, with command, time and memory"
    )
    parser.add_argument(
        "--on", default="A100-80GB", metavar="DEVICE", help=f"for --missing; {', '.join(device_names())}"
    )
    parser.add_argument("--results", type=folder, default=Path("results"), metavar="DIR")
    parser.add_argument("--write", action="store_true", help="also into DIR/tables and DIR/figures")
    return parser
