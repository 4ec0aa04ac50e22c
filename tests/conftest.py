"""Fixtures that every test may use: cells composed from `conf/`, tiny models, and nothing from outside."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from svft_bench.compose import Cell, cells

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that share a core with another process wait for each other
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data that SVFT_BENCH_DATA names."""
    named = os.environ.get("SVFT_BENCH_DATA")
    if not named:
        pytest.skip("SVFT_BENCH_DATA names no data folder")
    return Path(named)


@pytest.fixture
def cell(tmp_path: Path) -> Callable[..., Cell]:
    """Compose one cell whose results and outputs go to the test's own folder."""

    def compose_one(*overrides: str) -> Cell:
        (found,) = cells([*overrides, f"results_dir={tmp_path}/results", f"output_dir={tmp_path}/outputs"])
        return found

    return compose_one
