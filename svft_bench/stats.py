"""How much of a score, or of a difference between scores, is noise: of test items, of seeds, of many comparisons.

Wilson 1927: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist, fmean, stdev, variance
from typing import Any, NamedTuple

CONFIDENCE = 0.95
MANY = 1e9  # degrees of freedom at which Student's law is the normal one


class Interval(NamedTuple):
    """Both ends of a confidence interval."""

    low: float
    high: float


class Variances(NamedTuple):
    """Variance between seeds, between items, and of what is left: an item right at one seed and wrong at another."""

    seeds: float
    items: float
    rest: float


def wilson(share: float, *, items: int, confidence: float = CONFIDENCE) -> Interval:
    """Score interval of a share of successes among `items` independent trials (Wilson 1927)."""
    z = _normal_quantile(confidence)
    centre = share + z * z / (2 * items)
    spread = z * math.sqrt(share * (1 - share) / items + z * z / (4 * items * items))
    scale = 1 + z * z / items
    return Interval(max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


def fisher(correlation: float, *, items: int, confidence: float = CONFIDENCE) -> Interval:
    """Interval of a correlation by Fisher's z transform with standard error 1/√(n-3); normal data assumed."""
    if abs(correlation) == 1 or items < 4:
        return Interval(-1.0, 1.0)
    spread = _normal_quantile(confidence) / math.sqrt(items - 3)
    z = math.atanh(correlation)
    return Interval(math.tanh(z - spread), math.tanh(z + spread))


def phi(coefficient: float, *, items: int, confidence: float = CONFIDENCE) -> Interval:
    """Interval of a Matthews coefficient: sin(arcsin φ ± z/√n), of variance (1-φ²)/n for balanced classes."""
    spread = _normal_quantile(confidence) / math.sqrt(items)
    angle = math.asin(coefficient)
    return Interval(math.sin(max(angle - spread, -math.pi / 2)), math.sin(min(angle + spread, math.pi / 2)))


def bootstrap_error(statistic: Callable[[Any], float], *, items: int, resamples: int = 500) -> float:
    """Standard error of a statistic of items by resampling them (Efron 1979), the same on every call.

    `statistic` takes an array of item indices, so a difference of two methods on the same items is resampled in pairs.
    """
    import numpy

    rng = numpy.random.default_rng(0)
    return stdev(statistic(rng.integers(items, size=items)) for _ in range(resamples))


def over_seeds(scores: Sequence[float], *, item_variance: float, confidence: float = CONFIDENCE) -> Interval:
    """Interval of the mean of seeds scored on the same items, with the noise of seeds and of items.

    `item_variance` is the variance of one score from the choice of items; seeds share their items, so averaging over
    seeds does not reduce it. One seed has the noise of its items alone.
    """
    from scipy.special import stdtrit

    error, freedom = _error_of_mean(scores, item_variance=item_variance)
    spread = error * float(stdtrit(freedom, (1 + confidence) / 2))
    return Interval(fmean(scores) - spread, fmean(scores) + spread)


def no_difference(differences: Sequence[float], *, item_variance: float) -> float:
    """Two-sided p-value of differences between two methods, one a seed, having mean 0; noise as in `over_seeds`."""
    from scipy.special import stdtr

    error, freedom = _error_of_mean(differences, item_variance=item_variance)
    mean = abs(fmean(differences))
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return 2 * float(stdtr(freedom, -mean / error))


def _error_of_mean(scores: Sequence[float], *, item_variance: float) -> tuple[float, float]:
    """Standard error, and degrees of freedom by Welch and Satterthwaite with the items' variance counted as known."""
    between = variance(scores) / len(scores) if len(scores) > 1 else 0.0
    total = between + item_variance
    freedom = (len(scores) - 1) * (total / between) ** 2 if between > 0 else MANY
    return math.sqrt(total), min(freedom, MANY)


def another_run(scores: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """Where one more seed on the same items would score: mean ± t(S-1) · s · √(1 + 1/S), for two scores or more."""
    from scipy.special import stdtrit

    seeds = len(scores)
    spread = float(stdtrit(seeds - 1, (1 + confidence) / 2)) * math.sqrt(variance(scores) * (1 + 1 / seeds))
    return Interval(fmean(scores) - spread, fmean(scores) + spread)


def split_variance(scores: Sequence[Sequence[float]]) -> Variances:
    """Variance components of a table of seeds (rows) by items: the two-way random-effects analysis of variance.

    Estimates that come out negative are 0. At least two seeds and two items.
    """
    import numpy

    table = numpy.asarray(scores, dtype=float)
    seeds, items = table.shape
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    within = float((rest**2).sum()) / ((seeds - 1) * (items - 1))
    between_seeds = float(table.mean(1).var(ddof=1)) - within / items
    between_items = float(table.mean(0).var(ddof=1)) - within / seeds
    return Variances(max(0.0, between_seeds), max(0.0, between_items), within)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value that two methods are right equally often, from the items that only one got right."""
    from scipy.special import bdtr

    discordant = only_first + only_second
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), discordant, 0.5))) if discordant else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for having made all these comparisons (Holm 1979), in the order given."""
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted


def detectable_difference(
    *, seed_variance: float, item_variance: float, seeds: int, confidence: float = CONFIDENCE, power: float = 0.8
) -> float:
    """Smallest true gap between two methods that unpaired runs at these seeds and items would show with this power."""
    z = _normal_quantile(confidence) + NormalDist().inv_cdf(power)
    return z * math.sqrt(2 * (seed_variance / seeds + item_variance))


def _normal_quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
