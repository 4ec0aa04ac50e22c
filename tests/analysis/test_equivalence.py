"""Full fine-tuning's equals are claimed at a gap of just the margin in five tables of a hundred, not in twelve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from svft_bench.analysis.stats import equivalent
from svft_bench.analysis.tables.beyond import as_good
from svft_bench.analysis.tables.compared import Field

TABLES = 800


def field(values: Any, *, shares: bool = True) -> Field:
    return Field("m", "t", "e", (), tuple(range(values.shape[1])), (values,), shares)


def worse_by(gap: float, *, seeds: int, items: int, rng: np.random.Generator) -> Field:
    """Two methods that answer alike at every seed, but for items that only the first gets right."""
    right = np.stack([np.ones(items), (rng.random(items) >= gap).astype(float)])
    return field(np.repeat(right[:, None], seeds, axis=1))


@pytest.mark.parametrize(("items", "margin"), [(100, 0.05), (250, 0.02), (1000, 0.02)])
@pytest.mark.parametrize("seeds", [2, 5])
def test_a_gap_of_the_margin_is_seldom_claimed_to_be_none(items: int, margin: float, seeds: int) -> None:
    rng = np.random.default_rng(1)
    drawn = [worse_by(margin, seeds=seeds, items=items, rng=rng) for _ in range(TABLES)]
    gaps = [(one, gap) for one in drawn if (gap := one.gap(1, 0)) is not None]
    claimed = np.mean([as_good(one, gap, margin=margin) < 0.05 for one, gap in gaps])
    assert claimed <= 0.065 and len(gaps) == TABLES
    if items < 1000:
        assert np.mean([equivalent(gap.mean, gap.noise, margin=margin) < 0.05 for _, gap in gaps]) > 0.1


def test_no_gap_is_claimed_to_be_none_where_the_items_are_many() -> None:
    found = worse_by(0.0, seeds=3, items=1000, rng=np.random.default_rng(2))
    gap = found.gap(1, 0)
    assert gap is not None
    assert as_good(found, gap, margin=0.01) < 0.05
    few = worse_by(0.0, seeds=3, items=50, rng=np.random.default_rng(2))
    gap = few.gap(1, 0)
    assert gap is not None
    assert as_good(few, gap, margin=0.02) > 0.05


def test_what_is_no_share_has_its_own_noise() -> None:
    values = np.random.default_rng(3).normal(size=(2, 3, 40))
    one = field(values, shares=False)
    gap = one.gap(0, 1)
    assert gap is not None
    assert as_good(one, gap, margin=0.5) == equivalent(gap.mean, gap.noise, margin=0.5)
