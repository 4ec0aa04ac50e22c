"""Every two methods of an experiment compared on the same items: the gap, its interval, and a corrected p-value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median

from svft_bench.analysis.stats import Interval, around, clipped, detectable_gap, holm, mcnemar, two_sided
from svft_bench.analysis.tables.beyond import beyond_pairs
from svft_bench.analysis.tables.compared import Field, Gap, apart, fields, judge_all
from svft_bench.analysis.tables.experiment import cell_name
from svft_bench.analysis.tables.intervals import metric_range
from svft_bench.analysis.tables.results import CellResult
from svft_bench.analysis.tables.value import Column, Row, Table
from svft_bench.compose import option_fields, options
from svft_bench.config.spec import MethodSpec
from svft_bench.config.wording import nearest, plural

LEVEL = 0.05
FEWER_SEEDS = (
    "Without p: the two share fewer seeds than others do, where a run is missing or a score undefined "
    "(one answer to everything); what they did at these seeds alone is no fair comparison."
)
NOT_NAMED = (
    "Without p too: what the experiment did not name beforehand as a comparison ({}). Correcting for few keeps their "
    "power; a difference found by looking is for the next experiment to test."
)
OTHER_ROWS = (
    "Not compared: {}, of which runs were scored on other rows, as where each seed draws them; the number is of "
    "the rows that all of them share."
)
COLUMNS = (
    Column("eval", "left"),
    Column("method", "left"),
    Column("against", "left"),
    Column("difference"),
    Column("p"),
    Column("p (Holm)"),
    Column("seeds"),
)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two cells on one eval or the average of all, at the seeds that both have; the gap is first - second."""

    field: Field
    first: CellResult
    second: CellResult
    gap: Gap
    p: float

    @property
    def interval(self) -> Interval:
        """95 % around the gap, as far as two scores can be apart."""
        low, high = metric_range(self.first.spec.task.evals[0].metrics[0])
        return clipped(around(self.gap.mean, self.gap.noise), low=low - high, high=high - low)


def named_comparisons(name: str) -> tuple[str, ...]:
    """What an experiment says that it compares, each as two methods: `svft_banded svft_plain`.

    `*` is any, and a field tells variants apart: `vectorfit:freezing=none`. None named: every two are compared.

    Raises:
        ValueError: a comparison is not of two, or of a method that there is not.
    """
    named, methods = option_fields("experiment", name).get("compare") or (), options("method")
    for text in named:
        if len(str(text).split()) != 2:
            raise ValueError(f"experiment={name}: compare has {text!r}; a comparison is two methods, as in '* lora'")
        for method in (selector.partition(":")[0] for selector in text.split()):
            if method not in ("*", *methods):
                raise ValueError(f"experiment={name}: compare has {text!r}; {nearest(method, methods)}")
    return tuple(named)


def named_in(overrides: Sequence[str]) -> tuple[str, ...]:
    """The comparisons that the experiment among these overrides names beforehand, if there is one."""
    names = [item.removeprefix("experiment=") for item in overrides if item.startswith("experiment=")]
    return named_comparisons(names[-1]) if names else ()


def pairs_table(
    results: Sequence[CellResult], *, name: str, title: str, folder: Path, named: Sequence[str] = ()
) -> Table:
    """All pairs of cells of one model and task, the better first; bold where the corrected p-value is below 0.05.

    A pair that shares fewer seeds than its peers is shown and not tested. One seed carries no bold: what seeds do to a
    method is not in its p-value.
    """
    done = [result for result in results if result.records]
    every = judge_all(done, folder=folder)
    competing, left_out = fields(done, every), apart(done, every)
    pairs = [pair for field in competing for pair in _pairs(field)]
    pairs.sort(key=lambda pair: (pair.field.name, pair.p))
    wanted = [pair for pair in pairs if not named or _is_named(pair, named)]
    tested = [pair for pair in wanted if len(pair.gap.seeds) == _most(pair, wanted)]
    untested = [pair for pair in pairs if pair not in tested]
    corrected = [*holm([pair.p for pair in tested]), *(None for _ in untested)]
    rows = [_row(pair, p) for pair, p in zip([*tested, *untested], corrected, strict=True)]
    notes = (
        f"Differences in points on the same items at the same seeds, with 95 % intervals; comparisons: {len(tested)} "
        "on all evals of this table, p-values corrected for all of them by Holm's method. Bold: corrected p below "
        "0.05 at two seeds or more; everything else is inside the noise.",
        "One seed of a share of right answers: exact McNemar test, blind to the noise between seeds and never bold. "
        "Else a t-test over seeds and items: each method's variance between seeds moderated by that of the others "
        "(empirical Bayes), the items' by how much the gap over all seeds varies from item to item (correlations and "
        "F1 by influence values).",
        *([OTHER_ROWS.format(", ".join(left_out))] if left_out else []),
        *([FEWER_SEEDS] if len(tested) < len(wanted) else []),
        *_not_there(named, pairs),
        *([NOT_NAMED.format(", ".join(named))] if len(wanted) < len(pairs) else []),
        *_seed_spread(competing),
        *_detectable(tested),
        *beyond_pairs(competing),
    )
    return Table(f"{name}_pairs", f"{title}: differences", COLUMNS, tuple(rows), notes)


def _not_there(named: Sequence[str], pairs: Sequence[Pair]) -> list[str]:
    """Comparisons that no two recorded cells are, so that nobody takes their silence for no difference."""
    missing = [text for text in named if not any(_is_named(pair, [text]) for pair in pairs)]
    return [f"Named beforehand, and of no two recorded rows: {', '.join(missing)}."] if missing else []


def _is_named(pair: Pair, named: Sequence[str]) -> bool:
    return is_named(pair.first.spec.method, pair.second.spec.method, named)


def is_named(one: MethodSpec, other: MethodSpec, named: Sequence[str]) -> bool:
    """Whether two methods are one of the comparisons that were named beforehand, whichever stands first."""
    sides = (text.split() for text in named)
    return any((_is(one, a) and _is(other, b)) or (_is(one, b) and _is(other, a)) for a, b in sides)


def _is(method: MethodSpec, selector: str) -> bool:
    name, _, field = selector.partition(":")
    key, _, value = field.partition("=")
    return name in ("*", method.name) and (not field or str(method.adapter.get(key)) == value)


def _most(pair: Pair, pairs: Sequence[Pair]) -> int:
    return max(len(other.gap.seeds) for other in pairs if other.field is pair.field)


def _pairs(field: Field) -> list[Pair]:
    found = []
    for one, other in combinations(range(len(field.cells)), 2):
        gap = field.gap(one, other)
        if gap is not None and gap.mean < 0:
            one, other, gap = other, one, field.gap(other, one)
        if gap is not None:
            p = mcnemar(*gap.alone) if len(gap.seeds) == 1 and gap.alone else two_sided(gap.mean, gap.noise)
            found.append(Pair(field, field.cells[one], field.cells[other], gap, p))
    return found


def _row(pair: Pair, corrected: float | None) -> Row:
    """A pair as printed, its cells named as they are told apart; without a corrected p-value it was not tested."""
    interval, gap = pair.interval, pair.gap
    names = pair.first.spec.method.name, pair.second.spec.method.name
    cells = (
        pair.field.shown,
        cell_name(pair.first, pair.field.cells),
        cell_name(pair.second, pair.field.cells),
        f"{100 * gap.mean:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]",
        "" if corrected is None else _p_text(pair.p),
        "" if corrected is None else _p_text(corrected),
        str(len(gap.seeds)),
    )
    facts = {"eval": pair.field.name, "method": names[0], "against": names[1], "difference": gap.mean}
    facts |= {"low": interval.low, "high": interval.high, "p": None if corrected is None else pair.p}
    facts |= {"p_holm": corrected}
    marked = corrected is not None and corrected < LEVEL and len(gap.seeds) > 1
    return Row(cells, facts, frozenset({3}) if marked else frozenset())


def _p_text(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _seed_spread(competing: Sequence[Field]) -> list[str]:
    """The standard deviation between seeds of each method, with what the others say of it."""
    found = []
    for field in competing:
        if len(field.seeds) > 1:
            spreads = [
                f"{cell_name(cell, field.cells)} {100 * math.sqrt(spread.variance):.1f}"
                for cell, spread in zip(field.cells, field.spreads, strict=True)
            ]
            found.append(
                f"{field.shown}: standard deviation between seeds, what all share removed and "
                f"moderated by the other methods, in points: {', '.join(spreads)}."
            )
    return found


def _detectable(tested: Sequence[Pair]) -> list[str]:
    """For each eval with several seeds: the gap that a pair in the middle would show after correction."""
    found = []
    for field in dict.fromkeys(pair.field for pair in tested):
        pairs = [pair for pair in tested if pair.field is field and len(pair.gap.seeds) > 1]
        if pairs:
            gap = median(detectable_gap(pair.gap.noise, comparisons=len(tested)) for pair in pairs)
            items = sum(values.shape[2] for values in field.values)
            found.append(
                f"{field.shown}: {plural(len(pairs[0].gap.seeds), 'seed')} and "
                f"{plural(items, 'item')} miss a gap under {100 * gap:.1f} points more than one time in five (paired, "
                f"corrected for {plural(len(tested), 'comparison')}, the pair in the middle)."
            )
    return found
