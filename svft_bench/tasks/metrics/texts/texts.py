"""Overlap of texts for `evaluate`: evaluate.load("<this folder>", "rougeLsum")."""

from __future__ import annotations

from typing import cast

import evaluate

from svft_bench.config.spec import MetricName
from svft_bench.tasks.metrics.info import info
from svft_bench.tasks.scoring import TEXT_METRICS


class Texts(evaluate.Metric):  # type: ignore[misc]
    """One of rouge1, rouge2, rougeL, rougeLsum and bleu, from 0 to 1, as the config name says."""

    def _info(self) -> evaluate.MetricInfo:
        return info(
            self.config_name,
            of="metric",
            known=TEXT_METRICS,
            description=__doc__,
            inputs="predictions: written texts; references: one text for each",
            predictions="string",
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, float]:
        return {self.config_name: TEXT_METRICS[cast(MetricName, self.config_name)](predictions, references)}
