from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import PeftConfig, get_peft_model
from torch import nn
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from svft_bench.tuners import SVFTConfig, VectorFitConfig
from tests.tuners.test_architectures import make

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 20,
}
LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
ROUTED = {"n_routed_experts": 3, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}
MIXTURES: dict[str, Callable[[], nn.Module]] = {
    "mixtral": lambda: MixtralForCausalLM(MixtralConfig(**SIZES, num_local_experts=3)),
    "qwen3": lambda: Qwen3MoeForCausalLM(
        Qwen3MoeConfig(**SIZES, num_experts=3, num_experts_per_tok=2, moe_intermediate_size=12, head_dim=8)
    ),
    "deepseek": lambda: DeepseekV3ForCausalLM(DeepseekV3Config(**SIZES, **LATENT, **ROUTED, moe_intermediate_size=12)),
    "gpt_oss": lambda: GptOssForCausalLM(
        GptOssConfig(
            **SIZES, num_local_experts=3, num_experts_per_tok=2, head_dim=8, layer_types=["full_attention"] * 2
        )
    ),
}
CONFIGS = [SVFTConfig, VectorFitConfig]

Config = Callable[..., PeftConfig]


def mixture(name: str) -> nn.Module:
    torch.manual_seed(0)
    return MIXTURES[name]().eval()


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("name", MIXTURES)
def test_one_warning_counts_the_experts_that_all_linear_leaves_out(name: str, config: Config) -> None:
    base = mixture(name)
    sizes = [p.numel() for p in base.parameters()]
    stacked = [p.numel() for name, p in base.named_parameters() if p.dim() == 3]
    share = f"{len(stacked)} parameters .*: {100 * sum(stacked) / sum(sizes):.1f}% of the model's weights"
    with pytest.warns(UserWarning, match=share) as caught:
        get_peft_model(base, config(target_modules="all-linear"))
    assert sum("stack the weights" in str(warning.message) for warning in caught) == 1


def test_names_of_targets_that_are_such_parameters_are_warned_of_too() -> None:
    with pytest.warns(UserWarning, match=r"2 parameters .*'model.layers.0.mlp.experts.down_proj'"):
        get_peft_model(mixture("qwen3"), SVFTConfig(target_modules=["q_proj", "down_proj"]))


@pytest.mark.parametrize("name", ["llama", "vit", "gpt2"])
def test_a_model_without_such_experts_is_not_warned_of(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        get_peft_model(make(name), SVFTConfig(target_modules="all-linear"))
        get_peft_model(mixture("qwen3"), SVFTConfig(target_modules=["q_proj"]))
