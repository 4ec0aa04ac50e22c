"""A finished run in one line."""

from __future__ import annotations

from svft_bench.analysis.tables.results import data_of
from svft_bench.config.spec import EvalSpec
from svft_bench.records import RunRecord


def one_line(record: RunRecord) -> str:
    """Scores, size and time, as printed after a run."""
    scores = ", ".join(f"{data_of(item, record).label}: {_score(item, record)}" for item in record.spec.task.evals)
    minutes, seconds = divmod(round(record.costs.train_seconds + record.costs.eval_seconds), 60)
    sizes = record.sizes
    return (
        f"{scores}; {sizes.trainable_without_head:,} trained parameters + {sizes.trainable_head:,} in the head; "
        f"{minutes}:{seconds:02d} for training and evaluation"
    )


def _score(evaluation: EvalSpec, record: RunRecord) -> str:
    metric = evaluation.metrics[0]
    value = record.scores[evaluation.name][metric]
    return f"{metric} {'undefined' if value is None else f'{value:.4f}'}"
