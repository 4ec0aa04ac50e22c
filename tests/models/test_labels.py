"""Names in a crowded figure can be read: none covers another, a point or the edge, where there is room."""

from __future__ import annotations

import math
from itertools import combinations

import pytest

from svft_bench.analysis.figures.labels import Box, arranged
from svft_bench.analysis.figures.papers import numeric
from svft_bench.analysis.references import load_reference

FRAME = Box(0, 0, 400, 300)
NAME = (70.0, 8.0)


@pytest.mark.parametrize("name", ["svft_table1_math", "svft_table2_commonsense_gemma7b", "svft_table4_vision_v1"])
def test_no_printed_point_s_name_covers_another(name: str) -> None:
    reference = load_reference(name)
    for column in reference.columns:
        for model in {row.model for row in reference.rows}:
            rows = [row for row in reference.rows if row.model == model and column.name in row.scores]
            counts = [row.params_computed or numeric(row.params_printed) for row in rows]
            shown = [(math.log(n), row.scores[column.name]) for n, row in zip(counts, rows, strict=True) if n]
            if not shown:
                continue  # a row that prints no count has no point
            points = scaled(shown)
            boxes = arranged(points, [NAME] * len(points), frame=FRAME, scale=1)
            assert not [pair for pair in combinations(boxes, 2) if pair[0].meets(pair[1])]
            assert all(FRAME.left <= box.left and box.right <= FRAME.right for box in boxes)
            assert not [1 for box in boxes for x, y in points if box.meets(Box(x - 1, y - 1, x + 1, y + 1))]


def scaled(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Into the frame, with a margin, as an axis would."""
    sides = []
    for values, room in ((list(side), room) for side, room in zip(zip(*points, strict=True), FRAME[2:], strict=True)):
        low, high = min(values), max(values)
        sides.append([room * (0.15 + 0.7 * (value - low) / ((high - low) or 1)) for value in values])
    return list(zip(*sides, strict=True))


def test_a_lone_name_stands_right_of_its_point() -> None:
    (box,) = arranged([(100, 100)], [NAME], frame=FRAME, scale=1)
    assert 100 < box.left < 110 and 100 <= box.bottom < 110


def test_points_on_one_spot_have_names_apart() -> None:
    boxes = arranged([(200, 150)] * 6, [NAME] * 6, frame=FRAME, scale=1)
    assert not [pair for pair in combinations(boxes, 2) if pair[0].meets(pair[1])]


def test_without_room_every_name_still_stands_somewhere() -> None:
    assert len(arranged([(5, 5)] * 9, [NAME] * 9, frame=Box(0, 0, 20, 10), scale=1)) == 9
