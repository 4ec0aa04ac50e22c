"""What a report shows, as plain values: runs with their predictions, tables, and figures as SVG text."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from svft_bench.analysis.figures import experiment_figures, paper_points
from svft_bench.analysis.references import load_reference, reference_names
from svft_bench.analysis.tables.lines import paper_lines
from svft_bench.analysis.tables.paper import paper_table
from svft_bench.analysis.tables.predictions import judged
from svft_bench.analysis.tables.results import shown_in
from svft_bench.analysis.tables.value import Table
from svft_bench.analysis.tables.writing import experiment_results, experiment_tables
from svft_bench.compose import experiment_names
from svft_bench.records import RunRecord, load_records


@dataclass(frozen=True)
class Section:
    """Tables and figures that belong together; a figure is a title and an SVG text."""

    title: str
    tables: tuple[Table, ...]
    figures: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Content:
    """Everything in a report; a run is plain JSON values."""

    sections: tuple[Section, ...]
    runs: tuple[dict[str, Any], ...]


def report_content(folder: Path, *, predictions: int) -> Content:
    """Gather the experiments and published tables that have records, and every run with some of its predictions.

    Raises:
        ValueError: there is no record, or one that cannot be trusted.
    """
    records = load_records(folder)
    if not records:
        raise ValueError(f"{folder} holds no run record; svft-bench experiment=demo makes some")
    sections = [*_experiments(folder), *_papers(records)]
    runs = tuple(_run(record, folder=folder, predictions=predictions) for record in records)
    return Content(tuple(sections), runs)


def _experiments(folder: Path) -> list[Section]:
    """Experiments side by side, on every core, with a bar for them; nothing is forked of a process that has threads."""
    names = sorted(set(experiment_names()) - set(reference_names()))
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        made = processes.map(partial(_experiment, folder=folder), names)
        shown = track(made, "report", total=len(names), console=Console(stderr=True), transient=True)
        return [section for section in shown if section is not None]


def _experiment(name: str, *, folder: Path) -> Section | None:
    """One experiment, if it has a record."""
    results = experiment_results(name, overrides=(), folder=folder)
    if not any(result.records for result in results):
        return None
    figures = [
        drawn for figure in experiment_figures(results, folder=folder) for drawn in _drawn(figure.title, figure.draw)
    ]
    return Section(experiment_names()[name], tuple(experiment_tables(name, results, folder=folder)), tuple(figures))


def _papers(records: Sequence[RunRecord]) -> list[Section]:
    sections = []
    for name in reference_names():
        reference = load_reference(name)
        lines = paper_lines(reference, records)
        if any(line.records for line in lines):
            drawn = _drawn("printed (hollow) and ours (filled)", partial(paper_points, reference, lines))
            sections.append(Section(reference.title, (paper_table(reference, lines),), tuple(drawn)))
    return sections


def _drawn(title: str, draw: Callable[..., list[Path]]) -> list[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as scratch:
        written = draw(path=Path(scratch) / "figure.svg")
        return [(title, path.read_text(encoding="utf-8")) for path in written]


def _run(record: RunRecord, *, folder: Path, predictions: int) -> dict[str, Any]:
    """A record's own content, its identity flat for comparing, and the first predictions of each eval."""
    body = record.model_dump(mode="json", exclude={"spec"})
    return body | {
        "model": record.spec.model.name,
        "method": record.spec.method.name,
        "task": record.spec.task.name,
        "seed": record.spec.seed,
        "spec": record.spec.identity(),
        "shown": {item.name: shown_in(item.name, [record]) for item in record.spec.task.evals},
        "predictions": {item: _predictions(record, item, folder=folder, limit=predictions) for item in record.scores},
    }


def _predictions(record: RunRecord, evaluation: str, *, folder: Path, limit: int) -> dict[str, Any]:
    item = next(item for item in record.spec.task.evals if item.name == evaluation)
    found = judged(record, item, folder=folder)
    right = found.right or {}
    shown = [
        {
            "id": str(row["id"]),
            "prediction": row["prediction"],
            "reference": row["reference"],
            "right": right.get(row["id"]),
        }
        for row in found.rows[:limit]
    ]
    return {"total": len(found.rows), "rows": shown}
