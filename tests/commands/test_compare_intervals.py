"""The interval of two runs' difference covers it, also where few items tell them apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from svft_bench.analysis.stats import around, noise_of_gap, spreads
from svft_bench.commands.compare import noise_of_items


def coverage(items: int, share: float, *, by_their_own: bool = False) -> float:
    """Of the true gap, where the first run alone gets this share of the items right and all else is equal."""
    found = 0.0
    for alone in range(items + 1):
        gap = np.array([1.0] * alone + [0.0] * (items - alone))
        noise = noise_of_gap([gap[None]], spreads([[0.0]])[0]) if by_their_own else noise_of_items(gap, share=True)
        low, high = around(float(gap.mean()), noise)
        found += float(binom.pmf(alone, items, share)) * (low <= share <= high)
    return found


@pytest.mark.parametrize(("items", "share"), [(60, 0.05), (60, 0.3), (100, 0.05), (100, 0.02), (200, 0.1), (500, 0.01)])
def test_a_gap_of_few_items_is_covered(items: int, share: float) -> None:
    assert coverage(items, share) >= 0.93


def test_by_their_own_spread_it_was_not() -> None:
    assert coverage(60, 0.05, by_their_own=True) < 0.82


def test_what_is_no_share_has_its_own_noise() -> None:
    gap = np.random.default_rng(1).normal(size=50)
    assert noise_of_items(gap, share=False) == noise_of_gap([gap[None]], spreads([[0.0]])[0])
