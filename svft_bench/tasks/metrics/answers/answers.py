"""Answers in generated text for `evaluate`: evaluate.load("<this folder>", "gsm8k"), released and stricter rule."""

from __future__ import annotations

from typing import cast

import datasets
import evaluate

from svft_bench.config.spec import AnswerName
from svft_bench.tasks.answers import RELEASED, STRICT


class Answers(evaluate.Metric):  # type: ignore[misc]
    """Share of right answers, by the answer rule that the config name says."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in RELEASED:
            raise ValueError(f"{self.config_name!r} is no answer rule here; there are {', '.join(RELEASED)}")
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description="predictions: whole generations; references: gold answers",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, float]:
        pairs = list(zip(predictions, references, strict=True))
        rules = {"accuracy": RELEASED, "accuracy_strict": STRICT}
        answer = cast(AnswerName, self.config_name)
        return {name: sum(rule[answer](*pair) for pair in pairs) / len(pairs) for name, rule in rules.items()}
