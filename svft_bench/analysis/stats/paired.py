"""Methods compared in pairs on the same items at the same seeds, many pairs at a time.

The variance of a gap over S seeds and n items is σ²/S + v/n: σ² is what one seed adds, the items' share of it included,
and v what an item adds at every seed alike. With three seeds, σ² of one method has two degrees of freedom and is often
far too small by luck, so that every method's is moderated by those of its table (Smyth 2004).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import NormalDist
from typing import Any, NamedTuple

from svft_bench.analysis.stats.intervals import CONFIDENCE, MANY, Interval, Noise, normal_quantile, two_sided

PRIOR = 1.5  # degrees of freedom that the other methods' spread counts for at the least beside a method's own
CAUTION = 0.4  # of the chance dispersion of variances that is not taken for a real one: few methods show little of it


class Variances(NamedTuple):
    """Variance between seeds, between items, and of what is left: an item right at one seed and wrong at another."""

    seeds: float
    items: float
    rest: float


class Scored(NamedTuple):
    """Variances of an eval of so many items, of which two seeds share this part, and whether all have one value."""

    variances: Variances
    items: float
    shared: float
    alike: bool


class Spread(NamedTuple):
    """Variance of one seed's score, the degrees of freedom behind it, and those of the whole table, the most it has."""

    variance: float
    freedom: float
    limit: float


def spreads(scores: Sequence[Sequence[float]], *, shared_seeds: bool = True) -> list[Spread]:
    """The variance between seeds of every method (row) of a table, moderated by the others; a missing seed is nan.

    With `shared_seeds`, a seed that is easier for all is taken out by the median of the methods. The prior is the
    median of their variances, so that a method that collapses at one seed does not make the others noisy; its weight is
    the larger the less they differ (empirical Bayes). Degrees of freedom are those of both together. For gaps, which
    share their seeds, they are by Satterthwaite fewer where a method's own variance is far above the prior: many
    comparisons need that. An interval of one mean covers as often without, and is half as wide where one of two seeds
    failed. Two methods have nothing to borrow.
    """
    import numpy
    from scipy.special import gammaincinv

    table = numpy.asarray(scores, dtype=float)
    methods = len(table)
    shared_seeds = shared_seeds and methods > 1
    rest = table - numpy.nanmedian(table, axis=0) if shared_seeds else table
    own = (~numpy.isnan(table)).sum(1) - 1.0
    seen = own > 0
    if not seen.any():
        return [Spread(0.0, MANY, MANY)] * methods
    found = numpy.full(methods, math.nan)
    found[seen] = numpy.nanvar(rest[seen], axis=1, ddof=1) * (methods / (methods - 1) if shared_seeds else 1)
    median_freedom = float(numpy.median(own[seen]))
    prior = float(numpy.median(found[seen])) / (2 * float(gammaincinv(median_freedom / 2, 0.5)) / median_freedom)
    limit = max(methods - shared_seeds, 1) * median_freedom
    known = numpy.log(numpy.maximum(found[seen], prior / 100)) if prior > 0 else numpy.zeros(1)
    weight = min(
        max(methods - 1 - shared_seeds, 0) * median_freedom,
        _weight(float(known.var(ddof=len(known) > 1)), median_freedom),
    )
    return [
        _moderated(value, freedom, prior=prior, weight=weight, limit=limit, cautious=shared_seeds)
        for value, freedom in zip(found.tolist(), own.tolist(), strict=True)
    ]


def _moderated(own: float, freedom: float, *, prior: float, weight: float, limit: float, cautious: bool) -> Spread:
    if freedom <= 0:
        return Spread(prior, max(weight, 1.0), limit)
    if weight == 0:
        return Spread(own, freedom, limit)
    variance = (weight * prior + freedom * own) / (weight + freedom)
    trusted = freedom * (1 + weight * prior / (freedom * own)) ** 2 if own > 0 and cautious else MANY
    return Spread(variance, min(trusted, weight + freedom), limit)


def _weight(dispersion: float, freedom: float) -> float:
    """Degrees of freedom of the prior: trigamma(weight / 2) is the variance of log variances that chance leaves over.

    Solved for trigamma(x) ≈ 1/x + 1/2x².
    """
    from scipy.special import polygamma

    left = max(dispersion - CAUTION * float(polygamma(1, freedom / 2)), 1e-3)
    return max((1 + math.sqrt(1 + 2 * left)) / left, PRIOR)


def spread_of_gap(one: Spread, other: Spread) -> Spread:
    """The variance of the gap between two methods at one seed."""
    both = one.variance + other.variance
    parts = one.variance**2 / one.freedom + other.variance**2 / other.freedom
    freedom = both**2 / parts if parts > 0 else MANY
    return Spread(both, min(freedom, one.limit), one.limit)


def noise_of_gap(gaps: Sequence[Any], spread: Spread) -> Noise:
    """The noise of a gap that is the mean over evals, each an array of seeds by items.

    Seeds add no less than their share of the items' noise; items that all say the same, what one more would that each
    method won.
    """
    parts = [Scored(split_variance(gap), gap.shape[1], 1.0, bool(gap.std() == 0)) for gap in gaps]
    return _noise(parts, spread, seeds=len(gaps[0]))


def noise_of_runs(evals: Sequence[Sequence[Mapping[Any, float]]], spread: Spread) -> Noise:
    """The noise of a score that is the mean over evals, each the values of every seed's run by item.

    Seeds that draw the rows they score share but some. What an item adds at every seed is told from those that all of
    them have, and two seeds share its noise by as much as they share of their items.
    """
    return _noise([_scored(runs) for runs in evals], spread, seeds=len(evals[0]))


def _noise(parts: Sequence[Scored], spread: Spread, *, seeds: int) -> Noise:
    least = [2 / (part.items + 2) ** 2 if part.alike else 0.0 for part in parts]
    each = [part.shared * part.variances.items / part.items for part in parts]
    items = sum(map(max, each, least)) / len(parts) ** 2
    if seeds == 1:
        return Noise(0.0, MANY, items)
    rest = sum(part.variances.rest / part.items for part in parts) / len(parts) ** 2
    return Noise(max(spread.variance, rest) / seeds, spread.freedom, items)


def _scored(runs: Sequence[Mapping[Any, float]]) -> Scored:
    import numpy

    common = [item for item in runs[0] if all(item in run for run in runs)]
    size = sum(map(len, runs)) / len(runs)
    alike = len({value for run in runs for value in run.values()}) == 1
    if len(common) > 1 or len(common) == size:
        variances = split_variance([[run[item] for item in common] for run in runs])
    else:
        variances = Variances(0.0, 0.0, sum(float(numpy.var(list(run.values()))) for run in runs) / len(runs))
    pairs = [len(one.keys() & other.keys()) for one, other in combinations(runs, 2)]
    return Scored(variances, size, sum(pairs) / len(pairs) / size if pairs else 1.0, alike)


def split_variance(scores: Sequence[Sequence[float]]) -> Variances:
    """Variance components of a table of seeds (rows) by items: the two-way random-effects analysis of variance.

    Estimates that come out negative are 0. One seed has all of its variance between items.
    """
    import numpy

    table = numpy.asarray(scores, dtype=float)
    seeds, items = table.shape
    if seeds == 1 or items == 1:
        return Variances(float(table.mean(1).var(ddof=seeds > 1)), float(table.mean(0).var()), 0.0)
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
    z = normal_quantile(confidence) + NormalDist().inv_cdf(power)
    return z * math.sqrt(2 * (seed_variance / seeds + item_variance))


def detectable_gap(noise: Noise, *, comparisons: int, power: float = 0.8) -> float:
    """Smallest true gap that a test with this noise shows with this power at 0.05 shared by so many comparisons."""
    from scipy.special import stdtrit

    threshold = float(stdtrit(noise.total_freedom, 1 - (1 - CONFIDENCE) / comparisons / 2))
    return noise.error * (threshold + NormalDist().inv_cdf(power))


def equivalent(mean: float, noise: Noise, *, margin: float) -> float:
    """P-value of a gap as large as ± margin: the larger of two one-sided tests (Schuirmann 1987)."""
    inside = [two_sided(margin - abs(mean), noise) / 2, two_sided(margin + abs(mean), noise) / 2]
    return max(inside) if abs(mean) < margin else 1 - inside[0]


def seeds_needed(gap: float, *, seed_variance: float, item_variance: float, comparisons: int) -> int | None:
    """Fewest seeds at which a paired gap is shown with a power of 0.8; None where the items alone hide it.

    Both variances are of the gap at one seed and of the gap on these items; up to a thousand seeds.
    """
    for seeds in range(2, 1001):
        noise = Noise(seed_variance / seeds, 2 * (seeds - 1), item_variance)
        if detectable_gap(noise, comparisons=comparisons) <= gap:
            return seeds
    return None


def clipped(interval: Interval, *, low: float, high: float) -> Interval:
    """The part of an interval that a score can have."""
    return Interval(min(max(interval.low, low), high), max(min(interval.high, high), low))
