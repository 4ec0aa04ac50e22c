"""`score(eval_spec, predictions)`: from prediction rows to metric values, without a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from svft_bench.metrics import accuracy, f1, matthews, pearson, spearman, token_accuracy
from svft_bench.spec import EvalSpec, MetricName
from svft_bench.tasks.answers import RELEASED, STRICT

Prediction = dict[str, Any]
Metric = Callable[[Sequence[Any], Sequence[Any]], float]

METRICS: dict[MetricName, Metric] = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
    "token_accuracy": token_accuracy,
}


def score(eval_spec: EvalSpec, predictions: Sequence[Prediction]) -> dict[str, float]:
    """Every metric of an eval; a correlation that is undefined (constant predictions) counts as 0.

    Raises:
        ValueError: there are no predictions.
    """
    if not predictions:
        raise ValueError(f"eval {eval_spec.name} has no predictions to score")
    values = {metric: _value(eval_spec, metric, predictions) for metric in eval_spec.metrics}
    return {metric: 0.0 if math.isnan(value) else value for metric, value in values.items()}


def _value(eval_spec: EvalSpec, metric: MetricName, predictions: Sequence[Prediction]) -> float:
    if eval_spec.answer is not None:
        right = correct(eval_spec, predictions, metric=metric)
        return sum(right) / len(right)
    return METRICS[metric]([row["prediction"] for row in predictions], [row["reference"] for row in predictions])


def correct(eval_spec: EvalSpec, predictions: Sequence[Prediction], *, metric: MetricName) -> list[bool]:
    """Right or wrong for each prediction, by the released rule (`accuracy`) or the stricter one (`accuracy_strict`)."""
    if eval_spec.answer is None:
        return [row["prediction"] == row["reference"] for row in predictions]
    rule = {"accuracy": RELEASED, "accuracy_strict": STRICT}[metric][eval_spec.answer]
    return [rule(row["prediction"], row["reference"]) for row in predictions]
