"""Printed scores as hollow marks, ours filled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from svft_bench.analysis.figures.canvas import Mark, drawing, scatter
from svft_bench.analysis.figures.looks import look
from svft_bench.analysis.references import Reference
from svft_bench.analysis.tables.lines import Line, label


def paper_points(reference: Reference, lines: Sequence[Line], *, path: Path) -> list[Path]:
    """The printed scores against parameters as hollow marks, ours filled, one panel for each model and column."""
    models = list(dict.fromkeys(line.row.model for line in lines))
    panels = [(model, column) for model in models for column in reference.columns if column.of]
    if not panels:
        return []
    with drawing(panels=len(panels), columns=min(len(panels), 2), path=path) as (axes, written):
        for axis, (model, column) in zip(axes, panels, strict=True):
            here = [line for line in lines if line.row.model == model and column.name in line.row.scores]
            scatter(axis, _marks(here, column.name))
            axis.set(title=f"{model}: {column.title}", xlabel="trained parameters", xscale="log")
            axis.margins(x=0.2)
    return written


def numeric(printed: str | None) -> float | None:
    """The number that a printed count such as 0.19M means."""
    scale = {"K": 1e3, "M": 1e6, "B": 1e9}.get((printed or " ")[-1])
    return None if printed is None or scale is None else float(printed[:-1]) * scale


def _marks(lines: Sequence[Line], column: str) -> list[Mark]:
    marks = []
    for line in lines:
        marker = look(line.row.method)
        printed = line.row.params_computed or numeric(line.row.params_printed)
        if printed is not None:
            marks.append(Mark(printed, line.row.scores[column], None, label(line.row), marker, hollow=True))
        ours = line.ours.get(column)
        if ours is not None:
            count = line.records[0].sizes.trainable_without_head
            ends = None if ours.interval is None else (100 * ours.interval.low, 100 * ours.interval.high)
            marks.append(Mark(count, 100 * ours.mean, ends, "", marker))
    return marks
