"""What lies in the cache of `datasets` is the config that is meant, and the rows that were read there before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import datasets
import pytest

from svft_bench.config.spec import SourceSpec
from svft_bench.tasks.hub import load_split
from svft_bench.tasks.sources import read_rows
from tests.hub import Hub, serving

COMMIT = "c" * 40
CARD = """---
configs:
- config_name: one
  data_files: one/train.parquet
- config_name: two
  data_files: two/train.parquet
---
"""
DEFAULT = CARD.replace("one\n  data", "one\n  default: true\n  data")


def source(config: str | None) -> SourceSpec:
    return SourceSpec(title="mine", hub="me/mine", config=config, revision=COMMIT, split="train")


def texts(config: str | None) -> list[str]:
    return [row["text"] for row in load_split(source(config))[0]]


def give(hub: Hub, card: str) -> None:
    files = {"README.md": card.encode()}
    for config in ("one", "two"):
        file = BytesIO()
        datasets.Dataset.from_list([{"text": f"row {i} of {config}"} for i in range(9)]).to_parquet(file)
        files[f"{config}/train.parquet"] = file.getvalue()
    hub.add("dataset", "me/mine", files, commit=COMMIT)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub()) as served:
        yield served


def test_without_a_name_the_default_config_is_read_whichever_is_in_the_cache(
    hub: Hub, online: Callable[..., None]
) -> None:
    give(hub, DEFAULT)
    assert texts("two")[0] == "row 0 of two"
    assert texts(None)[0] == "row 0 of one"
    online(False)
    assert texts(None)[0] == "row 0 of one"


def test_without_a_name_and_a_default_no_config_is_read_for_being_in_the_cache(
    hub: Hub, online: Callable[..., None]
) -> None:
    give(hub, CARD)
    texts("two")
    for now in (True, False):
        online(now)
        with pytest.raises(ValueError, match="mine could not be loaded from the hub"):
            texts(None)


def test_rows_of_the_cache_with_one_other_bit_are_refused_and_made_again(
    hub: Hub, online: Callable[..., None], tmp_path: Path
) -> None:
    give(hub, DEFAULT)
    (whole, file), (again, _) = read_rows(source("two"), data_root=None), read_rows(source("two"), data_root=None)
    assert list(whole) == list(again)
    (arrow,) = (tmp_path / "home" / "datasets").rglob("*-train.arrow")
    data = bytearray(arrow.read_bytes())
    data[data.index(b"row 7 of two") + 4] ^= 1
    arrow.write_bytes(data)
    with pytest.raises(ValueError, match=r"mine: .* is damaged .* the next start"):
        read_rows(source("two"), data_root=None)
    found, account = read_rows(source("two"), data_root=None)
    assert [row["text"] for row in found] == [f"row {i} of two" for i in range(9)]
    assert account.content == file.content
