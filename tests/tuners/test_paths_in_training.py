from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from svft_bench.tuners.adapted import forwards, go_on, uncounted
from tests.tuners.layers import EXACT, PATHS, PATTERNS, SHAPES, gradients, layer_of


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", EXACT)
def test_accumulated_gradients_are_those_of_the_whole_batch(path: str, shape: str) -> None:
    layer = layer_of(path, shape=shape, **PATTERNS["banded"])
    x = torch.randn(8, SHAPES[shape][1], dtype=torch.float64)
    torch.testing.assert_close(gradients(layer, *x.split(2)), gradients(layer, x))


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", EXACT)
def test_recomputation_gives_the_same_gradients(path: str, shape: str, use_reentrant: bool) -> None:
    layer = layer_of(path, shape=shape, **PATTERNS["banded"])
    x = torch.randn(5, SHAPES[shape][1], dtype=torch.float64, requires_grad=True)
    recomputed = gradients(layer, x, forward=partial(checkpoint, layer, use_reentrant=use_reentrant))
    torch.testing.assert_close(recomputed, gradients(layer, x))


@pytest.mark.parametrize("vectorfit", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", EXACT)
def test_autocast_starts_at_the_base_and_stays_near_the_exact_gradient(path: str, shape: str, vectorfit: bool) -> None:
    layer = layer_of(path, shape=shape, dtype=torch.float32, vectorfit=vectorfit)
    x = torch.randn(64, SHAPES[shape][1], requires_grad=True)
    want = gradients(layer, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = gradients(layer, x)
    for one, other in zip(got, want, strict=True):
        assert torch.linalg.norm(one - other) < 0.03 * torch.linalg.norm(other)
    for p in layer.trained("default"):
        p.data.zero_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x), layer.get_base_layer()(x))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", PATHS)
def test_a_compiled_layer_has_the_same_gradients(path: str, shape: str) -> None:
    layer = layer_of(path, shape=shape, **PATTERNS["banded"])
    x = torch.randn(5, SHAPES[shape][1], dtype=torch.float64, requires_grad=True)
    compiled = torch.compile(layer, backend="aot_eager")
    torch.testing.assert_close(gradients(layer, x, forward=compiled), gradients(layer, x))


@pytest.mark.parametrize("path", EXACT)
def test_a_compiled_layer_is_compiled_once_for_all_steps(path: str) -> None:
    torch._dynamo.reset()  # it gives up on code that was compiled often, as in the tests before
    graphs = []

    def compiler(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    layer = layer_of(path, shape="square", dtype=torch.float32).train()
    compiled, optimizer = torch.compile(layer, backend=compiler), torch.optim.SGD(layer.trained("default"), lr=0.1)
    for _ in range(4):
        compiled(torch.ones(6, 12)).sum().backward()
        optimizer.step()
    assert len(graphs) == 1


def stepped(layer: nn.Module, forwards: int, *, looked: int = 0) -> None:
    with uncounted():
        for _ in range(looked):
            layer(torch.ones(6, 12))
    optimizer = torch.optim.SGD(layer.trained("default"), lr=0.1)
    for _ in range(forwards):
        layer(torch.ones(6, 12)).sum().backward()
    optimizer.step()


def test_a_training_that_goes_on_chooses_its_next_path_as_one_that_was_never_ended() -> None:
    """By the forwards of the last step; what was looked at before a step is none of its forwards."""
    whole, again = (layer_of("auto", shape="square", dtype=torch.float32).train() for _ in range(2))
    stepped(whole, 3, looked=5)
    go_on(again, forwards(whole))
    for layer in (whole, again):
        stepped(layer, 1)
        assert layer._adapted.accumulation == 3 and not layer._adapted.alone
    assert forwards(whole) == forwards(again) == {"": 1}
