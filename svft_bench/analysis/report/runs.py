"""Runs as a page's script reads them: what a list needs, what a run's own page does, and examples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from svft_bench.analysis.report.packing import Line
from svft_bench.analysis.tables.predictions import Judged, judged
from svft_bench.analysis.tables.results import shown_in
from svft_bench.records import Held, Place, RunRecord, load_record
from svft_bench.tasks.pictures import small

SIDE = 160  # pixels of a picture that a run has drawn
FIRST = 5  # examples of each run that a page tells before it tells more of any
LISTED = ("run_id", "scores", "sizes", "costs", "selected")  # what a list of runs needs of a record
DIGITS = 6  # of the numbers of curves and costs, of which the records have all


@dataclass(frozen=True)
class Runs:
    """Some runs of one task, model and method, what is counted of them, and what is told of them as `Line`s."""

    number: int
    dirty: int
    place: Place
    lines: tuple[Line, ...]


RUNS = TypeAdapter(Runs)


def runs_text(files: Sequence[Held], *, folder: Path, predictions: int) -> str:
    """Some runs, as `RUNS` reads them; `predictions` of every run and eval at most."""
    records = [load_record(Path(file.path)) for file in files]
    dirty = sum(bool(record.provenance.dirty) for record in records)
    lines = tuple(_lines(records, folder=folder, predictions=predictions))
    return RUNS.dump_json(Runs(len(records), dirty, records[0].spec.place, lines)).decode()


def _lines(records: Sequence[RunRecord], *, folder: Path, predictions: int) -> Iterator[Line]:
    """What a list needs of these runs, what their own pages do, and their examples, the first of all of them first."""
    bodies = [_brief(record.model_dump(mode="json", exclude={"spec"})) for record in records]
    found = [shown_predictions(record, folder=folder, limit=predictions) for record in records]
    listed = [
        {key: body[key] for key in LISTED}
        | _named(record)
        | {"predictions": {item: one[0] for item, one in own.items()}}
        for record, body, own in zip(records, bodies, found, strict=True)
    ]
    yield Line("runs", len(records), _json({"runs": listed}))
    details = [
        {key: value for key, value in body.items() if key not in LISTED} | {"spec": identity}
        for body, identity in zip(bodies, _identities(records), strict=True)
    ]
    yield Line("details", len(records), _json({"details": _of(records, details)}))
    for layer, (start, end) in enumerate(_layers(predictions)):
        shown = [{item: rows[start:end] for item, (_, rows) in own.items()} for own in found]
        number = sum(len(rows) for own in shown for rows in own.values())
        if number:
            yield Line("examples", number, _json({"examples": _of(records, shown)}), layer)


def _identities(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """What determines each run, taken once of those that differ in their seed and data alone."""
    known: dict[str, dict[str, Any]] = {}
    found = []
    for spec in (record.spec for record in records):
        key = spec.model_dump_json(exclude={"seed", "data"})
        if key not in known:
            known[key] = spec.identity()
        found.append(known[key] | {"seed": spec.seed, "data": spec.data})
    return found


def _layers(most: int) -> list[tuple[int, int]]:
    """The first few of so many examples, then as many again, and so on."""
    ends = [FIRST << turn for turn in range(most.bit_length())]
    return [(start, min(end, most)) for start, end in zip((0, *ends), ends, strict=False) if start < most]


def _of(records: Sequence[RunRecord], values: Sequence[Any]) -> dict[str, Any]:
    return {record.run_id: value for record, value in zip(records, values, strict=True)}


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _brief(body: dict[str, Any]) -> dict[str, Any]:
    """A record's content with as many digits as a page needs."""

    def short(value: Any) -> Any:
        if isinstance(value, list):
            return [short(one) for one in value]
        return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value

    return body | {"curve": short(body["curve"]), "costs": {key: short(one) for key, one in body["costs"].items()}}


def _named(record: RunRecord) -> dict[str, Any]:
    """A record's identity, flat for a list and for comparing, and when it was made."""
    return {
        "model": record.spec.model.name,
        "method": record.spec.method.name,
        "task": record.spec.task.name,
        "seed": record.spec.seed,
        "shown": {item.name: shown_in(item.name, [record]) for item in record.spec.task.evals},
        "made": str(record.provenance.created)[:10] + " uncommitted changes" * bool(record.provenance.dirty),
    }


def shown_predictions(record: RunRecord, *, folder: Path, limit: int) -> dict[str, tuple[int, list[dict[str, Any]]]]:
    """How many predictions of each eval there are, and the first of them, a picture as a small one."""
    found = judged(record, folder=folder)
    return {name: (len(found[name].rows), _shown(found[name], limit=limit)) for name in record.scores}


def _shown(found: Judged, *, limit: int) -> list[dict[str, Any]]:
    right = found.right or {}
    shown_as = partial(small, side=SIDE) if found.evaluation.drawing is not None else lambda text: text
    return [
        {
            "id": str(row["id"]),
            "prediction": shown_as(row["prediction"]),
            "reference": row["reference"],
            "right": right.get(row["id"]),
        }
        for row in found.rows[:limit]
    ]
