from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor, nn

from svft_bench.tuners import SVFTConfig, VectorFitConfig
from svft_bench.tuners.budget import Holding, allot, check

# What `Stack` takes relative to its weights: all factors, an adapted weight of a square layer and of a flat one.
FACTORS, SQUARE, FLAT = 0.625, 0.1, 0.4


class Stack(nn.Module):
    """Two square layers, which keep both factors, and two flat ones, which keep one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.wide = nn.Linear(64, 16, bias=False)
        self.first = nn.Linear(16, 16, bias=False)
        self.second = nn.Linear(16, 16, bias=False)
        self.tall = nn.Linear(16, 64, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.tall(self.second(self.first(self.wide(x))))


TARGETS = ["wide", "first", "second", "tall"]


def adapted(base: nn.Module | None = None, **options: Any) -> nn.Module:
    return get_peft_model(base or Stack(), SVFTConfig(**{"target_modules": TARGETS, "path": "auto"} | options))


def layers(model: nn.Module) -> list[Any]:
    return [model.base_model.model.get_submodule(name) for name in TARGETS]


def paths(model: nn.Module, *, trains: bool) -> list[str]:
    """The path of every layer, in training with many tokens or in decoding."""
    for _ in range(2):
        with torch.set_grad_enabled(trains):
            model.train(trains)(torch.randn(2000 if trains else 3, 64))
    return [layer.path_taken for layer in layers(model)]


def held(model: nn.Module) -> float:
    """Bytes of factors and adapted weights, relative to the weights."""
    adapted_weights = [layer._adapted.weight for layer in layers(model)]
    extra = sum(layer.holding().factors for layer in layers(model))
    extra += sum(weight.nbytes for weight in adapted_weights if weight is not None)
    return float(extra / sum(layer.base_layer.weight.nbytes for layer in layers(model)))


@pytest.mark.parametrize(
    ("budget", "training", "decoding"),
    [
        (None, ["one_sided", "weight", "weight", "one_sided"], ["weight"] * 4),
        (2.0, ["one_sided", "weight", "weight", "one_sided"], ["weight"] * 4),
        (
            FACTORS + 2 * SQUARE + FLAT,
            ["one_sided", "weight", "weight", "one_sided"],
            ["weight", "weight", "weight", "one_sided"],
        ),
        (
            FACTORS + SQUARE,
            ["one_sided", "weight", "token", "one_sided"],
            ["one_sided", "weight", "token", "one_sided"],
        ),
        (FACTORS, ["one_sided", "token", "token", "one_sided"], ["one_sided", "token", "token", "one_sided"]),
    ],
)
def test_layers_keep_adapted_weights_as_far_as_the_budget_goes(
    budget: float | None, training: list[str], decoding: list[str]
) -> None:
    model = adapted(memory_budget=None if budget is None else budget + 1e-9)
    assert paths(model, trains=True) == training
    assert paths(model, trains=False) == decoding
    assert budget is None or held(model) <= budget + 1e-9


def test_a_forced_weight_path_gives_way_where_there_is_no_room() -> None:
    model = adapted(path="weight", memory_budget=1.7)
    assert paths(model, trains=True) == ["token", "weight", "weight", "token"] and held(model) <= 1.7


def test_the_budget_is_of_bytes_in_the_dtypes_that_are_held() -> None:
    with pytest.raises(ValueError, match=r"memory_budget=0\.7 .* 1\.25 times the weights"):
        adapted(Stack().bfloat16(), basis_dtype="float32", memory_budget=0.7)
    get_peft_model(Stack().bfloat16(), SVFTConfig(target_modules=TARGETS, rank=4, memory_budget=0.4))


@pytest.mark.parametrize("config_cls", [SVFTConfig, VectorFitConfig])
def test_a_budget_below_the_factors_is_refused_before_anything_changes(config_cls: Any) -> None:
    base = Stack()
    with pytest.raises(ValueError, match=r"memory_budget=0\.5 is too little: the factors alone take 0\.625 times"):
        get_peft_model(base, config_cls(target_modules=TARGETS, memory_budget=0.5))
    assert all(type(base.get_submodule(name)) is nn.Linear for name in TARGETS)
    # One factor of the square layers, too, is enough in float32, and training moves on without a dense weight.
    model = get_peft_model(base, config_cls(target_modules=TARGETS, memory_budget=0.5, path="one_sided"))
    assert paths(model, trains=True) == ["one_sided"] * 4


@pytest.mark.parametrize("budget", [-1.0, float("nan")])
def test_a_budget_that_is_no_multiple_is_refused(budget: float) -> None:
    with pytest.raises(ValueError, match=f"memory_budget={budget}"):
        SVFTConfig(target_modules=TARGETS, memory_budget=budget)


def test_the_strictest_of_several_adapters_counts_and_the_choice_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    model = adapted()
    with caplog.at_level(logging.INFO, logger="svft_bench.tuners"):
        model.add_adapter("second", SVFTConfig(target_modules=TARGETS, memory_budget=FACTORS + SQUARE + 1e-9))
        assert paths(model, trains=True)[1:3] == ["weight", "token"]
    assert "1 of 4 layers have room for an adapted weight" in caplog.text
    assert "second (16, 16) takes the token path for 2000 tokens" in caplog.text


def test_conditioning_goes_before_the_budget_with_a_warning() -> None:
    base = Stack()
    base.tall.weight.data[:, 1] = base.tall.weight.data[:, 0]
    with pytest.warns(UserWarning, match="more than memory_budget=0.7: some weights need both"):
        model = adapted(base, memory_budget=0.7)
    assert layers(model)[3].holding().both and "weight" not in paths(model, trains=True)


def test_room_goes_to_layers_that_train_with_it_and_then_in_order() -> None:
    one, two = Holding(10, 1, both=False), Holding(10, 4, both=True)
    holdings = {"a": one, "b": two, "c": one, "d": two}
    check(holdings, budget=0.25)
    assert [sorted(allot(holdings, budget=budget)) for budget in (0.25, 0.5, 0.75, 1.0, 1.25)] == [
        [],
        ["b"],
        ["b", "d"],
        ["a", "b", "d"],
        ["a", "b", "c", "d"],
    ]
