"""`load_task`: the examples that a run trains on and is scored on, and the account of what was read and left out."""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from svft_bench.spec import FewShotSpec, LimitSpec, ReaderName, SourceSpec, TaskSpec
from svft_bench.tasks.prompts import render
from svft_bench.tasks.readers import READERS, Fields, open_image
from svft_bench.tasks.sources import DataFile, Row, read_rows, source_fingerprint

Example = dict[str, Any]
REST = "rest"  # the split that holds what a balanced draw left over


@dataclass(frozen=True)
class Task:
    """Examples of one task, ready for a model; `skipped` counts rows that were left out, by reason."""

    train: Sequence[Example]
    validation: Sequence[Example]
    evals: dict[str, Sequence[Example]]
    files: tuple[DataFile, ...]
    skipped: dict[str, int]


@dataclass(frozen=True)
class _Pool:
    """The usable rows of one split as fields, with their row numbers."""

    fields: dict[int, Fields]
    file: DataFile


class _Images(Sequence[Example]):
    """Examples whose image is decoded anew at each access, so that a large set never lies decoded in memory."""

    def __init__(self, examples: list[Example]) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        if isinstance(index, slice):
            return _Images(self._examples[index])
        example = self._examples[index]
        return example | {"image": open_image(example["image"])}


def load_task(task: TaskSpec, *, data_root: Path | None, limit: LimitSpec, seed: int) -> Task:
    """Read, check, draw and template everything; the draw and `limit.train` depend on `seed`, evals never do.

    Raises:
        ValueError: a missing split or column, a label out of range, a class with too few images, nothing left to score.
    """
    skipped: Counter[str] = Counter()
    pool = _read(task, task.train, reader=task.reader, data_root=data_root, skipped=skipped)
    held_out = None
    if task.validation is not None:
        held_out = _read(task, task.validation, reader=task.reader, data_root=data_root, skipped=skipped)
    train, validation, rest = _split(task, pool, held_out, seed=seed)
    train = _first(train, limit.train, seed=seed)
    files = [_used(pool, len(train) + (0 if held_out else len(validation)))]
    if held_out is not None:
        files.append(_used(held_out, len(validation)))
    evals = {}
    for item in task.evals:
        if item.data.split == REST:
            scored = _Pool(rest, replace(pool.file, split=REST, rows=len(rest), complete_rows=len(rest)))
        else:
            scored = _read(task, item.data, reader=item.reader, data_root=data_root, skipped=skipped)
        chosen = _first(scored.fields, limit.eval, seed=0)
        evals[item.name] = _examples(task, chosen, training=False)
        files.append(_used(scored, len(chosen)))
    return Task(
        train=_examples(task, train, training=True),
        validation=_examples(task, validation, training=False),
        evals=evals,
        files=tuple(files),
        skipped=dict(skipped),
    )


def data_fingerprint(task: TaskSpec, *, data_root: Path | None) -> str:
    """`hub`, `builtin`, or `local:` and twelve hex digits of the names and contents of the local files that are read.

    Raises:
        ValueError: the folder has no such split.
    """
    sources = [task.train, *([task.validation] if task.validation else [])]
    sources += [item.data for item in task.evals if item.data.split != REST]
    prints = [source_fingerprint(source, data_root=data_root) for source in sources]
    local = [item for item in prints if item not in ("hub", "builtin")]
    if local:
        return f"local:{hashlib.sha256(' '.join(prints).encode()).hexdigest()[:12]}"
    return "hub" if "hub" in prints else "builtin"


def _used(pool: _Pool, count: int) -> DataFile:
    return replace(pool.file, used=count)


def _read(
    task: TaskSpec, source: SourceSpec, *, reader: ReaderName, data_root: Path | None, skipped: Counter[str]
) -> _Pool:
    rows, file = read_rows(source, data_root=data_root)
    fields = {}
    for index, row in enumerate(rows):
        found = _fields(row, reader=reader, where=f"{file.origin} row {index}")
        problem = _problem(task, found, where=f"{file.origin} row {index}")
        if problem:
            skipped[f"{file.origin}: {problem}"] += 1
        else:
            fields[index] = found
    if not fields:
        raise ValueError(f"{file.origin}: none of {len(rows)} rows can be used ({', '.join(skipped)})")
    return _Pool(fields, file)


def _fields(row: Row, *, reader: ReaderName, where: str) -> Fields:
    try:
        return READERS[reader](row)
    except KeyError as error:
        raise ValueError(f"{where} has no column {error}; its columns are {', '.join(row)}") from None


def _problem(task: TaskSpec, fields: Fields, *, where: str) -> str | None:
    """Why a row is left out, or None.

    Raises:
        ValueError: its label cannot be one of this task's.
    """
    if task.kind == "causal_lm":
        empty = not fields["reference"].strip() or not fields["instruction"].strip()
        return "empty question or answer" if empty else None
    label = fields["label"]
    whole = isinstance(label, int) and task.labels is not None and 0 <= label < task.labels
    if not (whole or (task.labels == 1 and isinstance(label, int | float))):
        raise ValueError(f"{where} has label {label!r}, expected 0 to {(task.labels or 0) - 1}")
    if task.kind == "image_classification":
        return None if open_image(fields["image"]) is not None else "image does not decode"
    return None


def _split(
    task: TaskSpec, pool: _Pool, held_out: _Pool | None, *, seed: int
) -> tuple[dict[int, Fields], dict[int, Fields], dict[int, Fields]]:
    """(train, validation, rest), by a balanced draw, a held-out number of rows, or the split that the source has."""
    if task.few_shot is not None:
        return _draw(task.few_shot, pool, held_out, labels=task.labels or 0, seed=seed)
    if held_out is not None:
        return pool.fields, held_out.fields, {}
    validation = _first(pool.fields, task.validation_rows, seed=seed)
    return {index: pool.fields[index] for index in pool.fields if index not in validation}, validation, {}


def _draw(
    few: FewShotSpec, pool: _Pool, held_out: _Pool | None, *, labels: int, seed: int
) -> tuple[dict[int, Fields], dict[int, Fields], dict[int, Fields]]:
    """The first images of each class in one shuffled pass train, the next ones validate."""
    per_class = few.train_per_class + (0 if held_out else few.validation_per_class)
    drawn = _balanced(pool, per_class, labels=labels, seed=seed)
    train = [index for chosen in drawn.values() for index in chosen[: few.train_per_class]]
    if held_out is None:
        validation = [index for chosen in drawn.values() for index in chosen[few.train_per_class :]]
        source = pool
    else:
        chosen_there = _balanced(held_out, few.validation_per_class, labels=labels, seed=seed)
        validation = [index for chosen in chosen_there.values() for index in chosen]
        source = held_out
    taken = {*train, *(validation if held_out is None else ())}
    return (
        {index: pool.fields[index] for index in train},
        {index: source.fields[index] for index in validation},
        {index: pool.fields[index] for index in pool.fields if index not in taken},
    )


def _balanced(pool: _Pool, per_class: int, *, labels: int, seed: int) -> dict[int, list[int]]:
    by_class: defaultdict[int, list[int]] = defaultdict(list)
    for index in _shuffled(pool.fields, seed=seed):
        by_class[pool.fields[index]["label"]].append(index)
    for label in range(labels):
        if len(by_class[label]) < per_class:
            raise ValueError(
                f"{pool.file.origin}: class {label} has {len(by_class[label])} images, the draw needs {per_class}"
            )
    return {label: by_class[label][:per_class] for label in range(labels)}


def _shuffled(fields: dict[int, Fields], *, seed: int) -> list[int]:
    order = list(fields)
    random.Random(seed).shuffle(order)
    return order


def _first(fields: dict[int, Fields], count: int | None, *, seed: int) -> dict[int, Fields]:
    """The first `count` rows of a seeded shuffle; all of them, in their own order, without a count."""
    if count is None:
        return fields
    return {index: fields[index] for index in _shuffled(fields, seed=seed)[:count]}


def _examples(task: TaskSpec, fields: dict[int, Fields], *, training: bool) -> Sequence[Example]:
    examples = [{"id": str(index), **found} for index, found in fields.items()]
    if task.kind == "image_classification":
        return _Images(examples)
    if task.kind == "sequence_classification":
        return examples
    assert task.prompt is not None
    template = task.prompt.train if training else task.prompt.evaluation
    goal, source = ("target", "response") if training else ("reference", "reference")
    return [
        {"id": item["id"], "prompt": render(template, item["instruction"]), goal: item[source]} for item in examples
    ]
