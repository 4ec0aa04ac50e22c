"""Tables of one's own between tabs: marks of quotation are text unless they stand around a cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from svft_bench.tasks.files import own_rows


def rows(tmp_path: Path, text: str, *, name: str = "own.tsv") -> list[tuple[str, ...]]:
    path = tmp_path / name
    path.write_text(text)
    return [tuple(row.values()) for row in own_rows(path)]


def test_a_mark_that_opens_in_one_row_and_closes_in_another_joins_no_rows(tmp_path: Path) -> None:
    text = 'sentence\tlabel\n"Oh no.\t0\nIt was fine."\t1\nplain\t0\n'
    assert rows(tmp_path, text) == [('"Oh no.', "0"), ('It was fine."', "1"), ("plain", "0")]


def test_a_mark_inside_a_cell_is_text(tmp_path: Path) -> None:
    assert rows(tmp_path, 'sentence\tlabel\n"Yes," she said\t1\n5" nail\t0\n') == [
        ('"Yes," she said', "1"),
        ('5" nail', "0"),
    ]


def test_marks_around_a_cell_are_none_of_it(tmp_path: Path) -> None:
    text = 'sentence\tlabel\n"He said ""no"""\t0\n"two\nlines"\t1\n"a\ttab"\t1\n'
    assert rows(tmp_path, text) == [('He said "no"', "0"), ("two\nlines", "1"), ("a\ttab", "1")]
    assert rows(tmp_path, 'sentence\tlabel\n"a ""b"""\t0\n') == [('a "b"', "0")]


def test_what_is_a_table_in_both_readings_is_refused(tmp_path: Path) -> None:
    text = 'sentence\tlabel\n"He left.\t0\nShe stayed."\t1\n"whole"\t0\n'
    with pytest.raises(ValueError, match="two ways: as text there are 3 rows, around cells 2"):
        rows(tmp_path, text)


def test_between_commas_nothing_else_is_read(tmp_path: Path) -> None:
    assert rows(tmp_path, 'a,b\n"x, y",1\n', name="own.csv") == [("x, y", "1")]
