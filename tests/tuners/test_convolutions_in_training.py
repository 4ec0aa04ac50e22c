"""Convolutions under an optimizer, mixed precision, a compiler and checkpointing, as linear layers are."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, jacfwd, jacrev
from torch.utils.checkpoint import checkpoint

from svft_bench.tuners.conv import ConvLayer
from tests.tuners.kernels import SIZES, adapted_kernels, make_pictures
from tests.tuners.test_contract import gap
from tests.tuners.test_convolutions import SOME, each, layers


@each
def test_without_gradients_the_adapted_weight_is_kept_until_something_writes(case: str) -> None:
    model, x = adapted_kernels(case, moved=True, path="weight"), make_pictures()
    want = model(x)
    layer = layers(model)["patches"]
    with torch.no_grad():
        torch.testing.assert_close(model(x), want)
        kept = layer._adapted.weight
        model(x)
        assert kept is not None and layer._adapted.weight is kept
        layer.get_base_layer().weight.data.mul_(0.5)
        layer.trained("default")[0].data.mul_(2)
        torch.testing.assert_close(model(x), copy.deepcopy(model)(x))
        assert gap(model(x), want) > 1e-3


@each
def test_sixteen_bits_stay_finite_and_train(case: str) -> None:
    model, x = adapted_kernels(case, dtype=torch.bfloat16, moved=True), make_pictures(torch.bfloat16)
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(5):
        loss = (model(x).float() - 1).square().mean()
        losses.append(float(loss))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert all(map(torch.isfinite, map(torch.tensor, losses))) and losses[-1] < losses[0]


@each
def test_mixed_precision_is_near_the_exact_function(case: str) -> None:
    model, x = adapted_kernels(case, moved=True), make_pictures()
    want = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)
    assert y.dtype == torch.bfloat16
    assert gap(y.float(), want) < 0.05 * float(want.detach().abs().max())
    y.float().sum().backward()


@each
def test_a_hooked_base_layer_is_called_itself(case: str) -> None:
    model, x = adapted_kernels(case, moved=True), make_pictures()
    want, calls = model(x), []
    for layer in layers(model).values():
        layer.get_base_layer().register_forward_hook(lambda *_: calls.append(1))
    torch.testing.assert_close(model(x), want, atol=1e-5, rtol=1e-4)
    assert len(calls) == len(SIZES)


@pytest.mark.parametrize("case", [*SOME, "svft_gate", "svft_top_k_released", "svft_released"])
def test_a_compiler_sees_one_graph_with_the_same_gradients(case: str) -> None:
    torch._dynamo.reset()
    model, x = adapted_kernels(case, moved=True), make_pictures()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    of = [p for p in model.parameters() if p.requires_grad]
    y, want = compiled(x), model(x)
    torch.testing.assert_close(y, want)
    for one, other in zip(
        torch.autograd.grad(y.sum(), of, retain_graph=True), torch.autograd.grad(want.sum(), of), strict=True
    ):
        torch.testing.assert_close(one, other)
    torch._dynamo.reset()


@each
def test_recomputed_activations_give_the_same_gradients(case: str) -> None:
    model, x = adapted_kernels(case, moved=True).train(), make_pictures().requires_grad_()
    of = [p for p in model.parameters() if p.requires_grad]
    wanted = torch.autograd.grad(model(x).sum(), of)
    again = torch.autograd.grad(checkpoint(model, x, use_reentrant=False).sum(), of)
    assert all(torch.equal(one, other) for one, other in zip(again, wanted, strict=True))


@each
def test_forward_and_reverse_mode_agree(case: str) -> None:
    model, x = adapted_kernels(case, dtype=torch.float64, moved=True), make_pictures(torch.float64)
    for name in ("strided", "patches"):  # with one factor and with two
        layer = layers(model)[name]
        own = {key: p.detach() for key, p in layer.named_parameters() if p.requires_grad}
        h = x if name == "strided" else torch.cos(torch.arange(12 * 16.0).double()).view(1, 12, 4, 4)

        def out(parameters: dict[str, Tensor], layer: ConvLayer = layer, h: Tensor = h) -> Tensor:
            y: Tensor = functional_call(layer, parameters, (h,)).sin().sum()
            return y

        forward, backward = jacfwd(out)(own), jacrev(out)(own)
        for key in own:
            torch.testing.assert_close(forward[key], backward[key])
