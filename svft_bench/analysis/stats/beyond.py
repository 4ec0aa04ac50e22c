"""Beyond pairs: whether methods differ at all, and how they rank over several tasks.

Clark 1973: min F' = F1 F2 / (F1 + F2), of the F over seeds and the F over items.
Demšar 2006: two mean ranks over N tasks differ where they are q √(k (k + 1) / 6N) apart (Nemenyi).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from svft_bench.analysis.stats.intervals import MANY, Noise


class Omnibus(NamedTuple):
    """F with its degrees of freedom, and the p-value of all methods being alike."""

    f: float
    between: float
    within: float
    p: float


def omnibus(values: Any) -> Omnibus:
    """Test that all methods are alike, of an array of methods by seeds by items: both sets are samples of many.

    Its p-value is not below that of the F over seeds or over items alone. Of few seeds that agree by luck the bound has
    the degrees of freedom of the items: two like methods at two seeds differed in eleven tables of a hundred.
    """
    from scipy.special import fdtrc

    methods, seeds, items = values.shape
    by_seeds, by_items, between = ratio(values.mean(2)), ratio(values.mean(1)), methods - 1
    found = min_f(by_seeds, by_items, between, seeds=between * (seeds - 1), items=between * (items - 1))
    alone = [float(fdtrc(between, between * (n - 1), f)) for n, f in ((seeds, by_seeds), (items, by_items))]
    return found._replace(p=max(found.p, *alone))


def ratio(table: Any) -> float:
    """F of the rows of a table: their mean square over that of what rows and columns leave."""
    rows, columns = table.shape
    of_rows = table.mean(1, keepdims=True) - table.mean()
    rest = table - table.mean(0) - of_rows
    within = float((rest**2).sum()) / ((rows - 1) * (columns - 1))
    between = columns * float((of_rows**2).sum()) / (rows - 1)
    return between / within if within else math.inf * between if between else 0.0


def min_f(by_seeds: float, by_items: float, between: int, *, seeds: int, items: int) -> Omnibus:
    """Clark's lower bound of the F that counts both samples, with its degrees of freedom."""
    from scipy.special import fdtrc

    if by_seeds + by_items == 0:
        return Omnibus(0.0, between, seeds, 1.0)
    if math.inf in (by_seeds, by_items):
        f, within = min(by_seeds, by_items), float(seeds if by_items == math.inf else items)
    else:
        total = by_seeds + by_items
        f, within = by_seeds * by_items / total, total**2 / (by_seeds**2 / items + by_items**2 / seeds)
    return Omnibus(f, between, within, float(fdtrc(between, within, f)))


def mean_ranks(scores: Sequence[Sequence[float]]) -> list[float]:
    """Mean rank of every method (row) over the tasks (columns), 1 the best; ties share theirs."""
    import numpy
    from scipy.stats import rankdata

    return numpy.mean(rankdata(-numpy.asarray(scores), axis=0), axis=1).tolist()  # type: ignore[no-any-return]


def critical_difference(methods: int, *, tasks: int, confidence: float = 0.95) -> float:
    """How far apart two mean ranks are that differ, every two of so many methods compared (Nemenyi)."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(confidence, methods, math.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * tasks))


def combined(noises: Sequence[Noise]) -> Noise:
    """The noise of the mean of independent gaps."""
    seeds = [noise.seeds for noise in noises]
    parts = sum(noise.seeds**2 / noise.freedom for noise in noises)
    count = len(noises) ** 2
    freedom = sum(seeds) ** 2 / parts if parts else MANY
    return Noise(sum(seeds) / count, freedom, sum(noise.items for noise in noises) / count)
