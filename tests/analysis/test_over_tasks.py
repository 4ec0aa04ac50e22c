"""The mean gap over evals has the noise of its trainings: evals of one training share what its seed does."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import numpy as np
import pytest

from svft_bench.analysis.stats import Noise, around
from svft_bench.analysis.stats.beyond import combined
from svft_bench.analysis.tables.beyond import _by_training
from svft_bench.analysis.tables.compared import Field

EVALS, ROWS, TABLES = 8, 40, 200


def fields(tasks: list[str], rng: np.random.Generator, *, seeds: int = 3, common: float = 0.1) -> list[Field]:
    """Two like methods, of which each seed lifts all evals of its training."""
    lifts = {task: common * rng.normal(size=(2, seeds, 1)) for task in tasks}
    found = []
    for index, task in enumerate(tasks):
        values: Any = 0.6 + lifts[task] + 0.3 * rng.normal(size=(2, seeds, ROWS))
        found.append(Field("m", task, f"eval{index}", (), tuple(range(seeds)), (values,), shares=False))
    return found


def covered(single: list[Field], noises: list[Noise]) -> bool:
    gaps = [gap.mean for field in single if (gap := field.gap(0, 1)) is not None]
    low, high = around(fmean(gaps), combined(noises))
    return bool(low <= 0 <= high)


def noises_by(single: list[Field]) -> list[Noise]:
    return _by_training(single, [0] * len(single), [1] * len(single))


def test_an_interval_over_evals_of_one_training_covers_no_gap() -> None:
    rng = np.random.default_rng(1)
    tables = [fields(["commonsense"] * EVALS, rng) for _ in range(TABLES)]
    apart = [[gap.noise for field in single if (gap := field.gap(0, 1)) is not None] for single in tables]
    assert np.mean([covered(single, noises_by(single)) for single in tables]) >= 0.92
    assert np.mean([covered(single, noises) for single, noises in zip(tables, apart, strict=True)]) < 0.75


def test_trainings_of_their_own_are_independent() -> None:
    single = fields(["a", "b", "c"], np.random.default_rng(2))
    assert noises_by(single) == [gap.noise for field in single if (gap := field.gap(0, 1)) is not None]


def test_tasks_weigh_as_many_evals_as_they_have() -> None:
    single = fields(["a", "a", "a", "b"], np.random.default_rng(3))
    joint = Field("m", "a", "average", (), (0, 1, 2), tuple(field.values[0] for field in single[:3]), shares=False)
    of_a, of_b = joint.gap(0, 1), single[3].gap(0, 1)
    assert of_a is not None and of_b is not None
    found = combined(noises_by(single))
    assert found.seeds == pytest.approx((9 * of_a.noise.seeds + of_b.noise.seeds) / 16)
    assert found.items == pytest.approx((9 * of_a.noise.items + of_b.noise.items) / 16)
