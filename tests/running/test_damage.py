"""What lies below outputs/ and is damaged is named, set aside, and survived: by the checkpoint before, or the start."""

from __future__ import annotations

import os
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from svft_bench.cli import command
from svft_bench.records.durable import unsealed
from svft_bench.running.keeping.weights import code_state
from svft_bench.running.training.checkpoints import take_up
from tests.running.test_kills import (
    EPOCHS,
    Arguments,
    Killed,
    elsewhere,
    end_at_step,
    killed,
    left,
    the_record,
    undisturbed,
)


def flip(file: Path) -> None:
    """One bit of a file falls over."""
    content = bytearray(file.read_bytes())
    draw = random.Random(file.name)
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    file.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "one bit": flip,
    "half": lambda file: os.truncate(file, file.stat().st_size // 2),
    "empty": lambda file: os.truncate(file, 0),
    "removed": lambda file: file.unlink(),
    "no text": lambda file: file.write_bytes(b"\xff\xfe\x00" * 99),
    "another type": lambda file: file.write_text("[3, null]"),
}


def cut(line: list[str], monkeypatch: pytest.MonkeyPatch, *, step: int) -> None:
    end_at_step(monkeypatch, step, killed)
    with pytest.raises(Killed):
        command(line)


def test_every_damage_to_every_part_of_a_checkpoint_is_seen(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(arguments("text", "method=vectorfit", *EPOCHS), monkeypatch, step=7)
    (folder,) = (tmp_path / "outputs").rglob("checkpoints")
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint-5", "checkpoint-6"]
    parts = [path.relative_to(folder) for path in sorted((folder / "checkpoint-6").rglob("*")) if path.is_file()]
    names = {part.name for part in parts}
    origin = unsealed(folder / "checkpoint-6" / "manifest.json")["origin"]
    assert code_state() in origin
    assert names >= {"optimizer.pt", "scheduler.pt", "chance.pt", "trainer_state.json", "best.safetensors"}
    assert names >= {"adapter.safetensors", "parameters.safetensors", "manifest.json"}
    for part in parts:
        for name, damage in DAMAGES.items():
            copy = tmp_path / f"{part.name} {name}" / "checkpoints"
            shutil.copytree(folder, copy)
            damage(copy / part)
            with pytest.warns(UserWarning, match=f"checkpoint-6 cannot be trusted: its {part.name} .* is kept as"):
                taken = take_up(copy, origin=origin, best=copy / "best.safetensors")
            assert taken is not None and taken.step == 5
            assert (copy / "best.safetensors").read_bytes() == (folder.parent / "best.safetensors").read_bytes()
            assert (copy.parent / "aside" / "checkpoint-6.1").exists()  # which outlives the checkpoints


def test_a_folder_for_a_file_and_a_file_for_a_folder_are_set_aside(tmp_path: Path) -> None:
    checkpoints, best = tmp_path / "checkpoints", tmp_path / "best.safetensors"
    checkpoints.touch()
    best.mkdir()
    with pytest.warns(UserWarning, match="is kept as"):
        assert take_up(checkpoints, origin=code_state(), best=best) is None
    assert {path.name for path in (tmp_path / "aside").iterdir()} == {"checkpoints.1", "best.safetensors.1"}


@pytest.mark.parametrize(
    ("parts", "goes_on"),
    [(["checkpoint-6/optimizer.pt"], True), (["checkpoint-6/chance.pt", "checkpoint-5/manifest.json"], False)],
)
def test_a_run_goes_on_from_what_is_good(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: list[str], goes_on: bool
) -> None:
    line = arguments("text", "method=svft_banded", *EPOCHS)
    expected = undisturbed(line, tmp_path)
    cut(line, monkeypatch, step=7)
    (folder,) = (tmp_path / "outputs").rglob("checkpoints")
    for part in parts:
        flip(folder / part)
    with pytest.warns(UserWarning) as told:
        assert command(line) == 0
    for part in parts:
        assert any(Path(part).name in str(warning.message) for warning in told)
        assert (folder.parent / "aside" / f"{Path(part).parent}.1").exists()
    assert left(tmp_path) == expected and the_record(tmp_path).costs.resumed is goes_on


@pytest.mark.parametrize("step", [7, None], ids=["cut short", "finished"])
def test_what_another_training_left_is_not_taken_for_this_one(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int | None
) -> None:
    """A folder is moved to the name of another seed's."""
    line = arguments("text", "method=lora", *EPOCHS)
    expected = undisturbed(line, tmp_path)
    other = elsewhere([*line, "seed=9"], "other")
    if step is None:
        assert command(other) == 0
    else:
        cut(other, monkeypatch, step=step)
    (own,) = (tmp_path / "whole-outputs").glob("*/*/*/*/*")
    (others,) = (tmp_path / "other-outputs").glob("*/*/*/*/*")
    place = tmp_path / "outputs" / own.relative_to(tmp_path / "whole-outputs")
    shutil.copytree(others, place)
    with pytest.warns(UserWarning, match="another training|is of training"):
        assert command(line) == 0
    assert left(tmp_path) == expected


def test_the_best_epoch_s_damage_is_seen_and_the_epoch_found_again(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = arguments("text", "method=lora", *EPOCHS)
    expected = undisturbed(line, tmp_path)
    cut(line, monkeypatch, step=7)
    (best,) = (tmp_path / "outputs").glob("*/*/*/*/*/best.safetensors")
    flip(best)
    with pytest.warns(UserWarning, match=r"its best\.safetensors has other contents"):
        assert command(line) == 0
    assert left(tmp_path) == expected


def test_checkpoints_of_an_earlier_version_are_left_alone_with_a_sentence(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = arguments("text", "method=lora", *EPOCHS)
    cut(line, monkeypatch, step=7)
    for manifest in (tmp_path / "outputs").rglob("manifest.json"):
        manifest.unlink()
    with pytest.warns(UserWarning, match=r"manifest\.json has no seal, so it is cut, damaged or of an earlier version"):
        assert command(line) == 0
    assert not the_record(tmp_path).costs.resumed


@pytest.mark.parametrize("name", ["fitted.json", "trained.safetensors", "adapter/adapter_model.safetensors"])
def test_damaged_weights_are_trained_again(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("svft_bench.running.keeping.weights.package_state", lambda: ("a" * 40, False))
    line = arguments("text", "method=svft_random", "train.max_steps=2")
    assert command(line) == 0
    expected = left(tmp_path)
    shutil.rmtree(tmp_path / "results")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*is kept as.*")
        assert command(line) == 0
    damages = list(DAMAGES.values())[:: 1 if name == "fitted.json" else 3]  # all of them are tried above
    for damage in damages:
        shutil.rmtree(tmp_path / "results")
        (folder,) = (path.parent for path in (tmp_path / "outputs").rglob("fitted.json"))
        damage(folder / name)
        alone = name == "fitted.json" and not (folder / name).exists()  # then nothing says that there was a training
        if alone:
            assert command(line) == 0
        else:
            with pytest.warns(UserWarning, match=f"{name} .*; the training begins again"):
                assert command(line) == 0
        assert left(tmp_path) == expected
    assert len(list((folder / "aside").iterdir())) == len(damages) - 1
