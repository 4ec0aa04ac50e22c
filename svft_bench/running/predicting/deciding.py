"""Where a question has no answer: the threshold of saying so, chosen on rows set aside from training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from svft_bench.config.spec import RunSpec, has_validation
from svft_bench.tasks.metrics.answering import decided, exact_match, threshold

Prediction = dict[str, Any]


def with_threshold(
    spec: RunSpec, found: dict[str, list[Prediction]], *, aside: Callable[[], Sequence[Prediction]]
) -> tuple[dict[str, list[Prediction]], dict[str, float | int | str]]:
    """The predictions with no answer decided at the threshold of the most exact matches `aside`, and that threshold.

    Where nothing may be unanswered, or no rows are set aside, or they are what is scored, the predictions as they are.
    """
    undecided = spec.task.span is not None and spec.task.span.no_answer
    if not undecided or not has_validation(spec.task) or spec.score_on == "validation":
        return found, {}
    above = threshold(aside(), value=exact_match)
    return {name: decided(rows, above=above) for name, rows in found.items()}, {"no_answer_above": above}
