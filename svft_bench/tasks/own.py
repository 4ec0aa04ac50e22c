"""Rows of a data set of the user's own, by the columns, classes and templates of its task: `own_fields(row, task)`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from svft_bench.config.spec import Kind, TaskSpec
from svft_bench.config.spec.template import filled
from svft_bench.tasks.files import Row
from svft_bench.tasks.readers import Fields, written
from svft_bench.tasks.spans import asked


def own_fields(row: Row, task: TaskSpec, *, names: Sequence[str] = ()) -> Fields:
    """What the task's `columns` make of a row; `names` are those that its source has for numbers of classes.

    Raises:
        KeyError: the row has no such column.
        TypeError: a column holds something else than a text.
        ValueError: the row's answer is none of its options.
    """
    found = {name: row[column] for name, column in task.columns.items()}
    if "label" in found:
        found["label"] = own_label(found["label"], task, names=names)
    return OWN[task.kind](row, found, task)


def own_label(value: Any, task: TaskSpec, *, names: Sequence[str] = ()) -> Any:
    """A label as a number: that of its name among the task's classes, or what a cell of a table spells.

    A number is that of a class in the task's order, or in that of `names` where these are the same classes. What is
    none of them stays as it is, and is refused with its row.
    """
    if task.classes:
        if type(value) is int and {*names} == {*task.classes} and 0 <= value < len(names):
            value = names[value]
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
    return texts | {"label": found["label"]}


def _spans(row: Row, found: Fields, task: TaskSpec) -> Fields:
    return asked(**found)


def _asked(row: Row, found: Fields, task: TaskSpec) -> Fields:
    assert task.prompt is not None and task.prompt.template is not None and task.prompt.response is not None
    options = found.get("options")
    if "options" in found and not (isinstance(options, list) and all(isinstance(item, str) for item in options)):
        raise TypeError
    gold = found["reference"]
    if options and type(gold) is int:
        if not 0 <= gold < len(options):
            raise ValueError(none_of(gold, options))
        gold = options[gold]
    asked = {"instruction": filled(task.prompt.template, row), "response": filled(task.prompt.response, row)}
    return asked | {"reference": str(gold)} | ({"options": options} if options else {})


def none_of(gold: Any, options: Sequence[str]) -> str:
    """What there is to say of an answer that is no option."""
    return f"the answer {gold!r}, none of its options {', '.join(options)} (a whole number is a place, from 0)"


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
