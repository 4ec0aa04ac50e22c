"""Who competes on an eval: what every item adds at every seed of every cell, in one array, and the noise of gaps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from svft_bench.analysis.stats import Noise, Spread, noise_of_gap, spread_of_gap, spreads
from svft_bench.analysis.tables.predictions import Judged, judged
from svft_bench.analysis.tables.results import CellResult, data_of, differing, noise_key, shown_name
from svft_bench.config.wording import plural
from svft_bench.records import RunRecord

Every = Mapping[tuple[str, str], Judged]  # by run and eval
Cells = Sequence[CellResult]
SAME = 0.5  # of the rows of the run that has the fewest: runs that share less were scored on other rows


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
    `peers`: other models are compared on the same eval.
    """

    model: str
    task: str
    name: str
    cells: tuple[CellResult, ...]
    seeds: tuple[int, ...]
    values: tuple[Any, ...]
    shares: bool
    peers: bool = False

    @property
    def shown(self) -> str:
        """The eval as tables call it, with the model where it is not the only one."""
        return shown_name(self.name, self.cells) + f" of {self.model}" * self.peers

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
    """One field for each model, task and eval, and for the average of a task that has one, in order of appearance.

    Where runs were scored on rows of which they share too few, as on validation rows that each seed draws, there is
    none, see `apart`.

    Raises:
        ValueError: runs were scored on other data under one name.
    """
    found = [_field(cells, names, every) for cells, names in _compared(results) if not _apart(cells, names, every)]
    models = Counter((field.task, field.name) for field in found)
    return [replace(field, peers=models[field.task, field.name] > 1) for field in found]


def apart(results: Sequence[CellResult], every: Every) -> list[str]:
    """The evals of which runs share too few rows for a field, with how many they share."""
    return [
        f"{noise_key(names)} ({' and '.join(plural(len(_shared(cells, name, every)), 'row') for name in names)})"
        for cells, names in _compared(results)
        if _apart(cells, names, every)
    ]


def same_rows(runs: Sequence[tuple[RunRecord, Judged]]) -> None:
    """Refuse runs of one eval whose rows are not the same under the same names, which would be paired.

    Raises:
        ValueError: they are of another file, split or share, or a row has another answer in one of them.
    """
    first, (name, answers) = runs[0][0], _answers(runs[0][1])
    rows = _rows(*runs[0])
    for record, found in runs[1:]:
        told = f"runs {first.run_id} and {record.run_id} were scored on other rows of {name}"
        for field, (one, other) in differing(rows, _rows(record, found)):
            if None not in (one, other):  # else one was read from elsewhere, or by an older version
                raise ValueError(f"{told}: {field} {one} | {other}")
        for row, answer in _answers(found)[1].items():
            if answers.get(row, answer) != answer:
                raise ValueError(f"{told}: the answer to row {row} is {answers[row]!r} in one, {answer!r} in the other")


def _rows(record: RunRecord, found: Judged) -> dict[str, Any]:
    """What decides which rows of an eval have which names."""
    use, share = data_of(found.evaluation, record), found.evaluation.data.share
    return {"split": use.split, "sha256": use.sha256, "content": use.content, "share": [*(share or (0.0, 1.0))]}


def _answers(found: Judged) -> tuple[str, dict[Any, Any]]:
    """The name of the eval, and the right answer of every row; that of a drawing is measured, not given."""
    given = found.evaluation.drawing is None
    return found.evaluation.name, {row["id"]: row["reference"] for row in found.rows} if given else {}


def _compared(results: Sequence[CellResult]) -> list[tuple[Cells, tuple[str, ...]]]:
    groups: dict[tuple[str, str], list[CellResult]] = {}
    for result in results:
        if result.records:
            groups.setdefault((result.spec.model.name, result.spec.task.name), []).append(result)
    return [(cells, names) for cells in groups.values() for names in cells[0].compared]


def _apart(cells: Cells, names: Sequence[str], every: Every) -> bool:
    fewest = {name: min(len(every[record.run_id, name].values) for record in _records(cells)) for name in names}
    return any(len(_shared(cells, name, every)) < max(SAME * fewest[name], 1) for name in names)


def _shared(cells: Cells, name: str, every: Every) -> list[Any]:
    """The rows that every run was scored on, in the order of the first."""
    first, *rest = (every[record.run_id, name].values for record in _records(cells))
    shared = set(first).intersection(*rest)
    return [item for item in first if item in shared]


def _records(cells: Cells) -> list[RunRecord]:
    return [record for cell in cells for record in cell.records]


def _field(cells: Sequence[CellResult], names: Sequence[str], every: Every) -> Field:
    for name in names:
        same_rows([(record, every[record.run_id, name]) for record in _records(cells)])
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
    ids = _shared(cells, name, every)
    found = numpy.full((len(cells), len(seeds), len(ids)), numpy.nan)
    for (index, seed), values in of_runs.items():
        found[index, seeds.index(seed)] = [values[item] for item in ids]
    return found
