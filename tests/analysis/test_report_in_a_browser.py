"""The report works in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from svft_bench.analysis.report import content
from svft_bench.analysis.report.page import page
from tests.analysis.conftest import HOSTILE
from tests.browser import PROGRAM, Browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if PROGRAM is None:
        pytest.skip("no Chromium is installed")
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


def column(browser: Browser, index: int) -> Any:
    return browser.ask(f"[...document.querySelectorAll('#runs tbody tr')].map(row => row.cells[{index}].textContent)")


def test_a_browser_opens_it_without_an_error(browser: Browser, file: Path) -> None:
    browser.open(file)
    browser.ask("ready")
    assert browser.ask("document.querySelectorAll('#runs tbody tr').length") == 3
    assert browser.ask("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    links = "[...document.querySelectorAll('nav a')].map(link => link.hash.slice(1))"
    assert browser.ask(f"{links}.every(id => document.getElementById(id))")
    assert browser.problems == []


def test_the_first_screen_is_a_headline_and_the_ways_on(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    first = text[text.index("<body>") : text.index('<div class="names">')]
    assert re.search(
        r'<p class="mark">\d+ of \d+ differences between two methods on one eval are more than noise', first
    )
    assert first.count("<a ") == 6 and "<summary>by name (1)</summary>" in first  # home, and a section each
    assert re.search(r'<a href="#table-demo" title="[^"]+">demo</a>', text)


def test_a_click_sorts_numbers_as_numbers(browser: Browser, file: Path) -> None:
    browser.open(file)
    browser.ask("ready")
    trained = browser.ask("columns.findIndex(([name]) => name === 'trained')")
    head = f"document.querySelectorAll('#runs thead th')[{trained}]"
    browser.ask(f"{head}.click()")
    assert column(browser, trained) == ["10,000", "20,000", "30,000"]
    browser.ask(f"{head}.click()")
    assert column(browser, trained) == ["30,000", "20,000", "10,000"]
    assert browser.ask(f"{head}.getAttribute('aria-sort')") == "descending"


def test_a_page_that_had_no_room_for_all_still_opens(browser: Browser, file: Path, tmp_path: Path) -> None:
    made = content.report_content(file.parent, predictions=100)
    listed = tuple(replace(group, lines=group.lines[:1]) for group in made.runs)
    cut = tmp_path / "cut.html"
    cut.write_text("".join(page(replace(made, runs=listed))), encoding="utf-8")
    browser.open(cut)
    browser.ask("ready")
    assert browser.ask("document.querySelectorAll('#runs tbody tr').length") == 3
    browser.ask("document.querySelector('#runs tbody a').click()")
    browser.ask("new Promise(done => setTimeout(done, 50))")
    assert "no curve is here" in browser.ask("document.getElementById('run').innerText")
    assert browser.problems == []


def test_typing_filters(browser: Browser, file: Path) -> None:
    browser.open(file)
    browser.ask("ready")
    browser.ask("filter = document.getElementById('filter'); filter.focus()")
    browser.call("Input.insertText", text="SVFT digits")
    assert browser.ask("document.getElementById('count').textContent") == "1 of 3"
    visible = "[...document.querySelectorAll('#runs tbody tr')].filter(row => row.offsetParent).length"
    assert browser.ask(visible) == 1


def test_a_run_has_its_page(browser: Browser, file: Path) -> None:
    browser.open(file)
    browser.ask("ready")
    browser.ask("document.querySelector('#runs tbody a').click()")
    browser.ask("new Promise(done => setTimeout(done, 50))")
    assert browser.ask("document.getElementById('overview').hidden")
    text = browser.ask("document.getElementById('run').innerText")
    for fact in ("Learning curve", "40 of 100 predictions", "wrong", "train.lr", "a processor", HOSTILE):
        assert fact in text
    browser.ask("document.querySelector('#run a').click()")
    browser.ask("new Promise(done => setTimeout(done, 50))")
    assert not browser.ask("document.getElementById('overview').hidden")
    assert browser.problems == []


def test_two_runs_are_compared_by_what_differs(browser: Browser, file: Path) -> None:
    browser.open(file)
    browser.ask("ready")
    browser.ask(
        "[['first', 0], ['second', 1]].forEach(([id, index]) => {"
        "const select = document.getElementById(id); select.value = runs[index].run_id;"
        "select.dispatchEvent(new Event('change'))})"
    )
    text = browser.ask("document.getElementById('differences').innerText")
    assert "spec.method.name" in text
    assert "spec.model.name" not in text


def chosen(browser: Browser, *values: tuple[str, str]) -> None:
    """Choose in one menu after another, as a hand would."""
    for menu, value in values:
        browser.ask(
            f"{{ const menu = document.getElementById('{menu}'); menu.value = {value};"
            " menu.dispatchEvent(new Event('change')) }"
        )


def test_examples_of_two_runs_stand_side_by_side_and_are_filtered_by_who_is_right(browser: Browser, file: Path) -> None:
    browser.open(file)
    browser.ask("ready")
    chosen(browser, ("first", "runs.find((run) => run.method === 'head').run_id"))
    chosen(browser, ("second", "runs.find((run) => run.method === 'svft_plain').run_id"))
    shown = []
    for which in ("all", "first", "second", "neither"):
        chosen(browser, ("which", f"'{which}'"))
        shown.append(browser.ask("document.querySelectorAll('#side tbody tr').length"))
    assert shown == [40, 0, 20, 10]  # the first forty items, of which the head misses thirty and plain ten


def test_a_budget_is_filtered_and_a_mark_tells_its_cell(browser: Browser, file: Path) -> None:
    browser.open(file)
    browser.ask("ready")
    marks = "document.querySelectorAll('#scatter g').length"
    assert browser.ask(marks) == 3
    chosen(browser, ("by-method", "'LoRA'"))
    assert browser.ask(marks) == 1
    browser.ask("document.querySelector('#scatter g').dispatchEvent(new Event('mouseenter'))")
    assert "LoRA on" in browser.ask("document.getElementById('told').textContent")
    assert browser.problems == []


def test_a_table_opens_where_its_name_is_followed(browser: Browser, file: Path) -> None:
    browser.open(file)
    browser.ask("ready")
    assert not browser.ask("document.getElementById('table-demo').open")
    browser.ask("location.hash = '#table-demo'")
    browser.ask("new Promise(done => setTimeout(done, 50))")
    assert browser.ask("document.querySelector('#table-demo table').offsetParent !== null")
    assert browser.ask("Math.abs(document.getElementById('table-demo').getBoundingClientRect().top) < innerHeight")


def test_the_figure_of_budgets_begins_with_one_experiment_and_joins_the_budgets_of_a_line(
    browser: Browser, file: Path
) -> None:
    browser.open(file)
    browser.ask("ready")
    assert browser.ask("['experiment', 'eval'].map(choice)") == ["demo", "digits"]
    joined = "document.querySelectorAll('#scatter > svg > polyline').length"
    assert browser.ask(joined) == 0
    grown = "{ ...point, trained: 10 * point.trained }"
    browser.ask(f"points = points.flatMap(point => point.trained ? [point, {grown}] : [point])")
    browser.ask("showBudgets()")
    assert browser.ask(joined) == browser.ask("new Set(points.map(point => point.line)).size")
    assert browser.problems == []


def test_a_phone_shows_it_without_sideways_scrolling(browser: Browser, file: Path) -> None:
    browser.open(file, width=390)
    browser.ask("ready")
    assert browser.ask("document.documentElement.scrollWidth") <= 390
    browser.ask("location.hash = '#run=' + runs[0].run_id")
    browser.ask("new Promise(done => setTimeout(done, 50))")
    assert browser.ask("document.documentElement.scrollWidth") <= 390
    assert float(browser.ask("getComputedStyle(document.body).fontSize").removesuffix("px")) >= 14
