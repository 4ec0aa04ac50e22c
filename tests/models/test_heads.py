"""The head of a model is drawn from the seed, whatever head the checkpoint has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from svft_bench.config.spec import ModelSpec
from svft_bench.models.loading import load_model
from svft_bench.models.tiny import tiny_model_folder
from tests.models.test_models import model_spec


def plain(folder: Path) -> ModelSpec:
    """A tiny model without a head, as it was pre-trained."""
    return model_spec("minilm-l6", path=str(tiny_model_folder(model_spec("minilm-l6"), folder)))


def head(spec: ModelSpec, *, labels: int, seed: int) -> torch.Tensor:
    model, _ = load_model(spec, kind="sequence_classification", num_labels=labels, seed=seed)
    weight: torch.Tensor = model.classifier.weight.detach()
    return weight


@pytest.mark.parametrize("labels", [2, 3])
def test_the_head_of_a_checkpoint_that_was_tuned_for_three_classes_is_drawn_anew(labels: int, tmp_path: Path) -> None:
    pretrained, tuned = plain(tmp_path / "pretrained"), plain(tmp_path / "tuned")
    weights = load_file(tmp_path / "tuned" / "model.safetensors")
    own = {"classifier.weight": torch.ones(3, 32), "classifier.bias": torch.ones(3)}
    save_file(weights | own, tmp_path / "tuned" / "model.safetensors", metadata={"format": "pt"})
    for seed in (0, 1):
        assert torch.equal(head(tuned, labels=labels, seed=seed), head(pretrained, labels=labels, seed=seed))
    assert not torch.equal(head(tuned, labels=labels, seed=0), head(tuned, labels=labels, seed=1))


def test_classes_have_no_names_of_those_that_a_checkpoint_was_tuned_for(tmp_path: Path) -> None:
    spec = plain(tmp_path)
    file = tmp_path / "config.json"
    named = {"id2label": {"0": "neg", "1": "neu", "2": "pos"}, "label2id": {"neg": 0, "neu": 1, "pos": 2}}
    file.write_text(json.dumps(json.loads(file.read_text()) | named))
    for labels in (2, 3):
        model, _ = load_model(spec, kind="sequence_classification", num_labels=labels, seed=0)
        assert model.config.id2label == {number: f"LABEL_{number}" for number in range(labels)}
        assert model.config.label2id == {f"LABEL_{number}": number for number in range(labels)}


def test_what_has_another_shape_and_is_no_head_is_named_with_both(tmp_path: Path) -> None:
    spec, name = plain(tmp_path), "bert.encoder.layer.1.output.dense.weight"
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        weights | {name: weights[name][:, :1].contiguous()},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(ValueError, match=rf"has {name} as \[32, 1\], not as \[32, 64\]"):
        head(spec, labels=2, seed=0)
