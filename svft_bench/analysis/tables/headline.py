"""One table over the experiments at a matched budget: methods by tasks, with how forgiving a method is of its rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from svft_bench.analysis.tables.experiment import score_text, validation
from svft_bench.analysis.tables.intervals import SHARES, item_variance
from svft_bench.analysis.tables.results import CellResult, Score, shown_name
from svft_bench.analysis.tables.value import Column, Row, Table

# What is compared, each with the search behind its rates; a column for every eval.
MATCHED = {
    "small_vision": "small_vision_rates",
    "small_text": "small_text_rates",
    "small_glue": "small_glue_rates",
    "small_cola_methods": "small_cola_methods_rates",
}
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


def usable_range(trials: Mapping[float, float], *, error: float) -> Usable:
    """The rates around the best, without a gap, whose validation score is at most one standard error below it."""
    rates = sorted(trials)
    best = max(rates, key=lambda rate: (trials[rate], -rate))
    good = [trials[rate] >= trials[best] - error for rate in rates]
    low = high = rates.index(best)
    while low > 0 and good[low - 1]:
        low -= 1
    while high < len(rates) - 1 and good[high + 1]:
        high += 1
    return Usable(math.log10(rates[high] / rates[low]), low == 0 or high == len(rates) - 1)


def headline_table(
    results: Sequence[CellResult], searches: Sequence[CellResult], *, answers: Sequence[str] = ()
) -> Table:
    """A row for each method and its places, a column for each eval; ranges, and steps against LoRA's of the same task.

    `results` are those of the experiments, `searches` those of the trials of rates.
    """
    cells = [result for result in results if result.records]
    evals = list(dict.fromkeys((_place(one), item.name) for one in cells for item in one.spec.task.evals))
    ranges = usable_ranges(searches)
    rows = []
    for name in dict.fromkeys(map(named, cells)):
        own = {(_place(one), item.name): one for one in cells if named(one) == name for item in one.spec.task.evals}
        steps = steps_against_lora(name, cells)
        found = {place: usable for (method, place), usable in ranges.items() if method == name}
        step = f"{median(steps):.1f}" if steps else ""
        texts = [_cell(own[eval_], eval_[1]) if eval_ in own else "" for eval_ in evals]
        spread = ", ".join(f"{usable} {place[1].removeprefix('glue/')}" for place, usable in found.items())
        facts: dict[str, object] = {"method": name[0], "modules": name[1], "step_against_lora": step or None}
        for place, eval_ in own:
            score = own[place, eval_].score(eval_)
            facts[f"{eval_}.mean"] = None if score is None else score.mean
        facts |= {f"{place[1]}.usable_decades": usable.decades for place, usable in found.items()}
        rows.append(Row((name[0], name[1], *texts, spread, step), facts))
    titles = [shown_name(eval_, [one for one in cells if _place(one) == place]) for place, eval_ in evals]
    columns = (
        *(Column("method", "left"), Column("modules", "left")),
        *(Column(title) for title in titles),
        *(Column("usable range", "left"), Column("step / LoRA's")),
    )
    return Table("headline", "Methods at a matched budget", columns, tuple(rows), (*answers, *NOTES))


NOTES = (
    "Score with its 95 % interval over seeds and items, then at how many seeds the method learns: beats a constant "
    "answer by more than its noise.",
    "Usable range: decades of rate within one standard error of the best on the validation rows of its search, "
    "≥ where they reach an end of the grid; none where no rate correlates with the labels by two of these errors.",
    "Step: time of a training step over that of LoRA on queries and values, the median over the tasks; of machines "
    "that did other work.",
)


def named(result: CellResult) -> Named:
    """A method by its title and places; what adapts no matrix has none."""
    method = result.spec.method
    return method.title, str(method.modules) if method.trains == "adapter" else ""


def usable_ranges(results: Sequence[CellResult]) -> dict[tuple[Named, Place], Usable]:
    """The usable range of every method and task that was searched, by the mean validation score of each rate."""
    groups: dict[tuple[Named, Place], list[CellResult]] = {}
    for result in results:
        if result.records and validation(result) is not None:
            groups.setdefault((named(result), _place(result)), []).append(result)
    found = {}
    for key, group in groups.items():
        trials = {result.spec.train.lr: validation(result) or 0.0 for result in group}
        if len(trials) > 1:
            best = max(group, key=lambda result: trials[result.spec.train.lr])
            score = trials[best.spec.train.lr]
            error = _error(best, score)
            learns = best.spec.task.evals[0].metrics[0] in SHARES or score > 2 * error
            found[key] = usable_range(trials, error=error)._replace(learns=learns)
    return found


def _error(result: CellResult, score: float) -> float:
    """Standard error of a validation score from the choice of its rows."""
    task = result.spec.task
    few = 0 if task.few_shot is None else task.few_shot.validation_per_class * (task.labels or 1)
    variance = item_variance(task.evals[0].metrics[0], score, items=max(task.validation_rows or few, 1))
    return math.sqrt(variance or 0.0)


def _place(result: CellResult) -> Place:
    return result.spec.model.name, result.spec.task.name


def _cell(result: CellResult, evaluation: str) -> str:
    score: Score | None = result.score(evaluation)
    if score is None:
        return "undefined (constant answers)"
    learning = result.learning.get(evaluation)
    learned = f", {sum(learning.learns)}/{len(learning.learns)}" if learning else ""
    return f"{score_text(score)}{learned}"


def steps_against_lora(method: Named, results: Sequence[CellResult]) -> list[float]:
    """How long a step takes where LoRA on queries and values takes one, for each task that both were run on."""
    seconds: dict[Named, dict[Place, float]] = {}
    for one in reversed(results):
        if one.records and (step := one.step_seconds) is not None:
            seconds.setdefault(named(one), {})[_place(one)] = step
    own, lora = seconds.get(method, {}), seconds.get(("LoRA", "qv"), {})
    return [own[place] / lora[place] for place in own if place in lora]
