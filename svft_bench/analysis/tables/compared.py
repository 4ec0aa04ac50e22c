"""Who competes on an eval: what every item adds at every seed of every cell, in one array, and the noise of gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from svft_bench.analysis.stats import Noise, Spread, noise_of_gap, spread_of_gap, spreads
from svft_bench.analysis.tables.predictions import Judged, judged
from svft_bench.analysis.tables.results import CellResult, noise_key

Every = Mapping[tuple[str, str], Judged]  # by run and eval


@dataclass(frozen=True)
class Gap:
    """The difference of two cells at the seeds that both have a score at, and its noise.

    `alone` counts the items that only the first and only the second got right, for one eval that is a share of these.
    """

    mean: float
    noise: Noise
    seeds: tuple[int, ...]
    alone: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class Field:
    """Cells of one model and task on one eval or on the mean of several.

    `values` has an array for each eval, cells by seeds by items that all have; nan where a run is missing or undefined.
    """

    model: str
    task: str
    name: str
    cells: tuple[CellResult, ...]
    seeds: tuple[int, ...]
    values: tuple[Any, ...]
    shares: bool

    @cached_property
    def scores(self) -> Any:
        """The score of every cell (row) at every seed, nan where there is none."""
        return sum(values.mean(2) for values in self.values) / len(self.values)

    @cached_property
    def spreads(self) -> list[Spread]:
        """The spread of every cell between seeds, moderated by the others."""
        return spreads(self.scores.tolist())

    def gap(self, one: int, other: int) -> Gap | None:
        """How far the first of two cells is above the second; None where they share no seed."""
        import numpy

        shared = ~numpy.isnan(self.scores[[one, other]]).any(0)
        if not shared.any():
            return None
        gaps = [values[one, shared] - values[other, shared] for values in self.values]
        noise = noise_of_gap(gaps, spread_of_gap(self.spreads[one], self.spreads[other]))
        mean = float(sum(gap.mean() for gap in gaps) / len(gaps))
        alone = ((gaps[0] > 0).sum(), (gaps[0] < 0).sum()) if self.shares and len(gaps) == 1 else None
        seeds = tuple(seed for seed, both in zip(self.seeds, shared, strict=True) if both)
        return Gap(mean, noise, seeds, alone)


def judge_all(results: Sequence[CellResult], *, folder: Path) -> Every:
    """The stored predictions of every record, judged.

    Raises:
        ValueError: as `judged` does.
    """
    return {
        (record.run_id, name): found
        for result in results
        for record in result.records
        for name, found in judged(record, folder=folder).items()
    }


def fields(results: Sequence[CellResult], every: Every) -> list[Field]:
    """One field for each model, task and eval, and for the average of a task that has one, in order of appearance."""
    groups: dict[tuple[str, str], list[CellResult]] = {}
    for result in results:
        if result.records:
            groups.setdefault((result.spec.model.name, result.spec.task.name), []).append(result)
    return [_field(cells, names, every) for cells in groups.values() for names in cells[0].compared]


def _field(cells: Sequence[CellResult], names: Sequence[str], every: Every) -> Field:
    seeds = tuple(sorted({seed for cell in cells for seed in cell.seeds}))
    values = tuple(_values(cells, seeds, name, every) for name in names)
    first = cells[0]
    shares = all(every[first.records[0].run_id, name].right is not None for name in names)
    return Field(first.spec.model.name, first.spec.task.name, noise_key(names), tuple(cells), seeds, values, shares)


def _values(cells: Sequence[CellResult], seeds: Sequence[int], name: str, every: Every) -> Any:
    import numpy

    of_runs = {
        (index, record.spec.seed): every[record.run_id, name].values
        for index, cell in enumerate(cells)
        for record in cell.records
    }
    shared = set.intersection(*(set(values) for values in of_runs.values()))
    ids = [item for item in next(iter(of_runs.values())) if item in shared]
    found = numpy.full((len(cells), len(seeds), len(ids)), numpy.nan)
    for (index, seed), values in of_runs.items():
        found[index, seeds.index(seed)] = [values[item] for item in ids]
    return found
