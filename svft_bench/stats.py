"""Intervals for scores: how much of a difference is noise.

Wilson 1927: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, variance
from typing import NamedTuple

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """Both ends of a confidence interval."""

    low: float
    high: float


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


def over_seeds(scores: Sequence[float], *, item_variance: float, confidence: float = CONFIDENCE) -> Interval:
    """Interval of the mean of several seeds scored on the same items, with the noise of seeds and of items.

    `item_variance` is the variance of one score from the choice of items; seeds share their items, so averaging over
    seeds does not reduce it. Degrees of freedom by Welch and Satterthwaite, the items counted as known exactly.
    """
    from scipy.special import stdtrit

    seeds = len(scores)
    between = variance(scores) / seeds
    total = between + item_variance
    if total == 0:
        return Interval(fmean(scores), fmean(scores))
    freedom = (seeds - 1) * (total / between) ** 2 if between > 0 else math.inf
    quantile = _normal_quantile(confidence) if freedom > 1e6 else float(stdtrit(freedom, (1 + confidence) / 2))
    spread = quantile * math.sqrt(total)
    return Interval(fmean(scores) - spread, fmean(scores) + spread)


def another_run(scores: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """Where one more seed on the same items would score: mean ± t(S-1) · s · √(1 + 1/S), for two scores or more."""
    from scipy.special import stdtrit

    seeds = len(scores)
    spread = float(stdtrit(seeds - 1, (1 + confidence) / 2)) * math.sqrt(variance(scores) * (1 + 1 / seeds))
    return Interval(fmean(scores) - spread, fmean(scores) + spread)


def _normal_quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
