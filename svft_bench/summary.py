"""A finished run in one line."""

from __future__ import annotations

from svft_bench.record import RunRecord
from svft_bench.tables.results import data_of


def one_line(record: RunRecord) -> str:
    """Scores, size and time, as printed after a run."""
    scores = ", ".join(
        f"{data_of(item, record).label}: {item.metrics[0]} {record.scores[item.name][item.metrics[0]]:.4f}"
        for item in record.spec.task.evals
    )
    minutes, seconds = divmod(round(record.costs.train_seconds + record.costs.eval_seconds), 60)
    sizes = record.sizes
    return (
        f"{scores}; {sizes.trainable_without_head:,} trained parameters + {sizes.trainable_head:,} in the head; "
        f"{minutes}:{seconds:02d} for training and evaluation"
    )
