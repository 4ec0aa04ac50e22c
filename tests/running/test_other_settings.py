"""A folder of a model is that of a record only with the configuration and the tokenizer that it was recorded with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from svft_bench.cli import command
from svft_bench.models.weight_files import settings
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
