"""How often a table shows a true gap, also by each pair's own spread and by the true one.

`python -m scripts.measure_power`
"""

from __future__ import annotations

import numpy

from svft_bench.analysis.stats import MANY, Noise, holm, no_difference, spread_of_gap, spreads, two_sided

METHODS = 11
SETTINGS = (
    (3.4, 5, 3, False),
    (3.4, 8, 3, False),
    (3.4, 15, 3, False),
    (3.4, 10, 5, False),
    (2.0, 8, 3, True),
    (2.0, 15, 3, True),
)


def shares(
    deviation: float, gap: float, *, seeds: int, unequal: bool, tables: int = 150
) -> tuple[list[float], list[float]]:
    """Of the pairs with a gap, how many are marked, of the tables, how many have a false mark; by three tests.

    The third knows the spread, which no test does: what can be had at all. Points; one method is better, items add 0.9.
    With `unequal`, half of the methods have ten times the variance.
    """
    random, items = numpy.random.default_rng(0), 0.9
    deviations = numpy.full(METHODS, deviation)
    deviations[METHODS // 2 :] *= 10**0.5 if unequal else 1
    shown, false = numpy.zeros(3), numpy.zeros(3)
    for _ in range(tables):
        scores = random.normal(size=(METHODS, seeds)) * deviations[:, None]
        scores += random.normal(size=(METHODS, 1)) * items / 2**0.5
        scores[0] += gap
        moderated = spreads(scores.tolist())
        pairs = [(one, other) for one in range(METHODS) for other in range(one)]
        found: list[list[float]] = [[], [], []]
        for one, other in pairs:
            gaps = scores[one] - scores[other]
            spread = spread_of_gap(moderated[one], moderated[other])
            found[0].append(two_sided(float(gaps.mean()), Noise(spread.variance / seeds, spread.freedom, items**2)))
            found[1].append(no_difference(gaps.tolist(), item_variance=items**2))
            known = float(deviations[one] ** 2 + deviations[other] ** 2) / seeds
            found[2].append(two_sided(float(gaps.mean()), Noise(known, MANY, items**2)))
        true = numpy.array([other == 0 for _, other in pairs])
        marked = [numpy.array(holm(p)) < 0.05 for p in found]
        shown += [mark[true].mean() for mark in marked]
        false += [mark[~true].any() for mark in marked]
    return (shown / tables).tolist(), (false / tables).tolist()


if __name__ == "__main__":
    for deviation, gap, seeds, unequal in SETTINGS:
        (new, old, known), (wrong, wrong_old, _) = shares(deviation, gap, seeds=seeds, unequal=unequal)
        kind = "10:1" if unequal else "equal"
        print(
            f"{kind} {deviation} points, {seeds} seeds, gap {gap}: shown {new:.2f} "
            f"(own spread alone {old:.2f}, spread known {known:.2f}), "
            f"tables with a false mark {wrong:.2f} ({wrong_old:.2f})"
        )
