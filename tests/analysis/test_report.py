"""The report is one file that needs nothing else."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from svft_bench.analysis.figures.looks import look
from svft_bench.analysis.report import content
from svft_bench.analysis.report.content import Content
from svft_bench.analysis.report.packing import Kind, Line, packed
from svft_bench.analysis.report.page import LIMIT, page
from svft_bench.commands.report import report
from svft_bench.compose import cells
from svft_bench.records import save_record
from tests.analysis.conftest import HOSTILE
from tests.made_records import made_record

pytestmark = pytest.mark.usefixtures("only_the_demo")


class Structure(HTMLParser):
    """Every tag that was opened and closed, and every address that is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.ids += [value for key, value in attributes if key == "id" and value]
        self.addresses += [value for key in ("src", "href") if (value := found.get(key))]
        if tag not in ("meta", "img", "input", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def structure(file: Path) -> Structure:
    parsed = Structure()
    parsed.feed(file.read_text(encoding="utf-8"))
    return parsed


def test_every_tag_closes_and_every_id_is_one(structure: Structure) -> None:
    assert structure.open == []
    assert len(structure.ids) == len(set(structure.ids))


def test_nothing_is_fetched(structure: Structure, file: Path) -> None:
    assert structure.addresses
    assert all(address.startswith(("data:", "#")) for address in structure.addresses)
    style = file.read_text(encoding="utf-8").split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style


def lines_of(text: str) -> list[dict[str, Any]]:
    """What the page unpacks."""
    data = re.search(r'<script id="data" type="text/plain">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    return [json.loads(line) for line in gzip.decompress(base64.b64decode(data.group(1))).splitlines()]


def examples_of(text: str) -> list[dict[str, Any]]:
    """Every example of every run, in the order in which it is told."""
    told = [line["examples"] for line in lines_of(text) if "examples" in line]
    return [row for some in told for own in some.values() for rows in own.values() for row in rows]


def test_the_points_of_a_budget_have_their_interval_and_the_look_of_their_method(file: Path) -> None:
    points = lines_of(file.read_text(encoding="utf-8"))[0]["points"]
    assert [point["method"] for point in points] == ["head only", "LoRA", "SVFT plain"]
    for point, method in zip(points, ("head", "lora", "svft_plain"), strict=True):
        assert point["look"] == list(look(method)) and point["ends"][0] < point["mean"] < point["ends"][1]


def test_a_negative_number_of_predictions_is_refused(file: Path) -> None:
    with pytest.raises(ValueError, match="--predictions -5: 0 or more"):
        report(["--results", str(file.parent), "--predictions", "-5"])


def test_predictions_cannot_leave_their_script(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert HOSTILE not in text
    runs = [run for line in lines_of(text) for run in line.get("runs", [])]
    assert [run["predictions"] for run in runs] == [{"digits": 100}] * 3
    examples = examples_of(text)
    assert len(examples) == 3 * 40 and HOSTILE in {row["prediction"] for row in examples}


def test_a_page_stays_below_its_limit_and_says_what_it_leaves_out(file: Path) -> None:
    made = content.report_content(file.parent, predictions=100)
    whole = "".join(page(made))
    assert len(whole.encode()) < LIMIT and "Left out" not in whole and len(examples_of(whole)) == 3 * 100
    for part in (0.99, 0.95, 0.85):
        limit = int(part * len(whole.encode()))
        cut = "".join(page(made, limit=limit))
        assert len(cut.encode()) <= limit and "Left out, so that this page stays below" in cut
        assert len(examples_of(cut)) < 3 * 100


def noise(kind: Kind, layer: int = 0) -> Line:
    """A line that hardly compresses."""
    return Line(kind, 10, json.dumps({kind: random.Random(kind).randbytes(3000).hex()}), layer)


def test_what_is_needed_first_is_packed_first_and_what_has_no_room_is_counted() -> None:
    lines = [noise("examples", 1), noise("details"), noise("examples", 0), noise("runs"), noise("points")]
    text, left = packed(lines, room=10_000)
    kinds = [next(iter(json.loads(line))) for line in gzip.decompress(base64.b64decode(text)).splitlines()]
    assert len(text) <= 10_000 and kinds == ["points", "runs"] and left == {"details": 10, "examples": 20}
    for room in range(0, 30_000, 1_111):
        assert len(packed(lines, room=room)[0]) <= max(room, 100)


def test_the_first_examples_of_every_run_are_told_before_more_of_any(file: Path) -> None:
    for group in content.report_content(file.parent, predictions=100).runs:
        told = [(one.layer, one.number) for one in group.lines if one.kind == "examples"]
        assert told == [(0, 5), (1, 5), (2, 10), (3, 20), (4, 40), (5, 20)]


def test_a_score_on_a_part_of_a_set_is_listed_under_the_name_of_that_part(tmp_path: Path) -> None:
    (cell,) = cells(["task=digits", "method=head", "limit.eval=20"], any_data=True)
    rows = [{"eval": "digits", "id": index, "prediction": "1", "reference": "1"} for index in range(20)]
    save_record(
        made_record(cell, score=1.0, items=20, label="digits (20 of 1,677)"), results=tmp_path, predictions=rows
    )
    (group,) = content.report_content(tmp_path, predictions=0).runs
    (run,) = json.loads(group.lines[0].text)["runs"]
    assert run["shown"] == {"digits": "digits (20 of 1,677)"}


def test_two_reports_of_the_same_records_are_equal(file: Path) -> None:
    before = file.read_bytes()
    report(["--results", str(file.parent), "--predictions", "40"])
    assert file.read_bytes() == before


def test_an_empty_page_still_closes() -> None:
    parsed = Structure()
    parsed.feed("".join(page(Content((), ()))))
    assert parsed.open == []


def test_an_empty_results_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run record"):
        report(["--results", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []
