"""Texts with the names of columns in braces, as prompts of one's own are written: `fields("Q: {question}")`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter
from typing import Any


def typed(template: str) -> str:
    r"""A template as it was meant on a command line, whose quotes leave a `\n` as two signs; `\\n` stays a `\n`."""
    return re.sub(r"\\(\\?)n", lambda found: r"\n" if found[1] else "\n", template)


def fields(template: str) -> list[str]:
    """The columns that a template names; a doubled brace is a brace.

    Raises:
        ValueError: a brace that ends nowhere, or more in the braces than a name.
    """
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{template!r} is no template: {error}") from None
    for _, name, form, conversion in parts:
        if name is not None and (form or conversion or not name.strip() or set(name) & set(".[]")):
            raise ValueError(f"{template!r} is no template: {{{name}}} is to be the name of a column, and only that")
    return [name for _, name, _, _ in parts if name is not None]


def filled(template: str, row: Mapping[str, Any]) -> str:
    """The template with a row's values.

    Raises:
        KeyError: the row has no such column.
    """
    parts = Formatter().parse(template)
    return "".join(text + ("" if name is None else str(row[name])) for text, name, _, _ in parts)
