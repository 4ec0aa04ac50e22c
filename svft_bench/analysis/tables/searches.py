"""Which rates were tried for a cell, at which seeds: what a search chose, and what it can no longer report on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from svft_bench.analysis.tables.results import CellResult, Search
from svft_bench.config.spec import RunSpec
from svft_bench.records import Outline


def with_searches(results: Sequence[CellResult], outlines: Iterable[Outline]) -> list[CellResult]:
    """The results with the trials behind their rates and without the seeds that chose; a search itself has none."""
    trials: dict[str, dict[str, list[Outline]]] = {}  # of one model and adapter, by kind of training
    for one in outlines:
        if one.tried:
            trials.setdefault(one.adapter_id, {}).setdefault(one.search_id, []).append(one)
    alone = _alone(results)
    tasks = {result.spec.task.name for result in results}
    return fresh(
        [
            replace(result, search=_search(result.spec, trials.get(result.spec.adapter_id, {}), tasks=tasks))
            if single
            else result
            for result, single in zip(results, alone, strict=True)
        ]
    )


def _alone(results: Sequence[CellResult]) -> list[bool]:
    own = [result.spec.search_id for result in results]
    return [own.count(search) == 1 for search in own]


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


def _search(spec: RunSpec, trials: Mapping[str, Sequence[Outline]], *, tasks: Collection[str]) -> Search | None:
    """The search that this rate comes from: of its own training, else of its task, else of one of the table's `tasks`.

    Else of any other task.
    """
    found = [
        search
        for kind, of_kind in trials.items()
        for own, of_size in _at_batches(of_kind, spec.train.batch_size if kind == spec.search_id else None)
        if (search := _tried(spec, of_size, alike=own))
    ]
    best = sorted(
        found,
        key=lambda one: (not one.alike, one.task != spec.task.name, one.task not in tasks, -len(one.rates), one.task),
    )
    return best[0] if best else None


def _at_batches(trials: Sequence[Outline], own: int | None) -> Iterator[tuple[bool, Sequence[Outline]]]:
    """The trials at each size of batch, and all of them where the cell's `own` was tried beside others at some seed.

    With each, whether the cell's own size is among them.
    """
    seeds: dict[int, set[int]] = {}
    for trial in trials:
        seeds.setdefault(trial.batch, set()).add(trial.seed)
    for size in seeds:
        yield size == own, [trial for trial in trials if trial.batch == size]
    if own in seeds and any(seeds[own] & seeds[size] for size in seeds if size != own):
        yield True, trials


def _tried(spec: RunSpec, trials: Sequence[Outline], *, alike: bool) -> Search | None:
    """The rates and the seeds that have several trials; None where nothing was searched.

    The cell's own runs are trials where others differ from them in what is tried alone; else the search scored other
    rows.
    """
    own, tried_id = spec.cell_id, spec.tried_id
    beside = any(trial.cell_id != own and trial.tried_id == tried_id for trial in trials)
    tried: dict[int, dict[str, float]] = {}
    for trial in trials:
        if trial.cell_id == own and not beside:
            continue
        tried.setdefault(trial.seed, {})[trial.cell_id] = trial.lr
    seeds = tuple(sorted(seed for seed, rates in tried.items() if len(rates) > 1))
    rates = sorted({rate for seed in seeds for rate in tried[seed].values()})
    return Search(tuple(rates), seeds, trials[0].task, alike) if spec.train.lr in rates else None
