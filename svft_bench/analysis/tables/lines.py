"""The printed rows of a published table, each with what of ours repeats it and the verdict on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from svft_bench.analysis.references import Column as Printed
from svft_bench.analysis.references import Reference
from svft_bench.analysis.references import Row as PaperRow
from svft_bench.analysis.stats import Interval, Pooled, another_run, pooled
from svft_bench.analysis.tables.intervals import average_interval, metric_range, score_interval
from svft_bench.analysis.tables.results import CellResult, items_of
from svft_bench.analysis.tables.searches import with_searches
from svft_bench.analysis.tables.selecting import Selected, offered, select
from svft_bench.analysis.tables.verdict import Comparison, Tier, compare, settled
from svft_bench.records import RunRecord, outline


@dataclass(frozen=True)
class Ours:
    """Our mean, its 95 % interval over seeds and items (None: no closed form), the range of the score, the verdict.

    `by_seed` has the scores in points.
    """

    mean: float
    interval: Interval | None
    range: tuple[float, float]
    comparison: Comparison
    by_seed: dict[int, float]


@dataclass(frozen=True)
class Line:
    """A printed row with what of ours stands beside each score that can be ours, None where nothing was run."""

    row: PaperRow
    ours: dict[str, Ours | None]
    records: tuple[RunRecord, ...]
    extra: tuple[str, ...] = ()  # asked for beside the row, such as protocol=released


TIERS: tuple[Tier, ...] = ("exact", "close", "proxy")  # from the best
BASELINES = ("full_ft", "head", "lora", "dora", "vera", "boft")  # what papers compare with, the bench's own check
Found = dict[str, list[Selected]]  # of a row, by column: the records of each score that the column averages


def paper_lines(reference: Reference, records: Sequence[RunRecord], *, extra: Sequence[str] = ()) -> list[Line]:
    """The printed rows in the paper's order, model by model, each with what of ours repeats it."""
    models = list(dict.fromkeys(row.model for row in reference.rows))
    rows = sorted(reference.rows, key=lambda row: models.index(row.model))
    selected = [_selected(row, reference, records, extra=extra) for row in rows]
    spreads = {
        column.name: pooled([_in_points(column, found[column.name]) for found in selected if column.name in found])
        for column in reference.columns
    }
    lines = [_line(row, reference, found, spreads, extra=extra) for row, found in zip(rows, selected, strict=True)]
    return [
        replace(line, ours={name: _settled(name, line, found[name], lines, records) for name in line.ours})
        for line, found in zip(lines, selected, strict=True)
    ]


def _settled(
    name: str, line: Line, found: Sequence[Selected], lines: Sequence[Line], records: Sequence[RunRecord]
) -> Ours | None:
    """What stands beside a printed score, "worse" held back where the bench itself may be what is worse."""
    ours = line.ours[name]
    if ours is None or ours.comparison.verdict != "worse than printed":
        return ours
    (cell,) = with_searches([CellResult(found[0].records[0].spec, found[0].records, (), ())], map(outline, records))
    chose = {*cell.choosing, *cell.set_aside}
    fresh = [score for seed, score in ours.by_seed.items() if seed not in chose]
    baseline = any(
        other is not line
        and other.row.ours in BASELINES
        and (beside := other.ours.get(name)) is not None
        and beside.comparison.verdict == "reproduced"
        for other in lines
    )
    printed = line.row.scores[name]
    return replace(ours, comparison=settled(ours.comparison, fresh=fresh, printed=printed, baseline=baseline))


def _selected(row: PaperRow, reference: Reference, records: Sequence[RunRecord], *, extra: Sequence[str]) -> Found:
    columns = [column for column in reference.columns if column.name in row.scores and column.of]
    if not offered(row):
        return {column.name: [] for column in columns}
    wanted = dict.fromkeys(measured for column in columns for measured in column.of)
    chosen = {measured: select(row, measured, records, extra=extra) for measured in wanted}
    return {column.name: [chosen[of] for of in column.of] for column in columns}


def _line(
    row: PaperRow, reference: Reference, found: Found, spreads: dict[str, Pooled | None], *, extra: Sequence[str]
) -> Line:
    columns = {column.name: column for column in reference.columns}
    ours = {
        name: _ours(row, columns[name], selected, reference=reference, spread=spreads[name])
        for name, selected in found.items()
    }
    used = {record.run_id: record for selected in found.values() for item in selected for record in item.records}
    return Line(row, ours, tuple(used.values()), tuple(extra) if found and offered(row) else ())


def _ours(
    row: PaperRow, column: Printed, found: Sequence[Selected], *, reference: Reference, spread: Pooled | None
) -> Ours | None:
    known = _scores_by_seed(column, found)
    scores = list(known.values())
    if not scores:
        return None
    values = [100 * fmean(of_seed) for of_seed in scores]
    items = [items_of(of.eval, item.records[0]) for of, item in zip(column.of, found, strict=True)]
    one_item = 100 / max(items) / len(items)
    repetition = None
    if spread is not None:
        averaged = reference.averaged(row)
        repetition = another_run(values, spread=spread, averaged=averaged, least=one_item)
    some = len(scores) < min(len(item.records) for item in found)
    comparison = compare(
        row.scores[column.name],
        ours=fmean(values),
        repetition=repetition,
        slack=reference.slack,
        protocol=max((item.protocol for item in found), key=lambda one: TIERS.index(one.tier)),
        doubt="undefined (constant answers) at some seeds" if some else None,
    )
    metrics = [of.metric for of in column.of]
    interval = (
        score_interval(metrics[0], [of_seed[0] for of_seed in scores], items=items[0])
        if len(metrics) == 1 and spread is None
        else average_interval(metrics, scores, items=items, spread=spread and spread.scaled(100))
    )
    by_seed = dict(zip(known, values, strict=True))
    return Ours(fmean(map(fmean, scores)), interval, metric_range(metrics[0]), comparison, by_seed)


def _in_points(column: Printed, found: Sequence[Selected]) -> list[float]:
    """The scores of a cell on the paper's data, one a seed: others say nothing of its spread."""
    proxy = any(item.protocol.tier == "proxy" for item in found)
    return [] if proxy else [100 * fmean(one) for one in _scores_by_seed(column, found).values()]


def _scores_by_seed(column: Printed, found: Sequence[Selected]) -> dict[int, list[float]]:
    """The column's scores at every seed that has all of them."""
    by_seed = [{record.spec.seed: record for record in item.records} for item in found]
    seeds = sorted(set.intersection(*map(set, by_seed))) if by_seed else []
    found_at = {
        seed: [records[seed].scores[of.eval][of.metric] for of, records in zip(column.of, by_seed, strict=True)]
        for seed in seeds
    }
    whole = {seed: [value for value in row if value is not None] for seed, row in found_at.items()}
    return {seed: row for seed, row in whole.items() if len(row) == len(column.of)}


def label(row: PaperRow) -> str:
    """A printed row's method with its settings, or the name it has in print where it is none of ours."""
    if row.label and row.ours is None:
        return row.label
    settings = ", ".join(f"{key}={value}" for key, value in row.settings.items() if (key, value) != ("d", 0))
    return f"{row.method} {settings}".strip()
