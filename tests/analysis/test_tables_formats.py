"""Tables as Markdown, LaTeX, CSV and JSON, and the verb that prints and writes them."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from svft_bench.analysis.tables.render import as_csv, as_json, latex, markdown
from svft_bench.analysis.tables.value import Row, Table
from svft_bench.commands.table import table
from svft_bench.compose import Cell
from svft_bench.records import save_record
from tests.analysis.test_tables import made
from tests.made_records import made_record


def test_markdown_escapes_what_would_break_a_row(one: list[Cell]) -> None:
    found = made(one[:1], [made_record(one[0], score=0.5)])
    broken = Table("n", "t", found.columns[:1], (Row(("a|b",), {}, frozenset({0})),), ())
    assert r"| **a\|b** |" in markdown(broken)


def test_latex_escapes_and_balances(one: list[Cell]) -> None:
    text = latex(made(one, [made_record(one[0], score=0.5)]))
    assert r"\toprule" in text and r"50.0 $\pm$" in text
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert "_" not in text.replace(r"\_", "")


def test_csv_and_json_hold_unrounded_numbers(one: list[Cell]) -> None:
    found = made(one, [made_record(one[0], score=1 / 3)])
    line = next(csv.DictReader(io.StringIO(as_csv(found))))
    assert float(line["digits.accuracy"]) == 1 / 3
    assert json.loads(as_json(found))["rows"][0]["digits.accuracy"] == 1 / 3


def test_the_verb_writes_only_when_asked_and_the_same_bytes_twice(
    one: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_record(made_record(one[0], score=0.5), results=tmp_path, predictions=[])
    assert table(["demo", "--results", str(tmp_path)]) == 0
    assert not (tmp_path / "tables").exists() and not (tmp_path / "figures").exists()
    written = []
    for _ in range(2):
        table(["demo", "--results", str(tmp_path), "--write"])
        files = sorted(path for kind in ("tables", "figures") for path in (tmp_path / kind).iterdir())
        written.append({path.name: path.read_bytes() for path in files})
    figures = ["demo.svg", "demo_costs.svg", "demo_curves.svg"]
    assert list(written[0]) == [*figures, "demo.csv", "demo.md"]
    assert written[0] == written[1]
    capsys.readouterr()


def test_an_unknown_table_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="table dem: did you mean demo"):
        table(["dem"])


def test_the_terminal_table_imports_nothing_heavy(tmp_path: Path) -> None:
    heavy = ("torch", "transformers", "peft", "datasets", "evaluate", "wandb", "matplotlib", "scipy", "sklearn")
    code = (
        "import sys; from svft_bench.cli import command; "
        f"assert command(['table', 'demo', '--results', {str(tmp_path)!r}]) == 0; "
        f"assert not set({heavy!r}) & set(sys.modules), set({heavy!r}) & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
