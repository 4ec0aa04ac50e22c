"""What is no comparison of one's own rows is one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from svft_bench.cli import command


def test_scored_rows_of_which_none_can_be_used_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (("train", "a b"), ("test", "")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"doc": "d", "sum": text}) + "\n")
    files = ["--from", str(tmp_path / "train.jsonl"), "--eval", str(tmp_path / "test.jsonl")]
    own = ["--config-dir", str(tmp_path)]
    assert command(["new", "task", "mine", *files, "--text", "doc", "--target", "sum", *own]) == 0
    assert command(["leakage", "task=mine", *own]) == 2
    assert "test.jsonl: none of its 1 row can be used" in capsys.readouterr().err
