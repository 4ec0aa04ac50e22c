"""Anchors notice a stack that moves every method, and are quiet about noise."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.check_anchors import NAME, anchors, changed_versions, report
from svft_bench.analysis.tables.results import CellResult, cell_results
from svft_bench.analysis.tables.writing import experiment_results
from svft_bench.compose import Cell, cells
from tests.made_records import made_record

RECORDED = {"head": (0.60, 0.64, 0.62), "lora": (0.65, 0.66, 0.70), "svft_banded": (0.70, 0.74, 0.73)}


@pytest.fixture(scope="module")
def asked() -> list[Cell]:
    return cells([f"experiment={NAME}"], any_data=True)


def repeated(asked: list[Cell], *, shift: float = 0.0, of: tuple[str, ...] = tuple(RECORDED)) -> list[CellResult]:
    records = []
    for cell in asked:
        name = cell.spec.method.name
        score = RECORDED[name][cell.spec.seed] + (shift if name in of else 0)
        records.append(made_record(cell, score=score, items=500))
    return cell_results(asked, records)


def test_the_same_scores_hold(asked: list[Cell]) -> None:
    assert report(repeated(asked), repeated(asked)) == 0


def test_a_stack_that_moves_every_method_is_noticed_where_no_single_one_would_be(asked: list[Cell]) -> None:
    found = anchors(repeated(asked), repeated(asked, shift=-0.04))
    assert [anchor.holds for anchor in found] == [True, True, True, False]
    assert report(repeated(asked), repeated(asked, shift=-0.04)) == 1


def test_one_method_that_breaks_is_named(asked: list[Cell]) -> None:
    found = anchors(repeated(asked), repeated(asked, shift=-0.2, of=("lora",)))
    assert [anchor.name for anchor in found if not anchor.holds] == ["LoRA", "all together"]


def test_items_that_flip_are_noise(asked: list[Cell]) -> None:
    """Every run scores up to two points apart from its record, in either direction."""
    flips = {0: 0.02, 1: -0.02, 2: 0.01}
    turned = [
        made_record(cell, score=RECORDED[cell.spec.method.name][cell.spec.seed] + flips[cell.spec.seed], items=500)
        for cell in asked
    ]
    assert report(repeated(asked), cell_results(asked, turned)) == 0


def test_the_interval_is_that_of_a_difference_of_two_shares(asked: list[Cell]) -> None:
    """Closed form: 2.4977 is the normal quantile for two sides of 5 % among four comparisons."""
    lora = next(anchor for anchor in anchors(repeated(asked), repeated(asked)) if anchor.name == "LoRA")
    assert lora.noise == pytest.approx(2.4977 * (2 * 0.67 * 0.33 / 500 / 3) ** 0.5, rel=1e-4)


def test_the_committed_anchors_are_whole_and_clean() -> None:
    results = experiment_results(NAME, overrides=(), folder=Path(__file__).parent.parent / "results")
    assert all(not result.missing for result in results)
    assert not any(record.provenance.dirty for result in results for record in result.records)


def test_missing_records_are_one_sentence(asked: list[Cell]) -> None:
    with pytest.raises(ValueError, match=r"recorded seeds are \[\], now \[0, 1, 2\]"):
        anchors(cell_results(asked, []), repeated(asked))


def test_a_version_that_changed_is_named(asked: list[Cell]) -> None:
    before = made_record(asked[0], score=0.5)
    versions = {"torch": "2.14.0", "peft": "0.22.0"}
    now = before.model_copy(update={"provenance": before.provenance.model_copy(update={"versions": versions})})
    assert changed_versions(before, now) == ["torch 2.13.0 -> 2.14.0", "peft None -> 0.22.0"]
    assert changed_versions(before, before) == []
