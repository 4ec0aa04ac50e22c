"""Intervals of one run's correlations and F1 from its predictions, whatever law these have.

tanh(atanh r ± t s / (1 - r²)): Fisher's transform with the standard error s that the influence values say. A formula of
r and n alone is right for normal values and for balanced classes, and by far too narrow for classes of nine to one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from svft_bench.analysis.stats import influence
from svft_bench.analysis.stats.intervals import CONFIDENCE, Interval, wilson
from svft_bench.config.spec import MetricName
from svft_bench.tasks.metrics import confusion

LOST = 3  # items that a correlation costs, as in Fisher's 1/√(n-3)
_CELLS = ((1, 1), (1, 0), (0, 1), (0, 0))


def matthews(predictions: Sequence[int], references: Sequence[int]) -> Interval:
    """With half an item more in each of the four cells: no mistake in a hundred is no proof of none."""
    import numpy

    counts = confusion(predictions, references)
    twice = numpy.repeat(_CELLS, [2 * count + 1 for count in counts], axis=0).T.tolist()
    values = influence.pearson(*twice)
    low, high = _transformed(values, items=sum(counts) + 2)
    found = float(influence.matthews(predictions, references).mean())
    return Interval(min(low, found), max(high, found))


def pearson(predictions: Sequence[float], references: Sequence[float]) -> Interval:
    """Of all its range where the items are too few or lie on a line."""
    return _of(influence.pearson(predictions, references))


def spearman(predictions: Sequence[float], references: Sequence[float]) -> Interval:
    """The same of ranks, whose error is above that of normal values."""
    return _of(influence.spearman(predictions, references))


def f1(predictions: Sequence[int], references: Sequence[int]) -> Interval:
    """Wilson's of the share j of right answers among what is 1 on either side, of which F1 is 2 j / (1 + j).

    By influence values an F1 of few positives covered 37 to 90 of 100, as one of 0 has no spread.
    """
    right, extra, missed, _ = confusion(predictions, references)
    either = right + extra + missed
    share = right / either if either else 0.0
    low, high = wilson(share, items=either) if either else (0.0, 1.0)
    return Interval(*(2 * end / (1 + end) for end in (min(low, share), max(high, share))))


def _of(values: Any) -> Interval:
    items = len(values) - LOST
    if items < 1 or not abs(values.mean()) < 1 or not values.var() > 0:
        return Interval(-1.0, 1.0)
    return _transformed(values, items=items)


def _transformed(values: Any, *, items: int) -> Interval:
    from scipy.special import stdtrit

    r = float(values.mean())
    arm = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * math.sqrt(float(values.var()) / items) / (1 - r * r)
    return Interval(math.tanh(math.atanh(r) - arm), math.tanh(math.atanh(r) + arm))


CORRELATION_INTERVALS: dict[MetricName, Callable[[Sequence[Any], Sequence[Any]], Interval]] = {
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}
