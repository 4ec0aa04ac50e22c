"""What a kill leaves undone once a record is there, whoever finds the record does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from peft import PeftModel

from svft_bench.cli import command
from svft_bench.records import load_records
from svft_bench.running.exporting import base_of_run
from svft_bench.running.keeping import cards

Arguments = Callable[..., list[str]]


class Killed(BaseException):
    """Passes through whatever catches errors, as a kill would."""


@pytest.fixture
def recorded(arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Path]:
    """A command whose process was killed just after its record was written, and its training's folder."""
    line = arguments("text", "method=svft_plain", "train.max_steps=1")

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    monkeypatch.setattr(cards, "write_card", killed)
    with pytest.raises(Killed):
        command(line)
    monkeypatch.undo()
    (folder,) = (path.parent for path in (tmp_path / "outputs").rglob("fitted.json"))
    assert list(folder.glob("finished-*")) and not (folder / "adapter" / "run.json").exists()
    return line, folder


def test_a_card_that_a_kill_prevented_is_written_when_the_record_is_found(
    recorded: tuple[list[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line, folder = recorded
    adapter = folder / "adapter"
    (folder / f"run-{load_records(tmp_path / 'results')[0].run_id}.lock.owner").write_text("{}")
    assert command(line) == 0
    assert "already recorded" in capsys.readouterr().out
    PeftModel.from_pretrained(base_of_run(adapter), adapter)
    assert "score on" in (adapter / "README.md").read_text()
    assert not [*folder.glob("finished-*"), *folder.glob("*.owner")]


def test_while_another_process_is_at_it_nothing_is_done_twice(recorded: tuple[list[str], Path]) -> None:
    line, folder = recorded
    (lock,) = folder.glob("run-*.lock")
    with FileLock(lock):
        assert command(line) == 0
    assert list(folder.glob("finished-*")) and not (folder / "adapter" / "run.json").exists()


def test_an_adapter_of_a_later_training_gets_no_card_of_an_earlier_run(
    recorded: tuple[list[str], Path], tmp_path: Path
) -> None:
    line, folder = recorded
    assert command([*line, "limit.eval=4", "force=true"]) == 0
    card = (folder / "adapter" / "README.md").read_text()
    assert command(line) == 0
    assert not list(folder.glob("finished-*")) and (folder / "adapter" / "README.md").read_text() == card
    assert json.loads((folder / "adapter" / "run.json").read_text())["spec"]["limit"]["eval"] == 4


def test_what_a_kill_left_in_an_adapter_s_folder_is_no_part_of_the_adapter(
    arguments: Arguments, tmp_path: Path
) -> None:
    line = arguments("text", "method=svft_plain", "train.max_steps=1")
    assert command(line) == 0
    (adapter,) = (tmp_path / "outputs").rglob("adapter")
    (adapter / ".adapter_model.safetensors.0123abcd.partial").write_bytes(b"half")
    (adapter.parent / "fitted.json").unlink()
    assert command([*line, "limit.eval=4"]) == 0
    assert not list(adapter.glob(".*"))
    assert not [name for name in json.loads((adapter.parent / "fitted.json").read_text())["files"] if "partial" in name]
