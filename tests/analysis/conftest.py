"""Cells of the demo, of which tests of tables make records."""

from __future__ import annotations

import pytest

from svft_bench.analysis.references import Reference, load_reference
from svft_bench.compose import Cell, cells


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
