"""What the stored predictions say beyond the scores: which items were right, and how two methods differ on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from svft_bench.record import RunRecord, predictions_of, record_path
from svft_bench.spec import EvalSpec
from svft_bench.stats import bootstrap_error
from svft_bench.tables.results import SHARES, CellResult, item_variance
from svft_bench.tasks.scoring import correct, counted, score


@dataclass(frozen=True)
class Judged:
    """The predictions of one run on one eval; `right` is None for metrics that are no share of right answers."""

    evaluation: EvalSpec
    rows: list[dict[str, Any]]
    right: dict[Any, bool] | None


def judged(record: RunRecord, evaluation: EvalSpec, *, folder: Path) -> Judged:
    """Read and judge the stored predictions of one eval.

    Raises:
        ValueError: the record has no predictions beside it, or they do not give the recorded score.
    """
    rows = predictions_of(record, record_path(folder, record.spec))[evaluation.name]
    metric = evaluation.metrics[0]
    recorded = record.score(evaluation.name, metric)
    right: dict[Any, bool] | None = None
    again: float | None
    if metric in SHARES:
        rows = counted(rows, metric=metric)
        found = correct(evaluation, rows, metric=metric)
        right = {row["id"]: good for row, good in zip(rows, found, strict=True)}
        again = sum(found) / max(len(found), 1)
    else:
        again = score(evaluation, rows)[metric]
    if again is None or abs(again - recorded) > 1e-9:
        raise ValueError(
            f"run {record.run_id}: its predictions on {evaluation.name} give {metric} {again}, "
            f"its record says {recorded:.6f}"
        )
    return Judged(evaluation, rows, right)


def with_noise(results: Sequence[CellResult], *, folder: Path) -> list[CellResult]:
    """The results with the bootstrapped noise of items for every eval whose metric has no formula for it.

    Raises:
        ValueError: as `judged` does.
    """
    return [replace(result, noise=_noise(result, folder=folder)) for result in results]


def _noise(result: CellResult, *, folder: Path) -> dict[str, float]:
    return {
        item.name: fmean(_item_variance(judged(record, item, folder=folder)) for record in result.records)
        for item in result.spec.task.evals
        if result.records and item_variance(item.metrics[0], 0.0, items=1) is None
    }


def _item_variance(found: Judged) -> float:
    headline, rows = _headline(found.evaluation), found.rows
    return bootstrap_error(lambda index: headline([rows[i] for i in index]), items=len(rows)) ** 2


def _headline(evaluation: EvalSpec) -> Callable[[Sequence[dict[str, Any]]], float]:
    """The first metric of an eval as a function of predictions."""
    metric = evaluation.metrics[0]
    alone = evaluation.model_copy(update={"metrics": (metric,)})
    return lambda rows: score(alone, rows)[metric] or 0.0  # a resample may be constant


Pairs = Sequence[tuple[Any, Any]]  # rows of two methods on the same items


def difference_of(first: Judged, second: Judged) -> tuple[float, float, tuple[int, int] | None]:
    """first - second on the items that both have, its variance from the choice of items, and who alone was right.

    The last is None for metrics that are no share; their variance comes from a paired bootstrap.
    """
    if first.right is not None and second.right is not None:
        one, other = first.right, second.right
        gaps = [int(one[item]) - int(other[item]) for item in one.keys() & other.keys()]
        mean = fmean(gaps)
        noise = fmean((gap - mean) ** 2 for gap in gaps) / len(gaps)
        return mean, noise, (gaps.count(1), gaps.count(-1))
    others = {row["id"]: row for row in second.rows}
    pairs = [(row, others[row["id"]]) for row in first.rows if row["id"] in others]
    gap = _scores(first.evaluation, pairs)
    quick = _correlations(pairs) if first.evaluation.metrics[0] in ("pearson", "matthews") else gap
    return gap(range(len(pairs))), bootstrap_error(quick, items=len(pairs)) ** 2, None


def _scores(evaluation: EvalSpec, pairs: Pairs) -> Callable[[Iterable[int]], float]:
    """The difference of the headline metric on the items of an index."""
    headline = _headline(evaluation)

    def gap(index: Iterable[int]) -> float:
        chosen = [pairs[i] for i in index]
        first, second = ([pair[side] for pair in chosen] for side in (0, 1))
        return headline(first) - headline(second)

    return gap


def _correlations(pairs: Pairs) -> Callable[[Any], float]:
    """The same for Pearson's correlation, which is Matthews's of classes 0 and 1: thirty times as fast, in arrays."""
    import numpy

    first, second = (numpy.array([pair[side]["prediction"] for pair in pairs], dtype=float) for side in (0, 1))
    reference = numpy.array([row["reference"] for row, _ in pairs], dtype=float)

    def correlation(x: Any, y: Any) -> float:
        if (x == x[0]).all() or (y == y[0]).all():
            return 0.0
        x, y = x - x.mean(), y - y.mean()
        return float(x @ y / numpy.sqrt((x @ x) * (y @ y)))

    return lambda index: correlation(first[index], reference[index]) - correlation(second[index], reference[index])
