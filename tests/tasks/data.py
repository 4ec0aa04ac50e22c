"""Image files in the hub's parquet layout, small enough to write in a test."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
from PIL import Image, ImageDraw


def png(shade: int) -> bytes:
    """A grey picture of 4 x 4 pixels."""
    file = BytesIO()
    Image.new("L", (4, 4), shade % 256).save(file, "PNG")
    return file.getvalue()


def write_images(
    file: Path, labels: Sequence[int], *, columns: tuple[str, str | None], broken: Sequence[int] = ()
) -> None:
    """One picture a label, those with the numbers in `broken` cut in half."""
    image, label = columns
    assert label is not None
    rows: list[dict[str, Any]] = []
    for index, value in enumerate(labels):
        data = png(index)
        rows.append({image: {"bytes": data[: len(data) // 2] if index in broken else data, "path": None}, label: value})
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(arrow.Table.from_pylist(rows), file)


def subject(folder: Path) -> Path:
    """Five pictures of a red disc on grounds of other colours."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, ground in enumerate(("white", "navy", "green", "gray", "black")):
        picture = Image.new("RGB", (24, 24), ground)
        ImageDraw.Draw(picture).ellipse((4 + number, 4, 18 + number, 18), fill="red")
        picture.save(folder / f"{number:02}.png")
    return folder
