"""A published table beside our records: the paper's number, ours, the difference and a verdict, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from svft_bench.analysis.references import Column as Printed
from svft_bench.analysis.references import Reference
from svft_bench.analysis.references import Row as PaperRow
from svft_bench.analysis.stats import Interval, Pooled, another_run, pooled
from svft_bench.analysis.tables.experiment import with_interval
from svft_bench.analysis.tables.notes import protocols
from svft_bench.analysis.tables.results import average_interval, items_of, metric_range, score_interval
from svft_bench.analysis.tables.selecting import Selected, command_of, offered, select
from svft_bench.analysis.tables.value import Column, Row, Table
from svft_bench.analysis.tables.verdict import FAR, MARGIN, Comparison, compare
from svft_bench.records import RunRecord


@dataclass(frozen=True)
class Ours:
    """Our mean, its 95 % interval over seeds and items (None: no closed form), the range of the score, the verdict."""

    mean: float
    interval: Interval | None
    range: tuple[float, float]
    comparison: Comparison


@dataclass(frozen=True)
class Line:
    """A printed row with what of ours stands beside each score that can be ours, None where nothing was run."""

    row: PaperRow
    ours: dict[str, Ours | None]
    records: tuple[RunRecord, ...]
    extra: tuple[str, ...] = ()  # asked for beside the row, such as protocol=released


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
    return [_line(row, reference, found, spreads, extra=extra) for row, found in zip(rows, selected, strict=True)]


def paper_table(reference: Reference, lines: Sequence[Line]) -> Table:
    """The published table, every number of ours under the printed one that it repeats."""
    models = dict.fromkeys(row.model for row in reference.rows)
    labels = ([Column("model", "left")] if len(models) > 1 else []) + [Column("method", "left"), Column("parameters")]
    columns = (*labels, Column("", "left"), *(Column(column.title) for column in reference.columns))
    printed = [row for line in lines for row in _rows(line, reference, with_model=len(models) > 1)]
    return Table(reference.name, reference.title, columns, tuple(printed), _notes(reference, lines))


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
    scores = _scores_by_seed(column, found)
    if not scores:
        return None
    values = [100 * fmean(of_seed) for of_seed in scores]
    items = [items_of(of.eval, item.records[0]) for of, item in zip(column.of, found, strict=True)]
    one_item = 100 / max(items) / len(items)
    repetition = None
    if spread is not None:
        averaged = reference.averaged(row)
        repetition = another_run(values, spread=spread, averaged=averaged, least=one_item)
    doubt = next((item.doubt for item in found if item.doubt), None)
    if len(scores) < min(len(item.records) for item in found):
        doubt = doubt or "undefined (constant answers) at some seeds"
    comparison = compare(
        row.scores[column.name], ours=fmean(values), repetition=repetition, slack=reference.slack, doubt=doubt
    )
    metrics = [of.metric for of in column.of]
    interval = (
        score_interval(metrics[0], [of_seed[0] for of_seed in scores], items=items[0])
        if len(metrics) == 1 and spread is None
        else average_interval(metrics, scores, items=items, spread=spread and spread.scaled(100))
    )
    return Ours(fmean(map(fmean, scores)), interval, metric_range(metrics[0]), comparison)


def _in_points(column: Printed, found: Sequence[Selected]) -> list[float]:
    """The scores of a cell as published, one a seed: others say nothing of its spread."""
    return [] if any(item.doubt for item in found) else [100 * fmean(one) for one in _scores_by_seed(column, found)]


def _scores_by_seed(column: Printed, found: Sequence[Selected]) -> list[list[float]]:
    """The column's scores, one list for every seed that has all of them."""
    by_seed = [{record.spec.seed: record for record in item.records} for item in found]
    seeds = sorted(set.intersection(*map(set, by_seed))) if by_seed else []
    table = [
        [records[seed].scores[of.eval][of.metric] for of, records in zip(column.of, by_seed, strict=True)]
        for seed in seeds
    ]
    return [known for row in table if len(known := [value for value in row if value is not None]) == len(row)]


def _rows(line: Line, reference: Reference, *, with_model: bool) -> list[Row]:
    """The paper's line, and under it ours, the difference and the verdict where something was run."""
    row = line.row
    done = any(line.ours.values())
    lead = ([row.model] if with_model else []) + [label(row), row.params_printed or ""]
    kind = "paper" if done else "paper only"
    printed = [f"{row.scores[c.name]:.{c.decimals}f}" if c.name in row.scores else "" for c in reference.columns]
    rows = [Row((*lead, kind, *printed), _facts(line, reference))]
    if done:
        blank = [""] * len(lead)
        texts = [_texts(line.ours[c.name]) if c.name in line.ours else ("", "", "") for c in reference.columns]
        for index, name in enumerate(("ours", "difference", "verdict")):
            rows.append(Row((*blank, name, *(text[index] for text in texts)), {}))
    return rows


def _texts(found: Ours | None) -> tuple[str, str, str]:
    if found is None:
        return "", "", "not run"
    shown = with_interval(found.mean, found.interval, within=found.range, decimals=2)
    noise = "" if found.comparison.noise is None else f" ± {found.comparison.noise:.1f}"
    return shown, f"{found.comparison.difference:+.2f}{noise}", found.comparison.verdict


def label(row: PaperRow) -> str:
    """A printed row's method with its settings, or the name it has in print where it is none of ours."""
    if row.label and row.ours is None:
        return row.label
    settings = ", ".join(f"{key}={value}" for key, value in row.settings.items() if (key, value) != ("d", 0))
    return f"{row.method} {settings}".strip()


def _facts(line: Line, reference: Reference) -> dict[str, object]:
    row = line.row
    found: dict[str, object] = {"model": row.model, "method": row.method, "settings": label(row)}
    found |= {"parameters_printed": row.params_printed, "runs": " ".join(record.run_id for record in line.records)}
    for name, paper in row.scores.items():
        found[f"{name}.paper"] = paper
        if name not in line.ours:
            continue
        ours = line.ours[name]
        found[f"{name}.verdict"] = ours.comparison.verdict if ours else "not run"
        if ours:
            low, high = (None, None) if ours.interval is None else (100 * end for end in ours.interval)
            found |= {f"{name}.ours": 100 * ours.mean, f"{name}.low": low, f"{name}.high": high}
            found |= {f"{name}.difference": ours.comparison.difference, f"{name}.noise": ours.comparison.noise}
    return found


def _notes(reference: Reference, lines: Sequence[Line]) -> tuple[str, ...]:
    versions = " and ".join(f"{version.version} ({version.where})" for version in reference.versions)
    notes = [f"Paper: {reference.paper.title}, arXiv {reference.paper.arxiv}: {versions}."]
    if reference.superseded_by:
        notes.append(f"A later version of the paper has {reference.superseded_by} instead.")
    notes += [reference.note] if reference.note else []
    means: dict[int, dict[str, None]] = {}
    for line in lines:
        means.setdefault(reference.averaged(line.row), {})[f"{label(line.row)} ({line.row.model})"] = None
    notes += [f"Mean of {seeds} seeds in print: {', '.join(rows)}." for seeds, rows in means.items() if seeds > 1]
    copied = dict.fromkeys(label(line.row) for line in lines if line.row.copied)
    notes += [f"Copied by the paper from earlier work: {', '.join(copied)}."] if copied else []
    verdicts = [
        found.comparison.verdict if found else "not run"
        for line in lines
        if offered(line.row)
        for found in line.ours.values()
    ]
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts))
    if verdicts:
        notes.append(f"Of {len(verdicts)} printed scores that a cell here repeats or could: {counts}.")
    judged = sum(bool(found and found.comparison.noise is not None) for line in lines for found in line.ours.values())
    if judged:
        notes.append(f"Chance alone would give about {0.05 * judged:.1f} 'differs' among the {judged} with a ±.")
    if any(line.records for line in lines):
        notes.append(
            "± after ours: 95 % over seeds and test items. ± after a difference: how far a mean over as many more runs "
            "as the paper's row has would land from our mean (95 %), from the spread of our seeds on the same items, "
            "pooled over the rows of the column. Reproduced: the difference is within that ± (and "
            f"{reference.slack:g} for print), and the ± is at most {MARGIN:g} points. Differs: beyond it, as one true "
            f"reproduction in twenty will, or {FAR:g} points away where no spread is known."
        )
    notes += protocols([record for line in lines for record in line.records])
    notes += [f"{label(line.row)} ({line.row.model}): {text}." for line in lines for text in _reasons(line)]
    notes += [f"Print, {label(line.row)} ({line.row.model}): {line.row.note}" for line in lines if line.row.note]
    missing = missing_commands(reference, lines)
    if missing:
        notes.append(f"What the cells not run would take: svft-bench table {reference.name} --missing.")
    return (*notes, *(f"Not run: {command}" for command in missing))


def _reasons(line: Line) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for name, found in line.ours.items():
        if found and found.comparison.reason:
            reasons.setdefault(found.comparison.reason, []).append(name)
    return [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]


def missing_commands(reference: Reference, lines: Sequence[Line]) -> list[str]:
    """The commands of the printed cells that could be ours and were not run."""
    return [command for line in lines for command in _missing(line, reference)]


def _missing(line: Line, reference: Reference) -> list[str]:
    of = [m for column in reference.columns if line.ours.get(column.name, True) is None for m in column.of]
    return [command_of(line.row, of, extra=line.extra)] if of and offered(line.row) else []
