"""Which rates were tried for a cell, at which seeds: what a search chose, and what it can no longer report on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from svft_bench.analysis.tables.results import CellResult, Search
from svft_bench.config.spec import RunSpec
from svft_bench.records import RunRecord


def with_searches(results: Sequence[CellResult], records: Sequence[RunRecord]) -> list[CellResult]:
    """The results with the trials behind their rates; a table that is itself a search has none."""
    trials: dict[str, list[RunSpec]] = {}
    for record in records:
        if record.spec.score_on == "validation" or record.selected["by"] == "best_validation":
            trials.setdefault(_kind(record.spec), []).append(record.spec)
    own = [_kind(result.spec) for result in results]
    return [
        replace(result, search=_search(result.spec, trials.get(kind, []))) if own.count(kind) == 1 else result
        for result, kind in zip(results, own, strict=True)
    ]


def _search(spec: RunSpec, trials: Sequence[RunSpec]) -> Search | None:
    """The rates and the seeds that have several of them; None where nothing was searched.

    The cell's own runs are trials where others differ from them in the rate alone; else the search scored other rows.
    """
    alike = any(trial.train.lr != spec.train.lr and _but_rate(trial) == _but_rate(spec) for trial in trials)
    tried: dict[int, set[float]] = {}
    for trial in trials:
        if trial.cell_id == spec.cell_id and not alike:
            continue
        tried.setdefault(trial.seed, set()).add(trial.train.lr)
    seeds = tuple(sorted(seed for seed, rates in tried.items() if len(rates) > 1))
    rates = sorted(set().union(*(tried[seed] for seed in seeds)) if seeds else set())
    return Search(tuple(rates), seeds) if spec.train.lr in rates else None


def _kind(spec: RunSpec) -> str:
    """What the trials of one search share: everything about the training but its rate and seed."""
    train = _but_rate(spec)["train"]
    return repr((spec.model.name, spec.method.name, spec.method.adapter, spec.task.name, spec.task.train, train))


def _but_rate(spec: RunSpec) -> dict[str, Any]:
    train = {key: value for key, value in spec.train.identity().items() if key not in ("lr", "lr_head")}
    return spec.identity() | {"seed": None, "data": None, "train": train}
