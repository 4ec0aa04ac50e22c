"""No number on a page with tables is typed: what stands outside its marks has none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.make_tables import PAGES, show_tables, shown_figures, told
from svft_bench.records.index import held

ROOT = Path(__file__).parents[2]
MADE = re.compile(r"<!-- begin (\w+) -->.*?<!-- end \1 -->", flags=re.DOTALL)
NAMES = re.compile(r"```.*?```|`[^`]*`|\]\([^)]*\)", flags=re.DOTALL)  # code and links
NUMBER = re.compile(r"[-±+(\[]*\d[\d.,:]*(?:e-?\d+)?[%.,;:)\]]*")


SMALL = "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|hundred|thousand"
RESULT = re.compile(
    rf"\b(?:{SMALL})\s+(?:of|points?|times|per\s+cent|percent)\b|\b(?:half|thirds?|quarters?|fifths?|tenths?)\s+of\b",
    flags=re.IGNORECASE,
)


def typed(page: str) -> list[str]:
    """The numbers outside marks, code and links, and results in words; a digit in a name, such as SST-2, is none.

    A setting in words ("three seeds") is part of a protocol; a share, a gap or a factor is a measurement.
    """
    text = NAMES.sub(" ", MADE.sub("", page))
    return [*(word for word in text.split() if NUMBER.fullmatch(word)), *RESULT.findall(text)]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_number_of_a_page_stands_between_marks(page: Path) -> None:
    assert typed((ROOT / page).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        *("a gap of 1.2 points", "± 6 to", "at 3e-2, as", "(95 %)", "all 1,043 rows"),
        *("fails at two of nine", "six points above", "four\ntimes the memory", "a fifth of its parameters"),
    ],
)
def test_a_typed_number_is_found(text: str) -> None:
    assert typed(text)


@pytest.mark.parametrize("text", ["three seeds each", "SST-2 and MiniLM-L6", "`r=8`", "ten images a class"])
def test_a_setting_in_words_is_no_result(text: str) -> None:
    assert not typed(text)


def test_between_marks_stand_the_rows_of_a_table_and_of_pairs_those_that_survive(tmp_path: Path) -> None:
    head = "# T\n\n| a | b |\n| --- | ---: |\n"
    (tmp_path / "t.md").write_text(head + "| x | 1 |\n", encoding="utf-8")
    (tmp_path / "t_pairs.md").write_text(head + "| x | **+1.0** |\n| y | +0.1 |\n", encoding="utf-8")
    (tmp_path / "u_pairs.md").write_text(head + "| y | +0.1 |\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "".join(f"<!-- begin {n} --><!-- end {n} -->\n" for n in ("t", "t_pairs", "u_pairs")), encoding="utf-8"
    )
    show_tables(page, tables=tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "| x | 1 |" in text and "| x | **+1.0** |" in text and "| y |" not in text
    assert "<!-- begin u_pairs -->\nNo difference survives.\n<!-- end u_pairs -->" in text
    (tmp_path / "n.md").write_text(head + "| x | 1 |\n\n- A note.\n", encoding="utf-8")
    page.write_text("<!-- begin n_notes -->\n<!-- end n_notes -->\n", encoding="utf-8")
    show_tables(page, tables=tmp_path)
    assert page.read_text(encoding="utf-8") == "<!-- begin n_notes -->\n- A note.\n<!-- end n_notes -->\n"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (
            "<!-- begin t --><!-- end t --><!-- begin nope_pairs --><!-- end nope_pairs -->",
            "there is no .*nope_pairs.md",
        ),
        ("<!-- begin t --> 71.9 <!-- end tt -->", "has <!-- begin t --> without its other end"),
        ("<!-- begin t-u --> 71.9 <!-- end t-u -->", "has <!-- begin t-u --> without its other end"),
        ("<!-- begin t --><!-- end t --> 71.9 <!-- end t -->", "has <!-- end t --> without its other end"),
    ],
)
def test_a_mark_that_no_table_fills_is_named_and_the_other_pages_are_filled(
    text: str, wrong: str, tmp_path: Path
) -> None:
    (tmp_path / "t.md").write_text("| a |\n| --- |\n| x |\n", encoding="utf-8")
    pages = [tmp_path / "one.md", tmp_path / "other.md"]
    for page, content in zip(pages, (text, "<!-- begin t --><!-- end t -->"), strict=True):
        page.write_text(content, encoding="utf-8")
    (said,) = told(pages, tables=tmp_path)
    assert re.search(wrong, said) and str(pages[0]) in said
    assert pages[0].read_text(encoding="utf-8") == text and "| x |" in pages[1].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", re.findall(r"<!-- begin (\w+) -->", (ROOT / "results/README.md").read_text("utf-8")))
def test_the_page_shows_the_tables_as_they_are(name: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"<!-- begin {name} -->\n<!-- end {name} -->\n", encoding="utf-8")
    show_tables(page, tables=ROOT / "results" / "tables")
    assert page.read_text(encoding="utf-8").strip() in (ROOT / "results" / "README.md").read_text(encoding="utf-8")


def test_the_committed_figures_are_those_that_the_pages_show() -> None:
    shown = {f"{name}.svg" for page in PAGES for name in shown_figures(ROOT / page)}
    assert shown and {path.name for path in (ROOT / "results" / "figures").iterdir()} == shown


def test_the_results_are_small_enough_to_read_in_a_clone() -> None:
    files = {path for path in (ROOT / "results").rglob("*") if path.is_file()}
    sizes = [path.stat().st_size for path in files - {ROOT / "results" / "report.html"}]  # which is in no clone
    assert sum(sizes) < 13.5e3 * len(held(ROOT / "results"))  # with tables, figures and predictions
