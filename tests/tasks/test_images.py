"""Pictures as a viewer shows them: upright, in all their shades, and passed over where there is none."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from PIL import Image, ImageOps

from svft_bench.tasks import load_task
from svft_bench.tasks.pool import open_image
from tests.tasks.data import png, write_images
from tests.tasks.layout import task_spec
from tests.tasks.loading import ALL, ids

ORIENTATION = 0x0112


def stored(image: Image.Image, kind: str = "PNG", **options: Any) -> dict[str, Any]:
    file = BytesIO()
    image.save(file, kind, **options)
    return {"bytes": file.getvalue(), "path": None}


def corners() -> Image.Image:
    """Four colours in four corners of an oblong."""
    image = Image.new("RGB", (6, 4))
    for place, colour in {(0, 0): "red", (5, 0): "lime", (0, 3): "blue", (5, 3): "white"}.items():
        image.putpixel(place, tuple(Image.new("RGB", (1, 1), colour).getpixel((0, 0))))  # type: ignore[arg-type]
    return image


@pytest.mark.parametrize("turned", range(1, 9))
def test_a_picture_is_turned_as_its_camera_says(turned: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = turned
    file = stored(corners(), exif=exif)
    opened = open_image(file)
    assert opened.tobytes() == ImageOps.exif_transpose(Image.open(BytesIO(file["bytes"]))).convert("RGB").tobytes()
    assert opened.size == ((4, 6) if turned > 4 else (6, 4))
    assert (opened.tobytes() == corners().tobytes()) is (turned == 1)


def test_a_decoded_picture_is_turned_too() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    decoded = Image.open(BytesIO(stored(corners(), "JPEG", exif=exif)["bytes"]))
    assert open_image(decoded).size == (4, 6)


@pytest.mark.parametrize(
    ("value", "shade"), [(0, 0), (128, 0), (129, 1), (257, 1), (32768, 128), (65535, 255), (40000, 156), (255, 1)]
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled(value: int, shade: int, kind: str) -> None:
    grey = Image.fromarray(numpy.full((2, 2), value, dtype=numpy.uint16))
    assert grey.mode.startswith("I")
    assert set(open_image(stored(grey, kind)).get_flattened_data()) == {(shade,) * 3}


def test_eight_bit_grey_keeps_its_values() -> None:
    ramp = Image.fromarray(numpy.arange(256, dtype=numpy.uint8).reshape(16, 16))
    assert open_image(stored(ramp)).tobytes()[::3] == ramp.tobytes()


@pytest.mark.parametrize("nothing", [None, {"bytes": None, "path": None}, {"bytes": b"", "path": None}])
def test_no_picture_is_none(nothing: object) -> None:
    assert open_image(nothing) is None


def test_rows_without_a_picture_are_counted_and_passed_over(tmp_path: Path) -> None:
    labels = [label for _ in range(13) for label in range(10)]
    for split in ("train", "test"):
        file = tmp_path / f"images/cifar10/{split}.parquet"
        write_images(file, labels, columns=("img", "label"))
        rows = parquet.read_table(file).to_pylist()
        rows[3]["img"], rows[5]["img"] = None, {"bytes": None, "path": None}
        parquet.write_table(arrow.Table.from_pylist(rows), file)
    task = load_task(task_spec("cifar10"), data_root=tmp_path, limit=ALL, seed=0)
    assert ids(task.evals["cifar10"]) == [str(index) for index in range(130) if index not in (3, 5)]
    assert task.skipped["images/cifar10/test.parquet: image does not decode"] == 2
    assert open_image({"bytes": png(7), "path": None}) is not None


def test_a_picture_of_numbers_of_no_known_scale_is_none_and_not_black() -> None:
    shades = Image.fromarray(numpy.linspace(0, 1, 16, dtype=numpy.float32).reshape(4, 4))
    assert shades.mode == "F" and open_image(stored(shades, "TIFF")) is None
