"""The classes of a task of one's own are those that its rows name: neither an empty cell nor a twin is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from svft_bench.cli import command


def new_task(tmp_path: Path, labels: list[Any]) -> int:
    tmp_path.mkdir(exist_ok=True)
    rows = [{"text": f"text {number}", "label": label} for number, label in enumerate(labels)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return command(["new", "task", "mine", "--from", str(tmp_path / "rows.jsonl"), "--config-dir", str(tmp_path)])


@pytest.mark.parametrize("nothing", ["", " ", None, float("nan")])
def test_a_row_without_a_label_is_named_and_is_no_class(
    nothing: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new_task(tmp_path, ["good", "bad", nothing, "good"]) == 2
    assert "row 2 has no label; take out the rows without one" in capsys.readouterr().err
    assert not (tmp_path / "task").exists()


@pytest.mark.parametrize("twin", [" good", "good ", "tre\u0300s good"])
def test_classes_that_look_alike_are_not_two(twin: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new_task(tmp_path, ["good", "tr\u00e8s good", twin, "bad"]) == 2
    told = capsys.readouterr().err
    assert "differ in spaces or in how a letter is coded alone" in told and ascii(twin) in told


@pytest.mark.parametrize("labels", [["good", "Good"], [0, 1], [True, False], ["0", "None"]])
def test_every_other_value_is_a_class(labels: list[Any], tmp_path: Path) -> None:
    assert new_task(tmp_path, labels) == 0
    assert f"labels: {len(labels)}" in (tmp_path / "task" / "mine.yaml").read_text(encoding="utf-8")


def test_a_class_that_the_scored_rows_alone_have_is_one(tmp_path: Path) -> None:
    for place in range(5):  # one of which is among the fifth that is scored
        labels = ["rare" if row == place else "good" if row % 2 else "bad" for row in range(5)]
        assert new_task(tmp_path, labels) == 0
        file = tmp_path / "task" / "mine.yaml"
        assert "classes: [bad, good, rare]" in file.read_text(encoding="utf-8")
        file.unlink()


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x7f", "\ufeff", "\u200d"])
def test_a_sign_that_ends_a_line_of_yaml_ends_no_comment(sign: str, tmp_path: Path) -> None:
    assert new_task(tmp_path, [f"good{sign}task: none", "bad", "bad"]) == 0
    assert command(["show", "task=mine", "row=0", "--config-dir", str(tmp_path)]) == 0


@pytest.mark.parametrize("labels", [[1, 2, 1.0], [True, False, 1], [0, 1, False]])
def test_one_value_written_in_two_ways_is_not_two_classes(
    labels: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new_task(tmp_path, labels) == 2
    assert f"in row 2, {labels[2]!r}, one value that would be two classes" in capsys.readouterr().err
    assert not (tmp_path / "task").exists()
