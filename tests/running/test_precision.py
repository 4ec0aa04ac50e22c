"""Weights that trained in bfloat16 are scored as they are in the process that trained them, in whatever process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from svft_bench.cli import command
from svft_bench.records import RunRecord, load_predictions, load_records

Arguments = Callable[..., list[str]]
LINE = ("task=squad_v2", "task.validation_rows=4", "train.precision=bfloat16", "train.lr=0.01", "train.max_steps=2")


def left(root: Path) -> tuple[RunRecord, list[dict[str, Any]]]:
    (record,) = load_records(root)
    (path,) = root.rglob(f"{record.run_id}.json")
    return record, load_predictions(path)


@pytest.mark.parametrize("method", ["lora", "full_ft"])
def test_weights_that_are_taken_up_are_scored_in_the_precision_that_they_trained_in(
    method: str, arguments: Arguments, tmp_path: Path
) -> None:
    """What a prediction is sure of, by the gap of its answer, tells one precision from another."""
    line = arguments("answers", f"method={method}", *LINE)
    for results in ("first", "again"):
        assert command([*line, f"results_dir={tmp_path}/{results}"]) == 0
    (record, predictions), (again, repeated) = left(tmp_path / "first"), left(tmp_path / "again")
    assert again.costs.train_seconds == record.costs.train_seconds  # of one training
    assert [row["gap"] for row in repeated] == [row["gap"] for row in predictions]
