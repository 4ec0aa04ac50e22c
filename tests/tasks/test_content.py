"""The fingerprint of rows in a library's cache is one of their values."""

from __future__ import annotations

from typing import Any

import datasets
import pytest

from svft_bench.tasks.content import content
from tests.tasks.hub_layout import rows_of
from tests.tasks.layout import task_spec


def test_the_fingerprint_is_of_values_and_not_of_the_cache_s_layout() -> None:
    rows = rows_of(task_spec("cifar10"), "img_label")
    parts = datasets.concatenate_datasets([rows.select(range(50)), rows.select(range(50, len(rows)))])
    renamed = rows.cast_column("img", datasets.Image(decode=False)).map(
        lambda row: {"img": {"bytes": row["img"]["bytes"], "path": "elsewhere.png"}}
    )
    assert content(parts) == content(rows) == content(renamed)
    assert content(rows.select([1, 0, *range(2, len(rows))])) != content(rows)
    assert content(rows_of(task_spec("cifar10"), "img_label", shift=1)) != content(rows)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([{"a": "x", "b": "yz"}], [{"a": "xy", "b": "z"}]),
        ([{"a": None}, {"a": "x"}], [{"a": "x"}, {"a": None}]),
        ([{"a": ""}, {"a": "x"}], [{"a": None}, {"a": "x"}]),
        ([{"a": [1, 2]}, {"a": [3]}], [{"a": [1]}, {"a": [2, 3]}]),
        ([{"a": True}], [{"a": False}]),
        ([{"a": 0.0}], [{"a": 1e-300}]),
        ([{"a": {"x": 1, "y": 2}}], [{"a": {"x": 2, "y": 1}}]),
    ],
)
def test_other_rows_have_another_fingerprint(one: list[Any], other: list[Any]) -> None:
    assert content(datasets.Dataset.from_list(one)) != content(datasets.Dataset.from_list(other))
