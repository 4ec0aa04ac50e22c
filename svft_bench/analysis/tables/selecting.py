"""From a reference's row to our records: the command that makes its cell, and the records that hold it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from svft_bench.analysis.references import Measured, Reference, Row
from svft_bench.analysis.tables.results import cell_results, data_of, differences
from svft_bench.analysis.tables.verdict import EXACT, Protocol
from svft_bench.compose import cells, options
from svft_bench.config.spec import RunSpec
from svft_bench.config.wording import nearest, plural
from svft_bench.records import RunRecord

# Fields that no method has by default and that make another method of the one that has them.
DEFINING = ("rank", "entries", "freezing")
# Fields with another value of which a run says nothing of the paper's: other weights, other rows.
PROXY = re.compile(r"model\.(name|path|revision|source)\b|task\.(name|train|evals\.\w+\.data)\b|limit|score_on")


@dataclass(frozen=True)
class Selected:
    """The records of one row and one of its scores, in the order of their seeds, and how close they are to print."""

    records: tuple[RunRecord, ...]
    protocol: Protocol = EXACT


def overrides_of(row: Row, measured: Measured) -> list[str]:
    """The overrides that compose this row's cell."""
    own = [f"model={row.model}", f"method={row.ours}", f"task={measured.task}"]
    return [*own, *row.overrides, *measured.overrides]


def command_of(row: Row, of: Sequence[Measured], *, extra: Sequence[str] = ()) -> str:
    """The command that fills these scores of a row; several tasks, or several values of an override, become a sweep.

    What was asked for beside the row (`protocol=released`) is kept where the row says nothing of its own.
    """
    tasks = list(dict.fromkeys(measured.task for measured in of))
    swept: dict[str, dict[str, None]] = {}
    for override in (override for measured in of for override in measured.overrides):
        key, _, value = override.partition("=")
        swept.setdefault(key, {})[value] = None
    sweeps = len(tasks) > 1 or any(len(values) > 1 for values in swept.values())
    line = [f"model={row.model}", f"method={row.ours}", f"task={','.join(tasks)}", *row.overrides]
    line += [f"{key}={','.join(values)}" for key, values in swept.items()]
    said = {_key(override) for override in line}
    line += [override for override in extra if _key(override) not in said]
    return " ".join(["svft-bench", *(["-m"] if sweeps else []), *line])


def narrow(reference: Reference, overrides: Sequence[str]) -> list[Row]:
    """The rows of the models and methods that are asked for; all of them where none is.

    Raises:
        ValueError: no row has that model or method, or no cell of a row takes an override.
    """
    rows = list(reference.rows)
    asked = {_key(override): override.partition("=")[2].split(",") for override in overrides}
    of: dict[str, Callable[[Row], str | None]] = {"model": lambda row: row.model, "method": lambda row: row.ours}
    for key in of.keys() & asked.keys():
        known = sorted({name for row in reference.rows if (name := of[key](row))})
        for value in asked[key]:
            if value not in known:
                raise ValueError(f"{key}={value} has no row in {reference.name}; there are {', '.join(known)}")
        rows = [row for row in rows if of[key](row) in asked[key]]
    for group in ("protocol", "task"):
        for value in asked.get(group, []):
            if value not in options(group):
                raise ValueError(f"{group}={value} is unknown; {nearest(value, options(group))}")
    if others := [override for override in overrides if _key(override) not in (*of, "task")]:
        _check_taken(others, reference, rows)
    return rows


def _check_taken(overrides: Sequence[str], reference: Reference, rows: Sequence[Row]) -> None:
    """Refuse overrides that no method of these rows takes, whether or not a cell of it is recorded."""
    there = ((row, _first(reference, row)) for row in filter(offered, rows))
    lines = {row.ours: overrides_of(row, measured) for row, measured in there if measured is not None}
    first: ValueError | None = None
    for line in lines.values() or [[]]:
        try:
            cells([*line, *overrides], any_data=True)
        except ValueError as error:
            first = first or error
        else:
            return
    assert first is not None
    raise first


def _first(reference: Reference, row: Row) -> Measured | None:
    return next((of for column in reference.columns if column.name in row.scores for of in column.of), None)


def offered(row: Row) -> bool:
    """Whether `conf/` has what the row compares."""
    return row.ours in options("method") and row.model in options("model")


def select(row: Row, measured: Measured, records: Sequence[RunRecord], *, extra: Sequence[str]) -> Selected:
    """The records that hold this row's score: those of the very cell that its command composes, if there are any.

    Else those of the cell that differs in the fewest fields, with the fields named.
    """
    near = [record for record in records if _names_this(record.spec, row, measured)]
    if not near:
        return Selected(())
    asked = cells([*extra, *overrides_of(row, measured)], any_data=True)[0]  # the row's own settings win

    def apart(record: RunRecord) -> list[str]:
        return list(differences(_cell_identity(asked.spec), _cell_identity(record.spec)))

    closest = min(near, key=lambda record: (len(apart(record)), record.spec.cell_id))
    chosen = [record for record in near if record.spec.cell_id == closest.spec.cell_id]
    cell_results([asked], chosen)  # refuses a mixture
    chosen.sort(key=lambda record: record.spec.seed)
    return Selected(tuple(chosen), _protocol(apart(closest), _other_data(chosen[0], measured)))


def _protocol(fields: Sequence[str], data: str | None) -> Protocol:
    if data is not None:
        return Protocol("proxy", (*fields, data))
    elsewhere = any(PROXY.match(field) for field in fields)
    return Protocol("proxy" if elsewhere else "close", tuple(fields)) if fields else EXACT


def _cell_identity(spec: RunSpec) -> dict[str, Any]:
    return spec.identity() | {"seed": None, "data": None}


def _names_this(spec: RunSpec, row: Row, measured: Measured) -> bool:
    if (spec.model.name, spec.method.name, spec.task.name) != (row.model, row.ours, measured.task):
        return False
    named = dict(_pair(override) for override in (*row.overrides, *measured.overrides))
    if any(name in spec.method.adapter and f"method.{name}" not in named for name in DEFINING):
        return False
    return all(_holds(spec, path, value) for path, value in named.items())


def _pair(override: str) -> tuple[str, Any]:
    return _key(override), yaml.safe_load(override.partition("=")[2])


def _key(override: str) -> str:
    return override.lstrip("+").partition("=")[0]


def _holds(spec: RunSpec, path: str, value: Any) -> bool:
    if path == "method.modules":  # sets of modules have several names
        return spec.model.targets.get(str(spec.method.modules)) == spec.model.targets.get(str(value))
    found: Any = spec.identity()
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return bool(found == value)


def _other_data(record: RunRecord, measured: Measured) -> str | None:
    """Why a score was not made from the data that the paper's was, if so."""
    evaluation = next(item for item in record.spec.task.evals if item.name == measured.eval)
    scored, trained = data_of(evaluation, record), record.data[0]
    if scored.label != scored.title or scored.used != measured.items:
        used = plural(scored.used, "item")
        return f"scored on {scored.label}, {used}; the paper's {scored.title} has {measured.items:,}"
    if trained.complete_rows is not None and trained.rows != trained.complete_rows:
        return f"trained on {trained.label}, a part of {trained.title}"
    return None
