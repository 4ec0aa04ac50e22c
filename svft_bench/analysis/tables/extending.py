"""A grid of rates goes on beyond its end while the best rate lies there, as far as a wider experiment has rates.

svft-bench table study --next model=minilm-l6 task=glue/sst2 | bash
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from svft_bench.analysis.tables.experiment import validation
from svft_bench.analysis.tables.results import CellResult
from svft_bench.compose import option_fields


def wider_than(name: str) -> str | None:
    """The experiment with more rates for the cells of this one, which has the most that any method gets."""
    found = option_fields("experiment", name).get("wider")
    return None if found is None else str(found)


def tried(wider: Sequence[CellResult], *, diverged: Set[str] = frozenset()) -> list[CellResult]:
    """The cells that have all their runs, and may choose, or of which one diverged."""
    return [one for one in wider if (one.records and not one.missing) or lost(one, diverged)]


def lost(result: CellResult, diverged: Set[str]) -> bool:
    """Whether training diverged at one of a cell's seeds, so that the others would say nothing more."""
    return not diverged.isdisjoint(result.missing)


def due(first: Sequence[CellResult], wider: Sequence[CellResult], *, diverged: Set[str] = frozenset()) -> list[str]:
    """The commands of the trials to run next, none where every best rate has a neighbour on both sides or is the last.

    Of each model, method and task: what is missing of its `first` grid; else one rate beyond the end where its best is.
    A rate of which a trial `diverged` is the worst, and is not tried at further seeds.
    """
    grids: dict[str, list[CellResult]] = {}
    for result in sorted(wider, key=lambda result: result.spec.train.lr):
        grids.setdefault(result.spec.trial_id, []).append(result)
    missing: dict[str, list[str]] = {}
    for result in first:
        left = () if lost(result, diverged) else result.missing
        missing.setdefault(result.spec.trial_id, []).extend(left)
    return [command for key, lines in missing.items() for command in lines or _beyond(grids.get(key, []), diverged)]


def _beyond(grid: Sequence[CellResult], diverged: Set[str]) -> tuple[str, ...]:
    """What is missing at the rate beyond the end of those tried where the best of them lies; the lower wins a tie."""
    scores = {
        index: score
        for index, result in enumerate(grid)
        if result.records and not result.missing and (score := validation(result)) is not None
    }
    if not scores:
        return ()
    best = max(scores, key=lambda index: (scores[index], -index))
    beyond = [index for index, end in ((best - 1, min(scores)), (best + 1, max(scores))) if best == end]
    there = [grid[index] for index in beyond if 0 <= index < len(grid)]
    return tuple(command for result in there if not lost(result, diverged) for command in result.missing)
