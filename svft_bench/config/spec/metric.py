"""The metrics that an eval may name, by what they score."""

from __future__ import annotations

from typing import Literal

MetricName = Literal[
    "accuracy",
    "accuracy_strict",
    "f1",
    "matthews",
    "pearson",
    "spearman",
    "token_accuracy",
    "log_likelihood",
    "rouge1",
    "rouge2",
    "rougeL",
    "rougeLsum",
    "bleu",
]
TOKEN_METRICS: tuple[MetricName, ...] = ("token_accuracy", "log_likelihood")
TEXT_METRICS: tuple[MetricName, ...] = ("rouge1", "rouge2", "rougeL", "rougeLsum", "bleu")
OPTION_METRICS: tuple[MetricName, ...] = ("accuracy", "log_likelihood")
