from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import nn
from torch.nn.utils import prune

from svft_bench.tuners.layer import SingularLayer
from tests.tuners.cases import adapted, config_of, make_base, make_input, move
from tests.tuners.layers import LARGER, layer_of

ONE_FACTOR = ["svft_plain", "svft_banded", "svft_random", "svft_gate", "vectorfit"]


@pytest.mark.parametrize("case", ONE_FACTOR)
def test_adapters_merged_one_after_the_other_add_up(case: str) -> None:
    model, x = adapted(case, moved=True), make_input()
    model.add_adapter("second", config_of(case))
    model.base_model.set_adapter(["default", "second"])
    move(model, seed=11)
    both = model(x)
    model.merge_adapter(["default"])
    model.merge_adapter(["second"])
    torch.testing.assert_close(model(x), both)


@pytest.mark.parametrize("case", [*ONE_FACTOR, "svft_released"])
def test_what_an_adapter_adds_is_the_same_while_it_is_merged(case: str) -> None:
    model = adapted(case, moved=True)
    layers = [module for module in model.modules() if isinstance(module, SingularLayer)]
    before = [layer.get_delta_weight("default").clone() for layer in layers]
    model.merge_adapter()
    for layer, delta in zip(layers, before, strict=True):
        assert torch.equal(layer.get_delta_weight("default"), delta)


@pytest.mark.parametrize("options", [{"svd_precision": "float64"}, {"rank": 3}], ids=str)
def test_an_adapter_added_while_another_is_merged_gets_the_basis_of_the_base(options: dict[str, Any]) -> None:
    outputs = []
    for merged in (False, True):
        model = adapted("svft_banded", moved=True)
        if merged:
            model.merge_adapter()
        model.add_adapter("second", config_of("svft_banded", **options))
        if merged:
            model.unmerge_adapter()
        model.set_adapter("second")
        move(model, seed=11)
        outputs.append(model(make_input()))
    torch.testing.assert_close(*outputs)


@pytest.mark.parametrize("vectorfit", [False, True])
@pytest.mark.parametrize("shape", LARGER)
def test_small_updates_survive_a_merge_into_bfloat16(shape: str, vectorfit: bool) -> None:
    layer = layer_of("auto", shape=shape, dtype=torch.bfloat16, vectorfit=vectorfit)
    for p in layer.trained("default"):
        p.data.mul_(0.001)
    before = [layer.matrix().double(), layer.get_base_layer().bias.double()]
    offset = layer.bias_offset("default")
    wanted = [part.detach().double() for part in (layer.get_delta_weight("default"), offset) if part is not None]
    layer.merge()
    after = [layer.get_base_layer().weight.double(), layer.get_base_layer().bias.double()]
    for old, new, change in zip(before, after, wanted, strict=False):
        assert float(((new - old) * change).sum() / change.square().sum()) == pytest.approx(1, abs=0.15)


MADE_ANEW: dict[str, Callable[[nn.Module], object]] = {
    "ParametrizedLinear": nn.utils.parametrizations.weight_norm,
    "Linear": lambda module: prune.l1_unstructured(module, "weight", 0.0),
}


@pytest.mark.parametrize("kind", MADE_ANEW)
@pytest.mark.parametrize("case", ["svft_banded", "vectorfit"])
def test_a_weight_that_every_forward_makes_anew_is_adapted_but_nothing_is_merged_into_it(case: str, kind: str) -> None:
    base, x = make_base(), make_input()
    MADE_ANEW[kind](base.tall)
    model = get_peft_model(base, config_of(case)).eval()
    torch.testing.assert_close(model(x), make_base()(x))
    move(model)
    torch.testing.assert_close(model(x), adapted(case, moved=True)(x))
    with pytest.raises(ValueError, match=f"The weight of a {kind} is made anew in every forward, by a param"):
        model.merge_adapter()


@pytest.mark.parametrize("case", ["svft_plain", "svft_banded", "svft_released", "vectorfit"])
def test_what_was_merged_in_inference_mode_trains(case: str) -> None:
    model, x = adapted(case, moved=True), make_input()
    with torch.inference_mode():
        want = model(x).clone()
        merged = model.merge_and_unload()
    merged.requires_grad_()(x).sum().backward()
    assert all(part.grad is not None for part in merged.parameters())
    torch.testing.assert_close(merged(x).detach(), want)
