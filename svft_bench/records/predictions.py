"""The predictions beside a record: one JSON line for every scored example, compressed and sealed by the record."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from svft_bench.records.durable import digest
from svft_bench.records.shape import RunRecord, predictions_path

PREDICTED = {"eval", "id", "prediction", "reference"}  # what every line has
LINE = b"\n"


class DamagedRecord(ValueError):
    """A record, or the predictions that belong to it, is not what its run wrote."""


def predictions_of(record: RunRecord, path: Path) -> dict[str, list[dict[str, Any]]]:
    """The predictions beside the record at `path`, eval by eval, as many as the record was scored on.

    Raises:
        DamagedRecord: a line is no prediction, of an eval that the task does not have, or there twice, or one lacks.
    """
    beside = predictions_path(path)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in record.scored_on}
    for row in load_predictions(path):
        if row["eval"] not in found:
            names = ", ".join(found)
            raise DamagedRecord(f"{beside}: prediction {row['id']} is of eval {row['eval']!r}; this task has {names}")
        found[row["eval"]].append(row)
    for name, rows in found.items():
        if len({str(row["id"]) for row in rows}) != len(rows):
            raise DamagedRecord(f"{beside}: two predictions on {name} are of one example")
        if len(rows) != record.scored_on[name].used:
            raise DamagedRecord(
                f"{beside} has {len(rows)} predictions on {name}, its record is of {record.scored_on[name].used}"
            )
    return found


def load_predictions(path: Path) -> list[dict[str, Any]]:
    """Read the predictions beside the record at `path`, one dict per scored example.

    Raises:
        DamagedRecord: a line was cut or is no prediction.
    """
    beside = predictions_path(path)
    return list(_parsed(beside, digest(beside) if beside.is_file() else None))


@lru_cache(maxsize=4)
def _parsed(beside: Path, of: str | None) -> list[dict[str, Any]]:
    """The rows of a file with this digest, which the evals of a run ask for one after the other."""
    lines = _content(beside).splitlines()
    return _at_once(lines) or _one_by_one(lines, beside)


def _at_once(lines: list[bytes]) -> list[dict[str, Any]] | None:
    """The rows of these lines, in less than half the time of one by one; None where any is not as it should be."""
    if not all(line.startswith(b"{") and line.endswith(b"}") for line in lines):
        return None
    try:
        rows = json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:
        return None
    whole = len(rows) == len(lines) and all(isinstance(row, dict) and row.keys() >= PREDICTED for row in rows)
    return rows if whole else None


def _one_by_one(lines: list[bytes], beside: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            missing = PREDICTED - row.keys()
        except (ValueError, AttributeError) as error:
            raise DamagedRecord(f"{beside}, line {number}, is no prediction ({error})") from None
        if missing:
            raise DamagedRecord(f"{beside}, line {number}, is no prediction: it has no {', '.join(sorted(missing))}")
        rows.append(row)
    return rows


def check_predictions(beside: Path, *, sha256: str | None, scored: int) -> None:
    """By their digest, or for a record of version 1, which has none, by how many were scored.

    Raises:
        DamagedRecord: they are others, or cannot be read.
    """
    content = _content(beside)
    if sha256 is None:
        if content.count(LINE) != scored:
            raise DamagedRecord(f"{beside} has {content.count(LINE)} predictions, its record is of {scored}")
    elif hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedRecord(f"{beside} was changed after its run: its record has another sha256 of it")


def _content(beside: Path) -> bytes:
    try:
        content = beside.read_bytes()
        return gzip.decompress(content) if beside.suffix == ".gz" else content
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DamagedRecord(f"{beside} cannot be unpacked ({error})") from None
    except FileNotFoundError:
        run_id = beside.name.partition(".")[0]
        raise DamagedRecord(f"run {run_id} has no predictions beside its record, {beside}") from None
