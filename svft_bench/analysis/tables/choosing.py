"""`svft-bench table lr_sweep --choose`: each method's best rate on validation rows, as files for `conf/tuned`."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Literal

from svft_bench.analysis.tables.experiment import collapsed, validation
from svft_bench.analysis.tables.extending import lost
from svft_bench.analysis.tables.results import CellResult, differences
from svft_bench.config.wording import plural

Group = list[CellResult]
# What trials of one method may differ in, and a choice may settle.
CHOSEN = ("lr", "lr_bias", "batch_size")


@dataclass(frozen=True)
class Choice:
    """One method's best rate, how many were tried at how many seeds, and the end of the grid where it lies, if any.

    Where biases have a rate of their own, or batches two sizes, what is tried together counts as one rate; the choice
    is of the fields `settled` of the training.
    """

    best: CellResult
    score: float
    rates: int
    seeds: int
    edge: Literal["lowest", "highest"] | None
    settled: tuple[str, ...] = ("lr",)


def choices(results: Sequence[CellResult], *, capped: bool = False, diverged: Set[str] = frozenset()) -> list[Choice]:
    """The best rate of every model, method and task by the mean validation score; the lower rate wins a tie.

    `capped` says that methods got as many trials as their grids had to go on for, by one rule and with one cap.
    `diverged` are the commands of trials that have no record for this reason: they count, and are never chosen.

    Raises:
        ValueError: a run is missing or has no validation score, cells differ in more than the rate, there is but one
            rate, or more for some methods than for others, or no trial of a method has a score at every seed.
    """
    missing = [command for result in results if not lost(result, diverged) for command in result.missing]
    if missing:
        raise ValueError(f"nothing is chosen before every trial is done; {len(missing)} missing, such as {missing[0]}")
    groups: dict[tuple[str, str, str], Group] = {}
    for result in sorted(results, key=lambda result: result.spec.train.lr):
        spec = result.spec
        groups.setdefault((spec.model.name, spec.method.name, spec.task.name), []).append(result)
    for group in groups.values():
        _refuse_more_than_a_rate([result for result in group if not result.missing])
    budgets = {" ".join(key): (len(group), seeds_of(group[0])) for key, group in groups.items()}
    if len(set(budgets.values())) > 1 and not capped:
        told = ", ".join(f"{name} {rates} x {seeds}" for name, (rates, seeds) in budgets.items())
        raise ValueError(f"unequal trial budgets (rates x seeds) would favour a method: {told}")
    if all(rates == 1 for rates, _ in budgets.values()):
        raise ValueError("nothing to choose from: every cell has one learning rate and batch; sweep train.lr")
    order = {id(result): index for index, result in enumerate(results)}
    return [_choice(group) for group in sorted(groups.values(), key=lambda group: min(order[id(one)] for one in group))]


def tuned_files(found: Sequence[Choice], *, name: str) -> str:
    """The choices as text: for each the file that makes it the cell's own rate, with a warning where one is due."""
    parts = []
    for choice in found:
        spec = choice.best.spec
        edge = f"# The {choice.edge} rate tried: the best one may lie beyond the grid.\n" if choice.edge else ""
        trials = "rates" if set(choice.settled) <= {"lr", "lr_bias"} else "trials"
        settled = "".join(f"  {name}: {getattr(spec.train, name):g}\n" for name in choice.settled)
        parts.append(
            f"# conf/tuned/{spec.model.name}+{spec.method.name}+{spec.task.name}.yaml\n# @package _global_\n{edge}"
            f"train:\n{settled}"
            f'  source: "ours: best validation score of {choice.rates} {trials} over {plural(choice.seeds, "seed")}, '
            f'{100 * choice.score:.1f} (experiment={name})"\n'
        )
    return "\n".join(parts)


def _choice(group: Group) -> Choice:
    scores = [_validated(result) for result in group]
    index = max(range(len(group)), key=lambda index: (scores[index], -index))
    if scores[index] == -math.inf:
        raise ValueError(
            f"{group[0].spec.method.title} on {group[0].spec.task.name}: no trial has a score on validation rows at "
            "every seed (one answer to everything)"
        )
    best = group[index].spec.train
    edges = [_edge(best.lr, [one.spec.train.lr for one in group])]
    edges.append(_edge(best.lr_bias or best.lr, [one.spec.train.lr_bias or one.spec.train.lr for one in group]))
    edge = next((found for found in edges if found is not None), None)
    several = tuple(name for name in CHOSEN[1:] if len({getattr(one.spec.train, name) for one in group}) > 1)
    biased = ("lr_bias",) if best.lr_bias is not None and "lr_bias" not in several else ()
    return Choice(group[index], scores[index], len(group), seeds_of(group[0]), edge, ("lr", *biased, *several))


def _edge(rate: float, tried: Sequence[float]) -> Literal["lowest", "highest"] | None:
    """At which end of the rates tried this one lies, where they are several."""
    low, high = min(tried), max(tried)
    return None if low == high else "lowest" if rate == low else "highest" if rate == high else None


def seeds_of(result: CellResult) -> int:
    """At how many seeds a rate was tried."""
    return len(result.records) + len(result.missing)


def _validated(result: CellResult) -> float:
    """The validation score, below every other where it is undefined at a seed, or training diverged there."""
    found = -math.inf if result.missing or collapsed(result) else validation(result)
    if found is None:
        raise ValueError(
            f"run {result.records[0].run_id} has no score on validation rows, and the reported set must not choose: "
            "score_on=validation or train.selection=best_validation"
        )
    return found


def _refuse_more_than_a_rate(group: Group) -> None:
    if not group:
        return
    first = group[0]
    seeds = [record.spec.seed for record in first.records]
    free = {f"train.{name}" for name in CHOSEN}
    for other in group[1:]:
        names = [text.split(" ")[0] for text in differences(_but_seed(first), _but_seed(other))]
        if not set(names) <= free or [record.spec.seed for record in other.records] != seeds:
            raise ValueError(
                f"{first.spec.method.name}: trials at {first.spec.train.lr:g} and {other.spec.train.lr:g} differ in "
                f"{', '.join(names)} or their seeds; a choice is between cells that differ in rates and batches alone"
            )


def _but_seed(result: CellResult) -> dict[str, object]:
    return result.spec.identity() | {"seed": None, "data": None}
