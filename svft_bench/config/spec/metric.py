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
    "exact_match",
    "token_f1",
    "best_exact_match",
    "best_token_f1",
    "has_answer_exact_match",
    "has_answer_token_f1",
    "no_answer_accuracy",
    "noise_explained",
    "colours",
    "clip_i",
    "clip_t",
    "dino",
]
TOKEN_METRICS: tuple[MetricName, ...] = ("token_accuracy", "log_likelihood")
TEXT_METRICS: tuple[MetricName, ...] = ("rouge1", "rouge2", "rougeL", "rougeLsum", "bleu")
NOISE_METRICS: tuple[MetricName, ...] = ("noise_explained",)
DRAWN_METRICS: tuple[MetricName, ...] = ("colours", "clip_i", "clip_t", "dino")
# The model of a drawing by which a metric compares pictures.
COMPARED: dict[MetricName, str] = {"clip_i": "clip", "clip_t": "clip", "dino": "dino"}
OPTION_METRICS: tuple[MetricName, ...] = ("accuracy", "log_likelihood")
# Of answers that are spans of a text, and of those among them that may not be there.
SPAN_METRICS: tuple[MetricName, ...] = ("exact_match", "token_f1")
NO_ANSWER_METRICS: tuple[MetricName, ...] = (
    "best_exact_match",
    "best_token_f1",
    "has_answer_exact_match",
    "has_answer_token_f1",
    "no_answer_accuracy",
)
