"""Figures show what the records hold and do not change from one drawing to the next."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from svft_bench.compose import Cell, cells
from svft_bench.figures import pareto_front, score_against_parameters
from svft_bench.tables.results import cell_results
from tests.made_records import made_record


@pytest.fixture(scope="module")
def demo() -> list[Cell]:
    return cells(["experiment=demo", "method=head,lora,svft_plain"], any_data=True)


def test_the_front_keeps_what_nothing_cheaper_beats() -> None:
    points = [(10.0, 0.5), (20.0, 0.4), (30.0, 0.9), (30.0, 0.8), (40.0, 0.9)]
    assert pareto_front(points) == [(10.0, 0.5), (30.0, 0.9)]


def test_a_figure_names_every_recorded_method(demo: list[Cell], tmp_path: Path) -> None:
    records = [made_record(cell, score=0.6, trained=trained) for cell, trained in zip(demo, (0, 5000), strict=False)]
    svg, png = score_against_parameters(cell_results(demo, records), path=tmp_path / "demo")
    text = " ".join(ElementTree.parse(svg).getroot().itertext())
    assert "LoRA" in text and "head only" in text and "SVFT plain" not in text
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_figure_carries_no_date(demo: list[Cell], tmp_path: Path) -> None:
    svg, _ = score_against_parameters(cell_results(demo, [made_record(demo[1], score=0.6)]), path=tmp_path / "demo")
    assert "<dc:date>" not in svg.read_text(encoding="utf-8")


def test_without_records_nothing_is_drawn(demo: list[Cell], tmp_path: Path) -> None:
    assert score_against_parameters(cell_results(demo, []), path=tmp_path / "demo") == []
    assert list(tmp_path.iterdir()) == []
