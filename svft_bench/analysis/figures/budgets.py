"""Scores against what they cost: trained parameters, time and memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from svft_bench.analysis.figures.canvas import Mark, drawing, ends, recorded_evals, scatter
from svft_bench.analysis.figures.looks import look
from svft_bench.analysis.tables.experiment import cell_name
from svft_bench.analysis.tables.results import CellResult, shown_name

Placed = tuple[Mark, CellResult]


def score_against_parameters(results: Sequence[CellResult], *, path: Path) -> list[Path]:
    """Score and its interval against trained parameters (head not counted), one panel an eval, with the Pareto front.

    The budgets of one method are joined. Returns the files written, `path` with the suffix .svg; none if no
    cell has a record.
    """
    done, evals = recorded_evals(results)
    if not done:
        return []
    with drawing(panels=len(evals), columns=min(len(evals), 3), path=path) as (axes, written):
        for axis, evaluation in zip(axes, evals, strict=True):
            _parameters_panel(axis, _marks(done, evaluation), title=shown_name(evaluation, done))
    return written


def score_against_costs(results: Sequence[CellResult], *, path: Path) -> list[Path]:
    """For each eval, score against training time (seconds a step) and against peak memory (GiB); files as above."""
    done, evals = recorded_evals(results)
    if not done:
        return []
    with drawing(panels=2 * len(evals), columns=2, path=path) as (axes, written):
        for index, evaluation in enumerate(evals):
            marks = _marks(done, evaluation)
            timed = [mark.at(step) for mark, result in marks if (step := result.step_seconds) is not None]
            sized = [mark.at(result.cost("peak_memory_bytes") / 2**30) for mark, result in marks]
            for axis, placed, name in (
                (axes[2 * index], timed, "seconds a training step"),
                (axes[2 * index + 1], sized, "peak memory in training, GiB"),
            ):
                scatter(axis, placed)
                axis.set(title=shown_name(evaluation, done), xlabel=name, ylabel="score × 100")
                axis.margins(x=0.3)
    return written


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, score) that no other beats in both, from cheap to dear."""
    front: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or score > front[-1][1]:
            front.append((cost, score))
    return front


def _marks(results: Sequence[CellResult], evaluation: str) -> list[Placed]:
    marks = []
    for result in results:
        score = result.score(evaluation)
        if score is not None:
            own = look(result.spec.method.name)
            marks.append((Mark(0, 100 * score.mean, ends(score), cell_name(result, results), own), result))
    return marks


def _parameters_panel(axis: Any, marks: Sequence[Placed], *, title: str) -> None:
    counts = [result.records[0].sizes.trainable_without_head for _, result in marks]
    smallest = min((count for count in counts if count), default=1)
    none_trained = smallest / 10  # a logarithmic axis has no zero: one decade below the smallest budget stands for it
    placed = [mark.at(count or none_trained) for (mark, _), count in zip(marks, counts, strict=True)]
    scatter(axis, placed)
    _join_budgets(axis, [(mark, result) for mark, (_, result) in zip(placed, marks, strict=True)])
    front = pareto_front([(mark.x, mark.y) for mark in placed])
    axis.step(*zip(*front, strict=True), where="post", color="0.6", linewidth=0.8, linestyle="--", zorder=0)
    axis.set_xscale("log")
    axis.set_xlim((none_trained if 0 in counts else smallest) * 0.5, max(*counts, smallest) * 8)
    if 0 in counts:
        axis.axvline(none_trained * 2.5, color="0.85", linewidth=0.8)
        axis.text(none_trained, 0.01, "0", transform=axis.get_xaxis_transform(), fontsize=7, ha="center")
    axis.set(title=title, xlabel="trained parameters without the head", ylabel="score × 100")


def _join_budgets(axis: Any, placed: Sequence[Placed]) -> None:
    of_method: dict[tuple[str, str], list[Mark]] = {}
    for mark, result in placed:
        of_method.setdefault((result.spec.model.name, result.spec.method.name), []).append(mark)
    for marks in of_method.values():
        points = sorted((mark.x, mark.y) for mark in marks)
        if len({x for x, _ in points}) == len(points) > 1:
            axis.plot(*zip(*points, strict=True), color="black", linewidth=0.6, zorder=2)
