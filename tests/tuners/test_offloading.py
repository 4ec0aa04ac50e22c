from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import cpu_offload, disk_offload
from peft import PeftModel, get_peft_model, set_peft_model_state_dict
from peft.utils import load_peft_weights
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from tests.tuners.cases import adapted, config_of, make_base, make_input, move, svft
from tests.tuners.test_architectures import config_for, logits, make

CASES = ["svft_banded", "svft_random", "svft_gate", "svft_tied", "vectorfit"]
STORES = ["cpu", "disk"]


def offloaded(model: nn.Module, store: str, folder: Path) -> nn.Module:
    """The model with its weights away between the forwards of their modules, which run on the CPU."""
    device = torch.device("cpu")
    if store == "cpu":
        return cpu_offload(model, execution_device=device)
    return disk_offload(model, str(folder / "weights"), execution_device=device)


def train(model: nn.Module) -> Tensor:
    """Three steps, and the output after them."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for step in range(3):
        optimizer.zero_grad()
        model(make_input() + step).square().sum().backward()
        optimizer.step()
    with torch.no_grad():
        output: Tensor = model(make_input())
    return output


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("case", CASES)
def test_an_adapter_of_an_offloaded_model_trains_and_saves_as_that_of_an_ordinary_one(
    case: str, store: str, tmp_path: Path
) -> None:
    x = make_input()
    model = get_peft_model(offloaded(make_base(), store, tmp_path), config_of(case)).eval()
    assert torch.equal(model(x), make_base()(x))
    trained = train(model)
    torch.testing.assert_close(trained, train(adapted(case)))
    model.save_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(PeftModel.from_pretrained(make_base(), tmp_path / "adapter")(x), trained)
    assert model.base_model.model.wide.base_layer.weight.is_meta


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("case", [*CASES, "svft_released"])
def test_a_model_may_be_offloaded_with_its_adapters(case: str, store: str, tmp_path: Path) -> None:
    x = make_input()
    ordinary = adapted(case, moved=True)
    model = offloaded(adapted(case, moved=True), store, tmp_path)
    torch.testing.assert_close(model(x), ordinary(x))
    with model.disable_adapter():
        assert torch.equal(model(x), make_base()(x))
    names = ["default", "__base__", "default", "default", "__base__"]
    torch.testing.assert_close(model(x, adapter_names=names), ordinary(x, adapter_names=names))
    torch.testing.assert_close(train(model), train(ordinary))


@pytest.mark.parametrize("case", CASES)
def test_several_adapters_of_an_offloaded_model_add_up_and_merge(case: str, tmp_path: Path) -> None:
    outputs = []
    for base in (make_base(), offloaded(make_base(), "cpu", tmp_path)):
        model = get_peft_model(base, config_of(case)).eval()
        move(model)
        model.add_adapter("second", config_of(case))
        model.set_adapter("second")
        move(model, seed=11)
        model.base_model.set_adapter(["default", "second"])
        together = model(make_input())
        model.merge_adapter(safe_merge=True)
        torch.testing.assert_close(model(make_input()), together)
        with model.disable_adapter():
            assert torch.equal(model(make_input()), make_base()(make_input()))
        torch.testing.assert_close(model(make_input()), together)
        outputs.append(together)
    torch.testing.assert_close(*outputs)


def test_an_adapter_loads_onto_a_language_model_that_lies_on_disk(tmp_path: Path) -> None:
    make("llama").save_pretrained(tmp_path / "base")
    want = get_peft_model(make("llama"), config_for("svft", "llama"))
    move(want)
    want.save_pretrained(tmp_path / "adapter")
    places = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
    places |= {"model.layers.0": "cpu", "model.layers.1": "disk"}

    def on_disk() -> LlamaForCausalLM:
        return LlamaForCausalLM.from_pretrained(
            tmp_path / "base", device_map=places, offload_folder=str(tmp_path / "offload")
        )

    model = get_peft_model(on_disk(), config_for("svft", "llama"))
    set_peft_model_state_dict(model, load_peft_weights(str(tmp_path / "adapter")))
    assert model.base_model.model.model.layers[1].mlp.up_proj.base_layer.weight.is_meta
    torch.testing.assert_close(logits(model), logits(want))
    # PEFT takes the hooks away before it adds the adapter, and with them the way to the weight.
    with pytest.raises(ValueError, match=r"layers\.1\..* has no singular basis.*use get_peft_model"):
        PeftModel.from_pretrained(on_disk(), tmp_path / "adapter")


def test_a_weight_that_is_not_finite_is_found_where_it_lies(tmp_path: Path) -> None:
    base = make_base()
    base.wide.weight.data[1, 2] = float("nan")
    with pytest.raises(ValueError, match=r"Module 'wide' .*not finite"):
        get_peft_model(offloaded(base, "disk", tmp_path), svft())
