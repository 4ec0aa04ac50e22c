"""Records grouped into cells: the mean over seeds and its interval, or a refusal to mix what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median
from typing import Any

from svft_bench.analysis.stats import Interval, Noise
from svft_bench.analysis.tables.intervals import average_interval, score_interval
from svft_bench.compose import Cell
from svft_bench.config.spec import EvalSpec, MetricName, RunSpec
from svft_bench.records import DataUse, Held, Outline, RunRecord, load_outlined


@dataclass(frozen=True)
class Score:
    """One metric of one eval, over the seeds of a cell; `interval` is None where no formula gives one.

    `undefined` counts seeds that are in no mean: the metric has no value on what was predicted, one answer to all.
    """

    eval: str
    metric: MetricName
    mean: float
    interval: Interval | None
    items: int
    seeds: int
    undefined: int = 0


@dataclass(frozen=True)
class Learning:
    """For each record, whether it beats the best constant answer by more than the noise of items; seeds that give one.

    The second are the seeds at which every prediction is the same.
    """

    learns: tuple[bool, ...]
    constant: tuple[int, ...]


@dataclass(frozen=True)
class Search:
    """The learning rates tried on validation rows, from the lowest, with the seeds and the task of the trials.

    `alike` says that they trained as the cell does but for the rate, on as many rows and for as long.
    """

    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    task: str
    alike: bool


@dataclass(frozen=True)
class CellResult:
    """A cell as asked for, its records in the order of their seeds (none: not run), and other seeds that have one.

    `noise`, `learning` and `resampled` are what the stored predictions say of an eval, where they were read, the last
    the interval over its items of each metric that is of texts or spans, and `alone` that of a correlation at one
    seed; `set_aside` are seeds whose records are in no score because they chose a rate.
    """

    spec: RunSpec
    records: tuple[RunRecord, ...]
    missing: tuple[str, ...]
    other_seeds: tuple[int, ...]
    noise: Mapping[str, Noise] = field(default_factory=dict)
    learning: Mapping[str, Learning] = field(default_factory=dict)
    resampled: Mapping[str, Mapping[MetricName, Interval]] = field(default_factory=dict)
    alone: Mapping[str, Interval] = field(default_factory=dict)
    search: Search | None = None
    set_aside: tuple[int, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the records, in their order."""
        return tuple(record.spec.seed for record in self.records)

    @property
    def trained(self) -> int:
        """How many parameters a recorded cell trains, the head not counted."""
        return self.records[0].sizes.trainable_without_head

    @property
    def choosing(self) -> tuple[int, ...]:
        """The seeds of the records at which trials on the same task chose the rate: they are no fresh ones."""
        if self.search is None or self.search.task != self.spec.task.name:
            return ()
        return tuple(seed for seed in self.seeds if seed in self.search.seeds)

    def never_learns(self, evaluation: str) -> bool:
        """Whether no seed beats a constant answer, where that was asked."""
        learning = self.learning.get(evaluation)
        return learning is not None and not any(learning.learns)

    @property
    def compared(self) -> list[tuple[str, ...]]:
        """The names of each eval, and of all of them where their mean is a score of its own."""
        names = tuple(item.name for item in self.spec.task.evals)
        metrics = {item.metrics[0] for item in self.spec.task.evals}
        return [*((name,) for name in names), *([names] if len(names) > 1 and len(metrics) == 1 else [])]

    @property
    def scores(self) -> tuple[Score, ...]:
        """The headline metric of every eval of a recorded cell, where it is defined at a seed."""
        evals = self.spec.task.evals
        found = (_score(item, self.records, noise=self.noise.get(item.name)) for item in evals)
        resampled = self.resampled if len(self.records) == 1 else {}
        intervals = (resampled.get(item.name, {}).get(item.metrics[0], self.alone.get(item.name)) for item in evals)
        return tuple(
            score if interval is None else replace(score, interval=interval)
            for score, interval in zip(found, intervals, strict=True)
            if score is not None
        )

    def score(self, evaluation: str) -> Score | None:
        """The score on this eval, if the cell has been run and has it."""
        return next((score for score in self.scores if score.eval == evaluation), None)

    @property
    def average(self) -> Score | None:
        """The mean over the evals of a task that has several in one metric, as the papers average commonsense."""
        metrics = [item.metrics[0] for item in self.spec.task.evals]
        if not self.records or len(self.compared) == len(metrics) or any(score.undefined for score in self.scores):
            return None
        by_seed = [[r.score(item.name, item.metrics[0]) for item in self.spec.task.evals] for r in self.records]
        items = [score.items for score in self.scores]
        interval = average_interval(metrics, by_seed, items=items, noise=self.noise.get("average"))
        return Score("average", metrics[0], fmean(map(fmean, by_seed)), interval, sum(items), len(by_seed))

    @property
    def one_kind(self) -> bool:
        """Whether all seeds ran on processors or all on GPUs: their times and memories have a median then."""
        return len({record.costs.memory_of for record in self.records}) == 1

    @property
    def step_seconds(self) -> float | None:
        """Median over the seeds at which the machine did no other work; None where it always did, or kinds differ."""
        if not self.one_kind:
            return None
        alone = [seconds for record in self.records if (seconds := record.step_seconds) is not None]
        return float(median(alone)) if alone else None

    def cost(self, name: str) -> float:
        """Median over the seeds of one of the record's costs."""
        return float(median(getattr(record.costs, name) for record in self.records))


def noise_key(names: Sequence[str]) -> str:
    """What `noise` calls the mean over these evals."""
    return names[0] if len(names) == 1 else "average"


def cell_results(
    cells: Sequence[Cell], records: Sequence[RunRecord], *, others: Sequence[Outline] = ()
) -> list[CellResult]:
    """One result for each distinct cell, in order of appearance, with the records of the seeds that are asked for.

    `others` are outlines of records that were not read, for the seeds that there are.

    Raises:
        ValueError: records of one cell differ in something besides the seed; the message names it.
    """
    wanted: dict[str, dict[int, Cell]] = {}
    for cell in cells:
        wanted.setdefault(cell.spec.cell_id, {})[cell.spec.seed] = cell
    held: dict[str, list[RunRecord]] = {cell_id: [] for cell_id in wanted}
    places = {cell.spec.place for cell in cells}
    for record in records:
        if record.spec.place in places:
            held.get(record.spec.cell_id, []).append(record)
    results = []
    for cell_id, asked in wanted.items():
        found = sorted(held[cell_id], key=lambda record: record.spec.seed)
        _refuse_mixture(found)
        seeds = [record.spec.seed for record in found]
        chosen = tuple(record for record in found if record.spec.seed in asked)
        missing = tuple(cell.command for seed, cell in asked.items() if seed not in seeds)
        every = sorted({*seeds, *(one.seed for one in others if one.cell_id == cell_id)})
        beside = tuple(seed for seed in every if seed not in asked)
        results.append(CellResult(next(iter(asked.values())).spec, chosen, missing, beside))
    return results


def recorded_results(cells: Sequence[Cell], found: Mapping[Held, Outline]) -> list[CellResult]:
    """The same of the outlines of many records, of which those are read that the results hold.

    Raises:
        ValueError: one of them cannot be trusted, or they are mixed.
    """
    asked: dict[str, set[int]] = {}
    for cell in cells:
        asked.setdefault(cell.spec.cell_id, set()).add(cell.spec.seed)
    held = [one for one in found.values() if one.cell_id in asked]
    measured: dict[str, set[str]] = {}
    for one in held:
        measured.setdefault(one.cell_id, set()).add(one.measured)
    records = load_outlined(
        found,
        of=lambda one: one.cell_id in asked and (one.seed in asked[one.cell_id] or len(measured[one.cell_id]) > 1),
    )
    return cell_results(cells, records, others=held)


def cells_of(records: Sequence[RunRecord]) -> list[CellResult]:
    """Records by the cells that they are of, in order of appearance."""
    held: dict[str, dict[int, RunRecord]] = {}
    for record in records:
        held.setdefault(record.spec.cell_id, {})[record.spec.seed] = record
    return [
        CellResult(next(iter(of.values())).spec, tuple(of[seed] for seed in sorted(of)), (), ()) for of in held.values()
    ]


def data_of(evaluation: EvalSpec, record: RunRecord) -> DataUse:
    """What this eval was scored on."""
    return record.scored_on[evaluation.name]


def shown_name(evaluation: str, results: Sequence[CellResult]) -> str:
    """What a score on this eval may be called: its name, or the labels of its data where that is not the whole set."""
    return shown_in(evaluation, [record for result in results for record in result.records])


def shown_in(evaluation: str, records: Sequence[RunRecord]) -> str:
    """The same for bare records."""
    evals = [(item, record) for record in records for item in record.spec.task.evals if item.name == evaluation]
    uses = [data_of(item, record) for item, record in evals]
    if any(use.label != use.title for use in uses):
        return " / ".join(dict.fromkeys(use.label for use in uses))
    aside = bool(evals) and all(record.spec.score_on == "validation" for _, record in evals)
    return f"{evaluation}: validation rows" if aside else evaluation


def items_of(evaluation: str, record: RunRecord) -> int:
    """How many examples the eval of this name was scored on."""
    return record.scored_on[evaluation].used


def _refuse_mixture(records: Sequence[RunRecord]) -> None:
    for record in records[1:]:
        first = records[0]
        names = list(differences(first.measurement, record.measurement))
        if names:
            raise ValueError(
                f"runs {first.run_id} and {record.run_id} of one cell differ in {', '.join(names)}, not only in the "
                f"seed; a mean over them would mix two measurements: move one record out of the results folder"
            )
    seeds = [record.spec.seed for record in records]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"{records[0].spec.method.name}: two records of one cell carry the same seed")


def differing(
    one: Mapping[str, Any], other: Mapping[str, Any], *, at: str = ""
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Dotted names of the leaves in which two nested mappings differ, each with both values; None for none."""
    for key in dict.fromkeys([*one, *other]):
        left, right = one.get(key), other.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            yield from differing(left, right, at=f"{at}{key}.")
        elif left != right:
            yield f"{at}{key}", (left, right)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    """The same in words, in the order of the names."""
    for name, (left, right) in sorted(differing(one, other), key=lambda found: found[0].split(".")):
        yield f"{name} ({left} and {right})"


def _score(evaluation: EvalSpec, records: Sequence[RunRecord], *, noise: Noise | None) -> Score | None:
    metric = evaluation.metrics[0]
    found = [record.scores[evaluation.name][metric] for record in records]
    values = [value for value in found if value is not None]
    if not values:
        return None
    items = data_of(evaluation, records[0]).used
    return Score(
        eval=evaluation.name,
        metric=metric,
        mean=fmean(values),
        interval=score_interval(metric, values, items=items, noise=noise),
        items=items,
        seeds=len(values),
        undefined=len(found) - len(values),
    )
