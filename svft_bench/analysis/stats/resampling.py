"""Intervals by the bootstrap over items (Efron 1979), for scores whose law has no formula: `bootstrap(parts, of=f)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    import numpy

    table = numpy.asarray(parts, dtype=float)
    draw = numpy.random.default_rng(seed)
    scores = [of(table[draw.integers(len(table), size=len(table))].sum(0)) for _ in range(RESAMPLES)]
    low, high = numpy.quantile(scores, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def resampled(metric: MetricName, predictions: Sequence[str], references: Sequence[Any]) -> Interval:
    """The interval of one of the metrics of texts, or of spans."""
    if metric == "bleu":
        found = matches(predictions, references)
        return bootstrap([[*one.right, *one.written, one.length, one.reference] for one in found], of=_bleu)
    values = INFLUENCE[metric](predictions, references).tolist()
    return bootstrap([[value] for value in values], of=lambda sums: float(sums[0]) / len(values))


def _bleu(sums: Any) -> float:
    *orders, length, reference = sums.astype(int).tolist()
    half = len(orders) // 2
    return bleu_of([Matches(orders[:half], orders[half:], length, reference)])
