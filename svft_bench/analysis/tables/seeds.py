"""How many seeds an experiment needs to show a gap, from the variances of what is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median

from svft_bench.analysis.stats import Noise, detectable_gap, seeds_needed, spread_of_gap
from svft_bench.analysis.tables.compared import Field, fields, judge_all
from svft_bench.analysis.tables.pairs import is_named
from svft_bench.analysis.tables.results import CellResult, cell_results
from svft_bench.compose import Cell
from svft_bench.config.spec import MethodSpec
from svft_bench.config.wording import plural
from svft_bench.records import RunRecord, load_records


@dataclass(frozen=True)
class Needed:
    """The seeds at which a paired, corrected test shows a gap on one eval with a power of 0.8, from recorded `pairs`.

    Without a pair they are unknown; where no number of seeds shows it, `least` is the gap that the items show at best.
    """

    model: str
    task: str
    eval: str
    gap: float
    comparisons: int
    named_beforehand: bool
    pairs: int
    seeds: int | None = None
    least: float | None = None

    @property
    def told(self) -> str:
        """The same as one line."""
        named = " named beforehand" if self.named_beforehand else ""
        asked = f"{self.eval}: a gap of {100 * self.gap:g} {'point' if self.gap == 0.01 else 'points'}, "
        asked += f"paired and corrected for {plural(self.comparisons, 'comparison')}{named},"
        basis = f"from {self.pairs} recorded pairs, the pair in the middle"
        if self.seeds is not None:
            return f"{asked} needs {plural(self.seeds, 'seed')} ({basis})"
        if self.least is None:
            return f"{asked} needs unknown seeds: no two of these cells are recorded at two seeds"
        least = 100 * self.least
        return f"{asked} is hidden by the items at any number of seeds; they show {least:.1f} at best ({basis})"


def seeds_for(cells: Sequence[Cell], gap: float, *, folder: Path, named: Sequence[str] = ()) -> list[Needed]:
    """For each eval of these cells: the seeds at which a paired, corrected test shows the gap with a power of 0.8.

    As in the table of their differences, these are of the comparisons `named` beforehand alone, or of every two.
    """
    methods: dict[tuple[str, str, str], dict[str, MethodSpec]] = {}
    for cell in cells:
        for item in cell.spec.task.evals:
            of_eval = methods.setdefault((cell.spec.model.name, cell.spec.task.name, item.name), {})
            of_eval[cell.spec.cell_id] = cell.spec.method
    comparisons = sum(
        not named or is_named(one, other, named)
        for of_eval in methods.values()
        for one, other in combinations(of_eval.values(), 2)
    )
    wanted = {cell.spec.cell_id for cell in cells}
    results = _recorded(
        cells, load_records(folder, of=lambda one: one.cell_id in wanted, near={cell.spec.place for cell in cells})
    )
    competing = fields(results, judge_all(results, folder=folder))
    known = {(field.model, field.task, field.name): field for field in competing}
    return [_needed(*key, known.get(key), gap=gap, comparisons=max(comparisons, 1), named=named) for key in methods]


def _recorded(cells: Sequence[Cell], records: Sequence[RunRecord]) -> list[CellResult]:
    """The cells that are recorded at two seeds or more, at whatever seeds those are."""
    whole = []
    for result in cell_results(cells, records):
        own = tuple(record for record in records if record.spec.cell_id == result.spec.cell_id)
        if len(own) > 1:
            whole.append(CellResult(result.spec, own, (), ()))
    return whole


def _needed(
    model: str, task: str, name: str, field: Field | None, *, gap: float, comparisons: int, named: Sequence[str]
) -> Needed:
    pairs = [] if field is None else _variances(field, named)
    if not pairs:
        return Needed(model, task, name, gap, comparisons, bool(named), pairs=0)
    variances, items = (median(found) for found in zip(*pairs, strict=True))
    seeds = seeds_needed(gap, seed_variance=variances, item_variance=items, comparisons=comparisons)
    least = None if seeds is not None else detectable_gap(Noise(0.0, 1.0, items), comparisons=comparisons)
    return Needed(model, task, name, gap, comparisons, bool(named), len(pairs), seeds, least)


def _variances(field: Field, named: Sequence[str]) -> list[tuple[float, float]]:
    """Of each comparison: the variance of its gap at one seed, and that of its gap on these items."""
    found = []
    for one, other in combinations(range(len(field.cells)), 2):
        both = field.cells[one].spec.method, field.cells[other].spec.method
        gap = field.gap(one, other) if not named or is_named(*both, named) else None
        if gap is not None:
            found.append((spread_of_gap(field.spreads[one], field.spreads[other]).variance, gap.noise.items))
    return found
