"""Write docs/reference/configuration.md, every field of every file of `conf/`, from the classes that validate them."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from svft_bench.config.settings import Settings
from svft_bench.config.spec import RunSpec

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "configuration.md"
HEAD = """# Every field

What `svft-bench --cfg job` shows is validated by these classes before anything loads; a word of another type, an
unknown field or a value out of range ends in one sentence. A method's own fields are those of its PEFT config.
"""


def page() -> str:
    """The page: the run, its parts in the order in which they appear, and the settings that are no part of it."""
    parts: dict[str, tuple[str, type[BaseModel]]] = {}
    _collect(RunSpec, "", parts)
    sections = [_section(path or "A run", of) for path, of in parts.values()]
    return "\n".join([HEAD, *sections, _section("Settings: where and how, never what", Settings)])


def _collect(of: type[BaseModel], path: str, parts: dict[str, tuple[str, type[BaseModel]]]) -> None:
    if of.__name__ in parts:
        return
    parts[of.__name__] = path, of
    for name, field in of.model_fields.items():
        for inner in _classes(field.annotation):
            _collect(inner, f"{path}.{name}".lstrip("."), parts)


def _classes(annotation: Any) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _classes(part)]


def _section(title: str, of: type[BaseModel]) -> str:
    rows = [f"| `{name}` | {_type(field.annotation)} | {_default(field)} |" for name, field in of.model_fields.items()]
    words = inspect.cleandoc(of.__doc__ or "")
    return "\n".join([f"## {title}\n\n{words}\n", "| field | type | default |", "| --- | --- | --- |", *rows, ""])


def _type(annotation: Any) -> str:
    return f"`{_words(annotation)}`"


def _words(annotation: Any) -> str:
    """A type as one writes it: `str or None`, `tuple[str, ...]`, `'a' or 'b'`; what checks a value is no part of it."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(parts[0])
    if origin is Literal:
        return " or ".join(repr(part) for part in parts)
    if origin in (Union, UnionType):
        return " or ".join(_words(part) for part in parts)
    if parts:
        return f"{_words(origin)}[{', '.join(_words(part) for part in parts)}]"
    if annotation in (None, type(None), Ellipsis):
        return "..." if annotation is Ellipsis else "None"
    return str(getattr(annotation, "__name__", annotation))


def _default(field: Any) -> str:
    if field.default is PydanticUndefined:
        return "" if field.default_factory is None else "empty"
    return "`null`" if field.default is None else f"`{str(field.default).lower()}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
