"""What every part of a specification is: frozen, closed to unknown fields, and sure of what determines a result."""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

Kind = Literal["image_classification", "sequence_classification", "causal_lm"]


class Spec(BaseModel):
    """A frozen part of a run's specification.

    `describes` names the fields that do not determine the result. `younger` names those that came after the first
    records, each with a default that does what was done before it: there it is no part of any name, so that a new
    switch leaves every old record its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)
    describes: ClassVar[frozenset[str]] = frozenset()
    younger: ClassVar[frozenset[str]] = frozenset()

    def identity(self) -> dict[str, Any]:
        """The fields that determine the result, as plain JSON values."""
        values: dict[str, Any] = {}
        for name, value in self:
            if name not in self.describes and not self._as_before(name, value):
                values[name] = plain(value)
        return values

    def _as_before(self, name: str, value: Any) -> bool:
        return name in self.younger and bool(value == type(self).model_fields[name].default)


def plain(value: Any) -> Any:
    """A value as JSON has it, the parts of a specification by what determines them."""
    if isinstance(value, Spec):
        return value.identity()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def digest(identity: dict[str, Any]) -> str:
    """Twelve hex digits that name these values."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def sentences(error: ValidationError) -> str:
    """Every offending field with its path, its value and what would be valid, in one line."""
    items = error.errors()
    places = [item["loc"] for item in items]
    # A list with a wrong part is also said to lack it.
    inner = [item for item in items if not any(_inside(place, item["loc"]) for place in places)]
    return "; ".join(_sentence(item) for item in inner)


def _inside(place: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(place) > len(outer) and place[: len(outer)] == outer


def _sentence(item: Any) -> str:
    path = ".".join(str(part) for part in item["loc"])
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return f"{path}: {message}" if path else message
    return f"{path}={item['input']!r}: {message}"
