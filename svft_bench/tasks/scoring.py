"""`score(eval_spec, predictions)`: from prediction rows to metric values, without a model.

A released score counts every row, one without a gold answer as wrong; the strict one leaves such a row out. Pearson's
and Spearman's correlations are undefined (None) where predictions or references are constant, as in scipy; Matthews's
is 0 there, as scikit-learn defines it, and `one_answer` tells such a 0 from another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from svft_bench.config.spec import AnswerName, EvalSpec, MetricName
from svft_bench.tasks.answers import RELEASED, STRICT, by_pattern, response
from svft_bench.tasks.metrics import accuracy, f1, matthews, pearson, spearman, token_accuracy
from svft_bench.tasks.metrics.answering import SPAN_ROWS, SPAN_VALUES, exact_match, mean
from svft_bench.tasks.metrics.overlap import ROUGE, bleu, rouge
from svft_bench.tasks.pictures import as_picture, colours

Prediction = dict[str, Any]
Metric = Callable[[Sequence[Any], Sequence[Any]], float]

LABEL_METRICS: dict[MetricName, Metric] = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
    "token_accuracy": token_accuracy,
}
TEXT_METRICS: dict[MetricName, Metric] = {**{name: partial(rouge, name=name) for name in ROUGE}, "bleu": bleu}
METRICS = LABEL_METRICS | TEXT_METRICS | {name: mean(value) for name, value in SPAN_VALUES.items()}


def score(eval_spec: EvalSpec, predictions: Sequence[Prediction]) -> dict[str, float | None]:
    """Every metric of an eval; None where one is undefined.

    Raises:
        ValueError: there are no predictions.
    """
    if not predictions:
        raise ValueError(f"eval {eval_spec.name} has no predictions to score")
    values = {metric: _value(eval_spec, metric, predictions) for metric in eval_spec.metrics}
    return {metric: None if math.isnan(value) else value for metric, value in values.items()}


def _value(eval_spec: EvalSpec, metric: MetricName, predictions: Sequence[Prediction]) -> float:
    if metric in OF_A_ROW:
        values = [OF_A_ROW[metric](row) for row in counted(predictions, metric=metric)]
        return math.fsum(values) / len(values) if values else math.nan
    if eval_spec.answer is not None:
        right = correct(eval_spec, counted(predictions, metric=metric), metric=metric)
        return sum(right) / len(right) if right else math.nan
    rows = counted(predictions, metric=metric)
    return METRICS[metric]([row["prediction"] for row in rows], [row["reference"] for row in rows])


def counted(predictions: Sequence[Prediction], *, metric: MetricName) -> list[Prediction]:
    """The rows that a score is the mean of: with a gold answer, with a text that the model's context holds.

    Of spans they are those that have an answer or none, or all at the threshold that is best on them.
    """
    if metric in SPAN_ROWS:
        return SPAN_ROWS[metric](predictions)
    if metric == "log_likelihood":
        return [row for row in predictions if "nll" in row or "log_likelihood" in row]
    return [row for row in predictions if metric != "accuracy_strict" or _gold(row, metric=metric)]


def log_likelihood(row: Prediction) -> float:
    """Nats of a token of the reference solution, or of the right option, where those of all options add to one."""
    if "nll" in row:
        return -float(row["nll"]) / int(row["reference"])
    options: dict[str, float] = row["log_likelihood"]
    most = max(options.values())
    return options[row["reference"]] - most - math.log(math.fsum(math.exp(one - most) for one in options.values()))


def _colours(row: Prediction) -> float:
    try:
        return colours(as_picture(row["prediction"]), row["subject"])
    except ValueError as error:
        raise ValueError(f"prediction {row['id']}: {error}") from None


# Metrics that are the mean of one number for each row.
OF_A_ROW: dict[MetricName, Callable[[Prediction], float]] = {
    "log_likelihood": log_likelihood,
    "noise_explained": lambda row: 1 - float(row["prediction"]) / float(row["reference"]),
    "colours": _colours,
    **{name: itemgetter(name) for name in ("clip_i", "clip_t", "dino")},
}


def correct(eval_spec: EvalSpec, predictions: Sequence[Prediction], *, metric: MetricName) -> list[bool]:
    """Right or wrong for each prediction, by the released rule (`accuracy`) or the stricter one (`accuracy_strict`)."""
    if metric in SPAN_VALUES:
        return [exact_match(row["prediction"], row["reference"]) == 1 for row in predictions]
    if eval_spec.answer is None:
        return [row["prediction"] == row["reference"] for row in predictions]
    rules = {"accuracy": RELEASED, "accuracy_strict": STRICT}[metric]
    rule = rules[eval_spec.answer] if eval_spec.pattern is None else by_pattern(eval_spec.pattern)
    golds = [_gold(row, metric=metric) for row in predictions]
    return [bool(gold) and rule(row["prediction"], gold) for row, gold in zip(predictions, golds, strict=True)]


def _gold(row: Prediction, *, metric: MetricName) -> str:
    """The answer to compare with, as the metric's rule reads the data; empty without one."""
    strict = metric == "accuracy_strict" and "reference_strict" in row
    return str(row["reference_strict" if strict else "reference"] or "").strip()


def responded(row: Prediction, *, answer: AnswerName) -> Prediction:
    """A generated row as it is stored: the text up to where its harness stops reading."""
    kept = response(row["prediction"], answer=answer)
    ended = kept != row["prediction"] and kept != row["prediction"].strip()  # then nothing else has cut the text
    return {name: value for name, value in row.items() if not (ended and name == "cut")} | {"prediction": kept}


def one_answer(predictions: Sequence[Prediction]) -> Any | None:
    """The one class or value that all of several predictions are; None if they differ."""
    first = predictions[0]["prediction"]
    return first if len(predictions) > 1 and all(row["prediction"] == first for row in predictions) else None
