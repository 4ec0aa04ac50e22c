from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftConfig, PeftModel, get_peft_model, inject_adapter_in_model
from torch import Tensor, nn

from svft_bench.tuners import SVFTConfig, VectorFitConfig
from tests.tuners.cases import TARGETS, make_base, move
from tests.tuners.test_architectures import logits, make

CONFIGS = [SVFTConfig, VectorFitConfig]
EXPRESSIONS = {".*q_proj.*": 2, r".*(q|v)_proj.*": 4, r".*self_attn\..*": 8, r"model\.layers\..*_proj.*": 14}

Config = Callable[..., PeftConfig]


def carriers(model: nn.Module, adapter: str) -> set[str]:
    """The names of the modules that have trained entries of `adapter`."""
    trained = [name for name, _ in model.named_parameters() if name.endswith(f".{adapter}")]
    return {name.removesuffix(f".{adapter}").rpartition(".")[0] for name in trained}


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("first", [["q_proj", "v_proj"], "all-linear"])
def test_all_linear_adapts_what_is_adapted_already_too(first: list[str] | str, config: Config) -> None:
    model = get_peft_model(make("llama"), config(target_modules=first))
    model.add_adapter("second", config(target_modules="all-linear"))
    alone = get_peft_model(make("llama"), config(target_modules="all-linear"), adapter_name="second")
    assert carriers(model, "second") == carriers(alone, "second") and len(carriers(alone, "second")) == 14


@pytest.mark.parametrize("config", CONFIGS)
def test_all_linear_knows_every_kind_of_adapted_linear_layer(config: Config) -> None:
    model = get_peft_model(make_base(), config(target_modules=TARGETS))
    model.add_adapter("second", config(target_modules="all-linear"))
    assert {name.rpartition(".")[2] for name in carriers(model, "second")} == {*TARGETS, "twin", "head"}


class Normed(nn.Module):
    """A linear layer, a LayerNorm, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.norm(self.first(x)))
        return y


def test_all_linear_passes_over_an_adapted_layer_norm() -> None:
    model = get_peft_model(Normed(), VectorFitConfig(target_modules=["first", "norm"]))
    model.add_adapter("second", VectorFitConfig(target_modules="all-linear"))
    assert carriers(model, "second") == {"base_model.model.first", "base_model.model.last"}
    assert "base_model.model.norm" in carriers(model, "default")


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_may_match_within_an_adapted_layer(expression: str, config: Config, tmp_path: Path) -> None:
    count = EXPRESSIONS[expression]
    model = get_peft_model(make("llama"), config(target_modules=expression))
    move(model)
    model.add_adapter("second", config(target_modules=expression))
    assert len(carriers(model, "default")) == len(carriers(model, "second")) == count
    with torch.no_grad():
        want = logits(model)
    model.save_pretrained(tmp_path)

    again = PeftModel.from_pretrained(make("llama"), tmp_path)
    again.load_adapter(tmp_path / "second", adapter_name="second")
    again.load_adapter(tmp_path, adapter_name="third")
    again.set_adapter("third")
    assert len(carriers(again, "second")) == len(carriers(again, "third")) == count
    torch.testing.assert_close(logits(again), want)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("targets", ["all-linear", ".*_proj.*"])
def test_a_plain_model_takes_a_second_adapter_by_either_way(targets: str, config: Config) -> None:
    injected = make("llama")
    added = make("llama")
    for name in ("first", "second"):
        inject_adapter_in_model(config(target_modules=targets), injected, name)
        added.add_adapter(config(target_modules=targets), name)
    for model in (injected, added):
        assert len(carriers(model, "first")) == len(carriers(model, "second")) == 14
