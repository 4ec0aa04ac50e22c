"""A folder of a model is that of a record only with the configuration and the tokenizer that it was recorded with."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from svft_bench.cli import command
from svft_bench.models import weight_files
from svft_bench.models.weight_files import fingerprint, settings, whole
from svft_bench.records import load_records
from svft_bench.running import run


@pytest.mark.parametrize(
    ("file", "counts"),
    [("config.json", True), ("tokenizer.json", True), ("chat_template.jinja", True), ("README.md", False)],
)
def test_what_decides_a_result_is_told_apart_and_a_page_is_not(file: str, counts: bool, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = settings(tmp_path)
    (tmp_path / file).write_text('{"changed": 1}')
    assert (settings(tmp_path) != before) is counts


@pytest.fixture
def own(arguments: Callable[..., list[str]], tmp_path: Path, tiny_models: dict[str, Path]) -> tuple[Path, list[str]]:
    """A folder of a model, and the command of a short run on it."""
    folder = shutil.copytree(tiny_models["text"], tmp_path / "model")
    return folder, arguments("text", "method=lora", "train.max_steps=1", "limit.eval=2", f"model.path={folder}")


def test_a_run_on_another_configuration_of_the_same_weights_is_not_taken_for_recorded(
    own: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, line = own
    assert command(line) == 0
    assert command(line) == 0
    assert "already recorded" in capsys.readouterr().out
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(fields | {"hidden_act": "relu"}))
    assert command(line) == 2
    assert "is recorded with another configuration, tokenizer or code than" in capsys.readouterr().err
    (before,) = load_records(tmp_path / "results")
    assert command([*line, "force=true"]) == 0
    (after,) = load_records(tmp_path / "results")
    assert after.run_id == before.run_id and after.weights != before.weights
    assert command(line) == 0


def test_weights_that_were_trained_under_another_configuration_are_trained_again(
    own: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, line = own
    assert command(line) == 0
    shutil.rmtree(tmp_path / "results")  # as if it had been killed before it was recorded
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(fields | {"hidden_act": "relu"}))
    with pytest.warns(UserWarning, match="another configuration of the model; the training begins again"):
        assert command(line) == 0


@pytest.mark.parametrize("moment", ["it waited for the lock", "it ran"])
def test_a_record_that_another_configuration_made_while_this_one_waited_or_ran_is_not_taken(
    moment: str, own: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder, line = own
    assert command(line) == 0
    written = {path: path.read_bytes() for path in (tmp_path / "results" / "runs").rglob("*.*") if path.is_file()}
    for path in written:
        path.unlink()
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(fields | {"hidden_act": "relu"}))

    def meanwhile(whole: Callable[..., Any]) -> Callable[..., Any]:
        def first(*given: Any, **more: Any) -> Any:
            made = whole(*given, **more)
            for path, content in written.items():
                path.write_bytes(content)
            return made

        return first

    name = "claim_folder" if moment == "it waited for the lock" else "_made"
    monkeypatch.setattr(run, name, meanwhile(vars(run)[name]))
    assert command(line) == 2
    assert "is recorded with another configuration, tokenizer or code than" in capsys.readouterr().err
    assert all(path.read_bytes() == content for path, content in written.items())


def test_in_a_sweep_it_is_a_failed_cell_with_its_reason(
    own: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, line = own
    assert command(line) == 0
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert command(["-m", *line]) == 2
    told = capsys.readouterr().err
    assert "is recorded with another configuration" in told and "Traceback" not in told


def changed_between_samples(folder: Path) -> None:
    """One matrix of many is another, at a place that no sample of the file has."""
    file = folder / "model.safetensors"
    before, (held, name) = fingerprint(folder), (load_file(file), "bert.encoder.layer.1.attention.output.dense.weight")
    save_file(held | {name: held[name] + 1}, file, metadata={"format": "pt"})
    assert fingerprint(folder) == before


@pytest.fixture
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fingerprint that sees as little of a small file as it does of a large one."""
    monkeypatch.setattr(weight_files, "SAMPLES", 2)
    monkeypatch.setattr(weight_files, "SAMPLE", 8)


def test_weights_that_differ_between_the_samples_of_their_fingerprint_are_not_taken_for_recorded(
    own: tuple[Path, list[str]],
    few_samples: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, line = own
    assert command(line) == 0
    (before,) = load_records(tmp_path / "results")
    changed_between_samples(folder)
    assert command(line) == 2
    assert "is recorded with other weights or another generation_config.json than" in capsys.readouterr().err
    (path,) = (tmp_path / "results" / "runs").rglob("*.json")
    assert (
        command(["export", str(path), "--merged", str(tmp_path / "merged"), "--outputs", str(tmp_path / "outputs")])
        == 2
    )
    assert "its folder has other weights or another generation_config.json than run" in capsys.readouterr().err
    assert command([*line, "force=true"]) == 0
    (after,) = load_records(tmp_path / "results")
    assert after.run_id == before.run_id and after.weights != before.weights and after.weights is not None
    assert before.weights is not None and after.weights.fingerprint == before.weights.fingerprint


def test_an_adapter_is_not_exported_on_another_configuration_of_its_base(
    own: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, line = own
    assert command(line) == 0
    (path,) = (tmp_path / "results" / "runs").rglob("*.json")
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(fields | {"hidden_act": "relu"}))
    assert (
        command(["export", str(path), "--merged", str(tmp_path / "merged"), "--outputs", str(tmp_path / "outputs")])
        == 2
    )
    assert "its folder has another configuration, tokenizer or code than run" in capsys.readouterr().err
    assert not (tmp_path / "merged").exists()


def test_how_texts_end_is_a_part_of_a_folder(tmp_path: Path) -> None:
    before = whole(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 1}')
    assert whole(tmp_path) != before


def test_a_digest_is_remembered_until_the_file_changes_in_any_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SVFT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weight_files, "TICK", 0.0)
    monkeypatch.setattr("svft_bench.records.kept._edited", lambda: False)
    (tmp_path / "model.safetensors").write_bytes(b"one")
    before, state = whole(tmp_path), (tmp_path / "model.safetensors").stat()
    monkeypatch.setattr(weight_files, "digest", None)
    weight_files._remembered.cache_clear()
    assert whole(tmp_path) == before
    monkeypatch.undo()
    (tmp_path / "model.safetensors").write_bytes(b"two")
    os.utime(tmp_path / "model.safetensors", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert whole(tmp_path) != before
