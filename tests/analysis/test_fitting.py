"""Tables fit the terminal, lose no letter, and wait with their notes until they are asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from svft_bench.analysis.tables.fitting import picked
from svft_bench.analysis.tables.render import render
from svft_bench.analysis.tables.value import Column, Row, Table
from svft_bench.commands.table import table

ROOT = Path(__file__).parents[2]
NAMES = ("method", "digits", "learns", "trained", "memory")
CELLS = ("a method of some words", "71.9 ± 2.2", "1 of 1", "21,527,424", "1.05 GiB")
COLUMNS = tuple(Column(name, "left" if name == "method" else "right") for name in NAMES)
WIDE = Table("wide", "A title", COLUMNS, (Row(CELLS, {}),), ("why",))


def shown(monkeypatch: pytest.MonkeyPatch, width: int | None) -> list[str]:
    monkeypatch.delenv("COLUMNS", raising=False)
    if width is not None:
        monkeypatch.setenv("COLUMNS", str(width))
    return render(WIDE, form="terminal").splitlines()


def test_a_table_that_fits_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(shown(monkeypatch, 120)) == 4 and len(shown(monkeypatch, None)) == 4


def test_a_narrower_terminal_wraps_words_and_cuts_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, 60)
    assert max(map(len, lines)) <= 60 and all(cell in "\n".join(lines) for cell in CELLS[1:])
    assert lines[2].startswith("a method") and lines[3].split()


@pytest.mark.parametrize("width", [30, 40, 45])
def test_a_still_narrower_one_has_a_row_below_the_other(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    lines = shown(monkeypatch, width)
    assert max(map(len, lines)) <= width and lines[0] == "A title" and lines[1] == CELLS[0]
    assert "  trained  21,527,424" in lines and "  digits   71.9 ± 2.2" in lines


def test_columns_are_chosen_by_their_titles_and_keep_what_stands_out() -> None:
    bold = Table("t", "t", COLUMNS, (Row(CELLS, {}, frozenset({3})),), ())
    found = picked(bold, columns="Trained, method", brief=False)
    assert [column.title for column in found.columns] == ["trained", "method"]
    assert found.rows[0].cells == (CELLS[3], CELLS[0]) and found.rows[0].bold == {0}
    assert [one.title for one in picked(bold, columns=None, brief=True).columns] == ["method", "digits", "trained"]
    with pytest.raises(ValueError, match="--columns trainde: did you mean trained"):
        picked(bold, columns="trainde", brief=False)


def test_briefly_rows_of_one_name_keep_what_tells_them_apart() -> None:
    columns = (Column("method", "left"), Column("settings", "left"), Column("memory"))
    rows = [Row(("LoRA", f"r={rank}", "1 GiB"), {}) for rank in (1, 2)]
    for shown, kept in ((rows, ["method", "settings"]), (rows[:1], ["method"])):
        found = picked(Table("t", "t", columns, tuple(shown), ()), columns=None, brief=True)
        assert [column.title for column in found.columns] == kept


def test_notes_wait_until_they_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table(["demo", "--results", str(tmp_path), "--notes"]) == 0
    notes = capsys.readouterr().out
    assert table(["demo", "--results", str(tmp_path)]) == 0
    folded = capsys.readouterr().out
    assert "which --notes shows" in folded and "Not run: " in notes and "Not run: " not in folded
    table(["demo", "--results", str(tmp_path), "--format", "markdown", "--brief"])
    assert "Not run: " in capsys.readouterr().out
    with pytest.raises(ValueError, match="--format csv has every number"):
        table(["demo", "--results", str(tmp_path), "--format", "csv", "--brief"])


@pytest.mark.parametrize(
    "line",
    ["table demo", "table demo --pairs", "table svft_table1_math", "list", "plan experiment=demo --on L4"],
)
def test_what_verbs_print_fits_80_columns(line: str) -> None:
    words, narrow = [sys.executable, "-m", "svft_bench", *line.split()], os.environ | {"COLUMNS": "80"}
    done = subprocess.run(words, env=narrow, capture_output=True, text=True, check=True, cwd=ROOT)
    table = done.stdout.split("cells: ")[0] if line.startswith("plan") else done.stdout
    assert max(map(len, table.splitlines()[:-1])) <= 80
