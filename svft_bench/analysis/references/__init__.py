"""The papers' tables and readable figure points as data: one YAML here for each, checked when it is loaded.

A row's `overrides` select the cell of ours that it reports: `svft-bench model=… method=OURS task=… OVERRIDES`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from svft_bench.config.spec import MetricName
from svft_bench.config.wording import nearest

Method = Literal[
    "full_ft",
    "head",
    "lora",
    "dora",
    "vera",
    "boft",
    "svft_plain",
    "svft_banded",
    "svft_random",
    "svft_topk",
    "vectorfit",
    "svf",
    "adalora",
]


class Part(BaseModel):
    """A frozen part of a reference."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Paper(Part):
    """The paper that a reference is from."""

    title: str
    arxiv: str | None = None


class Version(Part):
    """A version of the paper that prints these numbers, and where in it."""

    version: str
    where: str


class Measured(Part):
    """What of ours a column compares with: one metric of one eval of a task, scored on `items` rows."""

    task: str
    eval: str
    metric: MetricName
    items: int = Field(gt=0)
    overrides: tuple[str, ...] = ()


class Column(Part):
    """A printed column; `of` is what of ours it compares with: nothing, one score, or several whose mean is printed."""

    name: str
    title: str
    unit: Literal["percent", "gigabyte", "strength", "nats"]
    decimals: int = Field(ge=0)
    of: tuple[Measured, ...] = ()


class Row(Part):
    """A printed row; `ours` is the method of ours that it names, None where there is none.

    `modules_stated` is what the paper says, `modules_reproducing` what reproduces its count where that differs;
    `params_computed` and `count_match` are the count in closed form and how the printed one relates to it.
    `seeds` is how many runs its scores are the mean of, where that is printed and not the reference's.
    `copied` marks numbers that the paper took over from another; `source` where a point's height is printed.
    """

    model: str
    method: str
    label: str | None = None
    ours: Method | None = None
    settings: dict[str, int]
    overrides: tuple[str, ...] = ()
    modules_stated: str | None = None
    modules_reproducing: str | None = None
    params_printed: str | None = None
    params_computed: int | None = None
    count_match: Literal["rounds", "truncates", "mismatch"] | None = None
    gates_counted: bool = False
    copied: bool = False
    seeds: int | None = Field(default=None, gt=0)
    source: str | None = None
    scores: dict[str, float]
    note: str | None = None

    @model_validator(mode="after")
    def _only_ours_is_selected(self) -> Row:
        if self.overrides and self.ours is None:
            raise ValueError(f"row {self.model} {self.method} has overrides but no method of ours")
        return self


class Shape(Part):
    """The sizes of a model that is like one of ours but for these, for counting its parameters."""

    like: str
    num_hidden_layers: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    num_key_value_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)


class Independent(Part):
    """Who measured these numbers, how, and beside which of the papers' tables they are shown."""

    source: str
    protocol: str
    beside: tuple[str, ...] = ()


class Reference(Part):
    """A published table, or the points of a figure.

    `slack` is how far a printed score may lie from the one measured, for rounding, truncation and digitisation, in the
    column's unit. `seeds` is how many runs a score is the mean of, where the paper says so; else it is taken for one.
    `independent` marks what others than the methods' authors measured; `shapes` are the sizes of models that are none
    of ours.
    """

    name: str
    title: str
    paper: Paper
    kind: Literal["table", "figure"]
    versions: tuple[Version, ...] = Field(min_length=1)
    slack: float = Field(ge=0)
    seeds: int | None = Field(default=None, gt=0)
    note: str | None = None
    superseded_by: str | None = None
    independent: Independent | None = None
    shapes: dict[str, Shape] = Field(default_factory=dict)
    columns: tuple[Column, ...] = Field(min_length=1)
    rows: tuple[Row, ...] = Field(min_length=1)

    def averaged(self, row: Row) -> int:
        """How many runs the scores of a row are the mean of; one where nothing is said."""
        return row.seeds or self.seeds or 1

    @property
    def places(self) -> set[tuple[str, str, str]]:
        """The tasks, models and methods that its rows and columns name."""
        tasks = {measured.task for column in self.columns for measured in column.of}
        return {(task, row.model, row.ours) for task in tasks for row in self.rows if row.ours is not None}

    @model_validator(mode="after")
    def _rows_fill_columns(self) -> Reference:
        columns = {column.name for column in self.columns}
        for row in self.rows:
            stray = sorted(row.scores.keys() - columns)
            if stray:
                raise ValueError(f"row {row.model} {row.method} scores {', '.join(stray)}, which is no column")
        return self


def reference_names() -> list[str]:
    """Every reference, without reading one."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.yaml"))


@cache
def load_reference(name: str) -> Reference:
    """One reference.

    Raises:
        ValueError: there is none of that name (the nearest are named), or its file does not fit the schema.
    """
    if name not in reference_names():
        raise ValueError(f"reference {name}: {nearest(name, reference_names())}")
    path = Path(__file__).parent / f"{name}.yaml"
    return parse_reference(yaml.safe_load(path.read_text(encoding="utf-8")), name=name)


def parse_reference(values: dict[str, Any], *, name: str) -> Reference:
    """Check the content of a reference file.

    Raises:
        ValueError: names the field that does not fit.
    """
    try:
        found = Reference.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"reference {name}: {path}={first['input']!r}: {first['msg']}") from None
    if found.name != name:
        raise ValueError(f"reference {name} calls itself {found.name}")
    return found


def load_references() -> dict[str, Reference]:
    """All references by name."""
    return {name: load_reference(name) for name in reference_names()}
