"""Overlap of texts for `evaluate`: evaluate.load("<this folder>", "rougeLsum")."""

from __future__ import annotations

from typing import cast

import datasets
import evaluate

from svft_bench.config.spec import MetricName
from svft_bench.tasks.scoring import TEXT_METRICS


class Texts(evaluate.Metric):  # type: ignore[misc]
    """One of rouge1, rouge2, rougeL, rougeLsum and bleu, from 0 to 1, as the config name says."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in TEXT_METRICS:
            raise ValueError(f"{self.config_name!r} is no metric here; there are {', '.join(TEXT_METRICS)}")
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description="predictions: written texts; references: one text for each",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, float]:
        return {self.config_name: TEXT_METRICS[cast(MetricName, self.config_name)](predictions, references)}
