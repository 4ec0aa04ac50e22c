"""Metrics of classes and scores for `evaluate`: evaluate.load("<this folder>", "matthews")."""

from __future__ import annotations

from typing import Any, cast

import evaluate

from svft_bench.config.spec import MetricName
from svft_bench.tasks.metrics.info import info
from svft_bench.tasks.scoring import LABEL_METRICS

CORRELATIONS = ("pearson", "spearman")


class Labels(evaluate.Metric):  # type: ignore[misc]
    """One of accuracy, f1, matthews, pearson, spearman and token_accuracy, as the config name says."""

    def _info(self) -> evaluate.MetricInfo:
        return info(
            self.config_name,
            of="metric",
            known=LABEL_METRICS,
            description=__doc__,
            inputs="equally many of both: classes, scores of a correlation, or counts of tokens",
            predictions="float64" if self.config_name in CORRELATIONS else "int64",
        )

    def _compute(self, predictions: list[Any], references: list[Any]) -> dict[str, float]:
        return {self.config_name: LABEL_METRICS[cast(MetricName, self.config_name)](predictions, references)}
