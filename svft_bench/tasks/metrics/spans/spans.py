"""Answers that are spans of a text for `evaluate`: evaluate.load("<this folder>", "token_f1")."""

from __future__ import annotations

from typing import cast

import datasets
import evaluate

from svft_bench.config.spec import MetricName
from svft_bench.config.spec.metric import SPAN_METRICS
from svft_bench.tasks.metrics.answering import SPAN_VALUES, mean


class Spans(evaluate.Metric):  # type: ignore[misc]
    """exact_match or token_f1, from 0 to 1, as the config name says."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in SPAN_METRICS:
            raise ValueError(f"{self.config_name!r} is no metric here; there are {', '.join(SPAN_METRICS)}")
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description="predictions: texts; references: a list of gold answers for each, empty for no answer",
            features=datasets.Features({"predictions": text, "references": datasets.Sequence(text)}),
        )

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
        name = cast(MetricName, self.config_name)
        return {name: mean(SPAN_VALUES[name])(predictions, references)}
