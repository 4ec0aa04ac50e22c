"""Cells of the demo, of which tests of tables and of the report make records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from svft_bench.analysis.references import Reference, load_reference
from svft_bench.analysis.report import content
from svft_bench.commands.report import report
from svft_bench.compose import Cell, cells
from svft_bench.records import save_record
from tests.made_records import made_record

HOSTILE = "</script><img src=x onerror=alert(1)> & the answer"


@pytest.fixture(scope="module")
def demo() -> list[Cell]:
    return cells(["experiment=demo", "seed=0,1"], any_data=True)


@pytest.fixture(scope="module")
def one(demo: list[Cell]) -> list[Cell]:
    """Two methods at both seeds: head and LoRA."""
    return [cell for cell in demo if cell.spec.method.name in ("head", "lora")]


@pytest.fixture(scope="module")
def table1() -> Reference:
    return load_reference("svft_table1_math")


@pytest.fixture(scope="module")
def only_the_demo() -> Iterator[None]:
    """The large sweeps have no record here, and composing them to find that out takes longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "experiment_names", lambda: {"demo": "Demo"})
        yield


@pytest.fixture(scope="module")
def file(only_the_demo: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of three methods of the demo, one with a hostile prediction."""
    folder = tmp_path_factory.mktemp("results")
    asked = cells(["experiment=demo", "method=head,lora,svft_plain"], any_data=True)
    for wrong, cell in zip((30, 20, 10), asked, strict=True):
        rows = [
            {"eval": "digits", "id": index, "prediction": HOSTILE if index < wrong else "1", "reference": "1"}
            for index in range(100)
        ]
        record = made_record(cell, score=(100 - wrong) / 100, items=100, trained=wrong * 1000, dirty=wrong == 30)
        save_record(record, results=folder, predictions=rows)
    assert report(["--results", str(folder), "--predictions", "40"]) == 0
    return folder / "report.html"
