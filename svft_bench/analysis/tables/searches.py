"""Which rates were tried for a cell, at which seeds: what a search chose, and what it can no longer report on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from svft_bench.analysis.tables.results import CellResult, Search
from svft_bench.config.spec import RunSpec
from svft_bench.records import RunRecord

Trials = Mapping[tuple[str, str, str], Mapping[str, Sequence[RunSpec]]]  # of one model and adapter, by kind of training


def with_searches(results: Sequence[CellResult], records: Sequence[RunRecord]) -> list[CellResult]:
    """The results with the trials behind their rates and without the seeds that chose; a search itself has none."""
    trials: dict[tuple[str, str, str], dict[str, list[RunSpec]]] = {}
    for record in records:
        if record.spec.score_on == "validation" or record.selected["by"] == "best_validation":
            trials.setdefault(_adapter(record.spec), {}).setdefault(_kind(record.spec), []).append(record.spec)
    alone = _alone(results)
    return fresh(
        [
            replace(result, search=_search(result.spec, trials.get(_adapter(result.spec), {}))) if single else result
            for result, single in zip(results, alone, strict=True)
        ]
    )


def unsearched(results: Sequence[CellResult]) -> list[CellResult]:
    """The results that are no trials themselves and of whose rate no search is known."""
    single = zip(results, _alone(results), strict=True)
    return [one for one, alone in single if alone and one.search is None and one.records]


def _alone(results: Sequence[CellResult]) -> list[bool]:
    own = [_kind(result.spec) for result in results]
    return [own.count(kind) == 1 for kind in own]


def fresh(results: Sequence[CellResult]) -> list[CellResult]:
    """The results without the seeds that chose a rate, where every row of a model and task keeps two others.

    A seed that chose for one row is set aside for all of them: they are compared at the same seeds.
    """
    chose: dict[tuple[str, str], set[int]] = {}
    for result in results:
        chose.setdefault(_field(result), set()).update(result.choosing)
    few = {_field(result) for result in results if len(result.records) > 0 and len(_others(result, chose)) < 2}
    return [result if _field(result) in few else _set_aside(result, chose[_field(result)]) for result in results]


def _field(result: CellResult) -> tuple[str, str]:
    return result.spec.model.name, result.spec.task.name


def _others(result: CellResult, chose: dict[tuple[str, str], set[int]]) -> set[int]:
    return set(result.seeds) - chose[_field(result)]


def _set_aside(result: CellResult, chose: set[int]) -> CellResult:
    kept = tuple(record for record in result.records if record.spec.seed not in chose)
    return replace(result, records=kept, set_aside=tuple(seed for seed in result.seeds if seed in chose))


def _search(spec: RunSpec, trials: Mapping[str, Sequence[RunSpec]]) -> Search | None:
    """The search that this rate comes from: of its own training, else of its task, else of another task."""
    found = [search for kind, of_kind in trials.items() if (search := _tried(spec, of_kind, alike=kind == _kind(spec)))]
    best = sorted(found, key=lambda one: (not one.alike, one.task != spec.task.name, -len(one.rates), one.task))
    return best[0] if best else None


def _tried(spec: RunSpec, trials: Sequence[RunSpec], *, alike: bool) -> Search | None:
    """The rates and the seeds that have several of them; None where nothing was searched.

    The cell's own runs are trials where others differ from them in the rate alone; else the search scored other rows.
    """
    beside = any(trial.train.lr != spec.train.lr and _but_rate(trial) == _but_rate(spec) for trial in trials)
    tried: dict[int, set[float]] = {}
    for trial in trials:
        if trial.cell_id == spec.cell_id and not beside:
            continue
        tried.setdefault(trial.seed, set()).add(trial.train.lr)
    seeds = tuple(sorted(seed for seed, rates in tried.items() if len(rates) > 1))
    rates = sorted(set().union(*(tried[seed] for seed in seeds)) if seeds else set())
    return Search(tuple(rates), seeds, trials[0].task.name, alike) if spec.train.lr in rates else None


def _adapter(spec: RunSpec) -> tuple[str, str, str]:
    return spec.model.name, spec.method.name, repr(spec.method.adapter)


def _kind(spec: RunSpec) -> str:
    """What the trials of one search share: everything about the training but its rate and seed."""
    train = _but_rate(spec)["train"]
    return repr((spec.model.name, spec.method.name, spec.method.adapter, spec.task.name, spec.task.train, train))


def _but_rate(spec: RunSpec) -> dict[str, Any]:
    train = {key: value for key, value in spec.train.identity().items() if key not in ("lr", "lr_head")}
    return spec.identity() | {"seed": None, "data": None, "train": train}
