"""Names beside the points of a crowded panel, each where it covers no other name and no point.

Greedy: from the highest point down, the nearest free one of rings of places; a thin line leads back from a far one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

POINT = 4.0  # half the width, in pixels at 72 dpi, of what a marker covers
RINGS, TURNS = 14, 16


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: Box) -> bool:
        """Whether they share area."""
        return (
            self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top
        )


def places(x: float, y: float, *, width: float, height: float, step: float) -> Iterator[Box]:
    """Where a name of this size may stand, nearest first: right and above, then around the point in wider rings."""
    for ring in range(RINGS):
        reach = step * (1 + ring)
        for turn in range(TURNS if ring else 8):
            angle = math.pi / 8 + 2 * math.pi * turn / (TURNS if ring else 8)
            across, up = math.cos(angle), math.sin(angle)
            left = x + reach * across - (width if across < -0.1 else 0.0 if across > 0.1 else width / 2)
            bottom = y + reach * up - (height if up < -0.1 else 0.0 if up > 0.1 else height / 2)
            yield Box(left, bottom, left + width, bottom + height)


def arranged(
    points: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], *, frame: Box, scale: float
) -> list[Box]:
    """A place for every name inside the frame; one for which there is none stands where it covers the least names."""
    taken = [Box(x - POINT * scale, y - POINT * scale, x + POINT * scale, y + POINT * scale) for x, y in points]
    found: dict[int, Box] = {}
    for index in sorted(range(len(points)), key=lambda index: -points[index][1]):
        (x, y), (width, height) = points[index], sizes[index]
        inside = [
            box
            for box in places(x, y, width=width, height=height, step=5 * scale)
            if frame.left <= box.left and box.right <= frame.right and frame.bottom <= box.bottom < box.top <= frame.top
        ]
        ring = inside or list(places(x, y, width=width, height=height, step=5 * scale))[:1]
        best = min(ring, key=lambda box: sum(box.meets(other) for other in taken))  # the first of equals is the nearest
        found[index] = best
        taken.append(best)
    return [found[index] for index in range(len(points))]


def arrange(axis: Any) -> None:
    """Move an axis's annotations to where they can be read; its limits and scales must be final."""
    from matplotlib.text import Annotation, Text

    notes = [text for text in axis.texts if isinstance(text, Annotation) and text.get_text()]
    scale = axis.figure.dpi / 72
    renderer = axis.figure.canvas.get_renderer()
    extents = [Text.get_window_extent(note, renderer) for note in notes]
    points = [tuple(axis.transData.transform(note.xy)) for note in notes]
    frame = Box(*axis.get_window_extent(renderer).extents)
    sizes = [(one.width, one.height) for one in extents]
    for note, (x, y), box in zip(notes, points, arranged(points, sizes, frame=frame, scale=scale), strict=True):
        note.set_position(((box.left - x) / scale, (box.bottom - y) / scale))
        far = math.hypot(max(box.left - x, x - box.right, 0), max(box.bottom - y, y - box.top, 0)) > 10 * scale
        if note.arrow_patch is not None:
            note.arrow_patch.set_visible(far)
