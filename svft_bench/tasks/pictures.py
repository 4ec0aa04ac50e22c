"""Pictures as examples and as predictions: what is drawn at random for each, PNGs as text, and their colours.

colours = mean over the subject's pictures of sum over bins min(share of one, share of the other)
(Swain and Ballard 1991)
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any

from svft_bench.tasks.made import Made
from svft_bench.tasks.pool import Example, Pool, Repeated, open_image

if TYPE_CHECKING:
    from PIL.Image import Image

PNG = "data:image/png;base64,"
BINS = 4  # of each of three colours
WHOLE = 10_000  # the sum of a histogram's counts
KEPT = 16  # pictures that are held decoded


class Pictures(Made[Example]):
    """The chosen rows of a pool with a prompt and what is drawn for them; a picture is decoded when it is looked at."""

    def __init__(self, pool: Pool, indices: Sequence[int], *, prompt: str) -> None:
        self._pool, self._indices, self._prompt = pool, indices, prompt
        self._open = lru_cache(KEPT)(self._opened)

    def __len__(self) -> int:
        return len(self._indices)

    def part(self, places: slice) -> Pictures:
        return Pictures(self._pool, self._indices[places], prompt=self._prompt)

    def at(self, index: int) -> Example:
        row = self._indices[index]
        picture = self._open(row % len(once(self._pool)))
        return {"id": str(row), "image": picture, "prompt": self._prompt, "seed": seed_of(self._pool, row)}

    def _opened(self, row: int) -> Image:
        picture: Image = open_image(once(self._pool)[row][self._pool.image_column or ""])
        return picture


def subject_of(pool: Pool) -> Sequence[Image]:
    """Every picture of a pool once."""
    return [open_image(row[pool.image_column or ""]) for row in once(pool)]


def once(pool: Pool) -> Sequence[Any]:
    """The rows of a pool, however often each counts."""
    return pool.rows.once if isinstance(pool.rows, Repeated) else pool.rows


def seed_of(pool: Pool, row: int) -> int:
    """What everything that is drawn for a row follows from: the same for every model and method."""
    return int.from_bytes(sha256(f"{pool.draws_by} {row}".encode()).digest()[:7], "big")


def as_text(picture: Image) -> str:
    """A picture as a PNG that a page can show: no pixel is lost."""
    stored = BytesIO()
    picture.save(stored, format="PNG", optimize=True)
    return PNG + base64.b64encode(stored.getvalue()).decode()


def as_picture(text: Any) -> Image:
    """The picture of `as_text`.

    Raises:
        ValueError: there is none in it.
    """
    content = str(text).removeprefix(PNG)
    try:
        picture = open_image({"bytes": base64.b64decode(content, validate=True), "path": None})
    except ValueError:
        picture = None
    if picture is None:
        raise ValueError("its picture does not decode")
    found: Image = picture
    return found


def small(text: Any, *, side: int) -> str:
    """The picture of `as_text` as a JPEG of so many pixels at most, for a page that shows many."""
    picture, stored = as_picture(text), BytesIO()
    picture.thumbnail((side, side))
    picture.save(stored, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(stored.getvalue()).decode()}"


def histogram(picture: Image) -> list[int]:
    """How many of ten thousand pixels fall into each of 64 boxes of red, green and blue."""
    import numpy

    boxes = numpy.asarray(picture.convert("RGB")).reshape(-1, 3) // (256 // BINS)
    counts = numpy.bincount(boxes @ numpy.array([BINS * BINS, BINS, 1]), minlength=BINS**3)
    found: list[int] = (counts * WHOLE / counts.sum()).round().astype(int).tolist()
    return found


def colours(picture: Image, others: Sequence[Sequence[int]]) -> float:
    """How much of the colours of a picture those of others share, on average: 1 where they are the same."""
    own = histogram(picture)
    shared = [sum(map(min, own, other)) / WHOLE for other in others]
    return sum(shared) / len(shared)
