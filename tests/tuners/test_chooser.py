from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from peft import get_peft_model

from svft_bench.tuners import SVFTConfig, chooser
from tests.tuners.cases import move
from tests.tuners.layers import One, layer_of


def chosen(**changes: Any) -> str:
    options = {
        "size": 2048,
        "tokens": 2048,
        "accumulation": 1,
        "core_macs": 2048,
        "trains": True,
        "dense": True,
        "option": "auto",
    }
    return chooser.choose((2048, 2048), **(options | changes))


def test_the_chooser_follows_the_costs() -> None:
    assert chosen() == "weight"
    assert chosen(tokens=64) == "token"
    assert chosen(tokens=64, trains=False) == "weight"
    assert chosen(tokens=1000, accumulation=1) == "token"
    assert chosen(tokens=1000, accumulation=16) == "weight"
    assert chosen(size=64, core_macs=64) == "token"
    assert chosen(dense=False) == "token"
    assert chosen(option="weight", tokens=1) == "weight"
    assert chosen(option="weight", dense=False) == "token"
    assert chosen(option="rotated") == "rotated"


def test_a_layer_with_one_factor_decodes_with_an_adapted_weight() -> None:
    options: dict[str, Any] = {"tokens": 16, "trains": False, "dense": True, "option": "auto"}
    assert chooser.choose_one_sided(**options) == "weight"
    for change in ({"tokens": 4096}, {"trains": True}, {"dense": False}, {"option": "one_sided"}):
        assert chooser.choose_one_sided(**(options | change)) == "one_sided"
    layer = layer_of("auto", shape="wide", dtype=torch.float32).eval()
    x = torch.randn(3, 24)
    with torch.no_grad():
        decoded = layer(x)
    assert layer.path_taken == "weight"
    torch.testing.assert_close(decoded, layer(x.requires_grad_()))
    assert layer.path_taken == "one_sided" and layer._adapted.weight is None


def test_the_cost_model_has_the_published_limits() -> None:
    square = chooser.costs((2048, 2048), size=2048, tokens=10**9, accumulation=1, core_macs=0)
    assert square == pytest.approx({"token": 3, "weight": 1.5, "one_sided": 3, "rotated": 2}, rel=1e-5)
    wide = chooser.costs((2048, 16384), size=2048, tokens=10**9, accumulation=1, core_macs=0)
    assert wide["one_sided"] == pytest.approx(1.25) and wide["rotated"] == pytest.approx(1.125)


@pytest.mark.parametrize(
    ("shape", "conditioning", "dtype", "option", "fits"),
    [
        ((4, 8), 5.0, torch.bfloat16, "auto", True),
        ((8, 4), 5.0, torch.bfloat16, "auto", True),
        ((4, 7), 5.0, torch.bfloat16, "auto", False),
        ((4, 7), 5.0, torch.bfloat16, "one_sided", True),
        ((4, 8), 50.0, torch.bfloat16, "auto", False),
        ((4, 8), 50.0, torch.float32, "auto", True),
        ((4, 8), float("inf"), torch.float64, "one_sided", False),
        ((4, 8), 5.0, torch.float32, "token", False),
    ],
)
def test_one_factor_is_kept_where_that_is_safe_and_pays(
    shape: tuple[int, int], conditioning: float, dtype: torch.dtype, option: chooser.PathOption, fits: bool
) -> None:
    assert chooser.one_sided_fits(shape, conditioning=conditioning, dtype=dtype, option=option) == fits


@pytest.mark.parametrize(
    ("weight", "bias", "dtype"),
    [
        *itertools.product([0.05, 1e-4, 1e-6], [0.3, 1.0], [torch.float32, torch.bfloat16, torch.float16]),
        *itertools.product([1e-30, 1e-40], [0.0], [torch.float32, torch.bfloat16]),
    ],
)
@pytest.mark.parametrize("shape", [(16, 96), (96, 16)])
def test_a_bias_that_hides_the_weight_and_a_weight_that_has_no_inverse_leave_the_update_exact(
    shape: tuple[int, int], weight: float, bias: float, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    base = One(shape, bias=True, dtype=torch.float32)
    base.linear.weight.data.normal_(0, weight)
    base.linear.bias.data.normal_(0, bias)
    model = get_peft_model(base.to(dtype), SVFTConfig(target_modules=["linear"]))
    move(model, scale=0.05)
    layer, x = model.base_model.model.linear, torch.randn(64, shape[1]).to(dtype)
    update = x.double() @ layer.get_delta_weight("default").double().T
    want = torch.nn.functional.linear(x.double(), layer.matrix().double(), layer.base_bias().double()) + update
    error = float((model(x).double() - want).norm() / update.norm())
    assert error < (1e-3 if dtype == torch.float32 else 0.1)
