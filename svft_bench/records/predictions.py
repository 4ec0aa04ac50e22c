"""The predictions beside a record: one JSON line for every scored example, compressed and sealed by the record."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections import deque
from operator import itemgetter
from pathlib import Path
from typing import Any

from svft_bench.config.json_text import decoded
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
    content = _content(beside)
    rows = _at_once(content.removesuffix(LINE))
    return _one_by_one(content.splitlines(), beside) if rows is None else rows


def _at_once(content: bytes) -> list[dict[str, Any]] | None:
    """The rows of these lines, in a third of the time of one by one; None where any is not as it should be."""
    number = content.count(LINE) + 1
    if not content.startswith(b"{") or not content.endswith(b"}") or content.count(b"}\n{") != number - 1:
        return None
    try:
        rows: list[dict[str, Any]] = decoded(b"[" + content.replace(LINE, b",") + b"]")
        deque(map(itemgetter(*PREDICTED), rows), maxlen=0)
    except (ValueError, LookupError, TypeError):
        return None
    return rows if len(rows) == number else None


def _one_by_one(lines: list[bytes], beside: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = decoded(line)
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
