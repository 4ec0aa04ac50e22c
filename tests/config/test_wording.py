"""Words from outside are named and shown, and never obeyed: by a terminal, a table, a spreadsheet or a shell."""

from __future__ import annotations

import csv
import io
import json
import shlex
from pathlib import Path

import pytest

from svft_bench.analysis.tables.render import render
from svft_bench.analysis.tables.value import Column, Row, Table
from svft_bench.compose import Cell, cells
from svft_bench.config import wording
from svft_bench.config.spec import parse_spec
from svft_bench.config.wording import nearest, plural, printable, sentence, warning_line
from tests.made_records import made_record

HOSTILE = "a|b\x1b[31m\nred\x07 [bold]x[/bold]\u202e"
TABLE = Table(
    "hostile",
    HOSTILE,
    (Column("method", "left"), Column(HOSTILE)),
    (Row((HOSTILE, "1"), {"method": HOSTILE, "formula": "=1+1", "score": -0.5}),),
    (HOSTILE,),
)


@pytest.mark.parametrize(
    ("file", "who"),
    [
        ("/home/me/.venv/lib/python3.12/site-packages/peft/utils/save_and_load.py", "peft"),
        ("/usr/lib/python3/dist-packages/six.py", "six"),
        ("/home/me/own/halved.py", "halved"),
        (wording.__file__, "svft-bench"),
    ],
)
def test_a_warning_is_one_line_that_names_a_library_and_no_place(file: str, who: str) -> None:
    assert warning_line("two\nlines\x1b", UserWarning, file, 12) == f"{who}: two lines\\x1b\n"


def test_one_is_no_plural() -> None:
    assert [plural(count, "run") for count in (0, 1, 2000)] == ["0 runs", "1 run", "2,000 runs"]


def test_an_unknown_name_offers_five_at_most_and_none_twice() -> None:
    known = ["train.lr", "train.lr_head", *(f"train.l{letter}" for letter in "abcdefgh"), "train.lr"]
    told = nearest("train.lrr", known)
    assert told.startswith("did you mean train.lr, ")
    assert told.count("train.") == len(set(told.replace(" or ", ", ").split(", "))) == 5
    assert nearest("zzz", known).startswith("there are 10, such as ")
    assert nearest("zzz", known).count("train.") == 5
    assert nearest("zzz", ["a", "b"]) == "there are a, b"


def test_what_a_terminal_would_obey_is_shown_as_its_escape() -> None:
    assert printable("a\x1b[31m\tb\u202e") == "a\\x1b[31m\\tb\\u202e"
    assert sentence("two\nlines\x1b") == "two lines\\x1b"
    assert len(sentence("x" * 10_000)) < 700


def test_a_password_in_an_address_is_not_repeated() -> None:
    assert sentence("cannot reach https://me:secret@example.org/x") == "cannot reach https://…@example.org/x"


@pytest.mark.parametrize("form", ["terminal", "markdown"])
def test_a_table_shows_hostile_words_on_one_line_each(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    text = render(TABLE, form=form)  # type: ignore[arg-type]
    assert all(line.isprintable() for line in text.splitlines())
    assert "[bold]x[/bold]" in text


def test_a_bar_in_a_word_parts_no_cells_in_markdown() -> None:
    heading, _, columns, rule, row, *_ = render(TABLE, form="markdown").splitlines()
    assert heading.startswith(r"# a\|b")
    assert {line.replace(r"\|", "").count("|") for line in (columns, rule, row)} == {3}


def test_csv_holds_no_formula_and_json_the_words_themselves() -> None:
    (row,) = csv.DictReader(io.StringIO(render(TABLE, form="csv")))
    assert row["formula"] == "'=1+1"
    assert float(row["score"]) == -0.5
    assert row["method"].isprintable()
    assert json.loads(render(TABLE, form="json"))["rows"][0]["method"] == HOSTILE


def test_the_command_of_a_cell_is_what_a_shell_reads_back() -> None:
    (cell,) = cells(["method=lora", "task.evals.digits.metrics=[accuracy]", "model.title='a b'"], any_data=True)
    assert shlex.split(cell.command) == ["svft-bench", *cell.overrides]


@pytest.mark.parametrize("field", ["model.path", "task.train.title", "task.source", "+task.train.hub"])
def test_what_holds_a_password_is_neither_recorded_nor_repeated(field: str) -> None:
    with pytest.raises(ValueError, match="password or a token") as raised:
        cells([f"{field}=https://me:secret@example.org/x"], any_data=True)
    assert "secret" not in str(raised.value)


def test_a_record_with_the_specification_of_before_keeps_its_run_id(tmp_path: Path) -> None:
    cell = _cell(tmp_path)
    again = parse_spec(json.loads(made_record(cell, score=0.5).spec.model_dump_json()))
    assert again.run_id == cell.spec.run_id


def _cell(tmp_path: Path) -> Cell:
    (cell,) = cells([f"results_dir={tmp_path}/results", f"output_dir={tmp_path}/outputs"])
    return cell
