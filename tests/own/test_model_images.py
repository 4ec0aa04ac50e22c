"""A described model prepares images as its own processor says, and a note names what is done otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from transformers import CONFIG_MAPPING, AutoConfig, AutoImageProcessor, AutoModelForImageClassification

from svft_bench.config.spec import ImageSpec, ModelSpec
from svft_bench.models import hub as asking
from svft_bench.models.describing import Described, describe_model
from svft_bench.models.loading import _image_processor, load_model
from tests.hub import Hub, connect, serving
from tests.own.test_model import TINY, _config

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
DINOV2 = {
    "image_processor_type": "BitImageProcessor",
    "do_center_crop": True,
    "crop_size": {"height": 24, "width": 24},
    "size": {"shortest_edge": 28},
    "resample": 3,
    **IMAGENET,
}


def described(tmp_path: Path, said: dict[str, Any] | None, *, family: str = "vit") -> Described:
    folder = tmp_path / "mine"
    _config(family, folder)
    if said is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return describe_model(str(folder), name="mine", title="Mine")


@pytest.mark.parametrize(
    "said",
    [
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}},
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, "resample": 3, **IMAGENET},
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, "do_normalize": False},
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, "image_mean": 0.4},
        {"image_processor_type": "DeiTImageProcessor", "size": {"height": 32, "width": 32}, "do_center_crop": False},
    ],
)
def test_pixels_are_those_of_the_model_s_own_processor(said: dict[str, Any], tmp_path: Path) -> None:
    found = described(tmp_path, said)
    ours = _image_processor(ImageSpec.model_validate(found.fields["image"]))
    theirs = AutoImageProcessor.from_pretrained(tmp_path / "mine")
    noise = numpy.random.default_rng(0).integers(0, 256, (41, 57, 3), dtype=numpy.uint8)
    one, other = (made([Image.fromarray(noise)], return_tensors="pt")["pixel_values"] for made in (ours, theirs))
    torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    assert not [note for note in found.notes if "processor" in note or "guess" in note]


def test_what_is_done_otherwise_is_named(tmp_path: Path) -> None:
    found = described(tmp_path, DINOV2, family="dinov2")
    assert found.fields["image"]["mean"] == IMAGENET["image_mean"] and found.fields["image"]["resample"] == "bicubic"
    told = " ".join(found.notes)
    assert "gives images of 24 x 24 pixels, here they have 32 x 32" in told and "cuts the middle out" in told
    found = described(tmp_path, {"image_processor_type": "ViTImageProcessor", "resample": 0, "rescale_factor": 1})
    assert "resize" in (told := " ".join(found.notes)) and "scales colours otherwise" in told
    found = described(tmp_path, {"image_processor_type": "ViTImageProcessor", "do_resize": False})
    assert "leaves images of any size as they are" in " ".join(found.notes)
    (tmp_path / "mine" / "preprocessor_config.json").unlink()
    assert "are a guess" in " ".join(described(tmp_path, None).notes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"image_size": [32, 24]}, "has image_size=32 x 24; images and patches are square here"),
        ({"patch_size": [8, 4]}, "has patch_size=8 x 4; images and patches are square here"),
        ({"num_channels": 1}, "takes images of 1 channels; here they have three"),
    ],
)
def test_images_of_another_form_are_refused_and_not_described_as_square(
    changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    fields = described(tmp_path, None).fields
    CONFIG_MAPPING["vit"](**TINY | {"image_size": 32, "patch_size": 8} | changes).save_pretrained(folder)
    with pytest.raises(ValueError, match=told):
        describe_model(str(folder), name="mine", title="Mine")
    AutoModelForImageClassification.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    with pytest.raises(ValueError, match=told):
        load_model(ModelSpec.model_validate(fields), kind="image_classification", num_labels=2, seed=0)


def test_a_side_that_is_said_twice_is_one(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    CONFIG_MAPPING["vit"](**TINY | {"image_size": [32, 32], "patch_size": [8, 8]}).save_pretrained(folder)
    AutoModelForImageClassification.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    fields = describe_model(str(folder), name="mine", title="Mine").fields
    assert fields["image"]["size"] == 32 and fields["patch"] == 8
    fields["image"]["size"] = 48
    model, _ = load_model(ModelSpec.model_validate(fields), kind="image_classification", num_labels=2, seed=0)
    assert model(pixel_values=torch.zeros(1, 3, 48, 48)).logits.shape == (1, 2)


def test_a_repository_of_the_hub_says_it_too_and_its_commit_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking.time, "sleep", lambda seconds: None)
    asking._looked_up.cache_clear()
    files = {"config.json": (Path(_config("dinov2", tmp_path / "mine")) / "config.json").read_bytes()}
    with serving(Hub()) as hub:
        files["preprocessor_config.json"] = json.dumps(DINOV2).encode()
        hub.add("model", "me/mine", files, commit="e" * 40, refs=("main",))
        connect(monkeypatch, hub, home=tmp_path / "home")
        fields = describe_model("me/mine", name="mine", title="Mine").fields
    assert fields["revision"] == "e" * 40
    assert fields["image"]["mean"] == IMAGENET["image_mean"] and fields["image"]["resample"] == "bicubic"
