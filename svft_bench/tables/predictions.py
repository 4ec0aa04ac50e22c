"""What the stored predictions say beyond the scores: noise of items, and differences between methods item by item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from svft_bench.record import RunRecord, load_predictions, record_path
from svft_bench.spec import EvalSpec
from svft_bench.stats import bootstrap
from svft_bench.tables.results import SHARES
from svft_bench.tasks.scoring import correct, score

Rows = list[dict[str, Any]]


def eval_rows(record: RunRecord, evaluation: EvalSpec, *, folder: Path) -> Rows:
    """The stored predictions of one eval.

    Raises:
        ValueError: the record has no predictions beside it, or they do not give the recorded score.
    """
    path = record_path(folder, record.spec)
    try:
        rows = [row for row in load_predictions(path) if row["eval"] == evaluation.name]
    except FileNotFoundError:
        raise ValueError(f"run {record.run_id} has no predictions beside its record {path}") from None
    metric = evaluation.metrics[0]
    again = score(evaluation, rows)[metric] if rows else float("nan")
    if abs(again - record.scores[evaluation.name][metric]) > 1e-9:
        raise ValueError(
            f"run {record.run_id}: its predictions on {evaluation.name} give {metric} {again:.6f}, "
            f"its record says {record.scores[evaluation.name][metric]:.6f}"
        )
    return rows


def right_items(evaluation: EvalSpec, rows: Rows) -> dict[Any, bool]:
    """For a share of right answers: which items were right."""
    found = correct(evaluation, rows, metric=evaluation.metrics[0])
    return {row["id"]: right for row, right in zip(rows, found, strict=True)}


def difference_of(evaluation: EvalSpec, first: Rows, second: Rows) -> tuple[float, float, tuple[int, int] | None]:
    """first - second on the items that both have, its variance from the choice of items, and who alone was right.

    The last is None for metrics that are no share; their variance comes from a paired bootstrap.
    """
    if evaluation.metrics[0] in SHARES:
        one, other = right_items(evaluation, first), right_items(evaluation, second)
        gaps = [int(one[item]) - int(other[item]) for item in one.keys() & other.keys()]
        mean = fmean(gaps)
        noise = fmean((gap - mean) ** 2 for gap in gaps) / len(gaps)
        return mean, noise, (gaps.count(1), gaps.count(-1))
    pairs = _paired(first, second)
    gap = _gap(evaluation, pairs)
    low, high = bootstrap(lambda index: gap([int(i) for i in index]), items=len(pairs), resamples=500)
    return gap(range(len(pairs))), ((high - low) / (2 * 1.959964)) ** 2, None


def _paired(first: Rows, second: Rows) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    others = {row["id"]: row for row in second}
    return [(row, others[row["id"]]) for row in first if row["id"] in others]


def _gap(evaluation: EvalSpec, pairs: Sequence[tuple[Any, Any]]) -> Callable[[Sequence[int]], float]:
    metric = evaluation.metrics[0]

    def gap(index: Sequence[int]) -> float:
        first, second = ([pairs[i][side] for i in index] for side in (0, 1))
        return score(evaluation, first)[metric] - score(evaluation, second)[metric]

    return gap
