"""`svft-bench table NAME [OVERRIDES]`: an experiment's or a paper's table from the records, printed or written."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import get_args

from svft_bench.analysis.estimates import device, device_names
from svft_bench.analysis.references import load_reference, reference_names
from svft_bench.analysis.tables.choosing import choices, tuned_files
from svft_bench.analysis.tables.every_eval_ever import every_eval_ever
from svft_bench.analysis.tables.extending import due, tried, wider_than
from svft_bench.analysis.tables.fitting import folded, picked
from svft_bench.analysis.tables.missing import missing_table
from svft_bench.analysis.tables.paper import missing_commands, paper_table
from svft_bench.analysis.tables.render import Format, render
from svft_bench.analysis.tables.results import CellResult, cells_of
from svft_bench.analysis.tables.selecting import narrow
from svft_bench.analysis.tables.value import Table
from svft_bench.analysis.tables.writing import (
    experiment_or_pairs,
    experiment_results,
    left_over,
    paper_results,
    write_experiment,
    write_paper,
)
from svft_bench.compose import cells, experiment_names
from svft_bench.config.wording import Parser, folder

COMMON = "every-eval-ever"  # the common schema of evaluation results


def table(argv: Sequence[str]) -> int:
    """Print one table; with --write also leave it and its figure under the results folder."""
    asked = _parser().parse_intermixed_args(argv)
    if asked.format == COMMON and (asked.pairs or asked.choose or asked.next or asked.missing):
        raise ValueError(f"--format {COMMON} has the scores of cells, not --pairs, --choose, --next or --missing")
    asked.results = _results(asked)
    for path in (_published if asked.name in reference_names() else _recorded)(asked):
        print(path)
    return 0


def _results(asked: argparse.Namespace) -> Path:
    """The folder that is typed as for a run, or by --results.

    Raises:
        ValueError: both, several, or what is no folder.
    """
    typed = [item for item in asked.overrides if item.lstrip("+").startswith("results_dir=")]
    if not typed:
        return Path("results") if asked.results is None else asked.results
    if asked.results is not None:
        raise ValueError(f"table {asked.name}: {typed[-1]} and --results {asked.results} both name its folder; say one")
    found = {cell.settings.results_dir for cell in cells(typed, any_data=True)}
    if len(found) > 1 or not (one := found.pop()).is_dir():
        raise ValueError(f"table {asked.name}: {typed[-1]} is no folder")
    return one


def _published(asked: argparse.Namespace) -> list[Path]:
    """A paper's table; what is written is all of it, whatever part is printed."""
    if asked.pairs or asked.choose or asked.next:
        flag = "--pairs" if asked.pairs else "--choose" if asked.choose else "--next"
        raise ValueError(f"table {asked.name}: {flag} is for an experiment of ours, this is a published table")
    reference = load_reference(asked.name)
    narrowed = narrow(reference, asked.overrides)
    lines = paper_results(reference, extra=asked.overrides, folder=asked.results)
    shown = [line for line in lines if line.row in narrowed]
    if asked.missing:
        _missing(asked, missing_commands(reference, shown), title=reference.title)
        return []
    recorded = cells_of([record for line in shown for record in line.records])
    print(_told(asked, paper_table(reference, shown), recorded), end="")
    return write_paper(reference, lines, folder=asked.results) if asked.write else []


def _recorded(asked: argparse.Namespace) -> list[Path]:
    """The table of an experiment, or what was asked for instead of it."""
    results = experiment_results(asked.name, overrides=asked.overrides, folder=asked.results)
    if asked.choose or asked.next:
        _search(asked, results)
        return []
    if asked.missing:
        commands = [command for result in results for command in result.missing]
        _missing(asked, commands, title=experiment_names()[asked.name])
        return []
    made = experiment_or_pairs(asked.name, results, pairs=asked.pairs, folder=asked.results)
    print(_told(asked, made, results), end="")
    if not asked.write:
        return []
    written = write_experiment(asked.name, results, folder=asked.results)
    for path in left_over(asked.name, written, folder=asked.results):
        path.unlink()
        print(f"{path} is removed: these cells have none", file=sys.stderr)
    return written


def _search(asked: argparse.Namespace, results: Sequence[CellResult]) -> None:
    """What a search over rates has to run next, or what it has chosen."""
    wider = wider_than(asked.name)
    if asked.next and wider is None:
        raise ValueError(f"table {asked.name}: --next is for an experiment that names a wider one, as study does")
    every = results if wider is None else experiment_results(wider, overrides=asked.overrides, folder=asked.results)
    diverged = _diverged(asked, [asked.name, *([wider] if wider else [])], [*results, *every])
    left = due(results, every, diverged=diverged) if wider is not None else []
    if asked.next:
        print(*left, sep="\n", end="\n" if left else "")
        return
    if left:
        raise ValueError(f"nothing is chosen before every trial is done; {len(left)} are due (--next), as {left[0]}")
    tries = results if wider is None else tried(every, diverged=diverged)
    chosen = choices(tries, capped=wider is not None, diverged=diverged)
    print(tuned_files(chosen, name=asked.name), end="")


def _diverged(asked: argparse.Namespace, names: Sequence[str], results: Sequence[CellResult]) -> frozenset[str]:
    """The commands of the trials without a record whose training diverged on this machine; each is told."""
    from svft_bench.running.sweeping.failures import diverged, reason

    missing = {command for result in results for command in result.missing}
    found: dict[str, str] = {}
    with suppress(ValueError):  # of data that are not here, on which nothing can have failed here
        every = (cell for name in names for cell in cells([f"experiment={name}", *asked.overrides])) if missing else ()
        found = {cell.command: reason(cell) for cell in every if cell.command in missing and diverged(cell)}
    for command, why in found.items():
        print(f"counted as the worst: {command} ({why})", file=sys.stderr)
    return frozenset(found)


def _told(asked: argparse.Namespace, made: Table, results: Sequence[CellResult]) -> str:
    """The table in the format that was asked for, or its cells in the common schema."""
    return every_eval_ever(results) if asked.format == COMMON else _rendered(made, asked)


def _missing(asked: argparse.Namespace, commands: Sequence[str], *, title: str) -> None:
    made = missing_table(commands, name=asked.name, title=title, on=device(asked.on))
    print(_rendered(made, asked), end="")


def _rendered(made: Table, asked: argparse.Namespace) -> str:
    """The columns that were asked for; on a terminal the notes wait to be asked for too."""
    if (asked.columns or asked.brief) and asked.format in ("csv", "json"):
        raise ValueError(f"--format {asked.format} has every number; --columns and --brief are for what people read")
    made = picked(made, columns=asked.columns, brief=asked.brief)
    return render(made if asked.notes or asked.format != "terminal" else folded(made), form=asked.format)


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
    parser.add_argument("--format", choices=[*get_args(Format), COMMON], default="terminal")
    parser.add_argument("--columns", metavar="A,B", help="these columns alone, by their titles")
    parser.add_argument("--brief", action="store_true", help="without the columns of less interest")
    parser.add_argument("--notes", action="store_true", help="with the notes, which other formats have anyway")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--pairs", action="store_true", help="every two methods compared item by item (an experiment)")
    instead.add_argument("--choose", action="store_true", help="each method's best rate on validation rows")
    instead.add_argument("--next", action="store_true", help="the trials that a search over rates has to run next")
    instead.add_argument(
        "--missing", action="store_true", help="instead: the cells not run, with command, time and memory"
    )
    parser.add_argument(
        "--on", default="A100-80GB", metavar="DEVICE", help=f"for --missing; {', '.join(device_names())}"
    )
    parser.add_argument("--results", type=folder, metavar="DIR", help="results_dir of the runs")
    parser.add_argument("--write", action="store_true", help="also into DIR/tables and DIR/figures")
    return parser
