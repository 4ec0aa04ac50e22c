"""The scores of methods side by side: mean and 95 % interval, and every seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from svft_bench.analysis.figures.canvas import drawing, ends, recorded_evals
from svft_bench.analysis.figures.looks import look
from svft_bench.analysis.tables.experiment import name_on_its_model
from svft_bench.analysis.tables.results import CellResult, shown_name


def scores_by_method(results: Sequence[CellResult], *, path: Path) -> list[Path]:
    """A row for each cell, in the order of trained parameters, with a panel for each eval.

    Filled: the mean over seeds. Hollow: the seeds. Bar: the interval over seeds and items, or over items alone where
    there is one seed. Returns the files written; none with fewer than two recorded cells.
    """
    done, evals = recorded_evals(results)
    rows = sorted({_name(result, done): result.trained for result in done}.items(), key=lambda item: item[1])
    names = [name for name, _ in rows]
    if len(names) < 2:
        return []
    columns = min(len(evals), 3)
    with drawing(panels=len(evals), columns=columns, path=path, height=0.9 + 0.26 * len(names)) as (axes, written):
        for index, (axis, evaluation) in enumerate(zip(axes, evals, strict=True)):
            for result in done:
                _row(axis, result, evaluation, height=names.index(_name(result, done)))
            shown = [f"{name}, {count:,}" for name, count in rows] if index % columns == 0 else [""] * len(rows)
            axis.set_yticks(range(len(names)), shown, fontsize=7)
            axis.set_ylim(len(names) - 0.5, -0.5)
            axis.grid(axis="y", color="0.92", linewidth=0.6)
            axis.set(title=shown_name(evaluation, done), xlabel="score × 100")
    return written


def _name(result: CellResult, done: Sequence[CellResult]) -> str:
    several = len({other.spec.model.name for other in done}) > 1
    return f"{result.spec.model.name} " * several + name_on_its_model(result, done)


def _row(axis: Any, result: CellResult, evaluation: str, *, height: int) -> None:
    score = result.score(evaluation)
    if score is None:
        return
    colour, marker = look(result.spec.method.name)
    if (span := ends(score)) is not None:
        axis.plot(span, [height, height], color="0.55", linewidth=1.6, solid_capstyle="butt", zorder=1)
    if score.seeds > 1:
        found = (record.scores[evaluation][score.metric] for record in result.records)
        seeds = [100 * value for value in found if value is not None]
        axis.plot(seeds, [height] * len(seeds), "o", color=colour, markerfacecolor="white", markersize=4, zorder=2)
    axis.plot([100 * score.mean], [height], marker, color=colour, markersize=5, zorder=3)
