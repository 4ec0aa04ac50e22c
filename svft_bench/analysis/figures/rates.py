"""What a search over learning rates saw: each method's score on validation rows against the rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from svft_bench.analysis.figures.canvas import drawing, legend_beside, line_style
from svft_bench.analysis.figures.looks import look
from svft_bench.analysis.tables.experiment import cell_name, validation
from svft_bench.analysis.tables.results import CellResult

Searched = dict[str, list[tuple[float, float]]]  # of each line: (rate, score), from the lowest rate


def score_against_rate(results: Sequence[CellResult], *, path: Path) -> list[Path]:
    """Validation score × 100 over the rate, a line for each method and setting, its best rate filled; a panel a task.

    Returns the files written; none where no cell has two rates with a validation score.
    """
    tasks = {name: lines for name in _tasks(results) if (lines := searched(results, task=name))}
    if not tasks:
        return []
    methods = {_named(result, results): result.spec.method.name for result in results}
    height = max(3.6, 0.35 * max(map(len, tasks.values())))
    with drawing(panels=len(tasks), columns=min(len(tasks), 2), path=path, height=height) as (axes, written):
        for axis, (task, lines) in zip(axes, tasks.items(), strict=True):
            for index, (name, points) in enumerate(lines.items()):
                _line(axis, points, name=name, index=index, method=methods[name])
            axis.set(xscale="log", xlabel="learning rate", ylabel="validation score × 100", title=task)
        legend_beside(axes)
    return written


def searched(results: Sequence[CellResult], *, task: str) -> Searched:
    """The lines of this task: cells that differ in their rate alone, two of them or more."""
    lines: Searched = {}
    for result in results:
        score = validation(result)
        if result.spec.task.name == task and score is not None:
            name = _named(result, results)
            lines.setdefault(name, []).append((result.spec.train.lr, 100 * score))
    return {name: sorted(points) for name, points in lines.items() if len({rate for rate, _ in points}) > 1}


def _named(result: CellResult, results: Sequence[CellResult]) -> str:
    return cell_name(result, results, but=frozenset({"lr"}))


def _tasks(results: Sequence[CellResult]) -> list[str]:
    return list(dict.fromkeys(result.spec.task.name for result in results))


def _line(axis: Any, points: Sequence[tuple[float, float]], *, name: str, index: int, method: str) -> None:
    style, (colour, marker) = line_style(index, method=method), look(method)
    axis.plot(*zip(*points, strict=True), **style, marker=marker, markerfacecolor="white", markersize=5, label=name)
    best = max(points, key=lambda point: (point[1], -point[0]))  # as `table --choose` has it: the lower rate wins a tie
    axis.plot(*best, marker, color=colour, markersize=5, zorder=3)
