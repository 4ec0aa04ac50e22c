"""A compiler sees every adapter as one graph, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from svft_bench.tuners import bands, rounding
from tests.tuners.cases import adapted, config_of, make_input, move
from tests.tuners.layers import PATTERNS, SHAPES, gradients, layer_of

COMPILED = PATTERNS | {
    "top_k": {"pattern": "top_k", "off_diag": 1, "top_k_rule": "released"},
    "released": {"pattern": "banded", "off_diag": 1, "variant": "released"},
}


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """As in a new process, where a compiler or an exporter may be the first to ask for a band."""
    torch._dynamo.reset()
    for table in (bands._band_rows, bands._band_columns, bands._tile_cells, bands._transposed_tile_cells):
        table.made.clear()
    bands.band_index.made.clear()
    rounding._thresholds.made.clear()
    yield
    torch._dynamo.reset()  # the compiler gives up on code that was compiled often, in later tests too


@pytest.mark.parametrize("shape", ["square", "tall"])
@pytest.mark.parametrize("pattern", COMPILED)
def test_a_layer_is_one_graph_with_the_gradients_of_the_plain_forward(pattern: str, shape: str) -> None:
    layer = layer_of("auto", shape=shape, **COMPILED[pattern])
    x = torch.randn(5, SHAPES[shape][1], dtype=torch.float64, requires_grad=True)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    got, got_x = gradients(layer, x, forward=compiled), x.grad
    x.grad = None
    torch.testing.assert_close(got, gradients(layer, x))
    torch.testing.assert_close(got_x, x.grad)
    torch.testing.assert_close(compiled(x), layer(x))


@pytest.mark.parametrize("pattern", ["banded", "random", "vectorfit"])
def test_a_low_precision_layer_is_one_graph_too(pattern: str) -> None:
    layer = layer_of("token", shape="tall", dtype=torch.bfloat16, **PATTERNS[pattern])
    x = torch.randn(5, 8, dtype=torch.bfloat16)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x))


@pytest.mark.parametrize("case", ["svft_banded", "svft_random", "svft_gate", "svft_tied", "vectorfit"])
def test_a_model_is_one_graph_for_every_number_of_tokens(case: str) -> None:
    model, graphs = adapted(case, moved=True), []

    def compiler(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, backend=compiler, fullgraph=True, dynamic=True)
    for tokens in (5, 4, 3):
        x = make_input()[:tokens].clone()  # a view's own guards are not the adapter's
        torch.testing.assert_close(compiled(x), model(x))
    assert len(graphs) == 1


@pytest.mark.parametrize("case", ["svft_banded", "vectorfit"])
def test_two_active_adapters_are_one_graph(case: str) -> None:
    model = adapted(case, moved=True)
    model.add_adapter("second", config_of(case))
    model.base_model.set_adapter(["default", "second"])
    move(model)
    compiled, x = torch.compile(model, backend="aot_eager", fullgraph=True), make_input()
    torch.testing.assert_close(compiled(x), model(x))
    compiled(x).sum().backward()


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("case", ["svft_plain", "svft_banded", "svft_random", "svft_gate", "svft_tied", "vectorfit"])
def test_an_exported_program_computes_the_same_and_the_model_goes_on(case: str, strict: bool) -> None:
    model, x = adapted(case, moved=True), make_input()
    dynamic: Any = ({0: torch.export.Dim("tokens")},)
    program = torch.export.export(model.base_model.model, (x,), dynamic_shapes=dynamic, strict=strict)
    want = model(x)
    torch.testing.assert_close(program.module()(x), want)
    torch.testing.assert_close(program.module()(x[:2]), want[:2])
    model(x).sum().backward()


def test_what_is_made_on_fake_tensors_is_not_kept() -> None:
    band, cpu = bands.Band(9, 2), torch.device("cpu")
    with FakeTensorMode():
        assert isinstance(bands.band_index(band, cpu), FakeTensor)
        assert isinstance(rounding._thresholds(9, torch.bfloat16, cpu), FakeTensor)
    assert type(bands.band_index(band, cpu)) is Tensor
    assert type(rounding._thresholds(9, torch.bfloat16, cpu)) is Tensor
    assert bands.band_index(band, cpu) is bands.band_index(band, cpu)
