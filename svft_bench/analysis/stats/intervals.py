"""Intervals of scores from the noise of their test items and of their seeds.

Wilson 1927: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, variance
from typing import NamedTuple

CONFIDENCE = 0.95
MANY = 1e9  # degrees of freedom at which Student's law is the normal one


class Interval(NamedTuple):
    """Both ends of a confidence interval."""

    low: float
    high: float


class Noise(NamedTuple):
    """Variance of a mean over seeds: what the seeds leave in it, with degrees of freedom, and what the items do."""

    seeds: float
    freedom: float
    items: float

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return math.sqrt(self.seeds + self.items)

    @property
    def total_freedom(self) -> float:
        """Degrees of freedom of the sum by Satterthwaite, the items' variance counted as known."""
        if self.seeds <= 0:
            return MANY
        return min(self.freedom * ((self.seeds + self.items) / self.seeds) ** 2, MANY)


def wilson(share: float, *, items: int, confidence: float = CONFIDENCE) -> Interval:
    """Score interval of a share of successes among `items` independent trials (Wilson 1927)."""
    z = normal_quantile(confidence)
    centre = share + z * z / (2 * items)
    spread = z * math.sqrt(share * (1 - share) / items + z * z / (4 * items * items))
    scale = 1 + z * z / items
    return Interval(max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


def fisher(correlation: float, *, items: int, ranks: bool = False, confidence: float = CONFIDENCE) -> Interval:
    """Interval of a correlation by Fisher's z transform with standard error 1/√(n-3); normal data assumed.

    That of `ranks` is √(1 + r²/2) times as large (Bonett and Wright 2000).
    """
    if abs(correlation) == 1 or items < 4:
        return Interval(-1.0, 1.0)
    spread = normal_quantile(confidence) * math.sqrt((1 + correlation**2 / 2 if ranks else 1) / (items - 3))
    z = math.atanh(correlation)
    return Interval(math.tanh(z - spread), math.tanh(z + spread))


def phi(coefficient: float, *, items: int, confidence: float = CONFIDENCE) -> Interval:
    """Interval of a Matthews coefficient: sin(arcsin φ ± z/√n), of variance (1-φ²)/n for balanced classes."""
    spread = normal_quantile(confidence) / math.sqrt(items)
    angle = math.asin(coefficient)
    return Interval(math.sin(max(angle - spread, -math.pi / 2)), math.sin(min(angle + spread, math.pi / 2)))


def share_variance(share: float, *, items: int) -> float:
    """Variance of a share from the choice of its items: binomial, and not below that of (k + 2) of (n + 4).

    The second is Agresti and Coull's of 1998: no success of a hundred is no proof of none.
    """
    shrunk = (share * items + 2) / (items + 4)
    return max(share * (1 - share) / items, shrunk * (1 - shrunk) / (items + 4) if share in (0, 1) else 0.0)


def over_seeds(scores: Sequence[float], *, item_variance: float, confidence: float = CONFIDENCE) -> Interval:
    """Interval of the mean of seeds scored on the same items, with the noise of seeds and of items.

    `item_variance` is the variance of one score from the choice of items; seeds share their items, so averaging over
    seeds does not reduce it. One seed has the noise of its items alone.
    """
    return around(fmean(scores), noise_of(scores, item_variance=item_variance), confidence=confidence)


def noise_of(scores: Sequence[float], *, item_variance: float) -> Noise:
    """The noise of a mean over these seeds, judged by their own spread."""
    between = variance(scores) / len(scores) if len(scores) > 1 else 0.0
    return Noise(between, len(scores) - 1, item_variance)


def around(mean: float, noise: Noise, *, confidence: float = CONFIDENCE) -> Interval:
    """mean ± t · standard error."""
    from scipy.special import stdtrit

    spread = noise.error * float(stdtrit(noise.total_freedom, (1 + confidence) / 2))
    return Interval(mean - spread, mean + spread)


def two_sided(mean: float, noise: Noise) -> float:
    """P-value of a mean difference of 0."""
    from scipy.special import stdtr

    if noise.error == 0:
        return 1.0 if mean == 0 else 0.0
    return 2 * float(stdtr(noise.total_freedom, -abs(mean) / noise.error))


def no_difference(differences: Sequence[float], *, item_variance: float) -> float:
    """Two-sided p-value of differences between two methods, one a seed, having mean 0; noise as in `over_seeds`."""
    return two_sided(fmean(differences), noise_of(differences, item_variance=item_variance))


class Pooled(NamedTuple):
    """A variance between seeds over several cells, and its degrees of freedom."""

    variance: float
    freedom: int

    def scaled(self, unit: float) -> Pooled:
        """The same of scores in another unit."""
        return Pooled(self.variance / unit**2, self.freedom)


def pooled(samples: Sequence[Sequence[float]]) -> Pooled | None:
    """The common variance of samples that have their own means; None without two of one."""
    freedom = sum(len(sample) - 1 for sample in samples if sample)
    squares = sum(variance(sample) * (len(sample) - 1) for sample in samples if len(sample) > 1)
    return Pooled(squares / freedom, freedom) if freedom else None


def another_run(
    scores: Sequence[float],
    *,
    spread: Pooled | None = None,
    averaged: int = 1,
    least: float = 0.0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Where a mean over `averaged` more seeds would lie on the same items: mean ± t · s · √(1/averaged + 1/S).

    s is the scores' own or that of `spread`, and not below `least`, which is what one item is worth.
    """
    from scipy.special import stdtrit

    found = spread or Pooled(variance(scores), len(scores) - 1)
    error = max(math.sqrt(found.variance), least) * math.sqrt(1 / averaged + 1 / len(scores))
    arm = float(stdtrit(found.freedom, (1 + confidence) / 2)) * error
    return Interval(fmean(scores) - arm, fmean(scores) + arm)


def normal_quantile(confidence: float) -> float:
    """z such that a normal value lies within ± z with this probability."""
    return NormalDist().inv_cdf((1 + confidence) / 2)
