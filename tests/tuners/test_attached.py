from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from svft_bench.tuners import attached
from svft_bench.tuners.cores import Diagonal
from tests.tuners.test_renewal import inputs, layers_of, model_of, same, trained

PATTERNS = ["plain", "banded", "random", "vectorfit"]


def settled(pattern: str, **options: Any) -> Any:
    """A model whose layers of one shape have weights that were added up at once."""
    model = model_of(pattern, **options)
    optimizer = torch.optim.SGD(trained(model), lr=0.05)
    for _ in range(2):
        for number in range(2):
            model(inputs(number)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def gradients(model: Any) -> list[Tensor | None]:
    return [p.grad for p in trained(model)]


@pytest.mark.parametrize("path", ["weight", "token"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_layer_that_a_forward_leaves_out_has_no_gradient(pattern: str, path: str) -> None:
    model = settled(pattern, path=path)
    inner = model.base_model.model
    left_out = inner.layers[1]
    inner.layers[1] = torch.nn.Identity()
    model(inputs(5)).square().sum().backward()
    assert all(p.grad is None for p in left_out.trained("default"))
    assert all(p.grad is not None for p in trained(model))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_parts_of_a_gradient_add_up_whatever_part_comes_first(pattern: str) -> None:
    def one_after_the_other(model: Any) -> list[Tensor | None]:
        x, h = inputs(5), []
        handles = [layer.register_forward_hook(lambda *args: h.append(args[-1])) for layer in layers_of(model)[:3]]
        y = model(x)
        for handle in handles:
            handle.remove()
        h[0].sum().backward(retain_graph=True)
        h[2].square().sum().backward(retain_graph=True)
        y.sum().backward()
        return [x.grad, *gradients(model)]

    same(*(one_after_the_other(settled(pattern, path=path)) for path in ("weight", "token")))  # type: ignore[arg-type]


def asked_for(model: Any) -> list[Tensor]:
    layer = layers_of(model)[1]
    return list(torch.autograd.grad(model(inputs(5)).square().sum(), layer.trained("default")))


def of_several_at_once(model: Any) -> list[Tensor]:
    y = model(inputs(5))
    directions = torch.stack([torch.ones_like(y), torch.cos(y.detach())])
    return list(torch.autograd.grad(y, trained(model), directions, is_grads_batched=True))


def of_two_forwards(model: Any) -> list[Tensor]:
    (model(inputs(5)).square().sum() + model(inputs(6)).sum()).backward()
    return [p.grad for p in trained(model)]


@pytest.mark.parametrize("ask", [asked_for, of_several_at_once, of_two_forwards])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_gradient_is_that_of_the_token_path_however_it_is_asked_for(
    pattern: str, ask: Callable[[Any], list[Tensor]]
) -> None:
    same(*(ask(settled(pattern, path=path)) for path in ("weight", "token")))


def test_projections_of_16_bits_that_are_summed_are_more_exact_than_that_of_a_sum() -> None:
    torch.manual_seed(0)
    u, _, vt = torch.linalg.svd(torch.randn(64, 64))
    u, vt, shared = u.bfloat16(), vt.bfloat16(), torch.randn(64, 64)
    dense = [(shared + torch.randn(64, 64)).bfloat16() for _ in range(16)]  # of the micro-batches of a step
    wanted = (u.double().T @ sum(g.double() for g in dense) @ vt.double().T).diagonal()

    def projected(g: Tensor) -> Tensor:
        return attached._projected([g], [u], [vt], [Diagonal(64)])[0]

    summed = sum(projected(g) for g in dense)
    at_once = projected(torch.stack(dense).float().sum(0))
    assert 2 * torch.linalg.norm(summed - wanted) < torch.linalg.norm(at_once - wanted)


def test_gradients_of_layers_of_one_shape_can_be_written_to_one_by_one() -> None:
    model, other = settled("vectorfit"), settled("vectorfit")
    for one in (model, other):
        one(inputs(5)).square().sum().backward()
    first, *rest = gradients(model)
    assert first is not None
    first.mul_(2).add_(1)
    for ours, wanted in zip(rest, gradients(other)[1:], strict=True):
        assert torch.equal(ours, wanted)  # type: ignore[arg-type]
