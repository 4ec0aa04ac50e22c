"""What every figure is drawn with: the canvas, marks with the arms of their intervals, lines, and a legend beside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import fill
from typing import Any

from svft_bench.analysis.figures.labels import arrange
from svft_bench.analysis.figures.looks import Look, look
from svft_bench.analysis.tables.results import CellResult, Score

TITLE_WIDTH = 40  # characters, about what a panel has room for
DASHES = ("-", "--", "-.", ":", (0, (8, 2)), (0, (1, 3)), (0, (5, 1, 1, 1, 1, 1)))
UNDATED: dict[str, dict[str, None]] = {".svg": {"Date": None}, ".png": {"Software": None}}
STYLE: dict[str, Any] = {
    "svg.hashsalt": "svft-bench",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titley": 1.0,  # where it would come to stand, without looking for labels above every panel
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 150,
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
}


@dataclass(frozen=True)
class Mark:
    """A point to draw: its place, the ends of its interval on the y axis, the name beside it, its look."""

    x: float
    y: float
    ends: tuple[float, float] | None
    name: str
    look: Look
    hollow: bool = False

    def at(self, x: float) -> Mark:
        """The same mark at another cost."""
        return replace(self, x=x)


@contextmanager
def drawing(
    *, panels: int, columns: int, path: Path, width: float = 4.2, height: float = 3.6
) -> Iterator[tuple[list[Any], list[Path]]]:
    """Axes to draw on, each so many inches wide and high.

    The figure is saved without dates when the block ends: as SVG, or as PNG where the path ends so.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    written: list[Path] = []
    rows = -(-panels // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(max(5.5, width * columns), height * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = [figure.add_subplot(rows, columns, index + 1) for index in range(panels)]
        yield axes, written
        for axis in axes:
            axis.set_title(fill(axis.get_title(), TITLE_WIDTH))
        engine = figure.get_layout_engine()
        assert engine is not None
        engine.execute(figure)  # so that names are placed by where things will stand
        figure.set_layout_engine(None)  # which saving would begin again
        for axis in axes:
            arrange(axis)
        path.parent.mkdir(parents=True, exist_ok=True)
        written.append(path if path.suffix in UNDATED else path.with_name(f"{path.name}.svg"))
        figure.savefig(written[-1], metadata=UNDATED[written[-1].suffix])


def scatter(axis: Any, marks: Sequence[Mark]) -> None:
    """Draw marks, their intervals in grey behind them, and their names."""
    for mark in marks:
        if mark.ends is not None:
            axis.plot([mark.x, mark.x], mark.ends, color="0.6", linewidth=0.8, marker="_", markersize=4, zorder=1)
        colour, marker = mark.look
        face = "white" if mark.hollow else colour
        axis.plot([mark.x], [mark.y], marker, color=colour, markerfacecolor=face, markersize=5, zorder=3)
        thread = {"arrowstyle": "-", "color": "0.5", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 3}
        name = axis.annotate(
            mark.name, (mark.x, mark.y), xytext=(6, 3), textcoords="offset points", fontsize=7, arrowprops=thread
        )
        name.set_in_layout(False)  # it is placed within the panel when that has its size


def line_style(index: int, *, method: str) -> dict[str, Any]:
    """The look of the line with this index: the colour of its method, and dashes that tell it from its neighbours."""
    return {"color": look(method).colour, "linestyle": DASHES[index % len(DASHES)], "linewidth": 0.9}


def legend_beside(axes: Sequence[Any]) -> None:
    """Name the lines right of the panels, on a wider figure, once where all panels name the same."""
    named = [axis.get_legend_handles_labels() for axis in axes]
    if all(names == named[0][1] for _, names in named):
        handles, names = named[0]
        figure = axes[0].figure
        figure.set_figwidth(figure.get_figwidth() + 0.7 + 0.055 * max(map(len, names)))  # inches of a line and a letter
        look = {"frameon": False, "fontsize": 7, "handlelength": 4}
        figure.legend(handles, names, loc="outside right upper", **look)
        return
    for axis in axes:
        axis.legend(frameon=False, fontsize=7, handlelength=4)


def ends(score: Score) -> tuple[float, float] | None:
    """The interval of a score times 100."""
    return None if score.interval is None else (100 * score.interval.low, 100 * score.interval.high)


def recorded_evals(results: Sequence[CellResult]) -> tuple[list[CellResult], list[str]]:
    """The cells that have a record, and the names of their evals."""
    done = [result for result in results if result.records]
    return done, list(dict.fromkeys(score.eval for result in done for score in result.scores))
