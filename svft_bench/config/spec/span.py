"""How an answer that is a part of a text is looked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import StrictBool

from svft_bench.config.spec.base import Count, Spec
from svft_bench.config.spec.kinds import KINDS, Kind
from svft_bench.config.spec.metric import NO_ANSWER_METRICS, SPAN_METRICS, MetricName


class SpanSpec(Spec):
    """Answers that are spans of a context, read in windows of `task.max_length` tokens with the question before them.

    `stride` tokens of a window are those that the one before ends with. An answer is the span of the highest sum of two
    logits, of its first and its last token, over all windows: of at most `max_answer` tokens, each end among the
    `n_best` likeliest of its window. With `no_answer` a question may have none.
    """

    stride: Count
    n_best: Count = 20
    max_answer: Count = 30
    no_answer: StrictBool = False

    def check(self, *, task: str, kind: Kind, max_length: int, metrics: Mapping[str, Sequence[MetricName]]) -> None:
        """Refuse a task whose other parts do not fit, the metrics of its evals among them.

        Raises:
            ValueError: its answers are no spans, its windows do not go on, or a metric is not of these spans.
        """
        if "span" not in KINDS[kind].needs:
            raise ValueError(f"span is for answers in a text, and task {task} is {kind}")
        if self.stride >= max_length:
            raise ValueError(f"span.stride={self.stride} is no part of windows of max_length={max_length}")
        valid = SPAN_METRICS + (NO_ANSWER_METRICS if self.no_answer else ())
        for name, of_eval in metrics.items():
            if wrong := [metric for metric in of_eval if metric not in valid]:
                told = f"with span.no_answer={str(self.no_answer).lower()} they are {', '.join(valid)}"
                raise ValueError(f"evals.{name}.metrics={', '.join(wrong)}: {told}")
