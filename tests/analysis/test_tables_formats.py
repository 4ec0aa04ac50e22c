"""Tables as Markdown, LaTeX, CSV and JSON, and the verb that prints and writes them."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from svft_bench.analysis.figures.experiment import experiment_figures
from svft_bench.analysis.tables.latex import SIGNS, latex
from svft_bench.analysis.tables.render import as_csv, as_json, markdown
from svft_bench.analysis.tables.value import Column, Row, Table
from svft_bench.analysis.tables.writing import SUFFIXES
from svft_bench.commands.table import table
from svft_bench.compose import Cell
from svft_bench.records import save_record
from tests.analysis.test_tables import made
from tests.made_records import made_record


def test_markdown_escapes_what_would_break_a_row(one: list[Cell]) -> None:
    found = made(one[:1], [made_record(one[0], score=0.5)])
    broken = Table("n", "t", found.columns[:1], (Row(("a|b",), {}, frozenset({0})),), ())
    assert r"| **a\|b** |" in markdown(broken)


def test_a_page_of_markdown_shows_what_looks_like_a_tag() -> None:
    told = "filled with <pad>, p < 0.001, 1 <2"
    shown = r"filled with \<pad>, p < 0.001, 1 <2"
    text = markdown(Table("n", told, (Column("<eos>"),), (Row((told,), {}),), (told, "Not run: svft-bench x=<pad>")))
    assert text == f"# {shown}\n\n| \\<eos> |\n| ---: |\n| {shown} |\n\n- {shown}\n- Not run: `svft-bench x=<pad>`\n"


def test_latex_escapes_and_balances(one: list[Cell]) -> None:
    text = latex(made(one, [made_record(one[0], score=0.5)]))
    assert r"\toprule" in text and r"50.0 $\pm$" in text
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert "_" not in text.replace(r"\_", "")


@pytest.fixture
def odd() -> Table:
    """A table with all that LaTeX would take for itself, and every sign that our tables and notes have."""
    signs = " ".join(SIGNS) + " $x_1$ 100% a&b #1 {c}~^"
    columns = (Column("method", "left"), Column("score (%) & more"))
    rows = tuple(Row((signs[i : i + 40], "50.0 ± 1.0"), {}, frozenset({1})) for i in range(0, len(signs), 40))
    return Table("odd", signs, columns, rows, (signs, "a second note"))


def test_latex_is_a_table_of_booktabs_with_its_notes_below(odd: Table) -> None:
    text = latex(odd)
    order = ["begin{threeparttable}", "toprule", "midrule", "bottomrule", "end{tabular}", "begin{tablenotes}"]
    places = [text.index(f"\\{word}") for word in [*order, "end{tablenotes}", "end{threeparttable}"]]
    assert places == sorted(places) and text.count(r"\item ") == 2 and text.isascii()
    assert "tablenotes" not in latex(replace(odd, notes=()))


def test_every_sign_of_the_published_tables_has_its_command() -> None:
    for path in (Path(__file__).parents[2] / "results/tables").glob("*.md"):
        assert {sign for sign in path.read_text(encoding="utf-8") if not sign.isascii()} <= set(SIGNS), path


def _grid(name: str, *, rows: int, columns: int) -> Table:
    """A table of so many rows and columns, with two notes of which one is a path."""
    titles = ("method", *(f"a_set_of_data/{number}" for number in range(columns)))
    row = Row(("VectorFit (AVF reconstructed)", *(["81.25 ± 10.5"] * columns)), {}, frozenset({1}))
    heads = (Column(titles[0], "left"), *map(Column, titles[1:]))
    return Table(name, "Every method " * 9, heads, (row,) * rows, ("a_field_of/a_path=1," * 12, "a note"))


@pytest.mark.parametrize(("rows", "columns", "form"), [(9, 2, "table"), (60, 2, "longtable"), (9, 6, "landscape")])
def test_a_table_takes_the_form_that_fits_a_page(rows: int, columns: int, form: str) -> None:
    text = latex(_grid("grid", rows=rows, columns=columns))
    found = {name for name in ("table", "longtable", "landscape") if rf"\begin{{{name}}}" in text}
    assert found == ({form, "longtable"} if form == "landscape" else {form})
    (packages,) = [line for line in text.splitlines() if line.startswith("% ")]
    assert ("longtable" in packages) == ("longtable" in found) and ("pdflscape" in packages) == ("landscape" in found)
    assert text.count(r"\begin{") == text.count(r"\end{") and text.isascii()
    assert "wider than a page" in latex(_grid("grid", rows=rows, columns=20)) and "wider than a page" not in text


def test_numbers_of_several_tasks_stand_below_each_other_where_a_line_has_no_room() -> None:
    rows = (Row(("LoRA", *["647 MiB / 658 MiB / 667 MiB"] * 4), {}),)
    text = latex(Table("n", "t", (Column("method", "left"), *map(Column, "abcd")), rows, ()))
    assert r"\makecell[tr]{647 MiB /\\ 658 MiB /\\ 667 MiB}" in text and "landscape" not in text


def test_the_latex_compiles_and_nothing_runs_over_the_page(odd: Table, one: list[Cell], tmp_path: Path) -> None:
    engine = next(filter(None, map(shutil.which, ("tectonic", "pdflatex"))), None)
    if engine is None:
        pytest.skip("neither tectonic nor pdflatex is on this machine")
    grids = [_grid("small", rows=9, columns=2), _grid("long", rows=60, columns=3), _grid("wide", rows=9, columns=6)]
    body = "".join(map(latex, [odd, made(one, [made_record(one[0], score=0.5)]), *grids]))
    packages = "array,booktabs,longtable,makecell,pdflscape,threeparttable"
    head = rf"\documentclass{{article}}\usepackage{{{packages}}}\begin{{document}}"
    (tmp_path / "t.tex").write_text(f"{head}\n{body}\\end{{document}}\n", encoding="utf-8")
    batch = ["--print"] if "tectonic" in engine else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run([engine, *batch, "t.tex"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    over = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", done.stdout)]
    assert max(over, default=0.0) < 3 and "Float too large" not in done.stdout, done.stdout


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


def test_writing_a_table_leaves_no_differences_and_figures_of_other_cells(
    one: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {figure.suffix for figure in experiment_figures([], folder=tmp_path)} < set(SUFFIXES)
    save_record(made_record(one[0], score=0.5), results=tmp_path, predictions=[])
    old = [tmp_path / name for name in ("tables/demo_pairs.md", "tables/demo_pairs.csv", "figures/demo_scores.svg")]
    kept = [tmp_path / name for name in ("tables/small_seeds_pairs.md", "figures/small_seeds_scores.svg")]
    for path in (*old, *kept):
        path.parent.mkdir(exist_ok=True)
        path.write_text("of an earlier day", encoding="utf-8")
    assert table(["demo", "--results", str(tmp_path)]) == 0 and all(path.exists() for path in old)
    assert table(["demo", "--results", str(tmp_path), "--write"]) == 0
    told = capsys.readouterr().err
    assert all(f"{path} is removed" in told and not path.exists() for path in old)
    assert all(path.exists() for path in kept) and (tmp_path / "tables" / "demo.md").exists()


def test_a_table_reads_the_folder_that_is_typed_as_for_a_run(
    one: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_record(made_record(one[0], score=0.4321), results=tmp_path, predictions=[])
    assert table(["demo", f"results_dir={tmp_path}", "--format", "csv"]) == 0
    assert "0.4321" in capsys.readouterr().out
    with pytest.raises(ValueError, match="both name its folder"):
        table(["demo", f"results_dir={tmp_path}", "--results", str(tmp_path)])


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
