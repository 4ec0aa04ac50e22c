"""The tuner contract, said of convolutions: matrices (out, in·k·k)."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel, convert_to_lora, get_peft_model
from torch import Tensor, nn
from torch.func import functional_call
from transformers import WhisperConfig, WhisperModel

from svft_bench.tuners.conv import ConvLayer
from tests.tuners.cases import CASES, MOVED_CASES, move
from tests.tuners.kernels import SIZES, adapted_kernels, make_kernels, make_pictures, of_kernels
from tests.tuners.test_bad_input import METHODS, Method, refused
from tests.tuners.test_contract import gap
from tests.tuners.test_transfer import on_machine

ALL = [*CASES, *MOVED_CASES]
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
SOME = ["svft_plain", "svft_banded", "svft_random", "svft_dense_rank", "vectorfit"]
each = pytest.mark.parametrize("case", SOME)


def layers(model: nn.Module) -> dict[str, ConvLayer]:
    return {name.split(".")[-1]: part for name, part in model.named_modules() if isinstance(part, ConvLayer)}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_the_start_is_the_base_model_bit_for_bit(case: str, dtype: torch.dtype) -> None:
    x = make_pictures(dtype)
    for last in (False, True):
        model, base = adapted_kernels(case, dtype=dtype, channels_last=last), make_kernels(dtype, channels_last=last)
        want = base(x)
        assert torch.equal(model(x), want)
        with torch.no_grad():
            assert torch.equal(model(x), want)


@pytest.mark.parametrize("case", ALL)
def test_disabled_is_the_base_model_bit_for_bit(case: str) -> None:
    model, x = adapted_kernels(case, moved=True), make_pictures()
    before = model(x)
    assert gap(before, make_kernels()(x)) > 1e-3
    with model.disable_adapter():
        assert torch.equal(model(x), make_kernels()(x))
    assert torch.equal(model(x), before)


def expected_count(case: str) -> int:
    config, total = of_kernels(case), 0
    for name in config.target_modules:
        d1, n = SIZES[name][0], min(SIZES[name])
        if case.startswith("vectorfit"):
            total += n * config.train_sigma + (d1 * config.train_bias if name != "point" else 0)
            continue
        n = n if config.rank is None or config.fill_orthonormal else config.rank
        d = n - 1 if config.pattern == "dense" else config.off_diag
        total += (config.entries or n * (2 * d + 1) - d * (d + 1)) + config.gate
    return total


@pytest.mark.parametrize("case", ALL)
def test_only_the_declared_entries_train_and_their_number_is_the_closed_form(case: str) -> None:
    model = adapted_kernels(case)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in trained.values()) == expected_count(case)
    model(make_pictures()).square().sum().backward()
    assert all(p.grad is not None for p in trained.values())


def dense(model: PeftModel, x: Tensor) -> Tensor:
    """The definition, by autograd: every convolution of the base with W0 + U M Vᵀ from a fresh SVD."""
    own: dict[str, Tensor] = {}
    for name, layer in layers(model).items():
        weight = layer.get_base_layer().weight
        u, _, vt = torch.linalg.svd(weight.detach().flatten(1), full_matrices=False)
        signs = torch.where(u.gather(0, u.abs().argmax(0, keepdim=True)) < 0, -1.0, 1.0).double()
        if (core := layer.core("default")) is not None:
            n = core.basis.size
            own[f"{name}.weight"] = weight + (
                (u * signs)[:, :n] @ core.pattern.dense(core.m) @ (vt * signs.T)[:n]
            ).view(weight.shape)
        if (offset := layer.bias_offset("default")) is not None:
            own[f"{name}.bias"] = layer.get_base_layer().bias + offset
    y: Tensor = functional_call(make_kernels(torch.float64), own, (x,))
    return y


@pytest.mark.parametrize("path", ["auto", "token"])
@pytest.mark.parametrize("case", SOME)
def test_function_and_gradients_are_those_of_the_definition(case: str, path: str) -> None:
    """With "auto" the wide layers keep one factor, with "token" all keep two."""
    model = adapted_kernels(case, dtype=torch.float64, path=path).to(torch.float64)
    move(model, scale=0.1)
    sides = {name: layer.basis("default").vt is None for name, layer in layers(model).items()}
    assert sum(sides.values()) == (4 if path == "auto" else 0)
    x = make_pictures(torch.float64).requires_grad_()
    of = [x, *(p for p in model.parameters() if p.requires_grad)]
    y, want = model(x), dense(model, x)
    torch.testing.assert_close(y, want, atol=1e-8, rtol=1e-6)
    found = torch.autograd.grad(y.sin().sum(), of)
    for one, other in zip(found, torch.autograd.grad(want.sin().sum(), of), strict=True):
        torch.testing.assert_close(one, other, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("case", ALL)
def test_merging_equals_the_forward_and_unmerging_restores_every_bit(case: str) -> None:
    for dtype, tolerance, last in ((torch.float32, 1e-5, False), (torch.bfloat16, 0.1, True)):
        model, x = adapted_kernels(case, dtype=dtype, moved=True, channels_last=last), make_pictures(dtype)
        want, base = model(x), copy.deepcopy(model.state_dict())
        model.merge_adapter(safe_merge=True)
        assert gap(model(x), want) < tolerance * float(want.detach().abs().max())
        for name in ("dilated", "cube"):
            place = f"base_model.model.{name}.base_layer.weight"
            if place in base:
                assert model.state_dict()[place].stride() == base[place].stride()
        model.unmerge_adapter()
        assert all(torch.equal(value, base[name]) for name, value in model.state_dict().items())
        assert torch.equal(model(x), want)
        assert model.merge_and_unload().state_dict().keys() == make_kernels().state_dict().keys()


def test_few_bits_are_dithered_by_columns_of_the_matrix_as_in_a_merge() -> None:
    """A kernel of one pixel has one column of pixels, whose entries would all be rounded at one threshold."""
    model = adapted_kernels("svft_plain", dtype=torch.bfloat16, target_modules={"tall"}, basis_dtype="float32")
    layer = layers(model)["tall"]
    layer.svft_m["default"].data.fill_(1e-3)
    before = layer.get_base_layer().weight.detach().float()
    delta, x = layer.get_delta_weight("default").float(), torch.eye(6, dtype=torch.bfloat16)[:, :, None, None]
    with torch.no_grad():
        forward = layer(x)
    model.merge_adapter()
    moved = layer.get_base_layer().weight.detach().float() - before
    assert float((moved - delta).detach().mean().abs() / delta.detach().abs().mean()) < 0.3
    assert torch.equal(layer(x), forward)


@pytest.mark.parametrize("machine", ["flipped", "turned"])
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
@pytest.mark.parametrize("case", ALL)
def test_a_saved_adapter_gives_the_same_function_on_another_machine(
    case: str, low_cpu_mem_usage: bool, machine: str, tmp_path: Path
) -> None:
    model, x = adapted_kernels(case, moved=True), make_pictures()
    model.save_pretrained(tmp_path)
    with on_machine(machine), torch.no_grad():
        again = PeftModel.from_pretrained(make_kernels(), tmp_path, low_cpu_mem_usage=low_cpu_mem_usage).eval()
        torch.testing.assert_close(again(x), model(x), atol=2e-5, rtol=1e-4)


@each
def test_an_adapter_does_not_load_onto_another_base(case: str, tmp_path: Path) -> None:
    adapted_kernels(case, moved=True).save_pretrained(tmp_path)
    other = make_kernels()
    other.dilated.weight.data = other.dilated.weight.data.flip(2)
    with pytest.raises(ValueError, match=r"another singular basis of 'base_model\.model\.dilated'"):
        PeftModel.from_pretrained(other, tmp_path)


@each
def test_adapters_live_side_by_side_and_a_mixed_batch_gives_every_picture_its_own(case: str) -> None:
    model, x = adapted_kernels(case, moved=True), make_pictures()
    first = model(x)
    model.add_adapter("second", of_kernels(case))
    assert torch.equal(model(x), first)
    model.set_adapter("second")
    assert torch.equal(model.eval()(x), make_kernels()(x))
    move(model, seed=11)
    second = model(x)
    names = ["default", "second", "__base__", "second", "default"]
    wanted = {"default": first, "second": second, "__base__": make_kernels()(x)}
    mixed = model(x, adapter_names=names)
    for row, name in enumerate(names):
        torch.testing.assert_close(mixed[row], wanted[name][row], atol=1e-5, rtol=1e-4)
    model.base_model.set_adapter(["default", "second"])
    both = model(x)
    model.merge_adapter()
    assert gap(model(x), both) < 1e-4
    model.unmerge_adapter()
    model.add_weighted_adapter(["default", "second"], [1.0, 1.0], "sum")
    model.set_adapter("sum")
    torch.testing.assert_close(model(x), both, atol=1e-4, rtol=1e-4)
    model.delete_adapter("second")
    model.set_adapter("default")
    assert torch.equal(model(x), first)


@pytest.mark.parametrize("case", ALL)
def test_copies_and_pickles_compute_the_same(case: str) -> None:
    model, x = adapted_kernels(case, moved=True), make_pictures()
    torch.testing.assert_close(copy.deepcopy(model)(x), model(x))
    torch.testing.assert_close(pickle.loads(pickle.dumps(model))(x), model(x))


def test_a_picture_without_a_batch_goes_through() -> None:
    model, x = adapted_kernels("vectorfit", moved=True), make_pictures()[0]
    for name in ("strided", "tall", "dilated", "patches"):
        layer = layers(model)[name]
        x = x if name != "tall" else layers(model)["point"](x)
        torch.testing.assert_close(layer(x), layer(x[None])[0])
        x = layer(x)


@pytest.mark.parametrize("method", METHODS)
def test_groups_are_refused_by_name(method: Method) -> None:
    base = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2))
    refused(base, method(target_modules=["0"]), "Module '0' is a convolution of 2 groups.* only one of groups=1 can be")


@each
def test_all_linear_leaves_convolutions_alone(case: str) -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.picture, self.linear = nn.Conv2d(3, 8, 2), nn.Linear(8, 8)

    model = get_peft_model(Named(), of_kernels(case, target_modules="all-linear"))
    assert type(model.base_model.model.picture) is nn.Conv2d


def test_a_convolution_is_no_lora_of_linear_layers() -> None:
    with pytest.raises(TypeError, match=r"do not support LoRA conversion: .*SVFTConv"):
        convert_to_lora(adapted_kernels("svft_banded", moved=True), rank=4)


def test_another_process_with_other_threads_finds_the_same_function(tmp_path: Path) -> None:
    models = {case: adapted_kernels(case, moved=True) for case in ("svft_banded", "vectorfit")}
    for case, model in models.items():
        model.save_pretrained(tmp_path / case)
        torch.save(model(make_pictures()).detach(), tmp_path / f"{case}.pt")
    subprocess.run([sys.executable, "-m", "tests.tuners.kernels", str(tmp_path), *models], check=True)


@pytest.mark.parametrize("method", METHODS)
def test_a_model_may_read_the_stride_of_an_adapted_convolution_as_whisper_does(method: Method) -> None:
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 32, "pad_token_id": 0}
    config = WhisperConfig(**sizes, **heads, num_mel_bins=8, max_source_positions=10, max_target_positions=8)
    model = WhisperModel(config).eval()
    inputs = {"input_features": torch.randn(1, 8, 20), "decoder_input_ids": torch.tensor([[1, 2]])}
    want = model(**inputs).last_hidden_state
    model = get_peft_model(model, method(target_modules=["conv1", "conv2"]))
    torch.testing.assert_close(model(**inputs).last_hidden_state, want, rtol=0, atol=0)
    assert model.base_model.model.encoder.conv2.stride == (2,)
