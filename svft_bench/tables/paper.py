"""A published table beside our records: the paper's number, ours, the difference and a verdict, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from svft_bench.record import RunRecord
from svft_bench.references import Column as Printed
from svft_bench.references import Reference
from svft_bench.references import Row as PaperRow
from svft_bench.stats import another_run
from svft_bench.tables.notes import protocols
from svft_bench.tables.results import average_interval, items_of, score_interval
from svft_bench.tables.selecting import Selected, command_of, offered, select
from svft_bench.tables.value import Column, Row, Table
from svft_bench.tables.verdict import MARGIN, Comparison, compare


@dataclass(frozen=True)
class Ours:
    """Our mean in points, the arm of its 95 % interval over seeds and items (None: no closed form), and the verdict."""

    mean: float
    arm: float | None
    comparison: Comparison


@dataclass(frozen=True)
class Line:
    """A printed row with what of ours stands beside each score that can be ours, None where nothing was run."""

    row: PaperRow
    ours: dict[str, Ours | None]
    records: tuple[RunRecord, ...]
    extra: tuple[str, ...] = ()  # asked for beside the row, such as protocol=released


def paper_lines(reference: Reference, records: Sequence[RunRecord], *, extra: Sequence[str] = ()) -> list[Line]:
    """The printed rows in the paper's order, model by model, each with what of ours repeats it."""
    models = list(dict.fromkeys(row.model for row in reference.rows))
    rows = sorted(reference.rows, key=lambda row: models.index(row.model))
    return [_line(row, reference, records, extra=extra) for row in rows]


def paper_table(reference: Reference, lines: Sequence[Line]) -> Table:
    """The published table, every number of ours under the printed one that it repeats."""
    models = dict.fromkeys(row.model for row in reference.rows)
    labels = ([Column("model", "left")] if len(models) > 1 else []) + [Column("method", "left"), Column("parameters")]
    columns = (*labels, Column("", "left"), *(Column(column.title) for column in reference.columns))
    printed = [row for line in lines for row in _rows(line, reference, with_model=len(models) > 1)]
    return Table(reference.name, reference.title, columns, tuple(printed), _notes(reference, lines))


def _line(row: PaperRow, reference: Reference, records: Sequence[RunRecord], *, extra: Sequence[str]) -> Line:
    columns = [column for column in reference.columns if column.name in row.scores and column.of]
    if not offered(row):
        return Line(row, dict.fromkeys(column.name for column in columns), ())
    wanted = dict.fromkeys(measured for column in columns for measured in column.of)
    chosen = {measured: select(row, measured, records, extra=extra) for measured in wanted}
    ours = {
        column.name: _ours(row.scores[column.name], column, [chosen[of] for of in column.of], slack=reference.slack)
        for column in columns
    }
    used = {record.run_id: record for item in chosen.values() for record in item.records}
    return Line(row, ours, tuple(used.values()), tuple(extra))


def _ours(paper: float, column: Printed, found: Sequence[Selected], *, slack: float) -> Ours | None:
    scores = _scores_by_seed(column, found)
    if not scores:
        return None
    values = [100 * fmean(of_seed) for of_seed in scores]
    repetition = another_run(values) if len(values) > 1 else None
    doubt = next((item.doubt for item in found if item.doubt), None)
    comparison = compare(paper, ours=fmean(values), repetition=repetition, slack=slack, doubt=doubt)
    return Ours(fmean(values), _arm(column, scores, found), comparison)


def _scores_by_seed(column: Printed, found: Sequence[Selected]) -> list[list[float]]:
    """The column's scores, one list for every seed that has all of them."""
    by_seed = [{record.spec.seed: record for record in item.records} for item in found]
    seeds = sorted(set.intersection(*map(set, by_seed)))
    return [
        [records[seed].score(of.eval, of.metric) for of, records in zip(column.of, by_seed, strict=True)]
        for seed in seeds
    ]


def _arm(column: Printed, scores: Sequence[Sequence[float]], found: Sequence[Selected]) -> float | None:
    """The longer arm of the interval of our mean, in points."""
    items = [items_of(of.eval, item.records[0]) for of, item in zip(column.of, found, strict=True)]
    mean = fmean(map(fmean, scores))
    if len(column.of) == 1:
        interval = score_interval(column.of[0].metric, [of_seed[0] for of_seed in scores], items=items[0])
    else:
        interval = average_interval([of.metric for of in column.of], scores, items=items)
    return None if interval is None else 100 * max(interval.high - mean, mean - interval.low)


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
    arm = "" if found.arm is None else f" ± {found.arm:.1f}"
    noise = "" if found.comparison.noise is None else f" ± {found.comparison.noise:.1f}"
    return f"{found.mean:.2f}{arm}", f"{found.comparison.difference:+.2f}{noise}", found.comparison.verdict


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
            found |= {f"{name}.ours": ours.mean, f"{name}.arm": ours.arm}
            found |= {f"{name}.difference": ours.comparison.difference, f"{name}.noise": ours.comparison.noise}
    return found


def _notes(reference: Reference, lines: Sequence[Line]) -> tuple[str, ...]:
    versions = " and ".join(f"{version.version} ({version.where})" for version in reference.versions)
    notes = [f"Paper: {reference.paper.title}, arXiv {reference.paper.arxiv}: {versions}."]
    if reference.superseded_by:
        notes.append(f"A later version of the paper has {reference.superseded_by} instead.")
    notes += [reference.note] if reference.note else []
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
    if any(line.records for line in lines):
        notes.append(
            "± after ours: 95 % over seeds and test items. ± after a difference: how far one more run of ours would "
            "land from our mean (95 %), from the spread of our seeds on the same items. Reproduced: the difference "
            f"is within that ± (and {reference.slack:g} for print), and the ± is at most {MARGIN:g} points. Differs: "
            "beyond it, as one true reproduction in twenty will."
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
    return [f"{', '.join(names)} inconclusive, {reason}" for reason, names in reasons.items()]


def missing_commands(reference: Reference, lines: Sequence[Line]) -> list[str]:
    """The commands of the printed cells that could be ours and were not run."""
    return [command for line in lines for command in _missing(line, reference)]


def _missing(line: Line, reference: Reference) -> list[str]:
    of = [m for column in reference.columns if line.ours.get(column.name, True) is None for m in column.of]
    return [command_of(line.row, of, extra=line.extra)] if of and offered(line.row) else []
