"""Each statistic gives a published or closed-form value."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from svft_bench.analysis import stats


@pytest.mark.parametrize(
    ("right", "items", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_values_of_newcombe_1998(right: int, items: int, low: float, high: float) -> None:
    assert stats.wilson(right / items, items=items) == pytest.approx((low, high), abs=5e-5)


def test_wilson_is_the_set_of_shares_that_a_score_test_keeps() -> None:
    share, items = 0.3, 50
    z = NormalDist().inv_cdf(0.975)
    for end in stats.wilson(share, items=items):
        assert abs(share - end) / math.sqrt(end * (1 - end) / items) == pytest.approx(z)


def test_fisher_is_the_transform_of_a_normal_interval() -> None:
    low, high = stats.fisher(0.5, items=103)
    assert (math.atanh(high) - math.atanh(low)) / 2 == pytest.approx(NormalDist().inv_cdf(0.975) / 10)
    assert stats.fisher(1.0, items=50) == (-1.0, 1.0)


def test_phi_has_the_variance_of_a_balanced_table() -> None:
    low, high = stats.phi(0.0, items=100)
    assert high == -low == pytest.approx(math.sin(0.195996), abs=1e-5)
    low, high = stats.phi(0.6, items=10**6)
    assert (high - low) / (2 * 1.959964) == pytest.approx(math.sqrt((1 - 0.36) / 10**6), rel=1e-3)
    assert stats.phi(1.0, items=50).high == 1.0


@pytest.mark.parametrize(("share", "accuracy"), [(0.69, 0.85), (0.5, 0.7)])
def test_phi_covers_the_true_coefficient(share: float, accuracy: float) -> None:
    rng = np.random.default_rng(5)
    found = []
    for _ in range(400):
        truth = (rng.random(1043) < share).astype(int)
        guess = np.where(rng.random(1043) < accuracy, truth, 1 - truth)
        found.append(float(np.corrcoef(truth, guess)[0, 1]))
    inside = [low <= np.mean(found) <= high for value in found for low, high in [stats.phi(value, items=1043)]]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.03)


def test_without_item_noise_seeds_give_students_interval() -> None:
    scores = [1.0, 2.0, 3.0]  # s = 1, t(2) = 4.3027
    assert stats.over_seeds(scores, item_variance=0.0) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)


def test_without_seed_noise_items_give_a_normal_interval() -> None:
    assert stats.over_seeds([0.5, 0.5], item_variance=0.01) == pytest.approx((0.5 - 0.19600, 0.5 + 0.19600), abs=1e-5)
    assert stats.over_seeds([0.5, 0.5], item_variance=0.0) == (0.5, 0.5)


def test_more_seeds_cannot_remove_the_noise_of_items() -> None:
    many = stats.over_seeds([0.49, 0.51] * 500, item_variance=0.01)
    assert many.high - many.low > 2 * 1.959 * 0.1


def test_another_run_lands_in_the_prediction_interval() -> None:
    low, high = stats.another_run([1.0, 2.0, 3.0])  # t(2) · √(1 + 1/3)
    assert (high - low) / 2 == pytest.approx(4.3027 * math.sqrt(4 / 3), abs=1e-3)
    rng = np.random.default_rng(3)
    draws = rng.normal(size=(2000, 4))
    inside = [low <= run[3] <= high for run in draws for low, high in [stats.another_run(run[:3].tolist())]]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)


def test_additive_tables_split_exactly() -> None:
    seeds, items = [0.0, 1.0, 5.0], [2.0, 4.0, 9.0, 1.0]
    found = stats.split_variance([[a + b for b in items] for a in seeds])
    assert found == pytest.approx((np.var(seeds, ddof=1), np.var(items, ddof=1), 0.0))


def test_random_tables_split_into_what_made_them() -> None:
    rng = np.random.default_rng(4)
    table = rng.normal(0, 1, (200, 1)) + rng.normal(0, 2, (1, 300)) + rng.normal(0, 3, (200, 300))
    assert stats.split_variance(table.tolist()) == pytest.approx((1, 4, 9), rel=0.25)


def test_mcnemar_is_the_exact_binomial() -> None:
    assert stats.mcnemar(5, 15) == pytest.approx(2 * sum(math.comb(20, k) for k in range(6)) / 2**20)
    assert stats.mcnemar(5, 15) == stats.mcnemar(15, 5)
    assert stats.mcnemar(0, 0) == stats.mcnemar(7, 7) == 1.0


def test_mcnemar_agrees_with_the_approval_ratings_of_agresti() -> None:
    assert stats.mcnemar(150, 86) == pytest.approx(3.7e-5, rel=0.1)  # 150 and 86 switched sides; z = 4.17


def test_no_difference_is_the_paired_t_test_over_seeds_and_the_z_test_over_items() -> None:
    assert stats.no_difference([1.0, 2.0, 3.0], item_variance=0.0) == pytest.approx(0.0742, abs=1e-4)  # t(2) = 3.4641
    assert stats.no_difference([1.959964], item_variance=1.0) == pytest.approx(0.05, abs=1e-6)
    assert stats.no_difference([0.0, 0.0], item_variance=0.0) == 1.0


def test_an_interval_that_ends_at_zero_has_p_at_its_level() -> None:
    differences = [0.5, 1.5, 2.0]
    mean = sum(differences) / 3
    low, _ = stats.over_seeds(differences, item_variance=0.2)
    shifted = [value - low for value in differences]
    assert stats.no_difference(shifted, item_variance=0.2) == pytest.approx(0.05)
    assert mean - low > 0


def test_holm_multiplies_from_the_smallest_and_never_falls() -> None:
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([]) == []


def test_the_detectable_difference_is_that_of_the_textbook_sample_size() -> None:
    """Two groups of 63 show half a standard deviation with 80 % power."""
    found = stats.detectable_difference(seed_variance=0.0, item_variance=1 / 62.79, seeds=1)
    assert found == pytest.approx(0.5, abs=1e-4)
