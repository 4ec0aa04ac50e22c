"""Answers that are spans of a text, compared as SQuAD's own evaluations compare them; light to import.

Rajpurkar and others 2016 (arXiv 1606.05250) and 2018 (1806.03822): F1 = 2 P R / (P + R) of words, the best over golds.
An empty list of golds says that there is no answer, which only an empty prediction meets.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from svft_bench.config.spec import MetricName

Prediction = dict[str, Any]
Value = Callable[[str, Sequence[str]], float]
_PUNCTUATION = str.maketrans("", "", string.punctuation)
BEYOND = 1.0  # how far a threshold lies outside of all gaps, where every question is answered or none


def normalised(text: str) -> str:
    """Lower-case words without ASCII punctuation and without a, an, the."""
    words = re.sub(r"\b(?:a|an|the)\b", " ", text.lower().translate(_PUNCTUATION))
    return " ".join(words.split())


def exact_match(prediction: str, golds: Sequence[str]) -> float:
    """1 where it is one of the golds, else 0."""
    said = normalised(prediction)
    return float(said in map(normalised, golds) if golds else not said)


def token_f1(prediction: str, golds: Sequence[str]) -> float:
    """The best over golds."""
    said = normalised(prediction).split()
    if not golds:
        return float(not said)
    return max(_f1(said, normalised(gold).split()) for gold in golds)


def _f1(said: Sequence[str], gold: Sequence[str]) -> float:
    common = (Counter(said) & Counter(gold)).total()
    return 2 * common / (len(said) + len(gold)) if common else 0.0


def mean(value: Value) -> Callable[[Sequence[str], Sequence[Sequence[str]]], float]:
    """The metric whose value for each prediction this is; not a number of none."""

    def metric(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
        values = [value(said, golds) for said, golds in zip(predictions, references, strict=True)]
        return math.fsum(values) / len(values) if values else math.nan

    return metric


def threshold(rows: Sequence[Prediction], *, value: Value) -> float:
    """The gap above which "no answer" is said, at which the mean value of these rows is highest.

    A row's `gap` is how much more the model is for no answer than for its `span`. It lies between two gaps; of several
    that are best it is the lowest.
    """
    gaps: dict[float, float] = {}
    for row in rows:
        gain = value(row["span"], row["reference"]) - value("", row["reference"])
        gaps[row["gap"]] = gaps.get(row["gap"], 0.0) + gain
    ordered = sorted(gaps)
    edges = [
        ordered[0] - BEYOND,
        *((a + b) / 2 for a, b in pairwise(ordered)),
        ordered[-1] + BEYOND,
    ]
    gained, best = 0.0, (0.0, edges[0])
    for gap, edge in zip(ordered, edges[1:], strict=True):
        gained += gaps[gap]
        best = max(best, (gained, edge), key=lambda found: found[0])
    return best[1]


def decided(rows: Sequence[Prediction], *, above: float) -> list[Prediction]:
    """The predictions with no answer where the gap is above a threshold, and the span elsewhere."""
    return [row | {"prediction": "" if row["gap"] > above else row["span"]} for row in rows]


def at_best(value: Value) -> Callable[[Sequence[Prediction]], list[Prediction]]:
    """Predictions at the threshold that is best on these very rows, as SQuAD 2.0's evaluation has `best_exact`."""
    return lambda rows: decided(rows, above=threshold(rows, value=value)) if rows else []


SPAN_VALUES: dict[MetricName, Value] = {
    "exact_match": exact_match,
    "token_f1": token_f1,
    "best_exact_match": exact_match,
    "best_token_f1": token_f1,
    "has_answer_exact_match": exact_match,
    "has_answer_token_f1": token_f1,
    "no_answer_accuracy": exact_match,
}
# Which rows a metric is of, and with which predictions, where these are not all as they are.
SPAN_ROWS: dict[MetricName, Callable[[Sequence[Prediction]], list[Prediction]]] = {
    "best_exact_match": at_best(exact_match),
    "best_token_f1": at_best(token_f1),
    "has_answer_exact_match": lambda rows: [row for row in rows if row["reference"]],
    "has_answer_token_f1": lambda rows: [row for row in rows if row["reference"]],
    "no_answer_accuracy": lambda rows: [row for row in rows if not row["reference"]],
}
