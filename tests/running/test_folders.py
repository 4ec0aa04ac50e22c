"""Where a training keeps its files: readable, one folder for tasks that share it, and older ones are found."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from svft_bench.cli import command
from svft_bench.compose import Cell, cells
from svft_bench.records import load_records
from svft_bench.running.keeping.folders import claim_folder, folder_of

Arguments = Callable[..., list[str]]


def test_a_folder_says_task_model_and_method(cell: Callable[..., Cell], tmp_path: Path) -> None:
    spec = cell("model=minilm-l6", "method=lora", "task=glue/rte", "protocol=ours").spec
    assert (
        claim_folder(tmp_path, spec)
        == tmp_path / "glue/rte/minilm-l6/lora" / spec.train_id
        == folder_of(tmp_path, spec)
    )


def test_tasks_that_share_a_training_share_its_folder(tmp_path: Path) -> None:
    maths, grade = cells(["model=smollm2-135m", "method=lora", "task=math,gsm8k", "protocol=ours"], any_data=True)
    assert maths.spec.train_id == grade.spec.train_id
    with ThreadPoolExecutor(2) as pool:
        found = set(pool.map(lambda spec: claim_folder(tmp_path, spec), [maths.spec, grade.spec] * 4))
    assert len(found) == 1 == len(list(tmp_path.glob("*/*/*/*")))


def test_a_folder_of_an_older_version_is_taken_up(cell: Callable[..., Cell], tmp_path: Path) -> None:
    spec = cell().spec
    (tmp_path / spec.train_id).mkdir()
    assert claim_folder(tmp_path, spec) == folder_of(tmp_path, spec) == tmp_path / spec.train_id


def test_weights_in_a_folder_of_an_older_version_are_scored_and_exported(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("svft_bench.running.keeping.weights.package_state", lambda: ("a" * 40, False))
    line = arguments("text", "method=svft_plain")
    assert command(line) == 0
    before, record_file, adapter = capsys.readouterr().out.splitlines()[-3:]
    assert Path(adapter.strip()).name == "adapter" and (Path(adapter.strip()) / "adapter_model.safetensors").is_file()
    (first,) = load_records(tmp_path / "results")
    Path(adapter.strip()).parent.rename(tmp_path / "outputs" / first.train_id)
    Path(record_file.strip()).unlink()
    assert command(line) == 0
    assert f"outputs/{first.train_id}/adapter" in capsys.readouterr().out
    (again,) = load_records(tmp_path / "results")
    assert again.costs.train_seconds == first.costs.train_seconds and again.scores == first.scores and before
    out = tmp_path / "out"
    assert command(["export", record_file.strip(), "--adapter", str(out), "--outputs", str(tmp_path / "outputs")]) == 0
    assert (out / "adapter_model.safetensors").is_file()


def test_a_printed_command_is_what_was_typed(cell: Callable[..., Cell], tmp_path: Path) -> None:
    typed = [f"data_root={tmp_path}/my data", "model.title='a; b'", "device=cpu"]
    found = cell(*typed)
    assert shlex.split(found.typed)[1:4] == typed and "data_root" not in found.command
