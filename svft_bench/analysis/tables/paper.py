"""A published table beside our records: the paper's number, ours, the difference and a verdict, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

from svft_bench.analysis.references import Reference
from svft_bench.analysis.tables.experiment import with_interval
from svft_bench.analysis.tables.independent import independent_notes, independent_rows
from svft_bench.analysis.tables.lines import Line, Ours, label
from svft_bench.analysis.tables.notes import protocols
from svft_bench.analysis.tables.selecting import command_of, offered
from svft_bench.analysis.tables.value import Column, Row, Table
from svft_bench.analysis.tables.verdict import FAR, FRESH, MARGIN, Comparison


def paper_table(reference: Reference, lines: Sequence[Line]) -> Table:
    """The published table, every number of ours under the printed one that it repeats."""
    models = dict.fromkeys(row.model for row in reference.rows)
    labels = ([Column("model", "left")] if len(models) > 1 else []) + [Column("method", "left"), Column("parameters")]
    columns = (*labels, Column("", "left"), *(Column(column.title) for column in reference.columns))
    several = len(models) > 1
    printed = [row for line in lines for row in _rows(line, reference, with_model=several)]
    whole = len(lines) == len(reference.rows)
    beside = independent_rows(reference, with_model=several) if whole else []
    return Table(reference.name, reference.title, columns, (*printed, *beside), _notes(reference, lines))


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
        return "", "", "not attempted"
    shown = with_interval(found.mean, found.interval, within=found.range, decimals=2)
    noise = "" if found.comparison.noise is None else f" ± {found.comparison.noise:.1f}"
    tier = found.comparison.protocol.tier
    verdict = found.comparison.verdict if tier == "exact" else f"{found.comparison.verdict} ({tier})"
    return shown, f"{found.comparison.difference:+.2f}{noise}", verdict


def _facts(line: Line, reference: Reference) -> dict[str, object]:
    row = line.row
    found: dict[str, object] = {"model": row.model, "method": row.method, "settings": label(row)}
    found |= {"parameters_printed": row.params_printed, "runs": " ".join(record.run_id for record in line.records)}
    for name, paper in row.scores.items():
        found[f"{name}.paper"] = paper
        if name not in line.ours:
            continue
        ours = line.ours[name]
        found[f"{name}.verdict"] = ours.comparison.verdict if ours else "not attempted"
        if ours:
            found[f"{name}.protocol"] = ours.comparison.protocol.tier
            low, high = (None, None) if ours.interval is None else (100 * end for end in ours.interval)
            found |= {f"{name}.ours": 100 * ours.mean, f"{name}.low": low, f"{name}.high": high}
            found |= {f"{name}.difference": ours.comparison.difference, f"{name}.noise": ours.comparison.noise}
    return found


def _notes(reference: Reference, lines: Sequence[Line]) -> tuple[str, ...]:
    versions = " and ".join(f"{version.version} ({version.where})" for version in reference.versions)
    arxiv = f", arXiv {reference.paper.arxiv}" if reference.paper.arxiv else ""
    notes = [f"Paper: {reference.paper.title}{arxiv}: {versions}."]
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
        found.comparison.verdict if found else "not attempted"
        for line in lines
        if offered(line.row)
        for found in line.ours.values()
    ]
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts))
    if verdicts:
        notes.append(f"Of {len(verdicts)} printed scores that a cell here repeats or could: {counts}.")
    judged = sum(bool(found and found.comparison.noise is not None) for line in lines for found in line.ours.values())
    if judged:
        notes.append(f"Chance alone would put about {0.05 * judged:.1f} of the {judged} with a ± beyond it.")
    if any(line.records for line in lines):
        notes.append(
            "± after ours: 95 % over seeds and test items. ± after a difference: how far a mean over as many more runs "
            "as the paper's row has would land from our mean (95 %), from the spread of our seeds on the same items, "
            "pooled over the rows of the column. Reproduced: the difference is within that ± (and "
            f"{reference.slack:g} for print), and the ± is at most {MARGIN:g} points. Better or worse than "
            f"printed: beyond it, as one true reproduction in twenty will be, or {FAR:g} points away where no spread "
            f"is known; worse only at {FRESH} fresh seeds or more, all of them below print, and where a baseline of "
            "the same table and column reproduces."
        )
        notes.append(
            "Protocol: exact where nothing is said; close: some switches differ, named below; proxy: another model or "
            "other data, and no verdict on the paper."
        )
    notes += protocols([record for line in lines for record in line.records])
    notes += [f"{label(line.row)} ({line.row.model}): {text}." for line in lines for text in _reasons(line)]
    notes += [f"Print, {label(line.row)} ({line.row.model}): {line.row.note}" for line in lines if line.row.note]
    other = dict.fromkeys(f"{label(line.row)} ({line.row.model})" for line in lines if not offered(line.row))
    notes += [f"Not attempted, for there is no such method or model here: {', '.join(other)}."] if other else []
    notes += independent_notes(reference)
    missing = missing_commands(reference, lines)
    if missing:
        notes.append(f"Not attempted yet; what that would take: svft-bench table {reference.name} --missing.")
    return (*notes, *(f"Not run: {command}" for command in missing))


def _reasons(line: Line) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for name, found in line.ours.items():
        for reason in _told(found.comparison) if found else ():
            reasons.setdefault(reason, []).append(name)
    return [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _told(comparison: Comparison) -> list[str]:
    """Why there is no verdict, and which switches differ where there is one."""
    close = comparison.protocol.tier == "close"
    switches = [f"protocol close: {', '.join(comparison.protocol.differs)}"] if close else []
    return [*([comparison.reason] if comparison.reason else []), *switches]


def missing_commands(reference: Reference, lines: Sequence[Line]) -> list[str]:
    """The commands of the printed cells that could be ours and were not run."""
    return [command for line in lines for command in _missing(line, reference)]


def _missing(line: Line, reference: Reference) -> list[str]:
    of = [m for column in reference.columns if line.ours.get(column.name, True) is None for m in column.of]
    return [command_of(line.row, of, extra=line.extra)] if of and offered(line.row) else []
