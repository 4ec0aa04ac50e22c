"""How far the score of a cell may be from what it would be on average: by its seeds, its items, and its metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from svft_bench.analysis.stats import (
    Interval,
    Noise,
    Pooled,
    around,
    clipped,
    fisher,
    over_seeds,
    phi,
    share_variance,
    wilson,
)
from svft_bench.config.spec import MetricName
from svft_bench.config.spec.metric import COMPARED

SHARES = frozenset({"accuracy", "accuracy_strict", "exact_match", "best_exact_match"})
FORMULA = {
    "accuracy": "Wilson",
    "accuracy_strict": "Wilson",
    **dict.fromkeys(("matthews", "pearson", "spearman"), "Fisher's z of influence values"),
    "f1": "Wilson of what is positive on either side",
    "token_accuracy": "the spread of texts",
    "log_likelihood": "the spread of texts",
    "rouge1": "a bootstrap of texts",
    "rouge2": "a bootstrap of texts",
    "rougeL": "a bootstrap of texts",
    "rougeLsum": "a bootstrap of texts",
    "bleu": "a bootstrap of texts",
    "exact_match": "Wilson",
    "best_exact_match": "Wilson",
    **dict.fromkeys(
        (
            "token_f1",
            "best_token_f1",
            "has_answer_exact_match",
            "has_answer_token_f1",
            "no_answer_accuracy",
        ),
        "a bootstrap of questions",
    ),
    **dict.fromkeys(("noise_explained", "colours", "clip_i", "clip_t", "dino"), "the spread of pictures"),
}
CORRELATIONS = frozenset({"pearson", "spearman"})


def score_interval(
    metric: MetricName, values: Sequence[float], *, items: int, noise: Noise | None = None
) -> Interval | None:
    """Interval of the mean over seeds, the noise of items included, as far as the metric goes; None without a formula.

    `noise` is that of the mean where predictions were read.
    """
    if len(values) == 1 and metric in SHARES:
        return wilson(values[0], items=items)
    if len(values) == 1 and metric == "matthews":
        return phi(values[0], items=items)
    if len(values) == 1 and metric in CORRELATIONS:
        return fisher(values[0], items=items, ranks=metric == "spearman")
    return average_interval([metric], [[value] for value in values], items=[items], noise=noise)


def average_interval(
    metrics: Sequence[MetricName],
    by_seed: Sequence[Sequence[float]],
    *,
    items: Sequence[int],
    noise: Noise | None = None,
    spread: Pooled | None = None,
) -> Interval | None:
    """Interval of the mean over several evals of `items` examples each, whose scores `by_seed` has for every seed.

    Seeds vary as they do, or as `spread` says.
    """
    scores = [fmean(of_seed) for of_seed in by_seed]
    low, high = metric_range(metrics[0])
    if noise is not None:
        return clipped(around(fmean(scores), noise), low=low, high=high)
    means = [fmean(of_eval) for of_eval in zip(*by_seed, strict=True)]
    parts = [item_variance(metric, mean, items=n) for metric, mean, n in zip(metrics, means, items, strict=True)]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    of_items = sum(known) / len(parts) ** 2
    if spread is None:
        return clipped(over_seeds(scores, item_variance=of_items), low=low, high=high)
    noise = Noise(spread.variance / len(scores), spread.freedom, of_items)
    return clipped(around(fmean(scores), noise), low=low, high=high)


def metric_range(metric: MetricName) -> tuple[float, float]:
    """The least and the most that a metric can be."""
    if metric == "log_likelihood":
        return -math.inf, 0.0
    if metric == "noise_explained":
        return -math.inf, 1.0
    return (-1.0 if metric in (*CORRELATIONS, *COMPARED) or metric == "matthews" else 0.0), 1.0


def item_variance(metric: MetricName, score: float, *, items: int) -> float | None:
    """Variance of one score from the choice of `items` examples: binomial, or that of a correlation (see `stats`)."""
    if metric in SHARES:
        return share_variance(score, items=items)
    if metric == "matthews":
        return (1 - score * score) / items
    if metric not in CORRELATIONS:
        return None
    ranks = 1 + score * score / 2 if metric == "spearman" else 1.0
    return (1 - score * score) ** 2 * ranks / max(items - 3, 1)
