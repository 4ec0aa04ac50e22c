from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor, nn

from svft_bench.tuners import VectorFitConfig
from svft_bench.tuners.vectorfit import freezing
from svft_bench.tuners.vectorfit.config import RENAMED
from tests.tuners.cases import adapted, make_base, make_input, move, vectorfit

PLAN = freezing.schedule(total_step=100, start=0.1, interval=0.05, rounds=3, thaw_at_end=True)


def test_rounds_fall_due_at_the_start_and_after_every_interval() -> None:
    assert [(step, PLAN.round_at(step)) for step in range(100) if PLAN.round_at(step) is not None] == [
        (10, 0),
        (15, 1),
        (20, 2),
    ]
    assert [step for step in range(100) if PLAN.thaws_at(step)] == [25]


def test_without_thawing_the_last_round_stays() -> None:
    assert not any(PLAN._replace(thaw_at_end=False).thaws_at(step) for step in range(100))


def test_an_interval_is_at_least_one_step() -> None:
    plan = freezing.schedule(total_step=10, start=0.1, interval=0.045, rounds=20, thaw_at_end=True)
    assert plan.interval == 1


def test_the_first_round_takes_the_movement_itself_and_later_ones_smooth_it() -> None:
    old, new = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 0.0])
    assert torch.equal(freezing.smoothed(old, new, beta=0.75, first=True), new)
    assert torch.equal(freezing.smoothed(old, new, beta=0.75, first=False), torch.tensor([1.5, 1.5]))


def test_the_strongest_vectors_freeze_and_the_earlier_of_equals_comes_first() -> None:
    mask = freezing.strongest(torch.tensor([1.0, 3.0, 2.0, 3.0, 3.0]), count=2)
    assert mask.tolist() == [False, True, False, True, False]
    assert not freezing.strongest(torch.ones(3), count=0).any()


def test_random_freezing_repeats_by_round_and_differs_between_rounds() -> None:
    draws = [freezing.drawn(40, count=10, seed=1, number=number) for number in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert all(int(draw.sum()) == 10 for draw in draws)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range, *, accumulate: int = 1) -> None:
    for step in steps:
        model.update_and_allocate(step)
        for micro in range(accumulate):
            x = make_input() + 0.1 * (step * accumulate + micro)
            loss = (model(x) - 1).square().mean() / accumulate
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def optimizer_of(model: nn.Module, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], **({"lr": 0.05} | options))


def vectors(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if ".vectorfit_" in name}


FAST: dict[str, Any] = {
    "total_step": 20,
    "freezing_start": 0.1,
    "freezing_interval": 0.2,
    "freezing_rounds": 3,
    "freezing_fraction": 0.4,
}


@pytest.mark.parametrize("mode", ["adaptive", "random"])
def test_frozen_vectors_do_not_move_by_a_bit_and_the_others_train(mode: str) -> None:
    model = get_peft_model(make_base(), vectorfit(freezing=mode, **FAST))
    optimizer = optimizer_of(model, weight_decay=0.1)
    train(model, optimizer, range(2))
    for first in (2, 6, 10):
        before = vectors(model)
        asked = copy.deepcopy(model)
        asked.update_and_allocate(first)
        resting = {name for name, p in asked.named_parameters() if ".vectorfit_" in name and not p.requires_grad}
        assert len(resting) == round(0.4 * len(before)) == 3
        train(model, optimizer, range(first, first + 4))
        for name, after in vectors(model).items():
            assert torch.equal(after, before[name]) == (name in resting), name
    train(model, optimizer, range(14, 15))
    assert all(p.requires_grad for name, p in model.named_parameters() if ".vectorfit_" in name)


def test_adaptive_freezing_takes_the_vectors_that_moved_most() -> None:
    model = get_peft_model(make_base(), vectorfit(freezing="adaptive", **FAST))
    parameters = {name: p for name, p in model.named_parameters() if ".vectorfit_" in name}
    for size, parameter in enumerate(parameters.values()):
        parameter.data.fill_(-0.1 * size)
    model.update_and_allocate(2)
    assert [p.requires_grad for p in parameters.values()] == [True] * 4 + [False] * 3


def test_freezing_evens_out_the_strengths() -> None:
    often = {"freezing_interval": 0.05, "freezing_rounds": 18, "freezing_fraction": 0.4}

    def spread(**options: Any) -> float:
        model = get_peft_model(make_base(), vectorfit(total_step=60, **often, **options))
        optimizer = optimizer_of(model, lr=0.02)
        train(model, optimizer, range(60))
        moved = torch.stack([v.abs().mean() for v in vectors(model).values()])
        return float(moved.std() / moved.mean())

    assert spread(freezing="adaptive") < spread(freezing="none")


def test_freezing_nothing_is_training_without_freezing_bit_for_bit() -> None:
    results = []
    for options in ({"freezing": "none"}, {"freezing": "adaptive", "freezing_fraction": 0.0, "total_step": 20}):
        model = get_peft_model(make_base(), vectorfit(**options))
        train(model, optimizer_of(model), range(12))
        results.append(vectors(model))
    assert all(torch.equal(results[0][name], value) for name, value in results[1].items())


def test_switching_adapters_off_and_on_leaves_the_resting_at_rest() -> None:
    model = get_peft_model(make_base(), vectorfit(freezing="adaptive", **FAST))
    train(model, optimizer_of(model), range(3))
    model.update_and_allocate(3)
    state = {name: p.requires_grad for name, p in model.named_parameters()}
    assert sum(".vectorfit_" in name and not trains for name, trains in state.items()) == 3
    with model.disable_adapter():
        model(make_input())
    model.set_adapter("default")
    assert {name: p.requires_grad for name, p in model.named_parameters()} == state


@pytest.mark.parametrize("stop", [1, 4, 8, 13, 16])
def test_a_resumed_training_goes_on_exactly(stop: int, tmp_path: Path) -> None:
    whole = get_peft_model(make_base(), vectorfit(freezing="adaptive", **FAST))
    whole_optimizer = optimizer_of(whole)
    train(whole, whole_optimizer, range(stop))
    whole.save_pretrained(tmp_path)
    state = copy.deepcopy(whole_optimizer.state_dict())
    train(whole, whole_optimizer, range(stop, 20))

    resumed = PeftModel.from_pretrained(make_base(), tmp_path, is_trainable=True)
    optimizer = optimizer_of(resumed)
    optimizer.load_state_dict(state)
    train(resumed, optimizer, range(stop, 20))
    assert all(torch.equal(vectors(whole)[name], value) for name, value in vectors(resumed).items())


@pytest.mark.parametrize("accumulate", [1, 3])
def test_an_l1_penalty_counts_once_for_a_step(accumulate: int) -> None:
    def gradients(l1: float) -> dict[str, Tensor]:
        model = adapted("vectorfit", moved=True, l1=l1)
        model.update_and_allocate(0)
        for _ in range(accumulate):
            (model(make_input()).square().mean() / accumulate).backward()
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    plain, values = gradients(0.0), vectors(adapted("vectorfit", moved=True))
    for name, gradient in gradients(0.01).items():
        torch.testing.assert_close(gradient - plain[name], 0.01 * values[name].sign(), atol=1e-6, rtol=0)


def test_an_l1_penalty_shrinks_the_increments() -> None:
    def size(l1: float) -> float:
        model = get_peft_model(make_base(), vectorfit(l1=l1))
        train(model, torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05), range(40))
        return sum(float(v.abs().sum()) for v in vectors(model).values())

    assert size(0.05) < 0.8 * size(0.0)


def test_the_bias_of_a_layer_norm_trains_and_merges() -> None:
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8))
    x = torch.randn(3, 6)
    start = base(x)
    model = get_peft_model(base, VectorFitConfig(target_modules=["1"]))
    assert torch.equal(model(x), start)
    (bias,) = (p for p in model.parameters() if p.requires_grad)
    bias.data.fill_(0.5)
    torch.testing.assert_close(model(x), start + 0.5)
    torch.testing.assert_close(model.merge_and_unload()(x), start + 0.5)


def test_freezing_without_a_total_is_refused_when_training_starts() -> None:
    model = get_peft_model(make_base(), vectorfit(freezing="adaptive"))
    with pytest.raises(ValueError, match="needs total_step"):
        model.update_and_allocate(0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_sigma": False, "train_bias": False}, "nothing would train"),
        ({"freezing": "sometimes"}, "freezing='sometimes' is not one of adaptive, random, none"),
        ({"freezing_fraction": 1.5}, "freezing_fraction=1.5 is not a fraction"),
        ({"strength_smoothing": -0.1}, "strength_smoothing=-0.1 is not a fraction"),
        ({"k": 1.5}, "^k=1.5 is not a fraction"),
        ({"start": 0.2, "freezing_start": 0.3}, "freezing_start=0.3 and start=0.2 are one field"),
        ({"l1": -1.0}, "l1=-1.0"),
        ({"total_step": 0}, "total_step=0"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VectorFitConfig(target_modules=["square"], **options)


OLD = {"start": 0.2, "interval": 0.05, "rounds": 7, "k": 0.3, "beta": 0.5}
NEW = dict(zip(RENAMED.values(), OLD.values(), strict=True))


def test_the_older_names_of_fields_mean_the_same_and_are_told_once() -> None:
    with pytest.warns(DeprecationWarning, match="start is now freezing_start, interval is now .*, k is now") as told:
        old = VectorFitConfig(target_modules=["square"], **OLD)
    assert len(told) == 1 and Path(told[0].filename) == Path(__file__)
    assert old == VectorFitConfig(target_modules=["square"], **NEW) == replace(old)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_adapter_that_was_saved_with_the_older_names_keeps_its_schedule(tmp_path: Path) -> None:
    get_peft_model(make_base(), vectorfit(freezing="adaptive", total_step=9, **NEW)).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "adapter_config.json").read_text())
    assert saved.items() >= NEW.items() and not saved.keys() & OLD.keys()
    older = {name: value for name, value in saved.items() if name not in NEW} | OLD
    (tmp_path / "adapter_config.json").write_text(json.dumps(older))
    config = PeftModel.from_pretrained(make_base(), tmp_path).peft_config["default"]
    assert {name: getattr(config, name) for name in NEW} == NEW and config.total_step == 9


def test_two_resting_adapters_both_rest_again_after_a_resume() -> None:
    def both() -> nn.Module:
        model = get_peft_model(make_base(), vectorfit(freezing="adaptive", **FAST))
        model.add_adapter("second", vectorfit(freezing="adaptive", **FAST))
        model.base_model.set_adapter(["default", "second"])
        return model

    model, resumed = both(), both()
    move(model)
    model.update_and_allocate(2)
    resumed.load_state_dict(model.state_dict())
    resumed.update_and_allocate(3)
    states = [{name: p.requires_grad for name, p in each.named_parameters()} for each in (model, resumed)]
    assert states[0] == states[1]


def test_an_adapter_that_takes_the_name_of_a_deleted_one_does_not_rest_like_it() -> None:
    model = get_peft_model(make_base(), vectorfit(freezing="adaptive", **FAST))
    train(model, optimizer_of(model), range(3))
    model.add_adapter("second", vectorfit())
    model.delete_adapter("default")
    model.add_adapter("default", vectorfit())
    model.set_adapter("default")
    assert all(p.requires_grad for name, p in model.named_parameters() if name.endswith(".default"))


@pytest.mark.parametrize("options", [{}, {"modules_to_save": ["head"]}, {"inference_mode": True}])
def test_biases_alone_of_layers_without_any_are_refused_before_anything_changes(options: dict[str, Any]) -> None:
    base = make_base()
    modules = list(base.modules())
    with pytest.raises(
        ValueError, match="train_sigma=False and train_bias=True train nothing: of the 1 target modules"
    ):
        get_peft_model(base, vectorfit(train_sigma=False, target_modules=["square"], **options))
    assert list(base.modules()) == modules


def test_singular_values_alone_of_layer_norms_are_refused() -> None:
    base = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6))
    with pytest.raises(ValueError, match="1 are LayerNorms, without singular values"):
        get_peft_model(base, VectorFitConfig(target_modules=["1"], train_bias=False))


def test_one_bias_among_the_targets_is_enough() -> None:
    model = get_peft_model(make_base(), vectorfit(train_sigma=False, target_modules=["square", "tall"]))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 20
