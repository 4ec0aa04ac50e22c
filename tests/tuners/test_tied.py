"""Layers of one shape that share a core train one set of entries, whatever is done to the model."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import Tensor, nn

from svft_bench.tuners import SVFTConfig
from tests.tuners.cases import TARGETS, adapted, config_of, make_base, make_input, move, svft

TIED = ["svft_tied", "svft_tied_plain", "svft_tied_random"]
NAMES = [*TARGETS, "twin"]
Change = Callable[[PeftModel], PeftModel]


def layer(model: Any, name: str) -> Any:
    return model.base_model.model.get_submodule(name)


def second(model: PeftModel) -> PeftModel:
    """With another adapter, of which every layer has entries of its own."""
    model.add_adapter("second", svft(pattern="banded", off_diag=2, target_modules=NAMES))
    return model


def assigned(model: PeftModel) -> PeftModel:
    model.load_state_dict({name: part.clone() for name, part in model.state_dict().items()}, assign=True)
    return model


def without_second(model: PeftModel) -> PeftModel:
    second(model).delete_adapter("second")
    return model


CHANGES: dict[str, Change] = {
    "as it is": lambda model: model,
    "cast": lambda model: model.to(torch.bfloat16).to(torch.float32),
    "copied": copy.deepcopy,
    "pickled": lambda model: pickle.loads(pickle.dumps(model)),
    "assigned": assigned,
    "two adapters": second,
    "one deleted": without_second,
    "merged and unmerged": lambda model: (model.merge_adapter(), model.unmerge_adapter(), model)[-1],
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("case", TIED)
def test_what_is_written_to_the_entries_of_one_layer_is_in_the_other(case: str, change: str) -> None:
    model = CHANGES[change](adapted(case, moved=True))
    one, other = (layer(model, name) for name in ("square", "twin"))
    one.trained("default")[0].data.fill_(0.7)
    assert torch.equal(other.core("default").m, torch.full_like(other.core("default").m, 0.7))
    assert len({id(part) for name in NAMES for part in layer(model, name).trained("default")}) == 4


@pytest.mark.parametrize("low_cpu_mem_usage", [True, False])
@pytest.mark.parametrize("case", TIED)
def test_a_checkpoint_has_the_entries_once_and_they_are_shared_when_it_is_loaded(
    case: str, low_cpu_mem_usage: bool, tmp_path: Path
) -> None:
    model = adapted(case, moved=True)
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "adapter_model.safetensors")
    assert {name for name in state if "tied" in name} == {f"base_model.model.{name}.svft_tied.m" for name in TARGETS}
    again = PeftModel.from_pretrained(make_base(), tmp_path, is_trainable=True, low_cpu_mem_usage=low_cpu_mem_usage)
    assert layer(again, "twin").trained("default")[0] is layer(again, "square").trained("default")[0]
    assert torch.equal(again.eval()(make_input()), model(make_input()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_entries_in_the_dtype_of_the_base_stay_shared(dtype: torch.dtype) -> None:
    model = get_peft_model(make_base(dtype), config_of("svft_tied"), autocast_adapter_dtype=False)
    (one,), (other,) = (layer(model, name).trained("default") for name in ("square", "twin"))
    assert one is other and one.dtype == dtype


@pytest.mark.parametrize("micro_batches", [1, 3])
@pytest.mark.parametrize("path", ["token", "weight"])
@pytest.mark.parametrize("case", TIED)
def test_the_gradient_is_the_sum_over_the_layers(case: str, path: str, micro_batches: int) -> None:
    def after_two_steps(model: PeftModel, *, add: bool) -> tuple[list[Tensor], list[Tensor]]:
        """The gradients of the last step, and the entries after it, by layer."""
        parts = [layer(model, name).trained("default")[0] for name in NAMES]
        for _ in range(2):
            model.zero_grad()
            for number in range(micro_batches):
                model(make_input(torch.float64) + number).square().sum().backward()
            gradients = [part.grad.clone() for part in parts]
            if add:
                gradients[0] = gradients[-1] = gradients[0] + gradients[-1]
            with torch.no_grad():
                for part, gradient in {id(p): (p, g) for p, g in zip(parts, gradients, strict=True)}.values():
                    part.sub_(1e-4 * gradient)
        return gradients, [part.detach() for part in parts]

    tied = adapted(case, dtype=torch.float64, moved=True, path=path).train().double()
    free = adapted(case, dtype=torch.float64, tied=False, path="token").train().double()
    for name in NAMES:
        free_layer, tied_layer = layer(free, name), layer(tied, name)
        free_layer.trained("default")[0].data.copy_(tied_layer.trained("default")[0])
        if "default" in free_layer.svft_index:
            free_layer.svft_index["default"].copy_(tied_layer.svft_index["default"])
    for got, want in zip(after_two_steps(tied, add=False), after_two_steps(free, add=True), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


def test_a_random_pattern_is_drawn_once_for_a_shape() -> None:
    model, other = adapted("svft_tied_random"), adapted("svft_tied_random", pattern_seed=1)
    cells = {name: layer(model, name).svft_index["default"] for name in NAMES}
    assert torch.equal(cells["square"], cells["twin"])
    assert not torch.equal(cells["square"], layer(other, "square").svft_index["default"])


def test_layers_with_a_pattern_of_their_own_share_with_their_like_alone() -> None:
    base = nn.Sequential(*(nn.Linear(9, 9) for _ in range(5)))
    options: dict[str, Any] = {"off_diag_pattern": {"3|4": 1}, "rank_pattern": {"2": 4}}
    config = SVFTConfig(target_modules=["0", "1", "2", "3", "4"], pattern="banded", off_diag=2, tied=True, **options)
    model = get_peft_model(base, config)
    sizes = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    assert list(sizes.values()) == [5 * 9 - 6, 5 * 4 - 6, 3 * 9 - 2]
    assert layer(model, "3").trained("default")[0] is layer(model, "4").trained("default")[0]


def test_a_weighted_sum_of_tied_adapters_is_exact_and_no_longer_tied() -> None:
    model = adapted("svft_tied", moved=True)
    model.add_adapter("part", config_of("svft_tied", target_modules={"square", "tall"}))
    model.set_adapter("part")
    move(model, seed=6)
    model.base_model.add_weighted_adapter(["default", "part"], [0.5, -2.0], "sum")
    assert not model.peft_config["sum"].tied
    for name in NAMES:
        of = {key: layer(model, name).get_delta_weight(key) for key in layer(model, name).configs}
        want = 0.5 * of["default"] - 2.0 * of.get("part", torch.zeros_like(of["default"]))
        torch.testing.assert_close(of["sum"], want, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"pattern": "top_k", "off_diag": 1}, "one core .* but pattern='top_k' chooses entries by each layer"),
        ({"gate": True}, "one core .* but a gate scales each layer"),
        ({"variant": "released"}, "goes with variant='ours'"),
    ],
)
def test_what_layers_cannot_share_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"tied=True .*{sentence}"):
        svft(tied=True, **options)
