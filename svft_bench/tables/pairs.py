"""Every two methods of an experiment compared on the same items: the gap, its interval, and a corrected p-value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean

from svft_bench.record import RunRecord
from svft_bench.spec import EvalSpec
from svft_bench.stats import Interval, holm, mcnemar, no_difference, over_seeds, split_variance
from svft_bench.tables.experiment import cell_name
from svft_bench.tables.notes import detectable
from svft_bench.tables.predictions import Judged, difference_of, judged
from svft_bench.tables.results import SHARES, CellResult, shown_name
from svft_bench.tables.value import Column, Row, Table

LEVEL = 0.05
FEWER_SEEDS = "Without p: the two share fewer seeds than others do, so that the noise between seeds is not in it yet."
Every = Mapping[tuple[str, str], Judged]  # by run and eval
COLUMNS = (
    Column("eval", "left"),
    Column("method", "left"),
    Column("against", "left"),
    Column("difference"),
    Column("p"),
    Column("p (Holm)"),
    Column("seeds"),
)


@dataclass(frozen=True)
class Pair:
    """Two cells on one eval or the average of all, at the seeds that both have; the difference is first - second."""

    evaluation: str
    first: CellResult
    second: CellResult
    difference: float
    interval: Interval
    p: float
    seeds: int

    @property
    def among(self) -> tuple[str, str, str]:
        """What its peers share with it: model, task and eval."""
        return self.first.spec.model.name, self.first.spec.task.name, self.evaluation


def pairs_table(results: Sequence[CellResult], *, name: str, title: str, folder: Path) -> Table:
    """All pairs of cells of one model and task, the better first; bold where the corrected p-value is below 0.05.

    A pair that shares fewer seeds than its peers is shown and not tested: the noise between seeds would be in their
    p-values and not in its own.
    """
    done = [result for result in results if result.records]
    every = {
        (record.run_id, item.name): judged(record, item, folder=folder)
        for result in done
        for record in result.records
        for item in result.spec.task.evals
    }
    pairs = sorted(_pairs(done, every), key=lambda pair: (pair.evaluation, pair.p))
    most = {pair.among: pair.seeds for pair in sorted(pairs, key=lambda pair: pair.seeds)}
    tested = [pair for pair in pairs if pair.seeds == most[pair.among]]
    untested = [pair for pair in pairs if pair.seeds < most[pair.among]]
    corrected = [*holm([pair.p for pair in tested]), *(None for _ in untested)]
    rows = [_row(pair, p, among=done) for pair, p in zip([*tested, *untested], corrected, strict=True)]
    notes = (
        f"Differences in points on the same items at the same seeds, with 95 % intervals; comparisons: {len(tested)}, "
        "p-values corrected by Holm's method. Bold: corrected p below 0.05; everything else is inside the noise.",
        "One seed of a share of right answers: exact McNemar test, blind to the noise between seeds. Else a t-test "
        "over seeds with the paired noise of items added (binomial, or bootstrap for other metrics).",
        *([FEWER_SEEDS] if untested else []),
        *_seed_spread(done, every),
        *detectable(done),
    )
    return Table(f"{name}_pairs", f"{title}: differences", COLUMNS, tuple(rows), notes)


def _pairs(results: Sequence[CellResult], every: Every) -> list[Pair]:
    return [
        pair
        for one, other in combinations(results, 2)
        if (one.spec.model.name, one.spec.task.name) == (other.spec.model.name, other.spec.task.name)
        for evals in _compared(one)
        if (pair := _pair(evals, one, other, every)) is not None
    ]


def _compared(result: CellResult) -> list[tuple[EvalSpec, ...]]:
    """Each eval, and all of them where their mean is a score of its own."""
    evals = result.spec.task.evals
    return [*((item,) for item in evals), *([evals] if result.average else [])]


def _pair(evals: tuple[EvalSpec, ...], one: CellResult, other: CellResult, every: Every) -> Pair | None:
    by_seed = {record.spec.seed: record for record in other.records}
    shared = [(record, by_seed[record.spec.seed]) for record in one.records if record.spec.seed in by_seed]
    if not shared:
        return None
    name = evals[0].name if len(evals) == 1 else "average"
    found = [_difference(evals, first, second, every) for first, second in shared]
    gaps, noise, alone = [gap for gap, _, _ in found], fmean(variance for _, variance, _ in found), found[0][2]
    p = mcnemar(*alone) if len(gaps) == 1 and alone else no_difference(gaps, item_variance=noise)
    low, high = over_seeds(gaps, item_variance=noise)
    if fmean(gaps) >= 0:
        return Pair(name, one, other, fmean(gaps), Interval(low, high), p, len(gaps))
    return Pair(name, other, one, -fmean(gaps), Interval(-high, -low), p, len(gaps))


def _difference(
    evals: tuple[EvalSpec, ...], first: RunRecord, second: RunRecord, every: Every
) -> tuple[float, float, tuple[int, int] | None]:
    """The gap in the mean over these evals, its variance from their items, and what McNemar's test takes of one."""
    found = [difference_of(every[first.run_id, item.name], every[second.run_id, item.name]) for item in evals]
    gaps, variances, alone = zip(*found, strict=True)
    return fmean(gaps), sum(variances) / len(found) ** 2, alone[0] if len(found) == 1 else None


def _row(pair: Pair, corrected: float | None, *, among: Sequence[CellResult]) -> Row:
    """A pair as printed, its cells named as they are told apart; without a corrected p-value it was not tested."""
    low, high = 100 * pair.interval.low, 100 * pair.interval.high
    names = pair.first.spec.method.name, pair.second.spec.method.name
    cells = (
        shown_name(pair.evaluation, [pair.first, pair.second]),
        cell_name(pair.first, among),
        cell_name(pair.second, among),
        f"{100 * pair.difference:+.1f} [{low:+.1f}, {high:+.1f}]",
        "" if corrected is None else _p_text(pair.p),
        "" if corrected is None else _p_text(corrected),
        str(pair.seeds),
    )
    facts = {"eval": pair.evaluation, "method": names[0], "against": names[1], "difference": pair.difference}
    facts |= {"low": pair.interval.low, "high": pair.interval.high, "p": None if corrected is None else pair.p}
    facts |= {"p_holm": corrected}
    return Row(cells, facts, frozenset({3}) if corrected is not None and corrected < LEVEL else frozenset())


def _p_text(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _seed_spread(results: Sequence[CellResult], every: Every) -> list[str]:
    """For shares: the standard deviation between seeds that is left when the noise of items is taken out."""
    found: dict[str, list[str]] = {}
    for result in results:
        for item in result.spec.task.evals:
            if len(result.records) < 2 or item.metrics[0] not in SHARES:
                continue
            right = [every[record.run_id, item.name].right or {} for record in result.records]
            shared = sorted(set.intersection(*map(set, right)), key=str)
            if len(shared) > 1:
                seeds = split_variance([[float(of_seed[key]) for key in shared] for of_seed in right]).seeds
                found.setdefault(item.name, []).append(f"{cell_name(result, results)} {100 * math.sqrt(seeds):.1f}")
    return [
        f"{shown_name(name, results)}: standard deviation between seeds, noise of items removed, in points: "
        f"{', '.join(spreads)}."
        for name, spreads in found.items()
    ]
