"""The base's weights may come after the adapter, as long as nothing was trained in the basis of those before."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model, inject_adapter_in_model
from torch import Tensor, nn

from tests.tuners.cases import CASES, Shapes, adapted, config_of, make_base, make_input, move


def state_for(model: nn.Module) -> dict[str, Tensor]:
    """The base's weights by the names that they have in an adapted model."""
    layers = [name.removesuffix(".base_layer") for name, _ in model.named_modules() if name.endswith(".base_layer")]
    own = {name: f"{name}.base_layer" for name in layers}
    split = [(*name.rpartition("."), part) for name, part in make_base().state_dict().items()]
    return {f"{own.get(place, place)}.{end}": part for place, _, end, part in split}


def put_in_place(model: nn.Module) -> None:
    parameters = dict(model.named_parameters())
    for name, part in state_for(model).items():
        parameters[name].data.copy_(part)


WAYS: dict[str, Callable[[nn.Module], Any]] = {
    "loaded": lambda base: base.load_state_dict(state_for(base), strict=False),
    "assigned": lambda base: base.load_state_dict(state_for(base), strict=False, assign=True),
    "written": put_in_place,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_what_trains_on_weights_that_came_late_loads_on_them(case: str, way: str, tmp_path: Path) -> None:
    torch.manual_seed(4)
    model, x = get_peft_model(Shapes().eval(), config_of(case)), make_input()
    if way != "written":  # which leaves no trace, so that a forward before it cannot be told from one after it
        model(x)
    WAYS[way](model.base_model.model)
    torch.testing.assert_close(model.eval()(x), make_base()(x), rtol=0, atol=0)
    move(model)
    wanted = adapted(case, moved=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.save_pretrained(tmp_path)
        again = PeftModel.from_pretrained(make_base(), tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(x), wanted(x))
        torch.testing.assert_close(again(x), wanted(x))
        torch.testing.assert_close(model.merge_and_unload()(x), wanted(x))


def test_so_it_is_without_a_peft_model_and_for_each_of_two_adapters() -> None:
    model, x = inject_adapter_in_model(config_of("svft_top_k"), Shapes().eval()), make_input()
    inject_adapter_in_model(config_of("svft_banded"), model, "second")
    WAYS["loaded"](model)
    assert not any(layer.has_left(name) for layer in (model.square,) for name in ("default", "second"))
    cells = adapted("svft_top_k").base_model.model.square.svft_index["default"]
    assert torch.equal(model.square.svft_index["default"], cells)
    torch.testing.assert_close(model(x), make_base()(x), rtol=0, atol=0)


def test_a_basis_that_something_was_trained_in_stays(tmp_path: Path) -> None:
    torch.manual_seed(4)
    model = get_peft_model(Shapes().eval(), config_of("svft_banded"))
    move(model)
    before = {name: part.clone() for name, part in model.named_buffers()}
    WAYS["loaded"](model.base_model.model)
    model(make_input())
    assert all(torch.equal(part, before[name]) for name, part in model.named_buffers())
    with pytest.warns(UserWarning, match=r"is no longer the one .* load the base's weights before"):
        model.save_pretrained(tmp_path)
