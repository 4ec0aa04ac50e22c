"""Run the cells of conf/experiment/anchor.yaml again and say whether their records still hold: `make anchor`.

|mean(now - recorded)| <= z √(2 v / runs), for each cell and for all together; v = p(1-p)/items

The same seeds draw the same rows, head and order, so what differs between seeds does not differ between now and then.
What is left if nothing moved is items that flip, and twice the variance of a score from its items bounds that.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist, fmean

from svft_bench.analysis.stats import CONFIDENCE
from svft_bench.analysis.tables.intervals import item_variance
from svft_bench.analysis.tables.results import CellResult, items_of
from svft_bench.analysis.tables.writing import experiment_results
from svft_bench.cli import command
from svft_bench.records import RunRecord

NAME = "anchor"


@dataclass(frozen=True)
class Anchor:
    """A cell, or all of them: the recorded mean, the mean now at the same seeds, and how far apart they may lie."""

    name: str
    recorded: float
    now: float
    noise: float

    @property
    def holds(self) -> bool:
        """Whether the shift is inside the noise."""
        return abs(self.now - self.recorded) <= self.noise + 1e-9


def anchors(recorded: Sequence[CellResult], again: Sequence[CellResult]) -> list[Anchor]:
    """Every cell, then all together: a shift of all methods shows there before it shows in one.

    The chance that any of them is outside though nothing changed is at most 5 % (Bonferroni).

    Raises:
        ValueError: a cell has no record here or there, or its seeds differ.
    """
    for one, other in zip(recorded, again, strict=True):
        if not one.records or _seeds(one) != _seeds(other):
            raise ValueError(
                f"anchor {one.spec.method.name}: recorded seeds are {_seeds(one)}, now {_seeds(other)}; "
                f"svft-bench experiment={NAME} makes the records"
            )
    before, now = [_scores(result) for result in recorded], [_scores(result) for result in again]
    z = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / 2 / (len(before) + 1))
    noise = [2 * _item_variance(result, fmean(old)) for result, old in zip(recorded, before, strict=True)]
    names = [result.spec.method.title for result in recorded]
    found = [
        Anchor(name, fmean(old), fmean(new), z * math.sqrt(one / len(old)))
        for name, old, new, one in zip(names, before, now, noise, strict=True)
    ]
    runs = [len(old) for old in before]
    old, new = (fmean(score for of_cell in scores for score in of_cell) for scores in (before, now))
    whole = sum(one * count for one, count in zip(noise, runs, strict=True)) / sum(runs) ** 2
    return [*found, Anchor("all together", old, new, z * math.sqrt(whole))]


def changed_versions(before: RunRecord, now: RunRecord) -> list[str]:
    """What of the stack is another version now."""
    old, new = before.provenance.versions, now.provenance.versions
    return [f"{name} {old.get(name)} -> {new.get(name)}" for name in {**old, **new} if old.get(name) != new.get(name)]


def report(recorded: Sequence[CellResult], again: Sequence[CellResult]) -> int:
    """Print every anchor with its interval and what changed; 1 if one is outside."""
    found = anchors(recorded, again)
    width = max(len(anchor.name) for anchor in found)
    for anchor in found:
        low, high = 100 * (anchor.recorded - anchor.noise), 100 * (anchor.recorded + anchor.noise)
        verdict = "holds" if anchor.holds else "OUTSIDE"
        print(f"{anchor.name:{width}}  now {100 * anchor.now:5.1f}, expected {low:.1f} to {high:.1f}: {verdict}")
    changes = changed_versions(recorded[0].records[0], again[0].records[0])
    print(f"Versions that differ from the record's: {', '.join(changes) or 'none'}.")
    return 0 if all(anchor.holds for anchor in found) else 1


def main(results: Path) -> int:
    """Repeat the anchors beside their records, in a folder that is thrown away."""
    recorded = experiment_results(NAME, overrides=(), folder=results)
    with tempfile.TemporaryDirectory() as scratch:
        folders = [f"results_dir={scratch}/results", f"output_dir={scratch}/outputs"]
        code = command([f"experiment={NAME}", *folders])
        if code:
            return code
        return report(recorded, experiment_results(NAME, overrides=(), folder=Path(scratch) / "results"))


def _seeds(result: CellResult) -> list[int]:
    return [record.spec.seed for record in result.records]


def _scores(result: CellResult) -> list[float]:
    item = result.spec.task.evals[0]
    return [record.score(item.name, item.metrics[0]) for record in result.records]


def _item_variance(result: CellResult, score: float) -> float:
    item = result.spec.task.evals[0]
    found = item_variance(item.metrics[0], score, items=items_of(item.name, result.records[0]))
    assert found is not None, "an anchor's metric has a known variance"
    return found


if __name__ == "__main__":
    try:
        sys.exit(main(Path("results")))
    except ValueError as error:
        sys.exit(f"check_anchors: {error}")
