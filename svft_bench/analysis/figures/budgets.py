"""Scores against what they cost: trained parameters, time and memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from svft_bench.analysis.figures.canvas import Mark, drawing, ends, legend_beside, recorded_evals, scatter
from svft_bench.analysis.figures.looks import Look, look
from svft_bench.analysis.tables.experiment import cell_name, name_on_its_model
from svft_bench.analysis.tables.results import CellResult, shown_name
from svft_bench.analysis.tables.searched import Named, named, place
from svft_bench.config.wording import brief

BESIDE = 1.11  # marks of one budget stand by this factor apart
FILLS = ("full", "left", "bottom", "right", "top")  # of cells of one method that its name does not tell apart


def score_against_parameters(results: Sequence[CellResult], *, path: Path) -> list[Path]:
    """Score and its interval against trained parameters, the head not counted, one panel an eval, one name a method.

    The budgets of one method are joined, their intervals a band; one that trains nothing but the head is a level.
    Hollow: no seed learns. Returns the files written, `path` with the suffix .svg; none if no cell has a record.
    """
    done, evals = recorded_evals(results)
    if not done:
        return []
    by_name = lines(done)
    with drawing(panels=len(evals), columns=min(len(evals), 3), path=path) as (axes, written):
        for axis, evaluation in zip(axes, evals, strict=True):
            _parameters_panel(axis, by_name, evaluation)
            axis.set(title=shown_name(evaluation, done), xlabel="trained parameters without the head")
        axes[0].set(ylabel="score × 100")
        legend_beside(axes)
    return written


def score_against_costs(results: Sequence[CellResult], *, path: Path) -> list[Path]:
    """For each eval, score against training time (seconds a step) and against peak memory (GiB); files as above."""
    done, evals = recorded_evals(results)
    if not done:
        return []
    with drawing(panels=2 * len(evals), columns=2, path=path) as (axes, written):
        for index, evaluation in enumerate(evals):
            marks = [(_mark(one, evaluation, done), one) for one in done if one.score(evaluation) is not None]
            timed = [mark.at(step) for mark, result in marks if (step := result.step_seconds) is not None]
            sized = [mark.at(result.cost("peak_memory_bytes") / 2**30) for mark, result in marks if result.one_kind]
            for axis, placed, name in (
                (axes[2 * index], timed, "seconds a training step"),
                (axes[2 * index + 1], sized, "peak memory in training, GiB"),
            ):
                scatter(axis, placed)
                axis.set(title=shown_name(evaluation, done), xlabel=name, ylabel="score × 100")
                axis.margins(x=0.3)
    return written


def beside(budget: float, taken: Sequence[float]) -> float:
    """The place nearest to a budget, on a logarithmic axis, where no other mark stands."""
    places = (budget * BESIDE**turn for step in count() for turn in (step, -step))
    return next(x for x in places if all(max(x / one, one / x) > BESIDE**0.9 for one in taken))


def _mark(result: CellResult, evaluation: str, results: Sequence[CellResult]) -> Mark:
    score = result.score(evaluation)
    assert score is not None
    return Mark(0, 100 * score.mean, ends(score), cell_name(result, results), look(result.spec.method.name))


def lines(results: Sequence[CellResult]) -> dict[str, list[CellResult]]:
    """Cells by the line that a figure has for them, as a legend calls it.

    Those of a method and modules have its title where each has its own budget. A name begins with its model where two
    were scored on one eval, and ends with its modules where it has several.
    """
    places = {(one.spec.model.name, score.eval) for one in results for score in one.scores}
    several = len({evaluation for _, evaluation in places}) < len(places)
    groups: dict[tuple[str, Named], list[CellResult]] = {}
    for one in results:
        groups.setdefault((f"{one.spec.model.name} " * several, named(one)), []).append(one)
    found: dict[str, list[CellResult]] = {}
    for (model, (title, modules)), own in groups.items():
        budgets = {(place(one), one.trained) for one in own}
        ending = f" {modules}" * (sum(name == title for _, (name, _) in groups) > 1)
        for one in own:
            name = f"{title}{ending}" if len(budgets) == len(own) else name_on_its_model(one, results)
            found.setdefault(f"{model}{name}", []).append(one)
    return found


def _parameters_panel(axis: Any, cells: Mapping[str, Sequence[CellResult]], evaluation: str) -> None:
    from matplotlib.ticker import LogLocator

    taken: list[float] = []
    of_method: Counter[str] = Counter()
    for name, own in sorted(cells.items(), key=lambda item: -len(item[1])):  # lines first, others beside them
        method = own[0].spec.method.name
        fill = FILLS[of_method[method] % len(FILLS)]
        of_method[method] += 1
        scored = sorted((one for one in own if one.score(evaluation) is not None), key=lambda one: one.trained)
        axis.plot([], [], label=name, **_one(axis, scored, evaluation, look=look(method), fill=fill, taken=taken))
    axis.set_xscale("log", subs=())
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axis.xaxis.set_major_formatter(lambda budget, _: brief(round(budget)))
    axis.grid(axis="y", color="0.92", linewidth=0.5)


def _one(
    axis: Any, cells: Sequence[CellResult], evaluation: str, *, look: Look, fill: str, taken: list[float]
) -> dict[str, Any]:
    """Draw the cells of one name, from the smallest budget, and say how a legend shows them."""
    marks = [_mark(one, evaluation, cells).at(one.trained) for one in cells]
    levels = [mark for mark in marks if not mark.x]
    for mark in levels:
        axis.axhline(mark.y, color=look.colour, linewidth=0.9, linestyle=":", zorder=0)
    marks = marks[len(levels) :]
    if len(marks) == 1:
        marks = [marks[0].at(beside(marks[0].x, taken))]
    taken += [mark.x for mark in marks]
    _band(axis, marks, look.colour)
    style = {"marker": look.marker, "color": look.colour, "markersize": 5, "fillstyle": fill}
    style |= {"markerfacecoloralt": "white"}
    for mark, one in zip(marks, cells[len(levels) :], strict=True):
        hollow = {"fillstyle": "none"} if one.never_learns(evaluation) else {}
        axis.plot([mark.x], [mark.y], **style | hollow, linestyle="none", zorder=3)
    if levels:
        return {"linestyle": ":", "color": look.colour}
    return style | {"linewidth": 0.9, "linestyle": "-" if len(marks) > 1 else "none"}


def _band(axis: Any, marks: Sequence[Mark], colour: str) -> None:
    """Join the marks of one method, their intervals a band; the interval of a single mark is a bar."""
    spans = [(mark.x, *mark.ends) for mark in marks if mark.ends is not None]
    if len(marks) > 1:
        axis.plot([mark.x for mark in marks], [mark.y for mark in marks], color=colour, linewidth=0.9, zorder=2)
    if len(spans) > 1:
        axis.fill_between(*zip(*spans, strict=True), color=colour, alpha=0.13, linewidth=0, zorder=1)
    elif spans:
        axis.plot([spans[0][0]] * 2, spans[0][1:], color=colour, alpha=0.5, linewidth=1.2, zorder=1)
