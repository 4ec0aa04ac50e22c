"""Scores with their 95 % intervals as bands at matched budgets: what the headline's table says, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from svft_bench.analysis.figures.canvas import drawing, ends
from svft_bench.analysis.figures.looks import look
from svft_bench.analysis.tables.answers import ALIKE
from svft_bench.analysis.tables.results import CellResult, shown_name
from svft_bench.analysis.tables.searched import Named, named, place
from svft_bench.config.wording import brief

COLUMNS, WIDTH, HEIGHT = 4, 2.6, 2.2  # of panels, and the inches of one


def scores_at_budgets(results: Sequence[CellResult], *, path: Path) -> list[Path]:
    """A panel for each eval of each task: score and band, methods side by side from few trained parameters to many.

    Shaded strips hold one budget each, the head not counted. Hollow: no seed learns. Half filled: a method's second
    choice of modules. The legend takes the last panel. Returns the files written; none if no cell has a record.
    """
    done = [result for result in results if result.records]
    evals = list(dict.fromkeys((place(one), item.name) for one in done for item in one.spec.task.evals))
    if not evals:
        return []
    panels = len(evals) + 1
    with drawing(panels=panels, columns=min(panels, COLUMNS), path=path, width=WIDTH, height=HEIGHT) as (axes, written):
        fills = _fills(done)
        handles: dict[Named, Any] = {}
        for index, (axis, (at, evaluation)) in enumerate(zip(axes, evals, strict=False)):
            own = [one for one in done if place(one) == at]
            handles |= _panel(axis, own, evaluation, fills=fills)
            axis.set_title(shown_name(evaluation, own))
            axis.set_ylabel("" if index % COLUMNS else "score × 100")
        names = sorted(handles, key=list(fills).index)
        axes[-1].axis("off")
        axes[-1].legend([handles[name] for name in names], [_label(name, fills) for name in names], **LEGEND)
    return written


LEGEND: dict[str, Any] = {"loc": "center left", "frameon": False, "fontsize": 7.5, "borderpad": 0} | {
    "title": "hollow: learns at no seed",
    "title_fontsize": 7.5,
    "alignment": "left",
}


def budgets(counts: Sequence[int]) -> list[list[int]]:
    """The different counts in groups of about one budget, from the smallest."""
    groups: list[list[int]] = []
    for count in sorted(set(counts)):
        if groups and count <= ALIKE * groups[-1][-1]:
            groups[-1].append(count)
        else:
            groups.append([count])
    return groups


def _fills(results: Sequence[CellResult]) -> dict[Named, str]:
    """How the mark of a method and its modules is filled: whole at its first modules, half at others."""
    fills: dict[Named, str] = {}
    for name in map(named, results):
        fills.setdefault(name, "left" if any(title == name[0] for title, _ in fills) else "full")
    return fills


def _label(name: Named, fills: dict[Named, str]) -> str:
    several = sum(title == name[0] for title, _ in fills) > 1
    return " ".join(name) if several else name[0]


def _panel(axis: Any, results: Sequence[CellResult], evaluation: str, *, fills: dict[Named, str]) -> dict[Named, Any]:
    """Draw one eval; what stands for each method in a legend."""
    handles, ticks, left = {}, [], 0.0
    groups = budgets([one.trained for one in results])
    for index, group in enumerate(groups):
        inside = sorted((one for one in results if one.trained in group), key=lambda one: list(fills).index(named(one)))
        for turn, result in enumerate(inside):
            handles[named(result)] = _mark(axis, result, evaluation, x=left + turn, filled=fills[named(result)])
        right = left + len(inside) - 1
        axis.axvspan(left - 0.75, right + 0.75, color="0.95" if index % 2 == 0 else "white", zorder=0, linewidth=0)
        ticks.append(((left + right) / 2, "–".join(dict.fromkeys(brief(count) for count in (group[0], group[-1])))))
        left = right + 1.5
    axis.set_xticks([at for at, _ in ticks], [text for _, text in ticks], fontsize=7)
    axis.tick_params(axis="y", labelsize=7)
    axis.grid(axis="y", color="0.88", linewidth=0.5)
    axis.set_axisbelow(True)
    axis.set_xlim(-0.75, left - 0.75)
    axis.set_xlabel("trained parameters", fontsize=8)
    return handles


def _mark(axis: Any, result: CellResult, evaluation: str, *, x: float, filled: str) -> Any:
    """The mark of one cell over its band; what stands for its method in the legend, whatever it did on this eval."""
    (colour, marker), score = look(result.spec.method.name), result.score(evaluation)
    style = {"marker": marker, "color": colour, "markersize": 5, "markeredgewidth": 0.9, "linestyle": "none"}
    if score is not None:
        shown = "none" if result.never_learns(evaluation) else filled
        if (span := ends(score)) is not None:
            axis.plot([x, x], span, color=colour, alpha=0.35, linewidth=4, solid_capstyle="butt", zorder=1)
        axis.plot([x], [100 * score.mean], **style, fillstyle=shown, markerfacecoloralt="white", zorder=3)
    return axis.plot([], [], **style, fillstyle=filled, markerfacecoloralt="white")[0]
