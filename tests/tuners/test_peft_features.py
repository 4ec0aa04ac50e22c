from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from peft import (
    convert_to_lora,
    get_peft_model,
    get_peft_model_state_dict,
    inject_adapter_in_model,
    set_peft_model_state_dict,
)
from peft.utils.hotswap import hotswap_adapter, prepare_model_for_compiled_hotswap
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from svft_bench.tuners import SVFTConfig
from tests.tuners.cases import adapted, config_of, make_base, make_input, move
from tests.tuners.test_architectures import TOKENS, config_for, logits, make

METHODS = ["svft", "svft_tied", "vectorfit"]


@pytest.mark.parametrize("case", ["svft_banded", "vectorfit_sigma"])
def test_an_adapter_can_be_exported_as_lora(case: str) -> None:
    model, x = adapted(case, moved=True, target_modules={"square", "tall"}), make_input()
    want = model(x)
    config, state = convert_to_lora(model, rank=12)
    exported = get_peft_model(make_base(), config)
    set_peft_model_state_dict(exported, state)
    torch.testing.assert_close(exported.eval()(x), want, atol=1e-5, rtol=1e-5)


def test_an_adapter_of_biases_cannot_be_exported_as_lora() -> None:
    with pytest.raises(TypeError, match="VectorFitLinear"):
        convert_to_lora(adapted("vectorfit"), rank=12)


@pytest.mark.parametrize("case", ["svft_banded", "vectorfit"])
def test_swapping_an_adapter_in_place_is_refused_in_pefts_own_sentence(case: str, tmp_path: Path) -> None:
    adapted(case, moved=True).save_pretrained(tmp_path)
    model, x = adapted(case), make_input()
    before = model(x)
    with pytest.raises(ValueError, match=r"^Hotswapping only supports LORA but (SVFT|VECTORFIT) was passed"):
        hotswap_adapter(model, str(tmp_path), adapter_name="default")
    assert torch.equal(model(x), before)
    prepare_model_for_compiled_hotswap(model)  # which makes tensors of the scales
    assert torch.equal(model(x), before) and torch.equal(model.merge_and_unload()(x), before)


@pytest.mark.parametrize("case", ["svft_banded", "svft_saved_basis", "svft_tied", "vectorfit"])
def test_adapters_can_be_injected_into_a_plain_model(case: str) -> None:
    x = make_input()
    model = inject_adapter_in_model(config_of(case), make_base())
    assert torch.equal(model(x), make_base()(x))
    move(model)
    state = get_peft_model_state_dict(model)
    again = inject_adapter_in_model(config_of(case), make_base())
    result = set_peft_model_state_dict(again, state)
    assert not result.unexpected_keys
    with torch.no_grad():
        torch.testing.assert_close(again(x), model(x))


def test_a_foreign_state_is_refused_by_an_injected_model_too() -> None:
    state = get_peft_model_state_dict(inject_adapter_in_model(config_of("svft_banded"), make_base()))
    other = make_base()
    other.tall.weight.data = other.tall.weight.data.flip(0)
    with pytest.raises(ValueError, match="another singular basis"):
        set_peft_model_state_dict(inject_adapter_in_model(config_of("svft_banded"), other), state)


@pytest.mark.parametrize("method", METHODS)
def test_transformers_own_adapter_functions_work(method: str, tmp_path: Path) -> None:
    make("llama").save_pretrained(tmp_path / "base")
    model = LlamaForCausalLM.from_pretrained(tmp_path / "base")
    model.add_adapter(config_for(method, "llama"), adapter_name="mine")
    move(model)
    model.save_pretrained(tmp_path / "adapter")
    again = LlamaForCausalLM.from_pretrained(tmp_path / "base")
    again.load_adapter(str(tmp_path / "adapter"), adapter_name="other")
    torch.testing.assert_close(logits(again.eval()), logits(model.eval()))
    again.disable_adapters()
    assert torch.equal(logits(again), logits(make("llama")))


def test_transformers_own_loading_refuses_another_base_at_the_first_forward(tmp_path: Path) -> None:
    make("llama").save_pretrained(tmp_path / "base")
    model = LlamaForCausalLM.from_pretrained(tmp_path / "base")
    model.add_adapter(config_for("svft", "llama"))
    model.save_pretrained(tmp_path / "adapter")
    other = LlamaForCausalLM.from_pretrained(tmp_path / "base")
    other.model.layers[1].mlp.up_proj.weight.data = other.model.layers[1].mlp.up_proj.weight.data.flip(1)
    other.load_adapter(str(tmp_path / "adapter"))
    with pytest.raises(ValueError, match=r"another singular basis of 'model\.layers\.1\.mlp\.up_proj'"):
        logits(other)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    model.zero_grad()
    model(input_ids=TOKENS, labels=TOKENS).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_gradient_checkpointing_gives_the_same_gradients(method: str, use_reentrant: bool) -> None:
    model = get_peft_model(make("llama"), config_for(method, "llama"))
    move(model)
    want = gradients(model.train())
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, want[name], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_compiled_model_has_the_same_gradients(method: str) -> None:
    config = config_for(method, "llama")
    config.target_modules = {"q_proj", "down_proj"}
    model = get_peft_model(make("llama"), config)
    move(model)
    want = gradients(model)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    model.zero_grad()
    compiled(input_ids=TOKENS, labels=TOKENS).loss.backward()
    for name, p in model.named_parameters():
        if p.requires_grad:
            torch.testing.assert_close(p.grad, want[name], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_casts_and_moves_of_the_model_leave_the_basis_exact(method: str) -> None:
    model = get_peft_model(make("llama"), config_for(method, "llama"))
    layer = model.base_model.model.model.layers[0].mlp.down_proj
    before = copy.deepcopy(layer.basis("default"))
    model.to(torch.bfloat16).to(torch.float32).to("cpu")
    after = layer.basis("default")
    assert torch.equal(after.s, before.s)
    assert before.vt is None and torch.equal(after.u, before.u)


def test_only_the_small_factor_of_a_wide_layer_is_held() -> None:
    model = get_peft_model(make("llama"), SVFTConfig(target_modules=["down_proj", "o_proj"]))
    block = model.base_model.model.model.layers[0]
    wide, square = block.mlp.down_proj.basis("default"), block.self_attn.o_proj.basis("default")
    assert wide.vt is None and wide.nbytes == 4 * (16 * 16 + 16)
    assert square.nbytes == 4 * (2 * 16 * 16 + 16)
    assert not any("singular" in name for name in model.state_dict())


@pytest.mark.parametrize("case", ["svft_banded", "vectorfit"])
def test_clipping_sees_the_projected_gradient(case: str) -> None:
    model = adapted(case, moved=True)
    model(make_input()).square().sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    norm = torch.nn.utils.clip_grad_norm_(trained, 0.01)
    assert norm > 0.01
    assert torch.linalg.vector_norm(torch.cat([p.grad.flatten() for p in trained])) <= 0.0101


@pytest.mark.parametrize("case", ["svft_banded", "vectorfit"])
def test_a_gradient_scaler_steps_with_the_right_gradient(case: str) -> None:
    model = adapted(case, moved=True)
    model(make_input()).square().sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    want = [p.grad.clone() for p in trained]
    model.zero_grad()
    optimizer = torch.optim.SGD(trained, lr=0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(model(make_input()).square().sum()).backward()
    scaler.unscale_(optimizer)
    for p, gradient in zip(trained, want, strict=True):
        torch.testing.assert_close(p.grad, gradient)
