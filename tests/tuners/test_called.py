from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from peft import LoraConfig, PeftConfig, get_peft_model, inject_adapter_in_model
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import MambaConfig, MambaForCausalLM

from svft_bench.tuners import SVFTConfig, VectorFitConfig
from tests.tuners.cases import TARGETS, make_base, make_input, move
from tests.tuners.test_architectures import TOKENS

CONFIGS = [SVFTConfig, VectorFitConfig]

Config = Callable[..., PeftConfig]


def mamba() -> nn.Module:
    torch.manual_seed(0)
    return MambaForCausalLM(MambaConfig(hidden_size=16, num_hidden_layers=2, vocab_size=20, state_size=4, expand=2))


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("targets", ["all-linear", ["in_proj", "out_proj"], ".*out_proj"])
def test_what_peft_refuses_for_lora_in_a_mamba_is_refused(targets: list[str] | str, config: Config) -> None:
    with pytest.raises(ValueError, match="out_proj"):
        get_peft_model(mamba(), LoraConfig(target_modules=targets))
    base = mamba()
    modules = list(base.modules())
    with pytest.raises(ValueError, match=r"'backbone.layers\.0\.mixer\.out_proj' of a mamba model is read"):
        get_peft_model(base, config(target_modules=targets))
    assert list(base.modules()) == modules


@pytest.mark.parametrize("config", CONFIGS)
def test_a_layer_that_a_mamba_only_reads_is_named_after_the_first_training_forward(config: Config) -> None:
    model = get_peft_model(mamba(), config(target_modules=["in_proj", "x_proj", "dt_proj"])).train()
    with pytest.warns(UserWarning, match=r"did not call 2 of 6 .*layers.0.mixer.dt_proj, .*layers.1.mixer.dt_proj\. "):
        model(input_ids=TOKENS)
    silent(model, {"input_ids": TOKENS})


def silent(model: nn.Module, inputs: dict[str, Tensor]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model(**inputs)


class Attention(nn.Module):
    """Attention as in some vision models: one call of torch's function with the weights of four linear layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.q_proj, self.k_proj, self.v_proj, self.c_proj = (nn.Linear(8, 8) for _ in range(4))
        self.last = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = F.multi_head_attention_forward(
            x,
            x,
            x,
            embed_dim_to_check=8,
            num_heads=2,
            in_proj_weight=None,
            in_proj_bias=torch.cat([self.q_proj.bias, self.k_proj.bias, self.v_proj.bias]),
            bias_k=None,
            bias_v=None,
            add_zero_attn=False,
            dropout_p=0,
            out_proj_weight=self.c_proj.weight,
            out_proj_bias=self.c_proj.bias,
            use_separate_proj_weight=True,
            q_proj_weight=self.q_proj.weight,
            k_proj_weight=self.k_proj.weight,
            v_proj_weight=self.v_proj.weight,
        )
        z: Tensor = self.last(y)
        return z


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("inject", [True, False])
def test_layers_read_by_torchs_attention_function_are_named(inject: bool, config: Config) -> None:
    options = config(target_modules="all-linear")
    model = inject_adapter_in_model(options, Attention()) if inject else get_peft_model(Attention(), options)
    x = torch.randn(3, 1, 8)
    silent(model.eval(), {"x": x})
    model.train()
    with torch.no_grad():
        silent(model, {"x": x})
    with pytest.warns(UserWarning, match="did not call 4 of 5 adapted layers.*q_proj, .*c_proj") as caught:
        model(x)
    assert len(caught) == 1
    silent(model, {"x": x})


@pytest.mark.parametrize("config", CONFIGS)
def test_layers_that_are_all_called_are_not_warned_of(config: Config) -> None:
    model = get_peft_model(make_base(), config(target_modules=TARGETS)).train()
    silent(model, {"x": make_input()})


def test_a_later_adapter_is_looked_at_too() -> None:
    model = get_peft_model(Attention(), SVFTConfig(target_modules=["last"])).train()
    silent(model, {"x": torch.randn(3, 1, 8)})
    model.add_adapter("second", SVFTConfig(target_modules=["q_proj"]))
    model.set_adapter("second")
    with pytest.warns(UserWarning, match="did not call 1 of 2 adapted layers.*q_proj"):
        model(torch.randn(3, 1, 8))


class Experts(nn.Module):
    """Two experts, of which the first gets everything."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.experts[0](x)
        return y


def test_an_expert_that_gets_no_token_is_not_warned_of() -> None:
    model = get_peft_model(Experts(), SVFTConfig(target_modules=["0", "1"])).train()
    silent(model, {"x": torch.randn(3, 8)})


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("stacked", [True, False])
def test_torchs_encoder_calls_its_adapted_layers_in_eval_mode_too(stacked: bool, config: Config) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, activation="gelu")
    base = nn.Sequential(nn.TransformerEncoder(layer, 2) if stacked else layer)
    norms = ["norm1"] if config is VectorFitConfig else []
    model = get_peft_model(base, config(target_modules=["linear1", "linear2", *norms]))
    move(model, scale=0.5)
    x, padding = torch.randn(2, 4, 8), torch.tensor([[False] * 4, [False, False, True, True]])
    encoder = model.base_model.model[0]
    with torch.no_grad():
        for options in ({}, {"src_key_padding_mask": padding}):
            want = encoder.train()(x, **options)
            torch.testing.assert_close(encoder.eval()(x, **options)[~padding], want[~padding])
