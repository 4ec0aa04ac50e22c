from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import PeftConfig, get_peft_model
from torch import Tensor, nn

from svft_bench.tuners import SVFTConfig, VectorFitConfig, bands
from svft_bench.tuners.chooser import PathOption
from tests.tuners.cases import move
from tests.tuners.layers import EXACT, LARGER, PATHS, PATTERNS, SHAPES, One, dense, layer_of


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("path", PATHS)
def test_value_and_gradients_are_those_of_the_dense_definition(path: str, pattern: str, shape: str, bias: bool) -> None:
    layer = layer_of(path, shape=shape, bias=bias, **PATTERNS[pattern])
    x = torch.randn(2, 5, SHAPES[shape][1], dtype=torch.float64, requires_grad=True)
    results = []
    for function in (layer, lambda x: dense(layer, x)):
        y = function(x)
        inputs = [x, *layer.trained("default")]
        results.append([y, *torch.autograd.grad((y * y.detach().cos()).sum(), inputs)])
    # The rotated path has only the truncated part of the weight, so it gives way.
    assert layer.path_taken == (
        "token" if (path, pattern) in {("rotated", "truncated"), ("rotated", "dense")} else path
    )
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pattern", ["plain", "banded", "random", "vectorfit"])
@pytest.mark.parametrize("path", PATHS)
def test_gradcheck(path: str, pattern: str, shape: str) -> None:
    layer = layer_of(path, shape=shape, **PATTERNS[pattern])
    x = torch.randn(3, SHAPES[shape][1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *layer.trained("default")))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", PATHS)
def test_a_band_that_is_multiplied_whole_is_the_band_in_tiles(
    path: str, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = layer_of(path, shape=shape, **PATTERNS["banded"])
    x = torch.randn(4, SHAPES[shape][1], dtype=torch.float64)
    found = []
    for whole in (0, 256):
        monkeypatch.setattr("svft_bench.tuners.bands.WHOLE", whole)
        assert isinstance(layer.core("default").pattern, bands.WholeBand if whole else bands.Band)  # type: ignore[union-attr]
        y = layer(x)
        found.append([y, *torch.autograd.grad(y.square().sum(), layer.trained("default"))])
    for tiles, whole in zip(*found, strict=True):
        torch.testing.assert_close(tiles, whole, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", EXACT)
@pytest.mark.parametrize("vectorfit", [True, False])
def test_a_zero_core_is_the_base_layer_bit_for_bit(
    path: str, shape: str, bias: bool, dtype: torch.dtype, vectorfit: bool
) -> None:
    layer = layer_of(path, shape=shape, bias=bias, dtype=dtype, vectorfit=vectorfit)
    for p in layer.trained("default"):
        p.data.zero_()
    x = torch.randn(2, 40, SHAPES[shape][1]).to(dtype)
    with torch.no_grad():
        assert torch.equal(layer(x), layer.get_base_layer()(x))
    assert torch.equal(layer(x.requires_grad_()), layer.get_base_layer()(x))


def gain(path: str, shape: str, size: float, **options: Any) -> float:
    """The part of a small update that arrives in a bfloat16 output: its projection on the true one."""
    layer = layer_of(path, shape=shape, dtype=torch.bfloat16, basis_dtype="float32", **options)
    core = layer.core("default")
    assert core is not None
    for p in layer.trained("default"):
        p.data.mul_(size * float(core.basis.s.square().mean().sqrt()) / float(core.m.detach().square().mean().sqrt()))
    x = torch.randn(400, LARGER[shape][1]).bfloat16()
    true = dense(layer, x.double()) - x.double() @ layer.matrix().double().T - layer.get_base_layer().bias.double()
    with torch.no_grad():
        change = layer(x).double() - layer.get_base_layer()(x).double()
    true = true.detach()
    return float((change * true).sum() / true.square().sum())


@pytest.mark.parametrize("shape", LARGER)
@pytest.mark.parametrize("path", EXACT)
def test_small_updates_survive_bfloat16(path: str, shape: str) -> None:
    for size, tolerance in ((0.1, 0.02), (0.01, 0.05), (0.001, 0.15)):
        assert gain(path, shape, size) == pytest.approx(1, abs=tolerance)


def test_rounding_to_nearest_loses_small_updates() -> None:
    assert gain("token", "larger wide", 0.001, rounding="nearest") < 0.7


def test_a_forced_one_sided_path_gives_way_on_a_badly_conditioned_weight() -> None:
    base = One((12, 12), bias=False, dtype=torch.float32)
    base.linear.weight.data[:, 1] = base.linear.weight.data[:, 0] * (1 + 1e-6)
    model = get_peft_model(base, SVFTConfig(target_modules=["linear"], path="one_sided"))
    model(torch.randn(3, 12))
    assert model.base_model.model.linear.path_taken != "one_sided"


@pytest.mark.parametrize("size", [(0,), (), (2, 3, 4), (2, 0)], ids=str)
@pytest.mark.parametrize("pattern", ["plain", "banded", "random", "vectorfit"])
@pytest.mark.parametrize("path", ["auto", *PATHS])
def test_inputs_of_any_number_of_dimensions_and_tokens(path: str, pattern: str, size: tuple[int, ...]) -> None:
    layer = layer_of(path, shape="square", **PATTERNS[pattern]).train()
    x = torch.randn(*size, 12, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    torch.testing.assert_close(y, dense(layer, x))
    y.sum().backward()
    assert x.grad is not None and all(p.grad is not None for p in layer.trained("default"))


@pytest.mark.parametrize("vectorfit", [False, True])
@pytest.mark.parametrize("path", EXACT)
def test_a_base_weight_that_trains_too_gets_its_gradient(path: str, vectorfit: bool) -> None:
    layer = layer_of(path, shape="square", vectorfit=vectorfit)
    for p in layer.trained("default"):
        p.data.zero_()
    weight, x = layer.get_base_layer().weight.requires_grad_(), torch.randn(5, 12, dtype=torch.float64)
    layer(x).square().sum().backward()
    got, weight.grad = weight.grad, None
    layer.get_base_layer()(x).square().sum().backward()
    torch.testing.assert_close(got, weight.grad)


class Doubled(nn.Linear):
    """Not W x + b."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * nn.Linear.forward(self, x)


CHANGES: dict[str, Callable[[Any], object]] = {
    "a subclass": lambda base: setattr(base.linear, "__class__", Doubled),
    "a forward of its own": lambda base: setattr(base.linear, "forward", partial(Doubled.forward, base.linear)),
    "a hook": lambda base: base.linear.register_forward_hook(lambda *args: 2 * args[-1]),
    "a hook before": lambda base: base.linear.register_forward_pre_hook(lambda _, args: (2 * args[0],)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", ["auto", *PATHS])
@pytest.mark.parametrize("method", [SVFTConfig, VectorFitConfig])
def test_a_base_layer_that_makes_something_else_of_its_weight_gets_the_same_update(
    change: str, shape: str, path: PathOption, method: Callable[..., PeftConfig]
) -> None:
    base, x = One(SHAPES[shape], bias=True, dtype=torch.float64), torch.randn(5, SHAPES[shape][1], dtype=torch.float64)
    CHANGES[change](base)
    want = base(x)
    model = get_peft_model(base, method(target_modules=["linear"], path=path), autocast_adapter_dtype=False)
    move(model)
    layer = model.base_model.model.linear
    offset = layer.bias_offset("default")
    want = want + x @ layer.get_delta_weight("default").T + (0 if offset is None else offset)
    torch.testing.assert_close(model(x), want)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), want)


@pytest.mark.parametrize("method", [SVFTConfig, VectorFitConfig])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("change", ["a hook", "a hook before"])
def test_so_does_one_that_gets_its_hook_later(change: str, shape: str, method: Callable[..., PeftConfig]) -> None:
    model = get_peft_model(One(SHAPES[shape], bias=True, dtype=torch.float64), method(target_modules=["linear"]))
    move(model)
    layer, x = model.base_model.model.linear, torch.randn(5, SHAPES[shape][1], dtype=torch.float64)
    CHANGES[change](SimpleNamespace(linear=layer.base_layer))
    offset = layer.bias_offset("default")
    want = layer.base_layer(x) + x @ layer.get_delta_weight("default").T + (0 if offset is None else offset)
    torch.testing.assert_close(model(x), want)
