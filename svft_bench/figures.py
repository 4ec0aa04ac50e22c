"""Figures from records, readable in black and white and equal byte for byte when made twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from svft_bench.tables.results import CellResult, Score

MARKERS = "osD^vP*X<>phd8"
STYLE: dict[str, Any] = {
    "svg.hashsalt": "svft-bench",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 150,
}


def score_against_parameters(results: Sequence[CellResult], *, path: Path) -> list[Path]:
    """Score and its interval against trained parameters (head not counted), one panel an eval, with the Pareto front.

    Returns the files written, `path` with the suffixes .svg and .png; none if no cell has a record.
    """
    done = [result for result in results if result.records]
    evals = list(dict.fromkeys(score.eval for result in done for score in result.scores))
    if not done:
        return []
    with _figure(panels=len(evals), path=path) as (axes, written):
        for axis, evaluation in zip(axes, evals, strict=True):
            points = [(result, score) for result in done if (score := result.score(evaluation)) is not None]
            _panel(axis, points, title=evaluation)
    return written


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, score) that no other beats in both, from cheap to dear."""
    front: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or score > front[-1][1]:
            front.append((cost, score))
    return front


def _panel(axis: Any, points: Sequence[tuple[CellResult, Score]], *, title: str) -> None:
    counts = [result.records[0].sizes.trainable_without_head for result, _ in points]
    smallest = min((count for count in counts if count), default=1)
    none_trained = smallest / 10  # a logarithmic axis has no zero: one decade below the smallest budget stands for it
    methods = list(dict.fromkeys(result.spec.method.name for result, _ in points))
    places = []
    for (result, score), count in zip(points, counts, strict=True):
        x, y = count or none_trained, 100 * score.mean
        places.append((x, y))
        marker = MARKERS[methods.index(result.spec.method.name) % len(MARKERS)]
        bars = [[y - 100 * score.interval.low], [100 * score.interval.high - y]] if score.interval else None
        axis.errorbar([x], [y], yerr=bars, fmt=marker, color="black", markersize=5, elinewidth=0.8, capsize=2)
        axis.annotate(result.spec.method.title, (x, y), xytext=(6, 3), textcoords="offset points", fontsize=8)
    front = pareto_front(places)
    axis.step(*zip(*front, strict=True), where="post", color="0.6", linewidth=0.8, linestyle="--", zorder=0)
    axis.set_xscale("log")
    axis.set_xlim((none_trained if 0 in counts else smallest) * 0.5, max(*counts, smallest) * 8)
    if 0 in counts:
        axis.axvline(none_trained * 2.5, color="0.85", linewidth=0.8)
        axis.text(none_trained, 0.01, "0", transform=axis.get_xaxis_transform(), fontsize=7, ha="center")
    axis.set(title=title, xlabel="trained parameters without the head", ylabel=f"{points[0][1].metric} × 100")


@contextmanager
def _figure(*, panels: int, path: Path) -> Iterator[tuple[list[Any], list[Path]]]:
    """Axes to draw on; the figure is saved as SVG and PNG, without dates, when the block ends."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    written: list[Path] = []
    columns = min(panels, 3)
    rows = -(-panels // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(max(5.5, 4.2 * columns), 3.6 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = [figure.add_subplot(rows, columns, index + 1) for index in range(panels)]
        yield axes, written
        path.parent.mkdir(parents=True, exist_ok=True)
        for suffix, metadata in ((".svg", {"Date": None}), (".png", {"Software": None})):
            written.append(path.with_name(path.name + suffix))
            figure.savefig(written[-1], metadata=metadata)
