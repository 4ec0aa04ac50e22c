"""Metrics of classes and scores for `evaluate`: evaluate.load("<this folder>", "matthews")."""

from __future__ import annotations

from typing import Any, cast

import datasets
import evaluate

from svft_bench.config.spec import MetricName
from svft_bench.tasks.scoring import LABEL_METRICS

CORRELATIONS = ("pearson", "spearman")


class Labels(evaluate.Metric):  # type: ignore[misc]
    """One of accuracy, f1, matthews, pearson, spearman and token_accuracy, as the config name says."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in LABEL_METRICS:
            raise ValueError(f"{self.config_name!r} is no metric here; there are {', '.join(LABEL_METRICS)}")
        number = datasets.Value("float64" if self.config_name in CORRELATIONS else "int64")
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description="equally many of both: classes, scores of a correlation, or counts of tokens",
            features=datasets.Features({"predictions": number, "references": number}),
        )

    def _compute(self, predictions: list[Any], references: list[Any]) -> dict[str, float]:
        return {self.config_name: LABEL_METRICS[cast(MetricName, self.config_name)](predictions, references)}
