"""Records on disk: written whole or not at all, sealed, and migrated from older versions when they are read."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from svft_bench.config.json_text import decoded
from svft_bench.config.spec import sentences
from svft_bench.records.durable import PARTIAL, laid_out, set_aside, to_disk, write_both
from svft_bench.records.index import WORTH, Held, held, read_index, write_index
from svft_bench.records.outline import Outline, outlined
from svft_bench.records.predictions import DamagedRecord, check_predictions
from svft_bench.records.shape import RunRecord, predictions_path, predictions_paths, record_path

SCHEMA_VERSION = 2
MANY = 1000  # records; fewer are verified in the time that a table takes anyway


def save_record(record: RunRecord, *, results: Path, predictions: Iterable[dict[str, Any]]) -> Path:
    """Put a record with its predictions in its place below `results`.

    Raises:
        ValueError: a score, cost or loss is not finite; nothing is written.
    """
    path = record_path(results, record.spec)
    write_record(record, path, predictions=predictions)
    return path


def write_record(record: RunRecord, path: Path, *, predictions: Iterable[dict[str, Any]]) -> None:
    """Write predictions and record: a record on disk has its predictions, and an older pair stays until both are there.

    Raises:
        ValueError: a score, cost or loss is not finite; nothing is written.
    """
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in predictions).encode()
    body = record.model_dump(mode="json") | {"predictions_sha256": hashlib.sha256(lines).hexdigest()}
    bad = sorted(_not_finite(body))
    if bad:
        raise ValueError(f"run {record.run_id} is not recorded: {', '.join(bad)} is not a finite number")
    plain, packed = predictions_paths(path)
    told = laid_out(body | {"sha256": _seal(body)})
    write_both(packed, gzip.compress(lines, mtime=0), path, told.encode())
    plain.unlink(missing_ok=True)


def find_record(path: Path) -> RunRecord | None:
    """The record at `path`, if there is one that is whole.

    Raises:
        ValueError: it is of a schema version that this program does not read.
    """
    try:
        return load_record(path) if path.exists() else None
    except DamagedRecord:
        return None


def take_record(path: Path) -> RunRecord | None:
    """The same for the run's owner, for whom nobody else can be writing it: a damaged one is set aside.

    Raises:
        ValueError: it is of a schema version that this program does not read.
    """
    try:
        return load_to_write(path) if path.exists() else None
    except DamagedRecord as error:
        then = "the cell runs again"
        if predictions_path(path).exists():
            set_aside(predictions_path(path), why=f"belongs to a damaged record ({error})", then=then)
        set_aside(path, why=f"is damaged ({error})", then=then)
        return None


def load_record(path: Path) -> RunRecord:
    """Read one record, and make sure that its predictions lie beside it as its run left them.

    Raises:
        DamagedRecord: one of the files is truncated, missing, was edited after the run, or is another run's.
        ValueError: the record is of a schema version that this program does not read.
    """
    record = load_alone(path)
    _check_name(path, record.run_id)
    _check_predictions(record, path)
    return record


def _check_predictions(record: RunRecord, path: Path) -> None:
    scored = sum(use.used for use in record.scored_on.values())
    check_predictions(predictions_path(path), sha256=record.predictions_sha256, scored=scored)


def load_to_write(path: Path) -> RunRecord:
    """The same for whoever is to write there, as nobody else is: a pair that a kill left half replaced is completed.

    Raises:
        DamagedRecord: as `load_record`.
        ValueError: as `load_record`.
    """
    try:
        return load_record(path)
    except DamagedRecord:
        if not _completed(path):
            raise
        return load_record(path)


def _completed(path: Path) -> bool:
    """Give the record of the predictions that lie here its name, where a kill came between those two renames."""
    for new in path.parent.glob(f".{path.name}.*{PARTIAL}"):
        with suppress(ValueError, OSError):  # a record that is cut, or of other predictions than lie there
            record = load_alone(new)
            _check_name(path, record.run_id)
            _check_predictions(record, path)
            new.replace(path)
            to_disk(path.parent)
            return True
    return False


def load_alone(path: Path) -> RunRecord:
    """Read a record that has left its predictions behind, as the copy beside exported weights has.

    Raises:
        DamagedRecord: it is truncated, or was edited after the run.
        ValueError: it is of a schema version that this program does not read.
    """
    body = _unsealed(path)
    try:
        record = RunRecord.model_validate_json(json.dumps(_current(body)))
    except ValidationError as error:
        told = f"{path} does not fit schema_version {body['schema_version']}: {sentences(error)}"
        raise DamagedRecord(told) from None
    return record


def _unsealed(path: Path) -> dict[str, Any]:
    """What a record's file holds, by its seal just what its run wrote."""
    try:
        body: dict[str, Any] = decoded(path.read_text(encoding="utf-8"), parse_constant=_no_number)
        seal, version = body.pop("sha256"), body["schema_version"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedRecord(f"{path} is not a complete run record ({error})") from None
    if version not in (1, SCHEMA_VERSION):
        raise ValueError(f"{path} has schema_version {version}; this program reads 1 to {SCHEMA_VERSION}")
    if seal != _seal(body):
        raise DamagedRecord(f"{path} was changed after its run: its sha256 does not match its content")
    return body


def _current(body: dict[str, Any]) -> dict[str, Any]:
    """What version 2 added, a record of version 1 leaves open: every field of it has a default that says so."""
    return body | {"schema_version": SCHEMA_VERSION}


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def outlines(results: Path, *, near: Collection[Sequence[str]] | None = None) -> dict[Held, Outline]:
    """Every record below `results`, in the order of their paths, with its outline; those the index lacks are verified.

    Where the index lacks very many, those that hold all the names of one of `near`, such as a model and a method, are
    enough; what was verified before and is another now is verified by whoever asks.

    Raises:
        ValueError: one of them cannot be trusted, or two carry one run_id.
    """
    known = read_index(results)
    files = held(results)
    left = set() if near is None else _far(files, known, near)
    found: dict[Held, Outline] = {}
    seen: set[str] = set()
    for file in files:
        if file in left:
            run_id = os.path.basename(file.path).removesuffix(".json")
        else:
            found[file] = one = known.get(file) or _outlined(Path(file.path))
            run_id = one.run_id
        if run_id in seen:
            raise ValueError(f"{file.path} repeats run_id {run_id} of another record")
        _check_name(Path(file.path), run_id)
        seen.add(run_id)
    if len(found) >= WORTH and found != known:
        write_index(results, found)
    return found


def found_at(results: Path, record: RunRecord) -> Path:
    """Where this record of `results` lies: in its cell's folder, or wherever below somebody moved it."""
    home = record_path(results, record.spec, run_id=record.run_id)
    if home.exists():
        return home
    return next((path for file in held(results) if (path := Path(file.path)).name == home.name), home)


def _far(files: Sequence[Held], known: Mapping[Held, Outline], near: Collection[Sequence[str]]) -> set[Held]:
    """Those of very many unknown files that no text of `near` is in."""
    paths = {file.path for file in known}
    fresh = [file for file in files if file not in known and file.path not in paths]
    if len(fresh) < MANY:
        return set()
    quoted = {name: json.dumps(name, ensure_ascii=False).encode() for names in near for name in names}

    def is_near(path: str) -> bool:
        content = Path(path).read_bytes()
        there = {name for name, text in quoted.items() if text in content}
        return any(there.issuperset(names) for names in near)

    return {file for file in fresh if not is_near(file.path)}


def _outlined(path: Path) -> Outline:
    """The outline of a record that is as its run left it, with its predictions; in half the time of reading it.

    Raises:
        ValueError: as `load_record` does.
    """
    body = _unsealed(path)
    try:
        found, scored = outlined(_current(body))
    except (LookupError, TypeError, ValueError):
        load_record(path)  # which says what is wrong
        raise
    check_predictions(predictions_path(path), sha256=body.get("predictions_sha256"), scored=scored)
    return found


def _check_name(path: Path, run_id: str) -> None:
    """A name stands for a run wherever nobody looks inside."""
    if path.stem != run_id:
        raise DamagedRecord(f"{path} holds run {run_id} under another run's name")


def load_records(
    results: Path,
    *,
    of: Callable[[Outline], bool] | None = None,
    near: Collection[Sequence[str]] | None = None,
) -> list[RunRecord]:
    """Read every record below `results`, in the order of their paths; or those `of` an outline that is wanted.

    The others are verified too, unless the index has them with their stamps as they are, or they are not `near`.

    Raises:
        ValueError: one of them cannot be trusted, or two carry one run_id.
    """
    return load_outlined(outlines(results, near=near), of=of)


def load_outlined(found: Mapping[Held, Outline], *, of: Callable[[Outline], bool] | None = None) -> list[RunRecord]:
    """The same of records whose outlines were just taken."""
    return [_read_once(file) for file, one in found.items() if of is None or of(one)]


@cache
def _read_once(file: Held) -> RunRecord:
    """A record that many tables of one process ask for; one that was written since is another."""
    return load_record(Path(file.path))


def _seal(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _not_finite(value: Any, path: str = "") -> Iterable[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _not_finite(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _not_finite(item, f"{path}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield path
