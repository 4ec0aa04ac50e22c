"""Answers that are spans of a text for `evaluate`: evaluate.load("<this folder>", "token_f1")."""

from __future__ import annotations

from typing import cast

import evaluate

from svft_bench.config.spec import MetricName
from svft_bench.config.spec.metric import SPAN_METRICS
from svft_bench.tasks.metrics.answering import SPAN_VALUES, mean
from svft_bench.tasks.metrics.info import info


class Spans(evaluate.Metric):  # type: ignore[misc]
    """exact_match or token_f1, from 0 to 1, as the config name says."""

    def _info(self) -> evaluate.MetricInfo:
        return info(
            self.config_name,
            of="metric",
            known=SPAN_METRICS,
            description=__doc__,
            inputs="predictions: texts; references: a list of gold answers for each, empty for no answer",
            predictions="string",
            listed=True,
        )

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
        name = cast(MetricName, self.config_name)
        return {name: mean(SPAN_VALUES[name])(predictions, references)}
