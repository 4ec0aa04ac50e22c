"""The page on what the published tables cost is what `plan` says."""

from __future__ import annotations

import pytest

from scripts.make_costs import PAGE, head, planned, published, row

LINES = PAGE.read_text(encoding="utf-8")


def test_every_published_table_has_its_row() -> None:
    assert published() and [name for name in published() if f"(`{name}`)" in LINES] == published()


@pytest.mark.parametrize("name", ["svft_table9_svf_neurips", "svft_figure5_gsm8k_gemma7b"])
def test_a_row_is_what_the_plan_says(name: str) -> None:
    assert row(name, planned(name)) in LINES.splitlines()


def test_the_assumptions_are_those_of_the_code() -> None:
    assert LINES.startswith(head())
