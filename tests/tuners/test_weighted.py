"""`add_weighted_adapter` gives the exact sum of other adapters, or says why there is none."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model

from svft_bench.tuners import SVFTConfig
from tests.tuners.cases import adapted, move, svft
from tests.tuners.test_architectures import logits, make
from tests.tuners.test_peft_contract import ALL, OURS, TARGETS, build, layers
from tests.tuners.test_transfer import on_machine


def deltas_of(model: PeftModel, adapter: str) -> list[torch.Tensor]:
    nothing = [torch.zeros(layer.out_features, layer.in_features) for layer in layers(model)]
    pairs = zip(layers(model), nothing, strict=True)
    return [layer.get_delta_weight(adapter) if adapter in layer.configs else zero for layer, zero in pairs]


@pytest.mark.parametrize("name", OURS)
def test_a_weighted_adapter_is_exactly_the_sum_of_the_others(name: str) -> None:
    model = build(name)
    model.add_adapter("other", ALL[name](target_modules=[*TARGETS, "v_proj"]))
    model.set_adapter("other")
    move(model, seed=6)
    model.base_model.add_weighted_adapter(["default", "other"], [0.5, -2.0], "sum", combination_type="linear")
    whole = zip(deltas_of(model, "default"), deltas_of(model, "other"), deltas_of(model, "sum"), strict=True)
    for one, other, both in whole:
        torch.testing.assert_close(both, 0.5 * one - 2.0 * other, atol=1e-6, rtol=1e-5)
    assert not any(p.requires_grad for n, p in model.named_parameters() if n.endswith(".sum"))
    assert model.peft_config["sum"].target_modules == {*TARGETS, "v_proj"}


# What two adapters choose, of the queries and values of two blocks.
CHOSEN = [
    ({"exclude_modules": ["v_proj"]}, {}),
    ({}, {"exclude_modules": ["v_proj"]}),
    ({"layers_to_transform": [0]}, {"layers_to_transform": [1]}),
    ({"layers_to_transform": [1], "target_modules": ["q_proj"]}, {"target_modules": ["v_proj"]}),
    ({"target_modules": ["q_proj"]}, {"exclude_modules": ["q_proj"]}),
    ({"target_modules": ".*q_proj", "exclude_modules": ".*1.*"}, {"target_modules": ".*v_proj"}),
]


@pytest.mark.parametrize(("one", "other"), CHOSEN)
def test_a_weighted_adapter_is_on_every_layer_that_one_of_the_others_chose(
    one: dict[str, Any], other: dict[str, Any], tmp_path: Path
) -> None:
    options = {"target_modules": ["q_proj", "v_proj"], "pattern": "banded", "off_diag": 2}
    model = get_peft_model(make("llama"), SVFTConfig(**options | one), adapter_name="one").eval()
    model.add_adapter("other", SVFTConfig(**options | other))
    for adapter in ("one", "other"):
        model.set_adapter(adapter)
        move(model)
    model.base_model.add_weighted_adapter(["one", "other"], [1.0, 1.0], "sum")
    model.base_model.set_adapter(["one", "other"])
    want = logits(model)
    model.set_adapter("sum")
    torch.testing.assert_close(logits(model), want)
    assert sum("sum" in layer.configs for layer in layers(model)) == len(layers(model))
    model.save_pretrained(tmp_path, selected_adapters=["sum"])
    again = PeftModel.from_pretrained(make("llama"), tmp_path / "sum").eval()
    torch.testing.assert_close(logits(again), want)


def test_a_weighted_adapter_says_which_modules_trained_in_full_are_in_no_sum() -> None:
    model = adapted("svft_banded", moved=True)
    model.add_adapter("other", svft(pattern="banded", off_diag=2, modules_to_save=["head"]))
    with pytest.warns(UserWarning, match=r"leaves out what others train in full by modules_to_save \(head of other\)"):
        model.base_model.add_weighted_adapter(["default", "other"], [1.0, 1.0], "sum")


def test_a_weighted_adapter_saves_and_loads(tmp_path: Path) -> None:
    model = build("random")
    model.base_model.add_weighted_adapter(["default"], [2.0], "twice")
    model.set_adapter("twice")
    want = logits(model)
    model.save_pretrained(tmp_path, selected_adapters=["twice"])
    again = PeftModel.from_pretrained(make("llama"), tmp_path / "twice").eval()
    torch.testing.assert_close(logits(again), want)


def test_a_weighted_adapter_stays_as_it_is_when_another_is_loaded_in_the_place_of_one_that_it_is_made_of(
    tmp_path: Path,
) -> None:
    for machine in ("flipped", "numpy"):
        with on_machine(machine):
            build("random").save_pretrained(tmp_path / machine)
    model = PeftModel.from_pretrained(make("llama"), tmp_path / "flipped", adapter_name="one").eval()
    model.base_model.add_weighted_adapter(["one"], [1.0], "sum")
    model.set_adapter("sum")
    want = logits(model)
    model.load_adapter(tmp_path / "numpy", "one")
    model.set_adapter("sum")
    assert torch.equal(logits(model), want)


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("ties", {"density": 0.5}, "combination_type='ties'"),
        ("svd", {"svd_rank": 4, "svd_driver": None}, "combination_type='svd'"),
        ("linear", {"density": 0.5}, "takes no density"),
    ],
)
def test_options_of_combinations_that_only_lora_has_are_refused(
    kind: str, options: dict[str, Any], sentence: str
) -> None:
    model = adapted("svft_banded", moved=True)
    with pytest.raises(ValueError, match=sentence):
        model.base_model.add_weighted_adapter(["default"], [1.0], "sum", combination_type=kind, **options)
    assert list(model.peft_config) == ["default"]


@pytest.mark.parametrize(
    ("change", "kind", "sentence"),
    [
        ({"off_diag": 1}, "linear", r"have off_diag=2 and 1, so the sum is none of an adapter"),
        ({"pattern": "random"}, "linear", "have pattern='banded' and 'random'"),
        ({"gate": True}, "linear", "Adapter other has a gate"),
        ({"rank": 4}, "linear", "have rank=None and 4"),
        ({"target_modules": ".*q_proj"}, "linear", "same target modules type"),
        ({"trainable_token_indices": [1]}, "linear", "Adapter other trains tokens"),
        ({}, "ties", "combination_type='ties'"),
        ({}, "svd", "combination_type='svd'"),
    ],
)
def test_a_sum_that_would_not_be_exact_is_refused(change: dict[str, Any], kind: str, sentence: str) -> None:
    model = build("svft")
    options = {"pattern": "banded", "off_diag": 2, "target_modules": list(TARGETS)} | change
    model.add_adapter("other", SVFTConfig(**options))
    with pytest.raises(ValueError, match=sentence):
        model.base_model.add_weighted_adapter(["default", "other"], [1.0, 1.0], "sum", combination_type=kind)
    assert "sum" not in model.peft_config


@pytest.mark.parametrize(
    ("weights", "sentence"), [([1.0], "2 adapters have 1 weights"), ([1.0, float("nan")], "default has the weight nan")]
)
def test_weights_that_make_no_sum_are_refused(weights: list[float], sentence: str) -> None:
    model = build("svft")
    model.add_adapter("other", copy.deepcopy(model.peft_config["default"]))
    with pytest.raises(ValueError, match=sentence):
        model.base_model.add_weighted_adapter(["other", "default"], weights, "sum")


def test_different_draws_have_no_sum() -> None:
    model = build("random")
    model.add_adapter("other", SVFTConfig(pattern="random", off_diag=2, pattern_seed=3, target_modules=TARGETS))
    with pytest.raises(ValueError, match="do not train the same entries in one basis"):
        model.base_model.add_weighted_adapter(["default", "other"], [1.0, 1.0], "sum")
    with pytest.raises(ValueError, match="Adapter missing does not exist"):
        model.base_model.add_weighted_adapter(["default", "missing"], [1.0, 1.0], "sum")
