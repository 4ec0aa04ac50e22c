"""What a search over rates found of a method and took of a machine: its usable range, its trials and their time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from svft_bench.analysis.estimates import duration
from svft_bench.analysis.tables.experiment import cell_name, collapsed, validation
from svft_bench.analysis.tables.intervals import CORRELATIONS, item_variance
from svft_bench.analysis.tables.results import CellResult
from svft_bench.config.spec import EvalSpec
from svft_bench.config.wording import plural

Named = tuple[str, str]  # a method by its title and the modules that it adapts
Place = tuple[str, str]  # the names of a model and a task


class Usable(NamedTuple):
    """Decades of rate that score within a standard error of the best, and whether they reach an end of the grid."""

    decades: float
    open: bool
    learns: bool = True

    def __str__(self) -> str:
        if not self.learns:
            return "none"
        return f"{'≥ ' if self.open else ''}{self.decades:.1f}"


class Spent(NamedTuple):
    """Trials, and the seconds that their training took: of the processor, or by the clock where one was not asked."""

    trials: int
    seconds: float
    by_clock: bool

    def __str__(self) -> str:
        return f"{plural(self.trials, 'trial')} in {duration(self.seconds)}{' by the clock' if self.by_clock else ''}"


def named(result: CellResult) -> Named:
    """A method by its title and places; what adapts no matrix has none."""
    method = result.spec.method
    return method.title, str(method.modules) if method.trains == "adapter" else ""


def place(result: CellResult) -> Place:
    """Where a cell was run."""
    return result.spec.model.name, result.spec.task.name


def usable_range(trials: Mapping[float, float | None], *, error: float) -> Usable:
    """The rates around the best, without a gap, whose validation score is at most one standard error below it.

    A rate of which nothing is known, None, is where the range ends as far as it is known.
    """
    rates = sorted(trials)
    known = {rate: score for rate, score in trials.items() if score is not None}
    best = max(known, key=lambda rate: (known[rate], -rate))
    good = [trials[rate] is not None and known[rate] >= known[best] - error for rate in rates]
    low = high = rates.index(best)
    while low > 0 and good[low - 1]:
        low -= 1
    while high < len(rates) - 1 and good[high + 1]:
        high += 1
    beyond = [rates[index] for index in (low - 1, high + 1) if 0 <= index < len(rates)]
    return Usable(math.log10(rates[high] / rates[low]), len(beyond) < 2 or any(trials[rate] is None for rate in beyond))


def usable_ranges(results: Sequence[CellResult]) -> dict[tuple[Named, Place], Usable]:
    """The usable range of every method and task that was searched, by the mean validation score of each rate."""
    groups: dict[tuple[Named, Place], list[CellResult]] = {}
    for result in results:
        groups.setdefault((named(result), place(result)), []).append(result)
    found = {key: _range(group) for key, group in groups.items()}
    return {key: usable for key, usable in found.items() if usable is not None}


def spent(results: Sequence[CellResult]) -> Spent:
    """What the trials among these took."""
    costs = [record.costs for result in results for record in result.records]
    by_clock = any(one.train_cpu_seconds is None or one.memory_of == "cuda" for one in costs)
    seconds = sum((one.train_seconds if by_clock else one.train_cpu_seconds) or 0.0 for one in costs)
    return Spent(len(costs), seconds, by_clock)


def search_notes(results: Sequence[CellResult]) -> list[str]:
    """Where cells of a method and task differ in their rate alone: its trials, their time, and its usable range."""
    groups: dict[str, list[CellResult]] = {}
    for result in results:
        groups.setdefault(result.spec.trial_id, []).append(result)
    tasks = len({place(result) for result in results}) > 1
    told = []
    for group in groups.values():
        usable = _range(group)
        if usable is not None:
            name = cell_name(group[0], results, but=frozenset({"lr", "lr_bias"}))
            told.append(f"{name}{f' on {place(group[0])[1]}' if tasks else ''} {spent(group)}, {usable}")
    if not told:
        return []
    return [
        "Searched, with the time of training and the usable range, decades of rate within one standard error of the "
        f"best: {'; '.join(told)}."
    ]


def _range(group: Sequence[CellResult]) -> Usable | None:
    """The usable range of trials that differ in their rate; None where no two rates have a validation score.

    Of trials at one rate, as with several of the biases, the best counts; one that collapses at a seed is unusable.
    """
    trials: dict[float, float | None] = {}
    for result in group:
        score = -math.inf if collapsed(result) else validation(result)
        before = trials.setdefault(result.spec.train.lr, score)
        trials[result.spec.train.lr] = max((one for one in (before, score) if one is not None), default=None)
    found = [(result, score) for result in group if (score := validation(result)) is not None]
    if not found or sum(score is not None for score in trials.values()) < 2:
        return None
    best, score = max(found, key=lambda one: one[1])
    error = _error(best, score)
    if error is None:
        return None
    learns = _chooser(best).metrics[0] not in (*CORRELATIONS, "matthews") or score > 2 * error
    return usable_range(trials, error=error)._replace(learns=learns)


def _error(result: CellResult, score: float) -> float | None:
    """Standard error of a validation score from the choice of its rows; None where nothing tells it.

    A metric without a formula has that of the stored predictions, where these are of validation rows.
    """
    item = _chooser(result)
    variance = item_variance(item.metrics[0], score, items=max(_validation_rows(result), 1))
    noise = result.noise.get(item.name) if result.spec.score_on == "validation" else None
    if variance is None and noise is not None:
        variance = noise.items
    return None if variance is None else math.sqrt(variance)


def _chooser(result: CellResult) -> EvalSpec:
    """What scores the validation rows."""
    task = result.spec.task
    return task.evals[0] if result.spec.score_on == "validation" else task.chooser


def _validation_rows(result: CellResult) -> int:
    """How many rows a validation score is of: those scored, drawn, or of a split of their own."""
    task, record = result.spec.task, result.records[0]
    if result.spec.score_on == "validation":
        return record.scored_on[task.evals[0].name].used
    if task.few_shot is not None:
        return task.few_shot.validation_per_class * (task.labels or 1)
    own_split = task.validation is not None and len(record.data) > 1 + len(task.evals)
    return record.data[1].used if own_split else task.validation_rows
