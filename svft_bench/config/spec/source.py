"""Where the rows of one split are: on the hub, in files below the data root, in a file of one's own, or built in."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictFloat, StrictInt, model_validator

from svft_bench.config.spec.base import HUB_ID, Count, Spec, Text

BUILTIN_SPLITS = ("all", "rest")  # all rows, and what a balanced draw from them leaves over


def _hub_id(value: str) -> str:
    if not HUB_ID.fullmatch(value):
        raise ValueError(f"{value!r} is no OWNER/NAME of the Hugging Face hub")
    return value


def _inside(value: str) -> str:
    if PurePath(value).is_absolute() or not PurePath(value).parts or ".." in PurePath(value).parts:
        raise ValueError(f"{value!r} is no place inside the data root")
    return value


class SourceSpec(Spec):
    """One split of one data set.

    `file` is a table (.csv, .tsv, .json, .jsonl, .parquet) or a folder with a folder of images for each class, taken
    from the data root or else the working directory. `share` takes the rows between two shares of a fixed shuffle of
    it, such as [0.0, 0.8] for training and [0.8, 1.0] for an eval. `lines` are rows of one text each. With `draws`
    each row is so many examples, every one with noise of its own.
    """

    describes = frozenset({"title", "rows", "local", "file"})
    younger = frozenset({"share", "lines", "draws"})

    title: Text
    hub: Annotated[Text, AfterValidator(_hub_id)] | None = None
    config: Text | None = Field(default=None, min_length=1)
    revision: Text | None = Field(default=None, min_length=1)
    split: Annotated[Text, AfterValidator(_inside)] = "all"
    local: Annotated[Text, AfterValidator(_inside)] | None = None
    builtin: Literal["digits"] | None = None
    file: Text | None = Field(default=None, min_length=1)
    share: tuple[StrictFloat, StrictFloat] | None = None
    lines: tuple[Text, ...] = ()
    draws: Count = 1
    rows: StrictInt | None = Field(default=None, gt=0)

    @property
    def examples(self) -> int | None:
        """How many examples its rows are, where their number is known."""
        return self.rows and self.rows * self.draws

    @model_validator(mode="after")
    def _a_builtin_set_has_the_split(self) -> SourceSpec:
        if self.builtin is not None and self.split not in BUILTIN_SPLITS:
            raise ValueError(f"builtin={self.builtin} has no split {self.split!r}; it has {', '.join(BUILTIN_SPLITS)}")
        for name in ("hub", "config", "revision", "local"):
            if self.builtin is not None and getattr(self, name) is not None:
                raise ValueError(
                    f"{name}={getattr(self, name)} beside builtin={self.builtin}, which would be read in its place; "
                    "builtin=null reads the other"
                )
        return self

    @model_validator(mode="after")
    def _a_set_of_several_splits_names_one(self) -> SourceSpec:
        if self.file is None and not self.lines and "split" not in self.model_fields_set:
            raise ValueError("split is missing: only a file is one split by itself")
        return self

    @model_validator(mode="after")
    def _a_file_is_one_place(self) -> SourceSpec:
        others = [name for name in ("hub", "local", "builtin") if getattr(self, name) is not None]
        if self.lines and (self.file is not None or others):
            other = "file" if self.file is not None else others[0]
            raise ValueError(f"lines and {other}={getattr(self, other)}: rows are in one place")
        if self.file is not None and others:
            raise ValueError(f"file={self.file} and {others[0]}={getattr(self, others[0])}: rows are in one place")
        if self.file is not None and self.split not in BUILTIN_SPLITS:
            raise ValueError(
                f"file={self.file} is one split by itself, not {self.split!r}; share=[FROM,TO] takes a part"
            )
        if self.share is not None and (self.file is None or not 0 <= self.share[0] < self.share[1] <= 1):
            raise ValueError(f"share={list(self.share)}: expected two growing shares from 0.0 to 1.0 of a file's rows")
        return self
