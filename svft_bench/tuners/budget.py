"""How much adapters may hold beside the weights that they adapt: Σ factors + Σ adapted weights ≤ budget · Σ weights."""

from __future__ import annotations

import warnings
from typing import NamedTuple


class Holding(NamedTuple):
    """The bytes of one layer's weight and of its factors, and whether it holds both factors."""

    weight: int
    factors: int
    both: bool


def check(holdings: dict[str, Holding], *, budget: float) -> None:
    """Raise a ValueError where the factors alone are more than the budget, a multiple of the weights."""
    weights = sum(holding.weight for holding in holdings.values())
    factors = sum(holding.factors for holding in holdings.values())
    if factors > budget * weights:
        raise ValueError(
            f"memory_budget={budget} is too little: the factors alone take {factors / weights:.3g} times the weights; "
            "path='one_sided' keeps the smaller one only, wherever that is safe."
        )


def allot(holdings: dict[str, Holding], *, budget: float) -> set[str]:
    """The layers that may keep an adapted weight.

    Those with both factors come first, in the model's order, because they train with it; one with a single factor
    only decodes with it. Exactness goes before the budget: a weight whose conditioning lets no factor go keeps both.
    """
    left = budget * sum(holding.weight for holding in holdings.values())
    left -= sum(holding.factors for holding in holdings.values())
    if left < 0:
        warnings.warn(f"The factors take more than memory_budget={budget}: some weights need both.", stacklevel=2)
    kept = set()
    for name in sorted(holdings, key=lambda name: not holdings[name].both):
        if holdings[name].weight <= left:
            left -= holdings[name].weight
            kept.add(name)
    return kept
