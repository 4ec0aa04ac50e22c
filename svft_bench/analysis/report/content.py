"""What a report shows, as plain values: runs with their predictions, tables, and figures as SVG text."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from svft_bench.analysis.figures import experiment_figures, paper_points
from svft_bench.analysis.figures.budgets import lines
from svft_bench.analysis.figures.looks import look
from svft_bench.analysis.references import load_reference, reference_names
from svft_bench.analysis.report.runs import RUNS, Runs, runs_text
from svft_bench.analysis.tables.experiment import cell_name
from svft_bench.analysis.tables.headline import BUDGETS, LOSSES, MATCHED, SOURCES
from svft_bench.analysis.tables.keeping import contents, made_or_kept, shows_records, table_parts
from svft_bench.analysis.tables.paper import paper_table
from svft_bench.analysis.tables.results import CellResult, shown_name
from svft_bench.analysis.tables.value import Table
from svft_bench.analysis.tables.writing import experiment_results, experiment_tables, headline, paper_results
from svft_bench.compose import experiment_names
from svft_bench.records import Held, outlines
from svft_bench.records.durable import digests


@dataclass(frozen=True)
class Section:
    """Tables and figures that belong together; a figure is a title and an SVG text, a point a cell's score."""

    name: str
    title: str
    tables: tuple[Table, ...]
    figures: tuple[tuple[str, str], ...]
    points: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Content:
    """Everything in a report."""

    sections: tuple[Section, ...]
    runs: tuple[Runs, ...]

    @property
    def headline(self) -> Table | None:
        """The table over the matched experiments, where they are recorded."""
        return next((one.tables[0] for one in self.sections if one.name == HEADLINE), None)

    @property
    def shown(self) -> list[Section]:
        """The other sections, in the order of a reader: what the headline is of, then the rest by name."""
        first = (*BUDGETS, *MATCHED, *LOSSES)
        others = [one for one in self.sections if one.name != HEADLINE]
        return sorted(others, key=lambda one: first.index(one.name) if one.name in first else len(first))

    @property
    def points(self) -> list[dict[str, Any]]:
        """Every cell's score on every eval of its experiment, with budget, interval and the look of its method."""
        return [one for section in self.shown for one in section.points]


SECTION: TypeAdapter[Section | None] = TypeAdapter(Section | None)
HEADLINE = "headline"
TOGETHER = 20  # runs of one place that are read, kept and shown as one


def report_content(folder: Path, *, predictions: int) -> Content:
    """Gather the experiments and published tables that have records, and every run with some of its predictions.

    What follows from the same contents as in an earlier report is taken from there.

    Raises:
        ValueError: there is no record, or one that cannot be trusted.
    """
    found = outlines(folder)
    if not found:
        raise ValueError(f"{folder} holds no run record; svft-bench experiment=demo makes some")
    names = [*sorted(set(experiment_names()) - set(reference_names())), *reference_names()]
    several = [some for _, group in groupby(found, lambda file: found[file].place) for some in _batches(group)]
    groups = {f"runs {number}": some for number, some in enumerate(several)}

    def work() -> dict[str, list[Any]]:
        runs = {key: ["runs", predictions, contents(files, folder=folder)] for key, files in groups.items()}
        return _sections(names, folder=folder) | runs

    made = made_or_kept(work, partial(_text, folder=folder, predictions=predictions), given=groups)
    sections = [SECTION.validate_json(text) for name, text in made.items() if name not in groups]
    runs = [RUNS.validate_json(made[key]) for key in groups]
    return Content(tuple(one for one in sections if one is not None), tuple(runs))


def _sections(names: Sequence[str], *, folder: Path) -> dict[str, list[Any]]:
    """What every section follows from that has a record."""
    found = outlines(folder)
    every = {name: table_parts(name, found, folder=folder) for name in names}
    parts: dict[str, list[Any]] = {name: ["section", *own] for name, own in every.items() if shows_records(own)}
    if set(SOURCES) <= every.keys():
        parts[HEADLINE] = [HEADLINE, digests(folder / "bench"), *(every[name] for name in SOURCES)]
    return parts


def _text(one: str | list[Held], *, folder: Path, predictions: int) -> str:
    """A section by its name, or some runs."""
    if isinstance(one, str):
        return _section(one, folder=folder)
    return runs_text(one, folder=folder, predictions=predictions)


def _batches(files: Iterable[Held]) -> Iterator[list[Held]]:
    left = iter(files)
    while some := list(islice(left, TOGETHER)):
        yield some


def _section(name: str, *, folder: Path) -> str:
    if name == HEADLINE:
        made = _matched(folder)
    else:
        made = _paper(name, folder=folder) if name in reference_names() else _experiment(name, folder=folder)
    return SECTION.dump_json(made).decode()


def _matched(folder: Path) -> Section | None:
    found = headline(folder)
    return None if found is None else Section(HEADLINE, found[0].title, (found[0],), ())


def _experiment(name: str, *, folder: Path) -> Section | None:
    """One experiment, if it has a record."""
    results = experiment_results(name, overrides=(), folder=folder)
    if not any(result.records for result in results):
        return None
    figures = [
        drawn for figure in experiment_figures(results, folder=folder) for drawn in _drawn(figure.title, figure.draw)
    ]
    tables = experiment_tables(name, results, folder=folder)
    return Section(name, experiment_names()[name], tuple(tables), tuple(figures), tuple(_points(name, results)))


def _points(name: str, results: Sequence[CellResult]) -> list[dict[str, Any]]:
    """What the figure of score against budget shows of cells that were scored on the reported set."""
    done = [result for result in results if result.records and result.spec.score_on == "reported"]
    line = {one.spec.cell_id: title for title, own in lines(done).items() for one in own}
    return [
        {
            "experiment": name,
            "model": result.spec.model.name,
            "eval": shown_name(score.eval, [result]),
            "method": result.spec.method.title,
            "name": cell_name(result, results),
            "line": line[result.spec.cell_id],
            "trained": result.trained,
            "seeds": score.seeds,
            "learns": not result.never_learns(score.eval),
            "mean": 100 * score.mean,
            "ends": None if score.interval is None else [100 * score.interval.low, 100 * score.interval.high],
            "look": look(result.spec.method.name),
        }
        for result in done
        for score in result.scores
    ]


def _paper(name: str, *, folder: Path) -> Section | None:
    reference = load_reference(name)
    lines = paper_results(reference, folder=folder)
    if not any(line.records for line in lines):
        return None
    drawn = _drawn("printed (hollow) and ours (filled)", partial(paper_points, reference, lines))
    return Section(name, reference.title, (paper_table(reference, lines),), tuple(drawn))


def _drawn(title: str, draw: Callable[..., list[Path]]) -> list[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as scratch:
        written = draw(path=Path(scratch) / "figure.svg")
        return [(title, path.read_text(encoding="utf-8")) for path in written]
