"""The page on the rooms of the code names files and folders that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "explanation" / "rooms.md").read_text(encoding="utf-8")
PLACES = re.findall(r"`([\w./-]+)`", PAGE[PAGE.index("## Where a new thing goes") :])


@pytest.mark.parametrize("place", PLACES)
def test_where_a_new_thing_goes_is_there(place: str) -> None:
    assert (ROOT / place).exists()


def test_the_rooms_of_the_page_are_the_folders_of_the_package() -> None:
    told = set(re.findall(r"^\| `(\w+)/` \|", PAGE, flags=re.MULTILINE))
    assert told == {path.parent.name for path in (ROOT / "svft_bench").glob("*/__init__.py")}
