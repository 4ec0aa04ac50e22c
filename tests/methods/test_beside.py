"""A task's head trains beside every adapter, whatever else an adapter's config has train in full."""

from __future__ import annotations

import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification

from svft_bench.config.spec import MethodSpec
from svft_bench.methods.applying import apply_method, peft_config, trainable_names


def trained(**fields: object) -> set[str]:
    """The last names of the modules that train in full, of a small vision transformer under a LoRA."""
    torch.manual_seed(0)
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = ViTForImageClassification(ViTConfig(**small, image_size=28, patch_size=14))
    named = {"name": "x", "title": "x", "peft_type": "LORA", "trains": "adapter", "modules": "q"}
    method = MethodSpec.model_validate(named | {"target_modules": ["q_proj"], "r": 2} | fields)
    head = ("classifier",)
    config = peft_config(method, kind="image_classification", head_modules=head, total_steps=5, seed=0)
    names = trainable_names(apply_method(model, method, config, head_modules=head))
    return {name.split(".modules_to_save")[0].split(".")[-1] for name in names if "lora_" not in name}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, {"classifier"}),
        ({"modules_to_save": []}, {"classifier"}),
        ({"modules_to_save": ["classifier"]}, {"classifier"}),
        ({"modules_to_save": ["layernorm"]}, {"classifier", "layernorm"}),
    ],
)
def test_the_head_trains_beside_other_modules(fields: dict[str, object], names: set[str]) -> None:
    assert trained(**fields) == names


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"modules_to_save": ["nope"]}, "modules_to_save has 'nope', which is none of the model's modules"),
        ({"target_parameters": ["nope"]}, "target_parameters has 'nope', which is none of the model's parameters"),
        ({"init_lora_weights": "eva"}, "init_lora_weights='eva' begins from activations of the data"),
    ],
)
def test_what_would_be_passed_over_in_silence_is_refused(fields: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        trained(**fields)
