"""A record and its predictions are both old or both new, whatever ends the writing between their two names."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from svft_bench.commands.rescore import rescore
from svft_bench.compose import Cell, cells
from svft_bench.records import DamagedRecord, load_predictions, load_record, predictions_path, save_record
from tests.made_records import made_record

ROW = {"id": "0", "eval": "gsm8k", "prediction": "#### 4\nQuestion: #### 5", "reference": "4"}


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Cell, Path]:
    (cell,) = cells(["model=smollm2-135m", "method=lora", "task=gsm8k", "train.lr=1"], any_data=True)
    return cell, save_record(made_record(cell, score=0.0, items=1), results=tmp_path, predictions=[ROW])


def at(target: Path, how: Callable[[], object], *, before: bool) -> Callable[[Path, Path], Path]:
    """`Path.replace`, at one target of which something happens, once."""
    whole, left = Path.replace, [how]

    def replace(self: Path, to: Path) -> Path:
        if to == target and left and before:
            left.pop()()
        found = whole(self, to)
        if to == target and left:
            left.pop()()
        return found

    return replace


def no_room() -> None:
    raise OSError(28, "No space left on device")


def made_again(cell: Cell, path: Path) -> None:
    save_record(
        made_record(cell, score=1.0, items=1), results=path.parents[4], predictions=[ROW | {"prediction": "#### 4"}]
    )


def test_a_signal_between_predictions_and_record_costs_neither(
    recorded: tuple[Cell, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, path = recorded
    interrupt = at(predictions_path(path), lambda: signal.raise_signal(signal.SIGINT), before=False)
    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        made_again(cell, path)
    assert load_record(path).scores["gsm8k"]["accuracy_strict"] == 1.0
    assert [row["prediction"] for row in load_predictions(path)] == ["#### 4"]
    assert len(os.listdir(path.parent)) == 2


def test_a_signal_before_both_leaves_both_as_they_were(
    recorded: tuple[Cell, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, path = recorded
    before = load_record(path)
    interrupt = at(predictions_path(path), lambda: signal.raise_signal(signal.SIGINT), before=True)
    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        made_again(cell, path)
    assert load_record(path) == before and len(os.listdir(path.parent)) == 2


def test_a_record_that_gets_no_name_beside_new_predictions_is_given_it_later(
    recorded: tuple[Cell, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, path = recorded
    monkeypatch.setattr(Path, "replace", at(path, no_room, before=True))
    with pytest.raises(OSError, match="No space left"):
        made_again(cell, path)
    with pytest.raises(DamagedRecord, match="was changed after its run"):
        load_record(path)
    assert rescore(["--write", str(path)]) == 0
    assert load_record(path).scores["gsm8k"]["accuracy_strict"] == 1.0 and len(os.listdir(path.parent)) == 2
