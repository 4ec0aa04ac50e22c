"""`Pool`: the rows of one split that a task can use, and what became of the others."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from svft_bench.config.spec import KINDS, Kind, ReaderName, SourceSpec, TaskSpec
from svft_bench.tasks.files import Row
from svft_bench.tasks.made import Made
from svft_bench.tasks.own import own_fields, own_label
from svft_bench.tasks.readers import IMAGE_COLUMNS, TEXT_READERS, Fields
from svft_bench.tasks.sources import DataFile, class_names, column, read_rows

Example = dict[str, Any]
SHOWN = 5  # row numbers that a reason names


@dataclass
class Pool:
    """Usable rows by row number; whether an image decodes is found out when its row is taken.

    What is drawn at random for a row follows from `draws_by` and its number; `subject` are the pictures that those
    drawn for this pool are compared with; `names` are those of its source for the numbers of its classes.
    """

    file: DataFile
    rows: Sequence[Row]
    fields: dict[int, Fields]
    image_column: str | None = None
    draws_by: str = "evaluation"
    subject: Sequence[Any] = ()
    names: Sequence[str] = ()
    without_answer: int = 0
    without_gold: tuple[int, ...] = ()
    misplaced: tuple[int, ...] = ()
    undecodable: set[int] = field(default_factory=set)

    def take(self, order: Iterable[int], count: int | None = None) -> dict[int, Fields]:
        """The first `count` rows of this order (all without a count), passing over images that do not decode."""
        if self.image_column is None:
            return {index: self.fields[index] for index in list(order)[:count]}
        if count is None:
            order = list(order)
            with ThreadPoolExecutor() as threads:
                decodes = list(threads.map(self._decodes, order))
            return {index: self.fields[index] for index, good in zip(order, decodes, strict=True) if good}
        taken: dict[int, Fields] = {}
        for index in order:
            if len(taken) == count:
                break
            if self._decodes(index):
                taken[index] = self.fields[index]
        return taken

    def _decodes(self, index: int) -> bool:
        assert self.image_column is not None
        good = open_image(self.rows[index][self.image_column]) is not None
        if not good:
            self.undecodable.add(index)
        return good

    def images(self, taken: dict[int, Fields]) -> Images:
        """The taken rows as image examples."""
        assert self.image_column is not None
        return Images(self.rows, self.image_column, list(taken.items()))

    def account(self, used: int) -> DataFile:
        """What was read, with how many of its rows were used."""
        return replace(self.file, used=used)

    @property
    def skipped(self) -> dict[str, int]:
        """Rows left out, or kept without an answer to compare with, by reason."""
        counts = {
            "no question or no answer": self.without_answer,
            f"no gold answer that can be read, scored as wrong ({_named(self.without_gold)})": len(self.without_gold),
            f"the answer is not in the context where it is said to be ({_named(self.misplaced)})": len(self.misplaced),
            "image does not decode": len(self.undecodable),
        }
        return {f"{self.file.origin}: {reason}": count for reason, count in counts.items() if count}


class Images(Made[Example]):
    """Examples whose image is decoded anew at each access, so that a large set never lies decoded in memory."""

    def __init__(self, rows: Sequence[Row], column: str, items: list[tuple[int, Fields]]) -> None:
        self._rows, self._column, self._items = rows, column, items

    def __len__(self) -> int:
        return len(self._items)

    def part(self, places: slice) -> Images:
        return Images(self._rows, self._column, self._items[places])

    def at(self, index: int) -> Example:
        row, fields = self._items[index]
        return {"id": str(row), "image": open_image(self._rows[row][self._column]), **fields}


def open_image(stored: Any) -> Any:
    """An RGB `PIL.Image`, upright, from the hub's `{"bytes", "path"}` or from an image; None if there is none in it."""
    from PIL import Image, ImageOps

    if isinstance(stored, dict):
        stored = stored["path"] if stored["bytes"] is None else BytesIO(stored["bytes"])
    if stored is None:
        return None
    try:
        image = ImageOps.exif_transpose(stored if isinstance(stored, Image.Image) else Image.open(stored))
        if image.mode == "F":  # numbers of no known scale, of which a conversion would cut those beyond 255
            return None
        return (_in_eight_bits(image) if image.mode.startswith("I") else image).convert("RGB")
    except (
        OSError,
        SyntaxError,
        ValueError,
        struct.error,
        Image.DecompressionBombError,
    ):  # what Pillow's decoders raise
        return None


def _in_eight_bits(image: Any) -> Any:
    """Grey of 16 bits in 256 steps; Pillow's own conversion cuts everything above 255 off."""
    import numpy
    from PIL import Image

    grey = numpy.asarray(image, dtype=numpy.float64) / 257
    return Image.fromarray(grey.round().clip(0, 255).astype(numpy.uint8))


def read_pool(
    task: TaskSpec, source: SourceSpec, *, reader: ReaderName, data_root: Path | None, for_evaluation: bool = False
) -> Pool:
    """Read a split and check its columns and labels.

    Rows without a question or an answer are no rows, except `for_evaluation` of texts: there a released score counts
    each of them as wrong.

    Raises:
        ValueError: no such split or column, no text, or a label that cannot be one of the task's; names the row.
    """
    rows, file = read_rows(source, data_root=data_root)
    own = reader == "columns"
    image, label = IMAGE_COLUMNS.get(reader, ("", "label"))
    if own:
        image, label = task.columns.get("image", ""), task.columns.get("label")
    names = class_names(rows, label)
    try:
        if KINDS[task.kind].images and reader not in TEXT_READERS:
            found = [None] * len(rows) if label is None else column(rows, label)
            fields = {i: _of_a_class(value, task if own else None, names) for i, value in enumerate(found)}
            rows[0][image]
            pool = Pool(file, rows, fields, image_column=image, names=names)
        else:
            read = partial(_fields, task=task, reader=reader, names=names)
            fields = {i: read(row, where=f"{file.origin} row {i}") for i, row in enumerate(rows)}
            pool = Pool(file, rows, fields, names=names)
    except KeyError as error:
        raise ValueError(_missing_column(rows, str(error.args[0]), origin=file.origin)) from None
    return _repeated(USABLE[task.kind](pool, task, for_evaluation), source.draws)


class Repeated(Made[Row]):
    """Rows one after the other, and then again."""

    def __init__(self, rows: Sequence[Row], times: int) -> None:
        self.once, self._times = rows, times

    def __len__(self) -> int:
        return len(self.once) * self._times

    def at(self, index: int) -> Row:
        return self.once[index % len(self.once)]


def _repeated(pool: Pool, times: int) -> Pool:
    if times == 1:
        return pool
    rows = len(pool.rows)
    known = pool.file.complete_rows
    file = replace(pool.file, rows=rows * times, complete_rows=known and known * times)
    fields = {turn * rows + index: item for turn in range(times) for index, item in pool.fields.items()}
    return replace(pool, file=file, rows=Repeated(pool.rows, times), fields=fields)


def _of_a_class(label: Any, task: TaskSpec | None, names: Sequence[str]) -> Fields:
    """A picture's field, by the classes of a task of the user's own; none of one without a class."""
    return {} if label is None else {"label": label if task is None else own_label(label, task, names=names)}


def _fields(row: Row, *, task: TaskSpec, reader: ReaderName, names: Sequence[str], where: str) -> Fields:
    """What the reader makes of a row; to a task with answers, nothing in place of a text is an empty one."""
    if KINDS[task.kind].writes:
        row = {name: "" if value is None else value for name, value in row.items()}
    try:
        return own_fields(row, task, names=names) if reader == "columns" else TEXT_READERS[reader](row)
    except (AttributeError, TypeError):
        raise ValueError(f"{where} holds something else where a text is expected: {row}") from None
    except ValueError as error:
        raise ValueError(f"{where} has {error}") from None


def _missing_column(rows: Sequence[Row], name: str, *, origin: str) -> str:
    index = next(index for index, row in enumerate(rows) if name not in row)
    return f"{origin} row {index} has no column {name!r}; its columns are {', '.join(rows[index])}"


def _labelled(pool: Pool, task: TaskSpec, for_evaluation: bool) -> Pool:
    """The pool, each of whose rows has a label that can be one of the task's."""
    for index, item in pool.fields.items():
        _check_label(item["label"], task=task, where=f"{pool.file.origin} row {index}")
    return pool


def _pictured(pool: Pool, task: TaskSpec, for_evaluation: bool) -> Pool:
    """The pool, all of whose pictures can be seen: of so few, none is passed over."""
    for index, row in enumerate(pool.rows if pool.image_column is not None else ()):
        if open_image(stored := row[pool.image_column or ""]) is None:
            name = f" ({Path(stored['path']).name})" if isinstance(stored, dict) and stored.get("path") else ""
            raise ValueError(f"{pool.file.origin} row {index}{name}: the picture does not decode; take it out")
    return pool


def _written(pool: Pool, task: TaskSpec, for_evaluation: bool) -> Pool:
    return _asked(pool) if for_evaluation else _answered(pool)


def _spans(pool: Pool, task: TaskSpec, for_evaluation: bool) -> Pool:
    """For training the rows with a question, a context and an answer that is in it, or none where that may be."""
    assert task.span is not None
    no_answer = task.span.no_answer
    if for_evaluation:
        without = tuple(index for index, item in pool.fields.items() if not (item["answers"] or no_answer))
        return replace(pool, fields=pool.fields if len(without) < len(pool.fields) else {}, without_gold=without)
    full = {
        index: item
        for index, item in pool.fields.items()
        if item["question"].strip() and item["context"].strip() and (no_answer or any(map(str.strip, item["answers"])))
    }
    misplaced = tuple(index for index, item in full.items() if item["starts"][:1] == [-1])
    placed = {index: item for index, item in full.items() if index not in set(misplaced)}
    return replace(pool, fields=placed, without_answer=len(pool.fields) - len(full), misplaced=misplaced)


def _answered(pool: Pool) -> Pool:
    """The pool without rows that lack a question, a response or an answer."""
    full = {index: item for index, item in pool.fields.items() if all(str(text).strip() for text in item.values())}
    return replace(pool, fields=full, without_answer=len(pool.fields) - len(full))


def _asked(pool: Pool) -> Pool:
    """The pool with every row, and which of them have no gold answer; without any gold at all, no row is of use."""
    without = tuple(index for index, item in pool.fields.items() if not _gold(item))
    fields = pool.fields if len(without) < len(pool.fields) else {}
    return replace(pool, fields=fields, without_gold=without)


def _gold(item: Fields) -> str:
    return str(item["reference"]).strip()


def _named(rows: Sequence[int]) -> str:
    more = f" and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    return f"row {', '.join(map(str, rows[:SHOWN]))}{more}"


def _check_label(label: Any, *, task: TaskSpec, where: str) -> None:
    labels = task.labels
    if task.classes and not isinstance(label, int):
        raise ValueError(f"{where} has label {label!r}, expected one of classes={', '.join(task.classes)}")
    if labels == 1:
        if not isinstance(label, int | float) or not math.isfinite(label):
            raise ValueError(f"{where} has label {label!r}, expected a number")
    elif not isinstance(label, int) or not 0 <= label < (labels or 0):
        raise ValueError(f"{where} has label {label!r}, expected a whole number from 0 to {(labels or 0) - 1}")


# What of a kind's rows can be used, of which some are for evaluation alone.
USABLE: dict[Kind, Callable[[Pool, TaskSpec, bool], Pool]] = {
    "image_classification": _labelled,
    "sequence_classification": _labelled,
    "question_answering": _spans,
    "causal_lm": _written,
    "seq2seq_lm": _written,
    "text_to_image": _pictured,
}
