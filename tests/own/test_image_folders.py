"""Of a folder of images every picture has the class that its folder names, or the folder is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from svft_bench.tasks.files import own_rows, own_sha256


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for place in ("cat/1.png", "cat/2.JPG", "dog/1.png"):
        picture(tmp_path / place)
    return tmp_path


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), "red").save(path)


@pytest.mark.parametrize("place", [".ipynb_checkpoints/1-checkpoint.png", "cat/.thumbnails/1.png", "cat/._1.png"])
def test_what_is_hidden_is_no_class_and_no_picture(place: str, pets: Path) -> None:
    before = own_sha256(pets)
    picture(pets / place)
    assert [row["label"] for row in own_rows(pets)] == ["cat", "cat", "dog"] and own_sha256(pets) == before


def test_other_files_beside_pictures_are_none(pets: Path) -> None:
    for place in (".DS_Store", "cat/.DS_Store", "cat/Thumbs.db", "notes.txt", "cat/labels.csv"):
        (pets / place).write_bytes(b"x")
    (pets / "cat" / "folder.png").mkdir()
    assert len(own_rows(pets)) == 3


def test_a_picture_that_lies_deeper_is_not_left_out_without_a_word(pets: Path) -> None:
    picture(pets / "cat" / "more" / "3.png")
    with pytest.raises(ValueError, match=r"more/3.png lies too deep: expected FOLDER/CLASS/NAME"):
        own_rows(pets)


@pytest.mark.parametrize("name", ["3.heic", "3.JFIF", "3.avif"])
def test_a_picture_of_a_form_that_is_not_read_is_named(name: str, pets: Path) -> None:
    (pets / "dog" / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=rf"dog/{name} is of no form that is read here"):
        own_rows(pets)
