"""Two runs of one task are compared on the items that both answered, with what differs between them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scipy.stats import binomtest

from svft_bench.cli import command
from svft_bench.compose import cells
from svft_bench.records import save_record
from tests.made_records import made_record

RIGHT = {"lora": [1, 1, 1, 1, 1, 1, 1, 0, 0, 0], "vera": [1, 0, 0, 0, 0, 0, 1, 1, 0, 0]}


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    found = []
    for cell in cells(["method=lora,vera", "train.lr=1e-3"], any_data=True):
        right = RIGHT[cell.spec.method.name]
        rows = [{"eval": "digits", "id": str(i), "prediction": good, "reference": 1} for i, good in enumerate(right)]
        record = made_record(cell, score=sum(right) / len(right), items=len(right))
        found.append(save_record(record, results=tmp_path, predictions=rows))
    return found


def test_the_difference_has_an_interval_and_mcnemars_p(pair: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["compare", *map(str, pair), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["evals"]
    assert found["difference"] == pytest.approx(0.4) and found["items"] == 10
    low, high = found["interval"]
    assert low < 0.4 < high and (low + high) / 2 == pytest.approx(0.4)
    assert found["p"] == pytest.approx(binomtest(5, 6).pvalue)  # five items only the first got right, one the second


def test_a_run_may_be_named_by_how_its_id_begins(
    pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [path.stem[:8] for path in pair]
    assert command(["compare", *names, "--results", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "+40.0 [" in printed and 'They differ in method.name: "lora" | "vera"' in printed
    assert "method.peft_type" in printed and "seed" not in printed.split("They differ", 1)[1]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [(["0", "1"], "there is no such record"), (["{0}", "{0}"], "both are run"), (["../x", "{0}"], "no such record")],
)
def test_what_cannot_be_compared_is_one_sentence(
    names: list[str], sentence: str, pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [name.format(pair[0]) for name in names]
    assert command(["compare", *words, "--results", str(tmp_path / "none")]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"sha256": "b" * 64}, "sha256"),
        ({"content": "b" * 32}, "content"),
        ({"split": "set aside"}, "split rest | set aside"),
        ({}, None),
    ],
)
def test_items_are_paired_where_both_runs_were_scored_on_the_same_rows(
    rows: dict[str, str], told: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = []
    for cell, changes in zip(cells(["method=lora,vera", "train.lr=1e-3"], any_data=True), ({}, rows), strict=True):
        record = made_record(cell, score=1, items=1)
        *trained, scored = record.data
        known = {"sha256": "a" * 64, "content": "a" * 32} | changes
        record = record.model_copy(update={"data": (*trained, scored.model_copy(update=known))})
        predictions = [{"eval": "digits", "id": "0", "prediction": 1, "reference": 1}]
        paths.append(str(save_record(record, results=tmp_path, predictions=predictions)))
    assert command(["compare", *paths]) == (0 if told is None else 2)
    said = capsys.readouterr()
    if told is not None:
        assert "were scored on other rows of digits" in said.err and told in said.err and not said.out


def test_runs_of_different_tasks_share_no_eval(
    pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cell,) = cells(["model=minilm-l6", "method=lora", "task=glue/rte", "protocol=ours", "train.lr=1"], any_data=True)
    (item,) = cell.spec.task.evals
    rows = [{"eval": item.name, "id": "0", "prediction": 1, "reference": 1}]
    other = save_record(made_record(cell, score=1, items=1), results=tmp_path, predictions=rows)
    assert command(["compare", str(pair[0]), str(other)]) == 2
    assert "they share no eval" in capsys.readouterr().err
