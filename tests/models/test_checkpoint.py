"""A folder of weights is the model that it is named as, whole, and without code of its own, or it is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from svft_bench.cli import command
from svft_bench.compose import cells
from svft_bench.records import load_records
from tests.hub_models import SPECS, line, numbers_of, weights

GEMMA = SPECS["gemma-2b"]


def test_a_damaged_local_folder_is_named(tmp_path: Path, folders: dict[str, Path]) -> None:
    folder = shutil.copytree(folders["gemma-2b"], tmp_path / "copy")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged \(.*\); copy it again"):
        weights(GEMMA.model_copy(update={"path": str(folder)}))
    file.unlink()
    with pytest.raises(ValueError, match="holds no weights"):
        weights(GEMMA.model_copy(update={"path": str(folder)}))


@pytest.mark.parametrize("verb", [[], ["plan"]])
def test_a_tiny_model_under_a_great_one_s_name_is_refused(
    verb: list[str], tmp_path: Path, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bare = shutil.copytree(folders["gemma-2b"], tmp_path / "bare")
    (bare / "stand_in.json").unlink()
    lacking = shutil.copytree(folders["gemma-2b"], tmp_path / "lacking")
    (lacking / "stand_in.json").unlink()
    (lacking / "config.json").write_text("{}")  # a configuration leaves out what is the library's default
    cases = {
        f"model.path={lacking}": "holds 0 matrices of 2048 x 2048, and gemma-2b has 36 in its 18 blocks",
        f"model.path={bare}": "has hidden_size=32, and gemma-2b has 2048",
        f"model.path={folders['gemma-2b']}": "holds a small random stand-in of",
        f"model.path={folders['gemma-7b']}": "holds a small random stand-in for gemma-7b",
    }
    for override, sentence in cases.items():
        assert command([*verb, *line(tmp_path, override)]) == 2
        error = capsys.readouterr().err.strip()
        assert sentence in error and error.count("\n") == 0
    assert not (tmp_path / "results").exists()


def test_a_stand_in_says_what_it_is_and_is_recorded_with_its_own_numbers(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    assert command(line(tmp_path, f"model.path={folders['gemma-2b']}", "model.revision=null")) == 0
    (record,) = load_records(tmp_path / "results")
    assert record.spec.model.parameters < 100_000 and record.spec.model.layers == 2
    assert record.weights is not None and record.weights.revision is None


def test_other_weights_in_the_same_folder_are_another_run(tmp_path: Path, folders: dict[str, Path]) -> None:
    folder = shutil.copytree(folders["gemma-2b"], tmp_path / "copy")
    asked = line(tmp_path, f"model.path={folder}", "model.revision=null")
    (before,), (again,) = cells(asked), cells(asked)
    held = load_file(folder / "model.safetensors")
    save_file(
        {name: value + 1 for name, value in held.items()}, folder / "model.safetensors", metadata={"format": "pt"}
    )
    (after,) = cells(asked)
    assert before.spec == again.spec and before.spec.cell_id == after.spec.cell_id
    assert before.spec.run_id != after.spec.run_id and before.spec.train_id != after.spec.train_id


def test_a_model_of_a_name_and_numbers_of_its_own_runs_and_with_wrong_ones_does_not(
    tmp_path: Path, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bare = shutil.copytree(folders["gemma-2b"], tmp_path / "bare")
    (bare / "stand_in.json").unlink()
    own = [f"model.path={bare}", "model.name=mine", "model.revision=null", *numbers_of(folders["gemma-2b"])]
    assert command(line(tmp_path, *own, "model.parameters=1000")) == 2
    assert "parameters=" in (error := capsys.readouterr().err) and "its file states 1,000" in error
    assert command(line(tmp_path, *own)) == 0


def test_a_checkpoint_of_other_shapes_than_its_configuration_is_one_sentence(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    folder = shutil.copytree(folders["gemma-2b"], tmp_path / "mixed")
    held = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.down_proj.weight"
    save_file(held | {name: held[name][:-1].clone()}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"model=gemma-2b: its folder .*/mixed cannot be read"):
        weights(GEMMA.model_copy(update={"path": str(folder)}))


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_in_a_model_s_folder_runs_only_where_that_is_typed(
    file: str, tmp_path: Path, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(folders["gemma-2b"], tmp_path / "coded")
    fields = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(fields | {"auto_map": {"AutoConfig": "mine.Mine"}}))
    (folder / "mine.py").write_text("raise SystemExit('the code has run')\n")
    given = line(tmp_path, f"model.path={folder}", "model.revision=null")
    assert command(given) == 2
    assert "brings code of its own" in (error := capsys.readouterr().err) and "trust_remote_code=true" in error
    trusting = [cell.spec.run_id for cell in cells([*given, "model.trust_remote_code=true"])]
    (folder / file).write_text(json.dumps(fields))
    assert trusting != [cell.spec.run_id for cell in cells(given)]
