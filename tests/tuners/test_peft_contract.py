"""What PEFT promises of every adapter, said of ours beside LoRA's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.helpers import disable_input_dtype_casting, rescale_adapter_scale
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from svft_bench.tuners import SVFTConfig, VectorFitConfig
from tests.tuners.cases import adapted, make_base, make_input, move
from tests.tuners.test_architectures import TOKENS, logits, make

TARGETS = ["q_proj", "down_proj"]
ALL: dict[str, Callable[..., PeftConfig]] = {
    "lora": LoraConfig,
    "svft": lambda **options: SVFTConfig(pattern="banded", off_diag=2, **options),
    "random": lambda **options: SVFTConfig(pattern="random", off_diag=2, **options),
    "vectorfit": lambda **options: VectorFitConfig(freezing="adaptive", total_step=9, **options),
}
OURS = ["svft", "random", "vectorfit"]
each = pytest.mark.parametrize("name", ALL)


def build(name: str, *, base: nn.Module | None = None, moved: bool = True, **options: Any) -> PeftModel:
    config = ALL[name](**{"target_modules": list(TARGETS)} | options)
    model = get_peft_model(base or make("llama"), config)
    if moved:
        move(model)
    return model.eval()


def layers(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


def trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


@each
def test_trained_entries_have_32_bits_or_by_choice_those_of_the_base(name: str) -> None:
    for choice, dtype in ((True, torch.float32), (False, torch.bfloat16)):
        config = ALL[name](target_modules=TARGETS)
        model = get_peft_model(make("llama").bfloat16(), config, autocast_adapter_dtype=choice)
        assert {parameter.dtype for parameter in trained(model)} == {dtype}


@pytest.mark.parametrize("name", OURS)
def test_entries_of_16_bits_train_and_merge(name: str) -> None:
    model = get_peft_model(make("llama").bfloat16(), ALL[name](target_modules=TARGETS), autocast_adapter_dtype=False)
    move(model)
    model(input_ids=TOKENS, labels=TOKENS).loss.backward()
    assert all(p.grad is not None and p.grad.dtype == torch.bfloat16 and p.grad.any() for p in trained(model))
    before = logits(model.eval())
    model.merge_adapter()
    torch.testing.assert_close(logits(model), before, atol=0.01, rtol=0.05)


@each
def test_a_layer_says_how_many_features_it_takes_and_gives(name: str) -> None:
    assert {(layer.in_features, layer.out_features) for layer in layers(build(name))} == {(16, 16), (40, 16)}


@each
def test_an_input_keeps_its_dtype_where_casting_is_switched_off(name: str) -> None:
    model = build(name)
    with disable_input_dtype_casting(model):
        assert not any(layer.cast_input_dtype_enabled for layer in layers(model))
        torch.testing.assert_close(logits(model), logits(build(name)))
    assert all(layer.cast_input_dtype_enabled for layer in layers(model))


def test_factors_are_cast_to_an_input_that_is_not_cast_to_them() -> None:
    """As with weights that wait in 16 bits and are raised to the dtype of the input for one forward."""
    model, x = adapted("svft_banded", dtype=torch.bfloat16, moved=True), make_input()
    model.base_model.model.to(torch.float32)
    rounded, exact = model(x), adapted("svft_banded", moved=True)
    with disable_input_dtype_casting(model):
        kept = model(x)
    assert kept.dtype == torch.float32
    torch.testing.assert_close(kept, exact(x), atol=0.02, rtol=0.05)
    assert not torch.equal(kept, rounded)


@each
def test_an_adapter_is_scaled_as_a_whole_and_back(name: str) -> None:
    model, base = build(name), logits(make("llama"))
    whole = logits(model)
    for layer in layers(model):
        layer.scale_layer(0.5)
        layer.scale_layer(0.0)
    torch.testing.assert_close(logits(model), base)
    for layer in layers(model):
        layer.unscale_layer()
    assert torch.equal(logits(model), whole)
    initial = layers(model)[0].scaling["default"]
    for layer in layers(model):
        layer.set_scale("default", 0.25)
        layer.scale_layer(2.0)
        layer.unscale_layer(2.0)
        layer.set_scale("another", 7.0)
    assert layers(model)[0].scaling == {"default": 0.25 * initial}
    scaled = logits(model)
    assert not torch.allclose(scaled, whole)
    model.merge_adapter()
    torch.testing.assert_close(logits(model), scaled, atol=1e-5, rtol=1e-4)


@each
def test_peft_s_own_helper_rescales(name: str) -> None:
    model, whole = build(name), logits(build(name))
    with rescale_adapter_scale(model, 0.0):
        torch.testing.assert_close(logits(model), logits(make("llama")))
    assert torch.equal(logits(model), whole)


@pytest.mark.parametrize("name", OURS)
def test_scaling_is_linear_in_the_weight(name: str) -> None:
    model = build(name)
    deltas = [layer.get_delta_weight("default") for layer in layers(model)]
    for layer, delta in zip(layers(model), deltas, strict=True):
        layer.set_scale("default", -3.0)
        torch.testing.assert_close(layer.get_delta_weight("default"), -3.0 * delta)


@pytest.mark.parametrize("name", OURS)
def test_weights_may_start_drawn_so_that_an_adapter_does_something_at_once(name: str) -> None:
    drawn, again = (build(name, moved=False, init_weights=False) for _ in range(2))
    assert not torch.allclose(logits(drawn), logits(make("llama")), atol=1e-3)
    assert torch.equal(logits(drawn), logits(again))  # of one seed, set by `make`
    assert torch.equal(logits(build(name, moved=False)), logits(make("llama")))


def test_layers_have_numbers_of_their_own_by_pattern(tmp_path: Path) -> None:
    model = build(
        "svft", off_diag_pattern={"down_proj": 0, r"layers\.1\.self_attn\.q_proj": 5}, rank_pattern={"q_proj": 12}
    )
    sizes = [layer.svft_m["default"].numel() for layer in layers(model)]
    assert sizes == [12 * 5 - 2 * 3, 16, 12 * 11 - 5 * 6, 16]
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(make("llama"), tmp_path).eval()
    torch.testing.assert_close(logits(again), logits(model))


def test_drawn_entries_have_numbers_of_their_own_too() -> None:
    model = build("random", entries_pattern={"down_proj": 7})
    assert [layer.svft_m["default"].numel() for layer in layers(model)] == [74, 7, 74, 7]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"off_diag_pattern": {"q_proj": 1.5}}, r"off_diag_pattern\['q_proj'\]: off_diag=1.5 is not a whole number"),
        ({"off_diag_pattern": {"q_proj": -1}}, r"off_diag_pattern\['q_proj'\]: off_diag=-1 is negative"),
        ({"off_diag_pattern": {"q_proj": 16}}, "'model.layers.0.self_attn.q_proj': off_diag=16 does not fit"),
        ({"rank_pattern": {"q_proj": 0}}, r"rank_pattern\['q_proj'\]: rank=0 must be at least 1"),
        ({"entries_pattern": {"q_proj": 9}}, r"entries_pattern\['q_proj'\]: entries=9"),
        ({"off_diag_pattern": {"(": 1}}, r"off_diag_pattern\['\('\]"),
    ],
)
def test_a_pattern_takes_what_the_field_itself_would_take(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        build("svft", **options)


def test_a_pattern_that_matches_no_target_is_told() -> None:
    with pytest.warns(UserWarning, match="off_diag_pattern has o_proj, which no target matches"):
        build("svft", off_diag_pattern={"o_proj": 1})


def test_a_band_wider_than_a_small_core_is_refused_or_cut_by_choice() -> None:
    base = make_base()
    with pytest.raises(ValueError, match="off_diag=9 does not fit a core of size 8"):
        get_peft_model(base, SVFTConfig(target_modules=["square", "wide"], pattern="banded", off_diag=9))
    config = SVFTConfig(target_modules=["square", "wide"], pattern="banded", off_diag=9, oversized="clip")
    model = get_peft_model(base, config)
    assert [layer.svft_m["default"].numel() for layer in layers(model)] == [12 * 19 - 90, 8 * 8]
    drawn = SVFTConfig(target_modules=["wide"], pattern="random", entries=100, oversized="clip")
    assert layers(get_peft_model(make_base(), drawn))[0].svft_m["default"].numel() == 64


@each
def test_chosen_tokens_train_beside_the_adapter(name: str, tmp_path: Path) -> None:
    model = build(name, trainable_token_indices=[1, 3])
    model(input_ids=TOKENS, labels=TOKENS).loss.backward()
    assert any("trainable_tokens" in n and p.grad is not None for n, p in model.named_parameters())
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(make("llama"), tmp_path).eval()
    torch.testing.assert_close(logits(again), logits(model))


@each
@pytest.mark.parametrize("tokens", [[1, 3], {"embed_tokens": [0]}])
def test_chosen_tokens_are_merged_with_the_adapter_or_taken_off_with_it(name: str, tokens: Any) -> None:
    model = build(name, trainable_token_indices=tokens).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.1)
    want, copied = logits(model), copy.deepcopy(model)
    assert torch.equal(logits(copied.unload()), logits(make("llama")))
    merged = model.merge_and_unload()
    assert type(merged.model.embed_tokens) is nn.Embedding and merged.model.embed_tokens.weight.is_leaf
    torch.testing.assert_close(logits(merged), want)


def tied() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(**make("llama").config.to_dict() | {"tie_word_embeddings": True})
    return LlamaForCausalLM(config).eval()


@each
@pytest.mark.parametrize("saved", ["embed_tokens", "lm_head"])
def test_tied_modules_that_train_in_full_stay_tied_where_that_is_asked(name: str, saved: str, tmp_path: Path) -> None:
    model = build(name, base=tied(), modules_to_save=[saved], ensure_weight_tying=True)
    inner = model.base_model.model
    embedding = inner.model.embed_tokens.modules_to_save["default"].weight
    assert inner.lm_head.modules_to_save["default"].weight is embedding
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tied(), tmp_path).eval()
    torch.testing.assert_close(logits(again), logits(model))


def test_an_embedding_has_no_adapter_to_tie_a_head_to() -> None:
    with pytest.raises(ValueError, match="an embedding has no adapter in the singular basis"):
        build("svft", base=tied(), target_modules=["lm_head"], ensure_weight_tying=True)


@each
def test_an_adapter_that_waits_for_its_checkpoint_takes_no_memory(name: str) -> None:
    config = ALL[name](target_modules=TARGETS)
    model = get_peft_model(make("llama"), config, low_cpu_mem_usage=True)
    state = get_peft_model_state_dict(model)
    assert {value.device.type for value in state.values()} == {"meta"}
    whole = build(name)
    found = set_peft_model_state_dict(model, get_peft_model_state_dict(whole), low_cpu_mem_usage=True)
    assert not found.unexpected_keys
    assert not any(value.is_meta for value in model.state_dict().values())
    torch.testing.assert_close(logits(model.eval()), logits(whole))


@each
def test_mixed_batches_are_refused_in_peft_s_own_words(name: str) -> None:
    model = build(name)
    cases = [
        (["default"], "Length of `adapter_names` should be the same as the number of inputs, but got 1 and 2"),
        (["default", "none"], r"Trying to infer with non-existing adapter\(s\): none"),
    ]
    for names, sentence in cases:
        with pytest.raises(ValueError, match=sentence):
            model(input_ids=TOKENS, adapter_names=names)
    model.train()
    with pytest.raises(ValueError, match="Cannot pass `adapter_names` when the model is in training mode"):
        model(input_ids=TOKENS, adapter_names=["default"] * 2)
    model.eval().merge_adapter()
    with pytest.raises(ValueError, match="Cannot pass `adapter_names` when there are merged adapters"):
        model(input_ids=TOKENS, adapter_names=["default"] * 2)


@each
def test_a_broken_adapter_is_not_merged_and_said_so_in_peft_s_own_words(name: str) -> None:
    model = build(name)
    for parameter in trained(model):
        parameter.data.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"NaNs detected in the merged weights\. The adapter default seems to be bro"):
        model.merge_adapter(safe_merge=True)


@pytest.mark.parametrize("name", ["lora", "svft"])
def test_a_target_that_has_no_adapter_is_not_supported(name: str) -> None:
    with pytest.raises(ValueError, match=r"Target module .*is not supported"):
        build(name, target_modules=["input_layernorm"])


@pytest.mark.parametrize("config", [SVFTConfig, VectorFitConfig])
def test_every_field_of_a_config_says_what_it_is(config: type[PeftConfig]) -> None:
    assert not [field.name for field in fields(config) if not field.metadata.get("help")]
    own = {field.name: field.metadata["help"] for field in fields(config)}
    assert own["save_basis"].startswith("Store the factors") and "\n" not in own["rounding"]


@each
def test_every_attribute_of_a_layer_can_be_looked_at_and_none_knows_a_deleted_adapter(name: str) -> None:
    model = build(name)
    layers = [model, *(module for module in model.modules() if isinstance(module, BaseTunerLayer))]
    found = [(own, getattr(layer, own, None)) for layer in layers for own in dir(layer) if not own.startswith("_")]
    by_adapter = [(own, held) for own, held in found if hasattr(held, "keys") and "default" in held]
    assert by_adapter
    model.delete_adapter("default")
    assert [own for own, held in by_adapter if "default" in held] == []
