"""What is not a number is no prediction: a model whose logits are not finite leaves no record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from svft_bench.cli import command

Arguments = Callable[..., list[str]]


def test_a_model_whose_logits_are_no_numbers_is_not_recorded(
    arguments: Arguments, tmp_path: Path, tiny_models: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, method, number in (
        ("image", "head", float("nan")),
        ("text", "lora", float("inf")),
        ("language", "svft_plain", float("nan")),
    ):
        folder = tmp_path / kind
        folder.mkdir()
        for file in tiny_models[kind].iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        weights = load_file(folder / "model.safetensors")
        name = next(name for name in weights if "layernorm" in name.lower() or "norm" in name.lower())
        weights[name][0] = number
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        line = arguments(kind, f"method={method}", f"model.path={folder}", "train.max_steps=0", "train.epochs=1")
        assert command(line) == 2
        said = capsys.readouterr().err.strip()
        assert "logits are not finite" in said and "weight" in said
    assert not list((tmp_path / "results").rglob("*.json*"))
