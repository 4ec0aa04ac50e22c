"""Answers in generated text for `evaluate`: evaluate.load("<this folder>", "gsm8k"), released and stricter rule."""

from __future__ import annotations

from typing import cast

import evaluate

from svft_bench.config.spec import AnswerName
from svft_bench.tasks.answers import RELEASED, STRICT
from svft_bench.tasks.metrics.info import info


class Answers(evaluate.Metric):  # type: ignore[misc]
    """Share of right answers, by the answer rule that the config name says."""

    def _info(self) -> evaluate.MetricInfo:
        return info(
            self.config_name,
            of="answer rule",
            known=RELEASED,
            description=__doc__,
            inputs="predictions: whole generations; references: gold answers",
            predictions="string",
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, float]:
        pairs = list(zip(predictions, references, strict=True))
        rules = {"accuracy": RELEASED, "accuracy_strict": STRICT}
        answer = cast(AnswerName, self.config_name)
        return {name: sum(rule[answer](*pair) for pair in pairs) / len(pairs) for name, rule in rules.items()}
