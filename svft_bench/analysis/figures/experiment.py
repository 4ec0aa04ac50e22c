"""Which figures an experiment has: those of a search over rates, or those of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from svft_bench.analysis.figures.budgets import score_against_costs, score_against_parameters
from svft_bench.analysis.figures.curves import learning_curves
from svft_bench.analysis.figures.intervals import scores_by_method
from svft_bench.analysis.figures.rates import score_against_rate, searched
from svft_bench.analysis.figures.updates import strength_maps, update_profiles
from svft_bench.analysis.tables.results import CellResult


@dataclass(frozen=True)
class Figure:
    """What follows the experiment's name in the files', a title, and what draws it at `path` and says what it wrote."""

    suffix: str
    title: str
    draw: Callable[..., list[Path]]


def experiment_figures(results: Sequence[CellResult], *, folder: Path) -> list[Figure]:
    """The figures of these cells; one for which they have nothing draws nothing. `folder` holds the spectra."""
    searches = any(searched(results, task=task) for task in {result.spec.task.name for result in results})
    if searches:
        scores = [Figure("", "validation score against the learning rate", partial(score_against_rate, results))]
    else:
        scores = [
            Figure("_scores", "scores with their intervals and seeds", partial(scores_by_method, results)),
            Figure("", "score against trained parameters", partial(score_against_parameters, results)),
            Figure("_costs", "score against time and memory", partial(score_against_costs, results)),
        ]
    return [
        *scores,
        Figure("_curves", "learning curves", partial(learning_curves, results)),
        Figure("_updates", "spectra of the learned updates", partial(update_profiles, results, folder=folder)),
        Figure("_strengths", "strength of every vector", partial(strength_maps, results, folder=folder)),
    ]
