"""Rows of a data set of the user's own, by the columns, classes and templates of its task: `own_fields(row, task)`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from svft_bench.config.spec import Kind, TaskSpec
from svft_bench.config.spec.template import filled
from svft_bench.tasks.files import Row
from svft_bench.tasks.readers import Fields, written
from svft_bench.tasks.spans import asked


def own_fields(row: Row, task: TaskSpec) -> Fields:
    """What the task's `columns` make of a row.

    Raises:
        KeyError: the row has no such column.
        TypeError: a column holds something else than a text.
    """
    found = {name: row[column] for name, column in task.columns.items()}
    return OWN[task.kind](row, found, task)


def own_label(value: Any, task: TaskSpec) -> Any:
    """A label as a number: that of its name among the task's classes, or what a cell of a table spells.

    What is none of them stays as it is, and is refused with its row.
    """
    if task.classes:
        return task.classes.index(str(value)) if str(value) in task.classes else value
    if (
        isinstance(value, str)
        and task.labels == 1
        and re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", value)
    ):
        return float(value)
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,9}\s*", value):
        return int(value)
    return int(value) if isinstance(value, float) and task.labels != 1 and value.is_integer() else value


def _labelled(row: Row, found: Fields, task: TaskSpec) -> Fields:
    texts = {"text": _text(found["text"]), "text_pair": _text(found["text_pair"]) if "text_pair" in found else None}
    return texts | {"label": own_label(found["label"], task)}


def _spans(row: Row, found: Fields, task: TaskSpec) -> Fields:
    return asked(**found)


def _asked(row: Row, found: Fields, task: TaskSpec) -> Fields:
    assert task.prompt is not None and task.prompt.template is not None and task.prompt.response is not None
    options = found.get("options")
    if "options" in found and not (isinstance(options, list) and all(isinstance(item, str) for item in options)):
        raise TypeError
    gold = found["reference"]
    if isinstance(options, list) and type(gold) is int and 0 <= gold < len(options):
        gold = options[gold]
    asked = {"instruction": filled(task.prompt.template, row), "response": filled(task.prompt.response, row)}
    return asked | {"reference": str(gold)} | ({"options": options} if options else {})


def _written(row: Row, found: Fields, task: TaskSpec) -> Fields:
    return written(_text(found["text"]), _text(found["reference"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


# From a row and its named columns to a reader's fields; an image is no field, it stays where it is.
OWN: dict[Kind, Callable[[Row, Fields, TaskSpec], Fields]] = {
    "sequence_classification": _labelled,
    "question_answering": _spans,
    "causal_lm": _asked,
    "seq2seq_lm": _written,
}
