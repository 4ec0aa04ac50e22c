"""Figures from records, readable in black and white and equal byte for byte when made twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from svft_bench.labels import arrange
from svft_bench.references import Reference
from svft_bench.tables.paper import Line, label
from svft_bench.tables.results import CellResult, shown_name

MARKERS = "osD^vP*X<>phd8"
UNDATED: dict[str, dict[str, None]] = {".svg": {"Date": None}, ".png": {"Software": None}}
STYLE: dict[str, Any] = {
    "svg.hashsalt": "svft-bench",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 150,
}


@dataclass(frozen=True)
class Mark:
    """A point to draw: its place, the arm of its interval, its name beside it, its shape."""

    x: float
    y: float
    arm: float | None
    name: str
    marker: str
    hollow: bool

    def at(self, x: float) -> Mark:
        """The same mark at another cost."""
        return replace(self, x=x)


def score_against_parameters(results: Sequence[CellResult], *, path: Path) -> list[Path]:
    """Score and its interval against trained parameters (head not counted), one panel an eval, with the Pareto front.

    Returns the files written, `path` with the suffixes .svg and .png; none if no cell has a record.
    """
    done = [result for result in results if result.records]
    evals = list(dict.fromkeys(score.eval for result in done for score in result.scores))
    if not done:
        return []
    with drawing(panels=len(evals), columns=min(len(evals), 3), path=path) as (axes, written):
        for axis, evaluation in zip(axes, evals, strict=True):
            _parameters_panel(axis, _marks(done, evaluation), title=shown_name(evaluation, done))
    return written


def score_against_costs(results: Sequence[CellResult], *, path: Path) -> list[Path]:
    """For each eval, score against training time (seconds a step) and against peak memory (GiB); files as above."""
    done = [result for result in results if result.records]
    evals = list(dict.fromkeys(score.eval for result in done for score in result.scores))
    if not done:
        return []
    with drawing(panels=2 * len(evals), columns=2, path=path) as (axes, written):
        for index, evaluation in enumerate(evals):
            marks = _marks(done, evaluation)
            for axis, cost, unit, name in (
                (axes[2 * index], "step_seconds", 1.0, "seconds a training step"),
                (axes[2 * index + 1], "peak_memory_bytes", 2.0**30, "peak memory in training, GiB"),
            ):
                _scatter(axis, [mark.at(result.cost(cost) / unit) for mark, result in marks])
                axis.set(title=shown_name(evaluation, done), xlabel=name, ylabel="score × 100")
                axis.margins(x=0.3)
    return written


def paper_points(reference: Reference, lines: Sequence[Line], *, path: Path) -> list[Path]:
    """The printed scores against parameters as hollow marks, ours filled, one panel for each model and column."""
    panels = [(row_model, column) for row_model in _models(lines) for column in reference.columns if column.of]
    if not panels:
        return []
    with drawing(panels=len(panels), columns=min(len(panels), 2), path=path) as (axes, written):
        for axis, (model, column) in zip(axes, panels, strict=True):
            here = [line for line in lines if line.row.model == model and column.name in line.row.scores]
            methods = list(dict.fromkeys(line.row.method for line in here))
            marks = []
            for line in here:
                marker = MARKERS[methods.index(line.row.method) % len(MARKERS)]
                printed = line.row.params_computed or numeric(line.row.params_printed)
                if printed is not None:
                    marks.append(
                        Mark(printed, line.row.scores[column.name], None, label(line.row), marker, hollow=True)
                    )
                ours = line.ours.get(column.name)
                if ours is not None:
                    count = line.records[0].sizes.trainable_without_head
                    marks.append(Mark(count, ours.mean, ours.arm, "", marker, hollow=False))
            _scatter(axis, marks)
            axis.set(title=f"{model}: {column.title}", xlabel="trained parameters", xscale="log")
            axis.margins(x=0.2)
    return written


def _models(lines: Sequence[Line]) -> list[str]:
    return list(dict.fromkeys(line.row.model for line in lines))


def numeric(printed: str | None) -> float | None:
    """The number that a printed count such as 0.19M means."""
    scale = {"K": 1e3, "M": 1e6, "B": 1e9}.get((printed or " ")[-1])
    return None if printed is None or scale is None else float(printed[:-1]) * scale


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, score) that no other beats in both, from cheap to dear."""
    front: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or score > front[-1][1]:
            front.append((cost, score))
    return front


def _marks(results: Sequence[CellResult], evaluation: str) -> list[tuple[Mark, CellResult]]:
    methods = list(dict.fromkeys(result.spec.method.name for result in results))
    marks = []
    for result in results:
        score = result.score(evaluation)
        if score is not None:
            arm = max(score.mean - score.interval.low, score.interval.high - score.mean) if score.interval else None
            marker = MARKERS[methods.index(result.spec.method.name) % len(MARKERS)]
            mark = Mark(0, 100 * score.mean, arm and 100 * arm, result.spec.method.title, marker, hollow=False)
            marks.append((mark, result))
    return marks


def _parameters_panel(axis: Any, marks: Sequence[tuple[Mark, CellResult]], *, title: str) -> None:
    counts = [result.records[0].sizes.trainable_without_head for _, result in marks]
    smallest = min((count for count in counts if count), default=1)
    none_trained = smallest / 10  # a logarithmic axis has no zero: one decade below the smallest budget stands for it
    placed = [mark.at(count or none_trained) for (mark, _), count in zip(marks, counts, strict=True)]
    _scatter(axis, placed)
    front = pareto_front([(mark.x, mark.y) for mark in placed])
    axis.step(*zip(*front, strict=True), where="post", color="0.6", linewidth=0.8, linestyle="--", zorder=0)
    axis.set_xscale("log")
    axis.set_xlim((none_trained if 0 in counts else smallest) * 0.5, max(*counts, smallest) * 8)
    if 0 in counts:
        axis.axvline(none_trained * 2.5, color="0.85", linewidth=0.8)
        axis.text(none_trained, 0.01, "0", transform=axis.get_xaxis_transform(), fontsize=7, ha="center")
    axis.set(title=title, xlabel="trained parameters without the head", ylabel="score × 100")


def _scatter(axis: Any, marks: Sequence[Mark]) -> None:
    for mark in marks:
        face = "white" if mark.hollow else "black"
        axis.errorbar(
            [mark.x],
            [mark.y],
            yerr=mark.arm,
            fmt=mark.marker,
            color="black",
            markerfacecolor=face,
            markersize=5,
            elinewidth=0.8,
            capsize=2,
        )
        _name(axis, mark.x, mark.y, mark.name)


def _name(axis: Any, x: float, y: float, name: str) -> None:
    thread = {"arrowstyle": "-", "color": "0.5", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 3}
    axis.annotate(name, (x, y), xytext=(6, 3), textcoords="offset points", fontsize=7, arrowprops=thread)


@contextmanager
def drawing(*, panels: int, columns: int, path: Path) -> Iterator[tuple[list[Any], list[Path]]]:
    """Axes to draw on; the figure is saved without dates when the block ends: SVG and PNG, or what the path ends in."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    written: list[Path] = []
    rows = -(-panels // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(max(5.5, 4.2 * columns), 3.6 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = [figure.add_subplot(rows, columns, index + 1) for index in range(panels)]
        yield axes, written
        figure.draw_without_rendering()  # the layout, so that names are placed by where things will stand
        for axis in axes:
            arrange(axis)
        path.parent.mkdir(parents=True, exist_ok=True)
        for suffix in [path.suffix] if path.suffix in UNDATED else UNDATED:
            written.append(path.with_name(path.name.removesuffix(suffix) + suffix))
            figure.savefig(written[-1], metadata=UNDATED[suffix])
