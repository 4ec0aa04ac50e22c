"""A difference of two methods is of the same rows; where it would not be, it is refused or left out by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from svft_bench.analysis.tables import pairs
from svft_bench.analysis.tables.pairs import named_comparisons, pairs_table
from svft_bench.analysis.tables.results import cell_results
from svft_bench.analysis.tables.value import Table
from svft_bench.cli import command
from svft_bench.compose import Cell, cells
from svft_bench.records import RunRecord, save_record
from tests.made_records import made_record


def asked(seeds: str = "0") -> list[Cell]:
    return cells(["experiment=demo", "method=lora,svft_plain", f"seed={seeds}"], any_data=True)


def saved(cell: Cell, rows: Mapping[int, tuple[int, int]], *, folder: Path, sha256: str | None = None) -> RunRecord:
    """A run with these predictions and references by row, scored on a file of this digest."""
    given = [{"eval": "digits", "id": row, "prediction": said, "reference": gold} for row, (said, gold) in rows.items()]
    share = sum(said == gold for said, gold in rows.values()) / len(rows)
    record = made_record(cell, score=share, items=len(rows))
    data = (*record.data[:-1], record.data[-1].model_copy(update={"sha256": sha256}))
    record = record.model_copy(update={"data": data})
    save_record(record, results=folder, predictions=given)
    return record


def made(cells_: Sequence[Cell], records: Sequence[RunRecord], folder: Path, **more: Any) -> Table:
    return pairs_table(cell_results(cells_, records), name="demo", title="Demo", folder=folder, **more)


def test_rows_with_other_answers_under_the_same_names_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = asked()
    records = [
        saved(one, {row: (1, 1) for row in range(20)}, folder=tmp_path),
        saved(other, {row: (2, 2) for row in range(20)}, folder=tmp_path),
    ]
    with pytest.raises(ValueError, match="were scored on other rows of digits: the answer to row 0 is 1 in one, 2"):
        made([one, other], records, tmp_path)
    ids = [record.run_id for record in records]
    assert command(["compare", *ids, "--results", str(tmp_path)]) == 2
    assert "were scored on other rows of digits" in capsys.readouterr().err


def test_files_of_other_contents_are_refused(tmp_path: Path) -> None:
    one, other = asked()
    rows = {row: (1, 1) for row in range(20)}
    records = [
        saved(cell, rows, folder=tmp_path, sha256=sha * 64) for cell, sha in zip((one, other), "ab", strict=True)
    ]
    with pytest.raises(ValueError, match=r"other rows of digits: sha256 a{64} \| b{64}"):
        made([one, other], records, tmp_path)


def test_a_part_of_the_same_rows_is_compared_on_what_both_have(tmp_path: Path) -> None:
    one, other = asked()
    records = [
        saved(one, {row: (1, 1) for row in range(20)}, folder=tmp_path),
        saved(other, {row: (row % 2, 1) for row in range(10)}, folder=tmp_path),
    ]
    (row,) = made([one, other], records, tmp_path).rows
    assert row.facts["difference"] == pytest.approx(0.5)


@pytest.mark.filterwarnings("error")
def test_rows_that_each_seed_draws_anew_are_left_out_by_name(tmp_path: Path) -> None:
    both = asked("0,1")
    rows = {0: range(20), 1: range(19, 39)}
    records = [saved(cell, {row: (row % 3, 1) for row in rows[cell.spec.seed]}, folder=tmp_path) for cell in both]
    table = made(both, records, tmp_path)
    assert table.rows == ()
    assert any(
        note.startswith("Not compared: digits (1 row), of which runs were scored on other") for note in table.notes
    )


def test_a_comparison_that_no_recorded_rows_are_is_named(tmp_path: Path) -> None:
    both = asked()
    records = [saved(cell, {row: (row % 2, 1) for row in range(20)}, folder=tmp_path) for cell in both]
    table = made(both, records, tmp_path, named=["lora svft_plain", "vera lora", "lora:rank=1 svft_plain"])
    assert any(
        note == "Named beforehand, and of no two recorded rows: vera lora, lora:rank=1 svft_plain."
        for note in table.notes
    )


def test_a_comparison_of_a_method_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "option_fields", lambda *_: {"compare": ["svft_bandd lora"]})
    with pytest.raises(ValueError, match="compare has 'svft_bandd lora'; did you mean svft_banded"):
        named_comparisons("own")
