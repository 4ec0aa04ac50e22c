from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, stack_module_state, vmap

from svft_bench.tuners import rounding
from svft_bench.tuners.layer import SingularLayer
from tests.tuners.layers import PATTERNS, SHAPES, dense, layer_of

TWICE = ["token", "one_sided", "rotated"]


def entries(layer: SingularLayer) -> dict[str, Tensor]:
    return {name: p for name, p in layer.named_parameters() if p.requires_grad}


def inputs(layer: SingularLayer) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(5, layer.shape[1], generator=generator, dtype=torch.float64, requires_grad=True)


def curvature(layer: SingularLayer, x: Tensor, y: Tensor) -> list[Tensor]:
    """The gradient of the squared gradient of a loss, which needs every second derivative."""
    of = [x, *entries(layer).values()]
    first = torch.autograd.grad(y.sin().square().sum(), of, create_graph=True)
    return list(torch.autograd.grad(sum(part.square().sum() for part in first), of))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("path", TWICE)
def test_second_derivatives_are_those_of_the_definition(path: str, pattern: str, shape: str) -> None:
    if path == "rotated" and pattern == "truncated":
        path = "token"
    layer = layer_of(path, shape=shape, **PATTERNS[pattern])
    x = inputs(layer)
    for ours, wanted in zip(curvature(layer, x, layer(x)), curvature(layer, x, dense(layer, x)), strict=True):
        torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_second_derivative_of_the_ready_made_weight_is_refused_by_name(pattern: str) -> None:
    layer = layer_of("weight", shape="square", **PATTERNS[pattern])
    x = inputs(layer)
    torch.autograd.grad(layer(x).sum(), list(entries(layer).values()), allow_unused=True)
    with pytest.raises(NotImplementedError, match=r"path='weight' is differentiated once only.* path='token'"):
        curvature(layer, x, layer(x))


@pytest.mark.parametrize("path", [*TWICE, "weight"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_transforms_of_torch_func_see_the_adapter(pattern: str, path: str) -> None:
    layer = layer_of(path, shape="square", **PATTERNS[pattern])
    x, own = inputs(layer).detach(), {name: p.detach() for name, p in entries(layer).items()}

    def loss(parameters: dict[str, Tensor], rows: Tensor) -> Tensor:
        value: Tensor = functional_call(layer, parameters, (rows,)).sin().square().sum()
        return value

    wanted = torch.autograd.grad(dense(layer, x).sin().square().sum(), list(entries(layer).values()))
    whole = grad(loss)(own, x)
    rows = vmap(grad(loss), in_dims=(None, 0))(own, x[:, None])
    backward = jacrev(loss)(own, x)
    for name, value in zip(own, wanted, strict=True):
        for found in (whole[name], rows[name].sum(0), backward[name]):
            torch.testing.assert_close(found, value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("how", ["dithered", "nearest"])
def test_a_sum_in_few_bits_can_be_differentiated_again(how: rounding.Rounding) -> None:
    y, update = torch.ones(3, dtype=torch.bfloat16, requires_grad=True), torch.full((3,), 0.5, requires_grad=True)
    (first,) = torch.autograd.grad(rounding.add(y, update, how=how).square().sum(), update, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), update)
    assert torch.equal(first, torch.full((3,), 3.0)) and torch.equal(second, torch.full((3,), 2.0))


@pytest.mark.parametrize("path", [*TWICE, "weight"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_forward_mode_sees_the_adapter(pattern: str, path: str) -> None:
    layer = layer_of(path, shape="square", **PATTERNS[pattern])
    x, own = inputs(layer).detach(), {name: p.detach() for name, p in entries(layer).items()}

    def out(parameters: dict[str, Tensor], rows: Tensor) -> Tensor:
        return functional_call(layer, parameters, (rows,)).sin()

    directions = ({name: torch.cos(p) for name, p in own.items()}, torch.cos(x))
    _, tangent = jvp(out, (own, x), directions)
    # The same by reverse mode: <w, J v> = <Jᵀ w, v> for any w.
    y = dense(layer, of := inputs(layer)).sin()
    w = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    back = torch.autograd.grad((y * w).sum(), [*entries(layer).values(), of])
    wanted = sum((g * v).sum() for g, v in zip(back, [*directions[0].values(), directions[1]], strict=True))
    torch.testing.assert_close((tangent * w).sum(), wanted, atol=1e-5, rtol=1e-5)
    forward, backward = jacfwd(out)(own, x), jacrev(out)(own, x)
    for name in own:
        torch.testing.assert_close(forward[name], backward[name])
    with torch.no_grad(), forward_ad.dual_level():  # without torch.func, and where a kept weight has no direction
        layer(x)
        duals = {name: forward_ad.make_dual(p, directions[0][name]) for name, p in own.items()}
        again = forward_ad.unpack_dual(out(duals, forward_ad.make_dual(x, directions[1]))).tangent
    torch.testing.assert_close(again, tangent)


def test_a_sum_in_few_bits_has_a_forward_derivative() -> None:
    y, update = torch.ones(3, dtype=torch.bfloat16), torch.full((3,), 1e-3)
    total, tangent = jvp(partial(rounding.add, how="dithered"), (y, update), (torch.zeros_like(y), update))
    assert torch.equal(total, rounding.add(y, update, how="dithered"))
    assert torch.equal(tangent, update.bfloat16())


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", SHAPES)
def test_several_models_go_through_one_vmap_with_all_their_parameters_and_buffers(shape: str, pattern: str) -> None:
    layers = [layer_of("auto", shape=shape, **PATTERNS[pattern]) for _ in range(3)]
    x = inputs(layers[0]).detach()
    for factor, layer in enumerate(layers):
        for part in layer.trained("default"):
            part.data.mul_(factor)
    together = vmap(lambda *tensors: functional_call(layers[0], tensors, (x,)))(*stack_module_state(layers))
    torch.testing.assert_close(together, torch.stack([layer(x) for layer in layers]))
