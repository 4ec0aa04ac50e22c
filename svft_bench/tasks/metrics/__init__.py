"""Metrics as pure functions of (predictions, references), light to import."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence


def accuracy(predictions: Sequence[Hashable], references: Sequence[Hashable]) -> float:
    """Share of equal pairs."""
    return sum(p == r for p, r in zip(predictions, references, strict=True)) / len(references)


def token_accuracy(predictions: Sequence[int], references: Sequence[int]) -> float:
    """Mean over texts of the share of their tokens that were foreseen: so many of so many."""
    return math.fsum(p / r for p, r in zip(predictions, references, strict=True)) / len(references)


def confusion(predictions: Sequence[int], references: Sequence[int]) -> tuple[int, int, int, int]:
    """How many are 1 and said to be, said to be alone, are alone, and neither."""
    pairs = list(zip(predictions, references, strict=True))
    if others := {*predictions, *references} - {0, 1}:
        raise ValueError(f"F1 and Matthews's correlation are of classes 0 and 1, not of {', '.join(map(str, others))}")
    return pairs.count((1, 1)), pairs.count((1, 0)), pairs.count((0, 1)), pairs.count((0, 0))


def f1(predictions: Sequence[int], references: Sequence[int]) -> float:
    """Harmonic mean of precision and recall of class 1; 0 if class 1 is neither predicted nor there."""
    right, extra, missed, _ = confusion(predictions, references)
    return 2 * right / (2 * right + extra + missed) if right else 0.0


def matthews(predictions: Sequence[int], references: Sequence[int]) -> float:
    """Matthews correlation of two classes 0 and 1; 0 if either side is constant."""
    right, extra, missed, left = confusion(predictions, references)
    spread = (right + extra) * (right + missed) * (left + extra) * (left + missed)
    return (right * left - extra * missed) / math.sqrt(spread) if spread else 0.0


def pearson(predictions: Sequence[float], references: Sequence[float]) -> float:
    """Linear correlation; not a number if either side is constant, not finite or has fewer than two values."""
    if not all(map(math.isfinite, (*predictions, *references))):
        return math.nan
    x, y = _centred(predictions), _centred(references)
    spread = math.sqrt(math.fsum(a * a for a in x)) * math.sqrt(math.fsum(b * b for b in y))
    if len(x) < 2 or not spread or not math.isfinite(spread):
        return math.nan
    return max(-1.0, min(1.0, math.fsum(a * b for a, b in zip(x, y, strict=True)) / spread))


def _centred(values: Sequence[float]) -> list[float]:
    mean = math.fsum(values) / len(values)
    return [value - mean for value in values] if len(set(values)) > 1 else [0.0] * len(values)


def spearman(predictions: Sequence[float], references: Sequence[float]) -> float:
    """Correlation of ranks, ties sharing their mean rank; not a number where `pearson` of the ranks is not."""
    if any(map(math.isnan, (*predictions, *references))):
        return math.nan
    return pearson(_ranks(predictions), _ranks(references))


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=lambda index: values[index])
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for position in range(start, end):
            ranks[order[position]] = (start + end + 1) / 2
        start = end
    return ranks
