"""A run is of the data and the weights that it is named after, also where they change while its command waits."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from svft_bench.cli import command
from svft_bench.records import load_records
from svft_bench.running import run

Arguments = Callable[..., list[str]]


def shorten(file: Path) -> None:
    """A table with a row less."""
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))


def move(file: Path) -> None:
    """Weights with one number moved."""
    weights = load_file(file)
    next(iter(weights.values())).view(-1)[0] += 1
    save_file(weights, file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("file", "change", "what"),
    [
        ("data/glue/rte/train.jsonl", shorten, "task=glue/rte: its data"),
        ("data/glue/rte/validation.jsonl", shorten, "task=glue/rte: its data"),
        ("model/model.safetensors", move, "model=minilm-l6: its weights"),
    ],
)
def test_what_changed_while_a_command_waited_is_not_recorded_under_the_name_of_what_it_was(
    file: str,
    change: Callable[[Path], None],
    what: str,
    arguments: Arguments,
    tiny_models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(tiny_models["text"], tmp_path / "model")
    line = arguments("text", "method=lora", "train.max_steps=1", "limit.eval=2", f"model.path={folder}")
    whole = run.claim_folder

    def while_it_waits(*given: Any) -> Path:
        monkeypatch.setattr(run, "claim_folder", whole)
        change(tmp_path / file)
        return whole(*given)

    monkeypatch.setattr(run, "claim_folder", while_it_waits)
    assert command(line) == 2
    told = capsys.readouterr().err
    assert f"{what} changed since this command began" in told and "Traceback" not in told
    assert load_records(tmp_path / "results") == []
    assert command(line) == 0
    (record,) = load_records(tmp_path / "results")
    assert record.run_id not in told
