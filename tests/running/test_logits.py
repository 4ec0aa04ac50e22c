"""What is not a number is no prediction: a model whose logits are not finite leaves no record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from svft_bench.cli import command

Arguments = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("number", "told"), [(float("nan"), "no numbers"), (float("inf"), "no numbers"), (3e38, "logits are not finite")]
)
@pytest.mark.parametrize(("kind", "method"), [("image", "head"), ("text", "lora"), ("language", "svft_plain")])
def test_a_model_whose_logits_are_no_numbers_is_not_recorded(
    kind: str,
    method: str,
    number: float,
    told: str,
    arguments: Arguments,
    tmp_path: Path,
    tiny_models: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / kind
    folder.mkdir()
    for file in tiny_models[kind].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "norm" in name.lower())
    weights[name][:] = number
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    line = arguments(kind, f"method={method}", f"model.path={folder}", "train.max_steps=0", "train.epochs=1")
    assert command(line) == 2
    assert told in capsys.readouterr().err
    assert not list((tmp_path / "results").rglob("*.json*"))
