"""What every part of a specification is: frozen, closed to unknown fields, and sure of what determines a result."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, ValidationError

SHOWN = 80  # characters of a value in a sentence
LARGEST = 10**6  # of what is counted here; a number beyond it is a slip of the hand

# One part of a path: it names a folder, and nothing above or beside it.
_PART = re.compile(r"[^\W_][\w.+-]{0,99}")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", re.ASCII)
_SECRET = re.compile(r"\w://[^/\s@]*@|[?&](?:access_)?(?:token|key|password)=|\bhf_\w{16,}")


def _name(value: str) -> str:
    if not _PART.fullmatch(value):
        raise ValueError(f"{value!r} is no name: letters, digits and any of _.+- after the first")
    return value


def _path_of_names(value: str) -> str:
    """As `glue/rte`: a task may lie in one folder of tasks."""
    parts = value.split("/")
    if len(parts) > 2:
        raise ValueError(f"{value!r} is no name: it has more than one /")
    return "/".join(map(_name, parts))


def one_line(value: str) -> str:
    """Text that may be printed and recorded.

    Raises:
        ValueError: it holds what a terminal would obey, or a password or token.
    """
    if not value.isprintable():
        raise ValueError(f"{value!r} holds control characters")
    if _SECRET.search(value):
        raise ValueError("it holds a password or a token, which would be recorded; HF_TOKEN is where one belongs")
    return value


Name = Annotated[str, AfterValidator(_name)]
PathOfNames = Annotated[str, AfterValidator(_path_of_names)]
Text = Annotated[str, AfterValidator(one_line)]
Count = Annotated[StrictInt, Field(gt=0, le=LARGEST)]


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
    if item["type"] == "missing":
        return f"{path} is missing"
    value = repr(item["input"])
    return f"{path}={value if len(value) <= SHOWN else value[:SHOWN] + ' …'}: {message}"
