"""What the stored predictions say beyond the scores: what each item added, whether a run beats a constant answer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from svft_bench.analysis.stats import Interval, around, influence, noise_of_gap, noise_of_runs, spreads
from svft_bench.analysis.stats.correlations import CORRELATION_INTERVALS
from svft_bench.analysis.stats.influence import INFLUENCE
from svft_bench.analysis.stats.resampling import resampled
from svft_bench.analysis.tables.intervals import SHARES
from svft_bench.analysis.tables.results import CellResult, Learning, noise_key
from svft_bench.config.spec import EvalSpec, MetricName
from svft_bench.config.spec.metric import DRAWN_METRICS, TOKEN_METRICS
from svft_bench.records import DamagedRecord, RunRecord, found_at, predictions_of
from svft_bench.tasks.metrics.answering import SPAN_VALUES
from svft_bench.tasks.scoring import OF_A_ROW, TEXT_METRICS, correct, counted, one_answer


@dataclass(frozen=True)
class Judged:
    """The `stored` predictions of one run on one eval, and as `rows` those that the headline metric is of.

    `right` is None for metrics that are no share of right answers.

    `values` has what each item adds: their mean is the score, and nan where that is undefined.
    """

    evaluation: EvalSpec
    rows: list[dict[str, Any]]
    stored: list[dict[str, Any]]
    right: dict[Any, bool] | None
    values: dict[Any, float]

    @property
    def defined(self) -> bool:
        """Whether the headline metric has a value on these predictions."""
        return not any(math.isnan(value) for value in self.values.values())

    @property
    def score(self) -> float:
        """The headline metric, nan where it is undefined."""
        return math.fsum(self.values.values()) / max(len(self.values), 1)


def judged(record: RunRecord, *, folder: Path) -> dict[str, Judged]:
    """Read and judge the stored predictions of every eval.

    Raises:
        ValueError: the record has no predictions beside it, or they do not give the recorded scores.
    """
    rows = predictions_of(record, found_at(folder, record))
    return {item.name: judge(record, item, rows[item.name]) for item in record.spec.task.evals}


def judge(record: RunRecord, evaluation: EvalSpec, rows: list[dict[str, Any]]) -> Judged:
    """Judge these predictions of one eval.

    Raises:
        ValueError: they do not give the recorded score.
    """
    metric, stored = evaluation.metrics[0], rows
    rows = counted(rows, metric=metric)
    ids = [row["id"] for row in rows]
    right = None
    if metric in SHARES:
        right = dict(zip(ids, correct(evaluation, rows, metric=metric), strict=True))
        values = {item: float(good) for item, good in right.items()}
    elif metric in OF_A_ROW:
        values = dict(zip(ids, map(OF_A_ROW[metric], rows), strict=True))
    else:
        sides = ([row[side] for row in rows] for side in ("prediction", "reference"))
        values = dict(zip(ids, INFLUENCE[metric](*sides).tolist(), strict=True))
    found = Judged(evaluation, rows, stored, right, values)
    recorded = record.scores[evaluation.name][metric]
    same = abs(found.score - (recorded or 0.0)) <= 1e-9 if found.defined else not recorded
    if not same:
        shown = "undefined" if recorded is None else f"{recorded:.6f}"
        raise ValueError(
            f"run {record.run_id}: its predictions on {evaluation.name} give {metric} {found.score:.6f}, "
            f"its record says {shown}"
        )
    return found


def with_noise(results: Sequence[CellResult], *, folder: Path) -> list[CellResult]:
    """The results with what their stored predictions say: the noise of every mean, and at which seeds a method learns.

    A cell whose predictions cannot be read stays as it is, with the noise that a formula gives.

    Raises:
        ValueError: predictions do not give the recorded score.
    """
    read = [_read(result, folder=folder) for result in results]
    return [
        replace(
            result,
            noise=_noise(index, results, read),
            learning=_learning(result, runs),
            resampled=_resampled(runs),
            alone=_alone(runs),
        )
        if runs
        else result
        for index, (result, runs) in enumerate(zip(results, read, strict=True))
    ]


RESAMPLED = TEXT_METRICS.keys() | SPAN_VALUES.keys() - SHARES
Runs = list[dict[str, Judged]]  # for each record of a cell, by eval


def _read(result: CellResult, *, folder: Path) -> Runs:
    try:
        return [judged(record, folder=folder) for record in result.records]
    except (DamagedRecord, FileNotFoundError):
        return []


def _noise(index: int, results: Sequence[CellResult], read: Sequence[Runs]) -> dict[str, Any]:
    """The noise of the mean of each eval and of the average, the spread of seeds moderated by the other methods."""
    own, runs = results[index], read[index]
    peers = [
        other
        for other, result in enumerate(results)
        if read[other] and (result.spec.model.name, result.spec.task.name) == (own.spec.model.name, own.spec.task.name)
    ]
    found = {}
    for names in own.compared:
        scores = {other: _scores(read[other], names, seeds=results[other].seeds) for other in peers}
        seeds = sorted(set().union(*scores.values()))
        table = [[scores[other].get(seed, math.nan) for seed in seeds] for other in peers]
        defined = [run for run in runs if all(run[name].defined for name in names)]
        if defined:
            spread = spreads(table, shared_seeds=False)[peers.index(index)]
            found[noise_key(names)] = noise_of_runs([[run[name].values for run in defined] for name in names], spread)
    return found


def _resampled(runs: Runs) -> dict[str, dict[MetricName, Interval]]:
    """The intervals of all metrics of texts and spans, over the items alone."""
    alike = {name: len({tuple(run[name].values) for run in runs}) == 1 for name in runs[0]}
    sides = {
        (name, metric): [_sides(run[name], metric) for run in runs]
        for name, one in runs[0].items()
        for metric in one.evaluation.metrics
        if metric in RESAMPLED
    }
    found: dict[str, dict[MetricName, Interval]] = {}
    for (name, metric), of_runs in sides.items():
        if all(predictions for predictions, _ in of_runs):
            found.setdefault(name, {})[metric] = resampled(metric, of_runs, paired=alike[name])
    return found


def _alone(runs: Runs) -> dict[str, Interval]:
    """Of one run, the intervals of the evals whose headline metric is a correlation or an F1."""
    return {
        name: CORRELATION_INTERVALS[metric](*_sides(found, metric))
        for run in runs[: len(runs) == 1]
        for name, found in run.items()
        if (metric := found.evaluation.metrics[0]) in CORRELATION_INTERVALS and found.defined
    }


def _sides(found: Judged, metric: MetricName) -> tuple[list[Any], list[Any]]:
    """Predictions and references that a metric is of."""
    rows = counted(found.stored, metric=metric)
    return [row["prediction"] for row in rows], [row["reference"] for row in rows]


def _scores(runs: Runs, names: Sequence[str], *, seeds: Sequence[int]) -> dict[int, float]:
    """The mean over these evals, seed by seed."""
    return {seed: sum(run[name].score for name in names) / len(names) for seed, run in zip(seeds, runs, strict=True)}


def _learning(result: CellResult, runs: Runs) -> dict[str, Learning]:
    found = {}
    for item in result.spec.task.evals:
        of_eval = [run[item.name] for run in runs]
        learns = [_beats_a_constant(one) for one in of_eval]
        if None not in learns:
            constant = [seed for seed, one in zip(result.seeds, of_eval, strict=True) if _is_constant(one)]
            found[item.name] = Learning(tuple(map(bool, learns)), tuple(constant))
    return found


def _is_constant(found: Judged) -> bool:
    return found.evaluation.answer is None and one_answer(found.rows) is not None


def _beats_a_constant(found: Judged) -> bool | None:
    """Whether a score lies above that of the best constant answer by more than the noise of items (95 %).

    A correlation has 0 for its constant answer. None where no answer could be given to every item.
    """
    import numpy

    metric = found.evaluation.metrics[0]
    if metric in (*TOKEN_METRICS, *DRAWN_METRICS) or metric in TEXT_METRICS or len(found.rows) < 2:
        return None
    if not found.defined:
        return False
    values = numpy.array(list(found.values.values()))
    references = [row["reference"] for row in found.rows]
    if metric in SPAN_VALUES:
        values = values - numpy.array([SPAN_VALUES[metric]("", golds) for golds in references])
    elif metric in SHARES:
        common = Counter(map(str, references)).most_common(1)[0][0]
        values = values - numpy.array([float(str(reference) == common) for reference in references])
    elif metric == "f1" and any(references):
        values = values - influence.f1([1] * len(references), references)
    noise = noise_of_gap([values[None]], spreads([[0.0]])[0])
    return around(float(values.mean()), noise).low > 0
