"""An exported model answers by the names that the classes of its task have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from svft_bench.config.own import beside
from tests.commands.test_export import exported, recorded
from tests.own.test_classes import new_task


def test_an_exported_model_names_the_classes_of_its_task(arguments: Callable[..., list[str]], tmp_path: Path) -> None:
    assert new_task(tmp_path / "own", [("bad", "good")[row % 2] for row in range(20)]) == 0
    line = arguments("text", "method=svft_plain", "task=mine", "task.max_length=16")
    with beside(tmp_path / "own"):
        path = recorded(tmp_path, [word for word in line if not word.startswith("task=glue")])
    config = json.loads((exported(tmp_path, path, "merged") / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {"0": "bad", "1": "good"} and config["label2id"] == {"bad": 0, "good": 1}
