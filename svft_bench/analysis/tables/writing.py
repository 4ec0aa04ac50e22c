"""An experiment's and a paper's tables and figures, made from records and written below a results folder."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from svft_bench.analysis.references import Reference, reference_names
from svft_bench.analysis.tables.answers import answers
from svft_bench.analysis.tables.compared import fields, judge_all
from svft_bench.analysis.tables.experiment import experiment_table
from svft_bench.analysis.tables.headline import BUDGETS, LOSSES, MATCHED, SEARCHES, SOURCES, headline_table
from svft_bench.analysis.tables.lines import Line, paper_lines
from svft_bench.analysis.tables.pairs import named_comparisons, pairs_table
from svft_bench.analysis.tables.paper import paper_table
from svft_bench.analysis.tables.predictions import with_noise
from svft_bench.analysis.tables.render import Format, render
from svft_bench.analysis.tables.results import CellResult, recorded_results
from svft_bench.analysis.tables.searched import search_notes
from svft_bench.analysis.tables.searches import with_searches
from svft_bench.analysis.tables.steps import paired_steps
from svft_bench.analysis.tables.value import Table
from svft_bench.compose import Cell, cells, experiment_names
from svft_bench.config.wording import nearest
from svft_bench.records import load_records, outlines
from svft_bench.records.durable import write_whole

WRITTEN: dict[Format, str] = {"markdown": "md", "csv": "csv"}
SUFFIXES = ("", "_pairs", "_scores", "_costs", "_curves", "_updates", "_strengths")  # of an experiment's files


def experiment_results(name: str, *, overrides: Sequence[str], folder: Path) -> list[CellResult]:
    """The cells of an experiment, each with its records.

    Raises:
        ValueError: no such experiment, or records that cannot be trusted or mixed.
    """
    known = experiment_names()
    if name not in known:
        every = [*known, *reference_names()]
        raise ValueError(f"table {name}: {nearest(name, every)}")
    return results_of(cells([f"experiment={name}", *overrides], any_data=True), folder=folder)


def results_of(asked: Sequence[Cell], *, folder: Path) -> list[CellResult]:
    """The same of any cells, each at all the seeds that are asked for."""
    found = outlines(folder, near={cell.spec.place[1:] for cell in asked})  # which trials elsewhere share
    return with_noise(with_searches(recorded_results(asked, found), found.values()), folder=folder)


def paper_results(reference: Reference, *, extra: Sequence[str] = (), folder: Path) -> list[Line]:
    """The printed rows of a reference, with what of ours below `folder` repeats them.

    Raises:
        ValueError: records that cannot be trusted or mixed.
    """
    places = reference.places
    return paper_lines(reference, load_records(folder, of=lambda one: one.place in places, near=places), extra=extra)


def experiment_or_pairs(name: str, results: Sequence[CellResult], *, pairs: bool, folder: Path) -> Table:
    title = experiment_names()[name]
    if pairs:
        return pairs_table(results, name=name, title=title, folder=folder, named=named_comparisons(name))
    made = experiment_table(results, name=name, title=title)
    return replace(made, notes=(*search_notes(results), *made.notes))


def experiment_tables(name: str, results: Sequence[CellResult], *, folder: Path) -> list[Table]:
    """The table of an experiment, and that of the differences where it compares methods, one cell for each."""
    kinds = {(one.spec.model.name, repr(one.spec.method), one.spec.task.name) for one in results}
    single = len(kinds) == len(results)  # one method with other modules or another budget is another
    compares = single and sum(bool(result.records) for result in results) > 1
    return [experiment_or_pairs(name, results, pairs=pairs, folder=folder) for pairs in (False, True)[: 1 + compares]]


def headline(folder: Path) -> tuple[Table, list[CellResult], list[CellResult]] | None:
    """The headline table, its answers first among the notes, the cells in it, and those of growing budgets.

    None where nothing of the table is recorded.

    Raises:
        ValueError: as `experiment_results` does.
    """

    asked = {name: cells([f"experiment={name}"], any_data=True) for name in SOURCES}

    def found_of(*names: str) -> list[CellResult]:
        return results_of([cell for name in names for cell in asked[name]], folder=folder)

    def recorded(*names: str) -> list[CellResult]:
        return [one for one in found_of(*names) if one.records]

    results, budgets, losses = (recorded(*names) for names in (MATCHED, BUDGETS, LOSSES))
    if not results:
        return None
    searches = [one for name in SEARCHES for one in found_of(name)]  # a rate that was not run is a gap

    compared = [fields(found, judge_all(found, folder=folder)) for found in (results, budgets, losses)]
    tables = {asked[name][0].spec.task.name: name for name in (*BUDGETS, *LOSSES)}
    told = answers(*compared, tables=tables)
    return headline_table(results, searches, answers=told, steps=paired_steps(folder)), results, budgets


def write_headline(folder: Path) -> list[Path]:
    """Write results/tables/headline.md and .csv, and the figures of matched and growing budgets; what was written."""
    from svft_bench.analysis.figures import score_against_parameters, scores_at_budgets

    made = headline(folder)
    if made is None:
        return []
    table, results, budgets = made
    figures = folder / "figures"
    return [
        *write_table(table, folder=folder),
        *scores_at_budgets(results, path=figures / "headline_parameters"),
        *score_against_parameters(budgets, path=figures / "headline_budgets"),
    ]


def write_experiment(
    name: str, results: Sequence[CellResult], *, folder: Path, shown: Collection[str] | None = None
) -> list[Path]:
    """Write results/tables/NAME.md and .csv and its figures below results/figures, all or those `shown`.

    Returns what was written.

    A comparison of methods, one cell for each and two of them recorded, also gets its paired differences; a search over
    settings does not.
    """
    from svft_bench.analysis.figures import experiment_figures

    return [
        *(
            path
            for table in experiment_tables(name, results, folder=folder)
            for path in write_table(table, folder=folder)
        ),
        *(
            path
            for figure in experiment_figures(results, folder=folder)
            if shown is None or f"{name}{figure.suffix}" in shown
            for path in figure.draw(path=folder / "figures" / f"{name}{figure.suffix}")
        ),
    ]


def left_over(name: str, written: Collection[Path], *, folder: Path) -> list[Path]:
    """Differences and figures that an earlier writing of this experiment left, and this one of all of it did not write.

    They would stand beside a table that has other cells.
    """
    own = [name + suffix for suffix in SUFFIXES if not suffix or name + suffix not in experiment_names()]
    tables = (folder / "tables" / f"{one}.{form}" for one in own for form in WRITTEN.values())
    figures = (folder / "figures" / f"{one}.svg" for one in own)
    return [path for path in (*tables, *figures) if path not in written and path.is_file()]


def write_paper(reference: Reference, lines: Sequence[Line], *, folder: Path) -> list[Path]:
    """Write results/tables/NAME.md and .csv and results/figures/NAME.svg; says what was written."""
    from svft_bench.analysis.figures import paper_points

    written = write_table(paper_table(reference, lines), folder=folder)
    return written + paper_points(reference, lines, path=folder / "figures" / reference.name)


def write_table(table: Table, *, folder: Path) -> list[Path]:
    """Write results/tables/NAME.md and .csv; says what was written."""
    written = []
    for form, suffix in WRITTEN.items():
        written.append(folder / "tables" / f"{table.name}.{suffix}")
        write_whole(written[-1], render(table, form=form))
    return written
