"""Learning curves from records: the training loss of every cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from svft_bench.analysis.figures.canvas import DASHES, drawing, legend_beside, line_style
from svft_bench.analysis.tables.experiment import cell_name
from svft_bench.analysis.tables.results import CellResult


def learning_curves(results: Sequence[CellResult], *, path: Path) -> list[Path]:
    """Training loss over steps, one line a cell (the mean over its seeds), in few panels."""
    done = [result for result in results if any(len(record.curve) > 1 for record in result.records)]
    if not done:
        return []
    panels = _curve_panels(done)
    with drawing(panels=len(panels), columns=min(len(panels), 3), path=path) as (axes, written):
        for axis, (title, cells) in zip(axes, panels.items(), strict=True):
            for index, result in enumerate(cells):
                axis.plot(
                    *_mean_curve(result),
                    **line_style(index, method=result.spec.method.name),
                    label=cell_name(result, results),
                )
            axis.set(xlabel="optimizer step", ylabel="training loss", yscale="log", title=title)
        legend_beside(axes)
    return written


def _curve_panels(results: Sequence[CellResult]) -> dict[str, list[CellResult]]:
    """A panel for each task, and for each method of it where a task has more cells than there are styles of line."""
    panels: dict[str, list[CellResult]] = {}
    tasks = Counter(result.spec.task.name for result in results)
    for result in results:
        task, method = result.spec.task.name, result.spec.method.title
        crowded = tasks[task] > 2 * len(DASHES)
        names = [task] * (len(tasks) > 1) + [method] * crowded
        panels.setdefault(", ".join(names), []).append(result)
    return panels


def _mean_curve(result: CellResult) -> tuple[list[int], list[float]]:
    losses: dict[int, list[float]] = {}
    for step, loss in (point for record in result.records for point in record.curve):
        losses.setdefault(step, []).append(loss)
    return sorted(losses), [fmean(losses[step]) for step in sorted(losses)]
