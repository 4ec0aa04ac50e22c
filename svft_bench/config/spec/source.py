"""Where the rows of one split are: on the hub, in files below the data root, in a file of one's own, or built in."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictFloat, StrictInt, model_validator

from svft_bench.config.spec.base import Spec, Text

BUILTIN_SPLITS = ("all", "rest")  # all rows, and what a balanced draw from them leaves over


class SourceSpec(Spec):
    """One split of one data set.

    `file` is a table (.csv, .tsv, .json, .jsonl, .parquet) or a folder with a folder of images for each class, taken
    from the data root or else the working directory. `share` takes the rows between two shares of a fixed shuffle of
    it, such as [0.0, 0.8] for training and [0.8, 1.0] for an eval.
    """

    describes = frozenset({"title", "rows", "local", "file"})
    younger = frozenset({"share"})

    title: Text
    hub: Text | None = None
    config: Text | None = None
    revision: Text | None = None
    split: Text = Field(default="all", min_length=1)
    local: Text | None = None
    builtin: Literal["digits"] | None = None
    file: Text | None = Field(default=None, min_length=1)
    share: tuple[StrictFloat, StrictFloat] | None = None
    rows: StrictInt | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _a_builtin_set_has_the_split(self) -> SourceSpec:
        if self.builtin is not None and self.split not in BUILTIN_SPLITS:
            raise ValueError(f"builtin={self.builtin} has no split {self.split!r}; it has {', '.join(BUILTIN_SPLITS)}")
        return self

    @model_validator(mode="after")
    def _a_set_of_several_splits_names_one(self) -> SourceSpec:
        if self.file is None and "split" not in self.model_fields_set:
            raise ValueError("split is missing: only a file is one split by itself")
        return self

    @model_validator(mode="after")
    def _a_file_is_one_place(self) -> SourceSpec:
        others = [name for name in ("hub", "local", "builtin") if getattr(self, name) is not None]
        if self.file is not None and others:
            raise ValueError(f"file={self.file} and {others[0]}={getattr(self, others[0])}: rows are in one place")
        if self.file is not None and self.split not in BUILTIN_SPLITS:
            raise ValueError(
                f"file={self.file} is one split by itself, not {self.split!r}; share=[FROM,TO] takes a part"
            )
        if self.share is not None and (self.file is None or not 0 <= self.share[0] < self.share[1] <= 1):
            raise ValueError(f"share={list(self.share)}: expected two growing shares from 0.0 to 1.0 of a file's rows")
        return self
