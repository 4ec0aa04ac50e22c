"""All that a checkpoint holds is in the model that was loaded from it, in numbers, or it is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageClassification

from svft_bench.config.spec import ModelSpec
from svft_bench.models import hub as asking
from svft_bench.models.describing import describe_model
from svft_bench.models.tiny import tiny_model_folder
from tests.hub import Hub, connect, serving
from tests.hub_models import SPECS, weights


def copied(folder: Path, into: Path) -> Path:
    """A model's own folder, which stands in for nothing."""
    shutil.copytree(folder, into)
    (into / "stand_in.json").unlink()
    return into


def described(folder: Path) -> ModelSpec:
    return ModelSpec.model_validate(describe_model(str(folder), name="mine", title="Mine").fields)


def configured(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    fields = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))


def edited(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


@pytest.mark.parametrize("name", ["gemma-2b", "pythia-2.8b", "deberta-v3-base", "vit-b"])
def test_blocks_that_the_configuration_does_not_count_are_not_left_out(
    name: str, tmp_path: Path, folders: dict[str, Path]
) -> None:
    folder = copied(folders[name], tmp_path / "mine")
    assert weights(described(folder))
    configured(folder, num_hidden_layers=1, layer_types=None)
    with pytest.raises(ValueError, match=r"holds .*\.1\..*config.json describes has no place for it"):
        weights(described(folder))


def test_a_bias_that_the_configuration_denies_is_not_left_out(tmp_path: Path, folders: dict[str, Path]) -> None:
    folder = copied(folders["gemma-2b"], tmp_path / "mine")
    name = "model.layers.0.self_attn.q_proj.bias"
    edited(folder, lambda held: held | {name: torch.ones(32)})
    with pytest.raises(ValueError, match=f"holds {name}, and the model"):
        weights(described(folder))


def test_a_head_for_something_else_is_left_out(tmp_path: Path, folders: dict[str, Path]) -> None:
    folder = copied(folders["vit-b"], tmp_path / "mine")
    more = {
        "lm_head.weight": torch.ones(3, 3),
        "decoder.layers.0.weight": torch.ones(2),
        "pooler.dense.bias": torch.ones(32),
    }
    edited(folder, lambda held: held | more)
    assert weights(described(folder))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(
    value: float, tmp_path: Path, folders: dict[str, Path]
) -> None:
    folder, name = copied(folders["gemma-2b"], tmp_path / "mine"), "model.layers.1.mlp.up_proj.weight"
    edited(folder, lambda held: held | {name: held[name].index_fill(0, torch.tensor([3]), value)})
    with pytest.raises(ValueError, match=f"{name} of the checkpoint .* holds values that are no numbers"):
        weights(described(folder))


@pytest.mark.parametrize("token", ["pad_token", "eos_token"])
def test_a_token_of_every_batch_has_a_row_in_the_embeddings(
    token: str, tmp_path: Path, folders: dict[str, Path]
) -> None:
    folder = copied(folders["gemma-2b"], tmp_path / "mine")
    rows = load_file(folder / "model.safetensors")["model.embed_tokens.weight"].shape[0]
    added = json.loads((folder / "tokenizer.json").read_text())
    added["added_tokens"].append(added["added_tokens"][0] | {"id": rows, "content": "[NEW]"})
    (folder / "tokenizer.json").write_text(json.dumps(added))
    assert weights(described(folder))  # a token for pictures, which no text has
    fields = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(fields | {token: "[NEW]"}))
    with pytest.raises(ValueError, match=rf"has \[NEW\] as {token}, which is number {rows}, and its embeddings have"):
        weights(described(folder))


def test_an_adapter_in_a_model_s_folder_does_not_take_its_base_in_its_place(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    folder = copied(folders["vit-b"], tmp_path / "mine")
    spec = described(folder)
    base = AutoModelForImageClassification.from_pretrained(tiny_model_folder(SPECS["vit-b"], tmp_path / "b", seed=5))
    get_peft_model(base, LoraConfig(target_modules=["q_proj"])).save_pretrained(folder)
    with pytest.raises(ValueError, match=r"holds adapter_config\.json, by which another base would be loaded"):
        weights(spec)


@pytest.fixture
def sharded(tmp_path: Path, folders: dict[str, Path]) -> Path:
    folder = copied(folders["gemma-2b"], tmp_path / "sharded")
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, max_shard_size="20KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    assert len(list(folder.glob("model-*.safetensors"))) == 3
    return folder


def test_a_missing_shard_is_named(sharded: Path) -> None:
    spec = described(sharded)
    assert weights(spec)
    gone = "model-00002-of-00003.safetensors"
    (sharded / gone).unlink()
    with pytest.raises(ValueError, match=f"lacks {gone}, which model.safetensors.index.json names"):
        weights(spec)
    (sharded / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match=r"index\.json is no index of shards"):
        weights(spec)


def test_a_download_that_broke_off_between_two_shards_goes_on(
    sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(asking.time, "sleep", lambda seconds: None)
    whole = weights(described(sharded))
    spec = described(sharded).model_copy(update={"path": "me/mine", "revision": "e" * 40})
    with serving(Hub()) as hub:
        hub.add("model", "me/mine", {path.name: path.read_bytes() for path in sharded.iterdir()}, commit="e" * 40)
        connect(monkeypatch, hub, home=tmp_path / "home")
        hub.break_down("reset", where="model-00003")
        with pytest.raises(ValueError, match="broke off"):
            weights(spec)
        assert list((tmp_path / "home").rglob("snapshots/*/model-00001*"))
        hub.break_down(None)
        found = weights(spec)
    assert all(torch.equal(value, found[name]) for name, value in whole.items())
