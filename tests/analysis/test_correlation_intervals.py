"""The interval of one run's correlation covers the true one nineteen times of twenty, whatever the data are like."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from svft_bench.analysis import stats
from svft_bench.analysis.stats.correlations import CORRELATION_INTERVALS
from svft_bench.analysis.tables.predictions import with_noise
from svft_bench.analysis.tables.results import cell_results
from svft_bench.compose import cells
from svft_bench.tasks.metrics import matthews, pearson
from tests.made_records import answered

RUNS = 400
LEAST = 0.925  # of so many, what one of 0.95 has in 49 cases of 50


@pytest.mark.parametrize(
    ("share", "found_of_ones", "found_of_zeros"), [(0.69, 0.95, 0.5), (0.9, 0.95, 0.6), (0.1, 0.6, 0.97)]
)
@pytest.mark.parametrize("items", [100, 1000])
def test_matthews_of_any_balance_of_classes(
    share: float, found_of_ones: float, found_of_zeros: float, items: int
) -> None:
    rng = np.random.default_rng(7)

    def drawn(count: int) -> tuple[list[int], list[int]]:
        truth = rng.random(count) < share
        right = rng.random(count) < np.where(truth, found_of_ones, found_of_zeros)
        return np.where(right, truth, ~truth).astype(int).tolist(), truth.astype(int).tolist()

    true = matthews(*drawn(400_000))
    intervals = [CORRELATION_INTERVALS["matthews"](*drawn(items)) for _ in range(RUNS)]
    assert np.mean([low <= true <= high for low, high in intervals]) >= LEAST


@pytest.mark.parametrize("items", [20, 300])
def test_ranks_of_answers_that_end_at_a_bound(items: int) -> None:
    rng = np.random.default_rng(8)

    def drawn(count: int) -> tuple[list[float], list[float]]:
        truth = np.round(5 * rng.random(count), 1)
        return np.clip(truth + 0.4 * rng.standard_t(3, count), 0, 5).tolist(), truth.tolist()

    true = float(spearmanr(*drawn(400_000)).statistic)
    intervals = [CORRELATION_INTERVALS["spearman"](*drawn(items)) for _ in range(RUNS)]
    assert np.mean([low <= true <= high for low, high in intervals]) >= LEAST
    by_formula = [stats.fisher(found, items=items) for found in (float(spearmanr(*drawn(items))[0]) for _ in range(99))]
    assert np.mean([low <= true <= high for low, high in by_formula]) < 0.9


def test_a_normal_pearson_has_fishers_interval() -> None:
    rng = np.random.default_rng(9)
    x, noise = rng.normal(size=(2, 20_000))
    y = 0.6 * x + 0.8 * noise
    found = CORRELATION_INTERVALS["pearson"](x.tolist(), y.tolist())
    expected = stats.fisher(pearson(x.tolist(), y.tolist()), items=20_000)
    assert found == pytest.approx(expected, abs=5e-4)


def test_without_predictions_ranks_have_the_error_of_bonett_and_wright() -> None:
    low, high = stats.fisher(0.9, items=103, ranks=True)
    assert (math.atanh(high) - math.atanh(low)) / 2 == pytest.approx(0.195996 * math.sqrt(1.405), rel=1e-5)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_a_line_and_too_few_items_prove_nothing(metric: str) -> None:
    ramp = [float(value) for value in range(9)]
    assert CORRELATION_INTERVALS[metric](ramp, ramp) == (-1, 1)
    assert CORRELATION_INTERVALS[metric](ramp[:3], [0.0, 2.0, 1.0]) == (-1, 1)


def test_no_mistake_and_one_class_have_an_interval_around_their_score() -> None:
    truth = [0, 1] * 50
    low, high = CORRELATION_INTERVALS["matthews"](truth, truth)
    assert 0.8 < low < 0.95 and high == 1
    low, high = CORRELATION_INTERVALS["matthews"]([1] * 100, truth)
    assert low < -0.1 and high > 0.1


def test_a_table_takes_it_from_the_predictions(tmp_path: Path) -> None:
    cell = cells(["model=minilm-l6", "method=lora", "task=glue/cola", "seed=0"], any_data=True)[0]
    truth = [int(index % 10 > 0) for index in range(200)]
    given = [1 - one if index % 15 == 0 else one for index, one in enumerate(truth)]
    record = answered(cell, given, truth, folder=tmp_path)
    (result,) = with_noise(cell_results([cell], [record]), folder=tmp_path)
    found = result.scores[0]
    assert found.interval == CORRELATION_INTERVALS["matthews"](given, truth)
    assert found.interval.low < found.mean < found.interval.high
