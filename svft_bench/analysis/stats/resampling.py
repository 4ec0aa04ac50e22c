"""Intervals by the bootstrap over items (Efron 1979), for scores whose law has no formula: `bootstrap(parts, of=f)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from svft_bench.analysis.stats.influence import INFLUENCE
from svft_bench.analysis.stats.intervals import CONFIDENCE, Interval
from svft_bench.config.spec import MetricName
from svft_bench.tasks.metrics.overlap import Matches, bleu_of, matches

RESAMPLES = 1000  # sacrebleu's default


def bootstrap(parts: Any, *, of: Callable[[Any], float], confidence: float = CONFIDENCE, seed: int = 0) -> Interval:
    """Percentiles of a score that is a function of sums over items, `parts` (n, k), the items drawn with replacement.

    The draws follow from `seed` and n alone, so that runs on the same items are resampled alike.
    """
    return _within([_drawn(parts, of=of, seed=seed)], confidence=confidence)


def _drawn(parts: Any, *, of: Callable[[Any], float], seed: int) -> list[float]:
    """The score of every resample."""
    import numpy

    table = numpy.asarray(parts, dtype=float)
    draw = numpy.random.default_rng(seed)
    return [of(table[draw.integers(len(table), size=len(table))].sum(0)) for _ in range(RESAMPLES)]


def _within(scores: Sequence[Sequence[float]], *, confidence: float = CONFIDENCE) -> Interval:
    """Percentiles of the mean of scores that were resampled apart."""
    import numpy

    low, high = numpy.quantile(numpy.mean(scores, axis=0), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


Sides = tuple[Sequence[Any], Sequence[Any]]  # predictions and references of one run


def resampled(metric: MetricName, runs: Sequence[Sides], *, paired: bool = True) -> Interval:
    """The interval of one of the metrics of texts, or of spans: of the mean over runs.

    `paired` says that they are on the same items, which are drawn together; else each run's items are drawn apart.
    """
    if not paired:
        each = (_parts(metric, [run]) for run in runs)
        return _within([_drawn(parts, of=of, seed=index) for index, (parts, of) in enumerate(each)])
    parts, of = _parts(metric, runs)
    return bootstrap(parts, of=of)


def _parts(metric: MetricName, runs: Sequence[Sides]) -> tuple[Any, Callable[[Any], float]]:
    """What every item adds to the sums that the mean over runs on the same items follows from, and how it does."""
    if metric == "bleu":
        parts = [[[*one.right, *one.written, one.length, one.reference] for one in matches(*run)] for run in runs]
        return _beside(parts), lambda sums: fmean(map(_bleu, sums.reshape(len(runs), -1)))
    values = _beside([[[value] for value in INFLUENCE[metric](*run).tolist()] for run in runs])
    return values, lambda sums: float(sums.mean()) / len(values)


def _beside(tables: Sequence[Sequence[Sequence[float]]]) -> Any:
    """Tables of one number of rows side by side."""
    import numpy

    return numpy.concatenate([numpy.asarray(table, dtype=float) for table in tables], axis=1)


def _bleu(sums: Any) -> float:
    *orders, length, reference = sums.astype(int).tolist()
    half = len(orders) // 2
    return bleu_of([Matches(orders[:half], orders[half:], length, reference)])
