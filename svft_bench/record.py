"""`RunRecord`: the one JSON file that a finished run leaves, written whole or not at all.

results/runs/<task>/<model>/<method>/<run_id>.json, with <run_id>.predictions.jsonl beside it
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from svft_bench.durable import write_whole
from svft_bench.spec import RunSpec

PREDICTED = {"eval", "id", "prediction", "reference"}  # what every line of predictions has
SCHEMA_VERSION = 2


class Part(BaseModel):
    """A frozen part of a record."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Sizes(Part):
    """Numbers of parameters, and bytes on disk and beside the base model."""

    total: int
    trainable: int
    trainable_head: int
    checkpoint_bytes: int
    frozen_extra_bytes: int

    @property
    def trainable_without_head(self) -> int:
        """The count that the papers print."""
        return self.trainable - self.trainable_head


class Costs(Part):
    """What the run took; seconds are wall time, memory is the peak of training on `memory_of`."""

    load_seconds: float
    adapt_seconds: float
    train_seconds: float
    step_seconds: float
    eval_seconds: float
    examples_per_second: float
    peak_memory_bytes: int
    memory_of: Literal["process", "cuda"]
    steps: int
    resumed: bool


class DataUse(Part):
    """What was read: `label` is the only name under which a score on it may be shown.

    `sha256` is that of the files, `content` that of the rows; None where it was not taken.
    """

    title: str
    label: str
    origin: str
    split: str
    rows: int
    used: int
    complete_rows: int | None
    sha256: str | None
    content: str | None = None


class Weights(Part):
    """The base model as it was read: the commit on the hub, and what its files hold; None where it was not taken."""

    revision: str | None = None
    fingerprint: str | None = None


class Provenance(Part):
    """Where the numbers come from."""

    created: str
    versions: dict[str, str]
    commit: str | None
    dirty: bool | None
    device: str
    cpu: str
    threads: int
    platform: str
    command: str

    @property
    def chip(self) -> str:
        """The processor or GPU that the run took place on."""
        return self.cpu if self.device == "cpu" else self.device


class RunRecord(Part):
    """Specification, scores, costs and provenance of one finished run.

    A score is None where its metric is undefined. `skipped` counts, by reason, rows that were left out and texts that
    were cut; what is cut is still scored. `predictions_sha256`, which `save_record` fills, makes the predictions a part
    of what the record seals; records from before version 2 have none.
    """

    schema_version: Literal[2] = 2
    run_id: str
    train_id: str
    spec: RunSpec
    scores: dict[str, dict[str, float | None]]
    predictions_sha256: str | None = None
    sizes: Sizes
    costs: Costs
    curve: tuple[tuple[int, float], ...]
    selected: dict[str, float | int | str]
    data: tuple[DataUse, ...]
    weights: Weights | None = None
    skipped: dict[str, int]
    provenance: Provenance

    def score(self, evaluation: str, metric: str) -> float:
        """A score that has to be a number.

        Raises:
            ValueError: the metric is undefined on what this run predicted.
        """
        value = self.scores[evaluation][metric]
        if value is None:
            raise ValueError(f"run {self.run_id}: {metric} on {evaluation} is undefined")
        return value


def record_path(results: Path, spec: RunSpec) -> Path:
    """Where the record of this run lies, or would."""
    return results / "runs" / spec.task.name / spec.model.name / spec.method.name / f"{spec.run_id}.json"


def predictions_path(record: Path) -> Path:
    """Where the predictions of the run with this record lie."""
    return record.with_suffix(".predictions.jsonl")


def save_record(record: RunRecord, *, results: Path, predictions: Iterable[dict[str, Any]]) -> Path:
    """Write predictions, then the record: a record on disk always has its predictions.

    Raises:
        ValueError: a score, cost or loss is not finite; nothing is written.
    """
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in predictions)
    body = record.model_dump(mode="json") | {"predictions_sha256": hashlib.sha256(lines.encode()).hexdigest()}
    bad = sorted(_not_finite(body))
    if bad:
        raise ValueError(f"run {record.run_id} is not recorded: {', '.join(bad)} is not a finite number")
    path = record_path(results, record.spec)
    write_whole(predictions_path(path), lines)
    write_whole(path, json.dumps(body | {"sha256": _seal(body)}, indent=1, ensure_ascii=False) + "\n")
    return path


def load_record(path: Path) -> RunRecord:
    """Read one record.

    Raises:
        ValueError: the file is truncated, of another schema version, or was edited after the run.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        seal, version = body.pop("sha256"), body["schema_version"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a complete run record ({error}); delete it and run its cell again") from None
    if version not in (1, SCHEMA_VERSION):
        raise ValueError(f"{path} has schema_version {version}; this program reads 1 to {SCHEMA_VERSION}")
    if seal != _seal(body):
        raise ValueError(f"{path} was changed after its run: its sha256 does not match its content")
    try:
        return RunRecord.model_validate(body if version == SCHEMA_VERSION else _from_version_1(body))
    except ValidationError as error:
        raise ValueError(f"{path} does not fit schema_version {version}: {error.errors()[0]}") from None


def _from_version_1(body: dict[str, Any]) -> dict[str, Any]:
    """What version 2 added, a record of version 1 leaves open: every field of it has a default that says so."""
    return body | {"schema_version": 2}


def load_records(results: Path) -> list[RunRecord]:
    """Read every record below `results`, in the order of their paths.

    Raises:
        ValueError: one of them cannot be trusted, or two carry one run_id.
    """
    records: dict[str, RunRecord] = {}
    for path in sorted((results / "runs").rglob("*.json")):
        stat = path.stat()
        record = _read_once(path, stat.st_mtime_ns, stat.st_size)
        if record.run_id in records:
            raise ValueError(f"{path} repeats run_id {record.run_id} of another record")
        records[record.run_id] = record
    return list(records.values())


@cache
def _read_once(path: Path, written: int, size: int) -> RunRecord:
    """A record that many tables of one process ask for; one that was written since is another."""
    return load_record(path)


def load_predictions(path: Path) -> list[dict[str, Any]]:
    """Read the predictions beside the record at `path`, one dict per scored example.

    Raises:
        ValueError: a line was cut or is no prediction.
    """
    rows = []
    beside = predictions_path(path)
    for number, line in enumerate(beside.read_bytes().splitlines(), start=1):
        try:
            row = json.loads(line)
            missing = PREDICTED - row.keys()
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{beside}, line {number}, is no prediction ({error})") from None
        if missing:
            raise ValueError(f"{beside}, line {number}, is no prediction: it has no {', '.join(sorted(missing))}")
        rows.append(row)
    return rows


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
