"""What is said of pairs, of all methods together and of several tasks gives a published or closed-form value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import f, f_oneway, spearmanr, ttest_rel

from svft_bench.analysis import stats
from svft_bench.analysis.stats import beyond, influence
from svft_bench.tasks.metrics import f1, matthews, pearson, spearman

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=300).round(1), None
Y = (0.6 * X + 0.8 * RNG.normal(size=300)).round(1)
GUESS, TRUTH = (RNG.random(300) < 0.4 + 0.3 * (X > 0)).astype(int), (X > 0.1).astype(int)


@pytest.mark.parametrize(
    ("metric", "values", "one", "other"),
    [
        (pearson, influence.pearson, X, Y),
        (spearman, influence.spearman, X, Y),
        (spearman, influence.spearman, GUESS, TRUTH),
        (matthews, influence.matthews, GUESS, TRUTH),
        (f1, influence.f1, GUESS, TRUTH),
    ],
)
def test_influence_values_have_the_score_for_a_mean_and_the_jackknifes_variance(
    metric: Callable[..., float], values: Callable[..., Any], one: Any, other: Any
) -> None:
    found = values(one.tolist(), other.tolist())
    assert found.mean() == pytest.approx(metric(one.tolist(), other.tolist()))
    left_out = [metric(np.delete(one, i).tolist(), np.delete(other, i).tolist()) for i in range(len(one))]
    jackknife = math.sqrt((len(one) - 1) / len(one) * ((np.array(left_out) - np.mean(left_out)) ** 2).sum())
    assert found.std() / math.sqrt(len(found)) == pytest.approx(jackknife, rel=0.03)


def test_the_influence_on_a_constant_is_undefined() -> None:
    assert np.isnan(influence.pearson([1, 1, 1], [0, 1, 1])).all()
    assert np.isnan(influence.spearman([1, 2, 3], [1, 1, 1])).all()


def test_a_normal_correlation_has_fishers_error() -> None:
    x, noise = np.random.default_rng(3).normal(size=(2, 4000))
    y = 0.8 * x + 0.6 * noise
    error = influence.pearson(x.tolist(), y.tolist()).std() / math.sqrt(4000)
    assert error == pytest.approx((1 - 0.8**2) / math.sqrt(4000), rel=0.05)


def test_two_methods_alone_are_the_paired_t_test_over_seeds() -> None:
    one, other = [0.81, 0.84, 0.80], [0.78, 0.80, 0.79]
    first, second = stats.spreads([one, other])
    spread = stats.spread_of_gap(first, second)
    gaps = [a - b for a, b in zip(one, other, strict=True)]
    assert spread.variance == pytest.approx(np.var(gaps, ddof=1)) and spread.freedom == pytest.approx(2)
    noise = stats.Noise(spread.variance / 3, spread.freedom, 0.0)
    assert stats.two_sided(float(np.mean(gaps)), noise) == pytest.approx(ttest_rel(one, other).pvalue)


def test_a_method_that_collapses_does_not_make_the_others_noisy() -> None:
    quiet = [[0.80, 0.81, 0.805], [0.79, 0.80, 0.81], [0.82, 0.81, 0.80], [0.80, 0.79, 0.80]]
    alone, with_it = stats.spreads(quiet), stats.spreads([*quiet, [0.5, 0.8, 0.81]])
    assert math.sqrt(max(spread.variance for spread in with_it[:4])) < 0.02
    assert with_it[4].variance > 0.01 and with_it[4].freedom < 2.5
    assert alone[0].freedom > 2


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("failing", [0.0, 0.125])
def test_an_interval_of_few_seeds_borrows_degrees_of_freedom_and_covers_as_often(seeds: int, failing: float) -> None:
    """Eleven methods of three points between seeds, some of which lose thirty; beside that without borrowed freedom."""
    rng = np.random.default_rng(0)
    inside: list[list[bool]] = [[], []]
    arms: list[list[float]] = [[], []]
    for _ in range(200):
        lost = 30 * (rng.random((11, seeds)) < failing)
        scores = 3 * rng.normal(size=(11, seeds)) - lost
        for row, spread in zip(scores, stats.spreads(scores.tolist(), shared_seeds=False), strict=True):
            both = spread.freedom * spread.variance  # of the prior, taken as known, and the method's own
            alone = min(spread.freedom, both**2 / (seeds - 1) / row.var(ddof=1) ** 2)
            for place, freedom in enumerate((spread.freedom, alone)):
                low, high = stats.around(row.mean(), stats.Noise(spread.variance / seeds, freedom, 0.0))
                inside[place].append(low <= -30 * failing <= high)
                arms[place].append(high - low)
    assert np.mean(inside[0]) >= np.mean(inside[1]) - 0.01
    assert failing or np.mean(inside[0]) >= 0.95
    assert seeds > 2 or not failing or np.mean(arms[0]) < 0.7 * np.mean(arms[1])


def test_the_noise_of_items_is_counted_once() -> None:
    """A gap of v/n + (σ² + e/n)/S: items that lean one way at every seed, and items that turn from seed to seed."""
    rng = np.random.default_rng(5)
    lean, turn, sigma, seeds, items = 0.5, 0.8, 0.02, 400, 500
    gaps = lean * rng.normal(size=(1, items)) + turn * rng.normal(size=(seeds, items))
    gaps = gaps + sigma * rng.normal(size=(seeds, 1))
    spread = stats.Spread(float(gaps.mean(1).var(ddof=1)), seeds - 1, seeds - 1)
    noise = stats.noise_of_gap([gaps], spread)
    assert noise.items == pytest.approx(lean**2 / items, rel=0.15)
    assert noise.seeds * seeds == pytest.approx(sigma**2 + turn**2 / items, rel=0.15)


def test_equal_answers_leave_the_noise_of_one_item_that_each_method_wins() -> None:
    noise = stats.noise_of_gap([np.zeros((2, 98))], stats.Spread(0.0, 1.0, 1.0))
    assert noise.items == pytest.approx(2 / 100**2) and noise.seeds == 0


def test_equivalence_is_two_one_sided_t_tests() -> None:
    """Of a gap of 1 with standard error 1 and 10 degrees of freedom, margin 3: t = 2, p = 0.0367."""
    noise = stats.Noise(1.0, 10.0, 0.0)
    assert stats.equivalent(1.0, noise, margin=3.0) == pytest.approx(0.0367, abs=1e-4)
    assert stats.equivalent(-1.0, noise, margin=3.0) == stats.equivalent(1.0, noise, margin=3.0)
    assert stats.equivalent(3.0, noise, margin=3.0) == pytest.approx(0.5)
    assert stats.equivalent(5.0, noise, margin=3.0) == pytest.approx(1 - 0.0367, abs=1e-4)


def test_a_gap_is_detectable_where_the_textbook_says() -> None:
    """z(0.975) + z(0.8) = 2.8016 standard errors; sixteen pairs of seeds for one of a standard deviation."""
    assert stats.detectable_gap(stats.Noise(0.0, 1.0, 1.0), comparisons=1) == pytest.approx(2.8016, abs=1e-4)
    needed = stats.seeds_needed(1.0, seed_variance=2.0, item_variance=0.0, comparisons=1)
    assert needed == 17  # Cohen 1988: n = 17 in each of two groups for d = 1
    assert stats.seeds_needed(1.0, seed_variance=2.0, item_variance=0.2, comparisons=1) is None


def test_min_f_is_clarks() -> None:
    """F1(1, 20) = 6, F2(1, 30) = 3: 18/9 = 2 on 81 / (36/30 + 9/20) = 49.09 degrees of freedom."""
    found = beyond.min_f(6.0, 3.0, 1, seeds=20, items=30)
    assert found[:3] == (pytest.approx(2.0), 1, pytest.approx(49.09, abs=0.01))


def test_the_f_of_rows_is_that_of_two_way_analysis_of_variance() -> None:
    one, other = [5.0, 7.0, 9.0, 4.0], [4.0, 4.0, 7.0, 3.0]
    assert beyond.ratio(np.array([one, other])) == pytest.approx(ttest_rel(one, other).statistic ** 2)
    centred = np.random.default_rng(0).normal(size=(3, 6))
    centred = (
        centred - centred.mean(0) + np.arange(3)[:, None]
    )  # columns alike: one-way, but for its degrees of freedom
    assert beyond.ratio(centred) == pytest.approx(f_oneway(*centred).statistic * 10 / 15)


def test_the_omnibus_test_keeps_its_level() -> None:
    rng = np.random.default_rng(2)
    p_values = []
    for _ in range(300):
        values = rng.normal(size=(6, 1, 80)) + rng.normal(size=(6, 3, 80)) + 0.2 * rng.normal(size=(6, 3, 1))
        p_values.append(beyond.omnibus(values + rng.normal(size=(1, 1, 80))).p)
    assert np.mean(np.array(p_values) < 0.05) <= 0.06


@pytest.mark.parametrize(("methods", "seeds"), [(2, 2), (2, 3), (4, 2)])
@pytest.mark.parametrize("of_seeds", [0.3, 1.0])
def test_the_omnibus_test_keeps_its_level_at_few_seeds_that_agree_by_luck(
    methods: int, seeds: int, of_seeds: float
) -> None:
    rng, p_values, clarks = np.random.default_rng(4), [], []
    for _ in range(800):
        values = rng.normal(size=(methods, seeds, 60)) + of_seeds * rng.normal(size=(methods, seeds, 1))
        found = beyond.omnibus(values + 0.3 * rng.normal(size=(methods, 1, 60)))
        p_values.append(found.p)
        clarks.append(float(f.sf(found.f, found.between, found.within)))
    assert np.mean(np.array(p_values) < 0.05) <= 0.065
    assert all(p >= clark - 1e-12 for p, clark in zip(p_values, clarks, strict=True))
    if (methods, seeds) == (2, 2):
        assert np.mean(np.array(clarks) < 0.05) > 0.08


def test_the_critical_difference_is_demsars() -> None:
    """Four classifiers on fourteen data sets, 2.569 √(4 · 5 / (6 · 14)) = 1.25."""
    assert beyond.critical_difference(4, tasks=14) == pytest.approx(1.25, abs=0.005)
    assert beyond.critical_difference(2, tasks=6) == pytest.approx(1.960 * math.sqrt(1 / 6), abs=1e-3)


def test_the_best_has_rank_one_and_ties_share() -> None:
    assert beyond.mean_ranks([[0.9, 0.5], [0.8, 0.5], [0.1, 0.6]]) == [1.75, 2.25, 2.0]


def test_independent_gaps_average_like_means() -> None:
    found = beyond.combined([stats.Noise(4.0, 2.0, 1.0), stats.Noise(4.0, 2.0, 3.0)])
    assert found == (2.0, 4.0, 1.0)


def test_spearmans_values_agree_with_scipy() -> None:
    assert influence.spearman(X.tolist(), Y.tolist()).mean() == pytest.approx(spearmanr(X, Y).statistic)
