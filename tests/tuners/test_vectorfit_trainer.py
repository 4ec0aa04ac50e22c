"""VectorFit's freezing under `transformers.Trainer`: resumed, begun again, and forgotten."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from svft_bench.tuners import VectorFitConfig
from tests.tuners.cases import make_base, make_input, vectorfit
from tests.tuners.test_architectures import TOKENS, make

FREEZING: dict[str, Any] = {
    "freezing": "adaptive",
    "total_step": 12,
    "freezing_start": 0.1,
    "freezing_interval": 0.15,
    "freezing_rounds": 5,
    "freezing_fraction": 0.4,
}


class Allocate(TrainerCallback):  # type: ignore[misc]
    """Tells the tuner of every step, and ends the training after `stop` of them."""

    def __init__(self, model: nn.Module, stop: int | None) -> None:
        self.model, self.stop = model, stop

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.model.base_model.update_and_allocate(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step == self.stop:
            control.should_save = control.should_training_stop = True


def adapted() -> nn.Module:
    return get_peft_model(make("llama"), VectorFitConfig(target_modules="all-linear", **FREEZING))


def trainer(model: nn.Module, folder: Path, *, stop: int | None = None, steps: int = 12) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=1,
        learning_rate=0.05,
        weight_decay=0.1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=3,
    )
    rows = [{"input_ids": row, "labels": row} for row in (TOKENS[0], TOKENS[1], TOKENS[0].flip(0))]
    return Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[Allocate(model, stop)])


def vectors(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if ".vectorfit_" in name}


def test_a_new_trainer_on_the_same_model_resumes_to_the_end_of_an_undisturbed_run(tmp_path: Path) -> None:
    whole, model = adapted(), adapted()
    trainer(whole, tmp_path / "whole").train()
    trainer(model, tmp_path / "parts", stop=6).train()
    trainer(model, tmp_path / "parts").train(resume_from_checkpoint=str(tmp_path / "parts" / "checkpoint-6"))
    assert vectors(model).keys() == vectors(whole).keys()
    for name, value in vectors(model).items():
        assert torch.equal(value, vectors(whole)[name]), name


@pytest.mark.parametrize("steps", [12, 2])
def test_a_new_trainer_moves_every_vector(steps: int, tmp_path: Path) -> None:
    model = adapted()
    trainer(model, tmp_path, stop=6).train()
    before = vectors(model)
    again = trainer(model, tmp_path, steps=steps)
    again.train()
    assert len(before) == 14
    assert all(not torch.equal(value, before[name]) for name, value in vectors(model).items())


def in_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05, weight_decay=0.1)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(make_input()).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("mode", ["adaptive", "random"])
def test_an_optimizer_made_after_any_step_has_every_vector(mode: str) -> None:
    model = get_peft_model(make_base(), vectorfit(**FREEZING | {"freezing": mode, "thaw_at_end": False}))
    count = len(list(in_optimizer(model).param_groups[0]["params"]))
    optimizer = in_optimizer(model)
    for number in range(12):
        model.update_and_allocate(number)
        rests = [p for name, p in model.named_parameters() if ".vectorfit_" in name and not p.requires_grad]
        assert len(rests) == (0 if number < 1 else 3)
        step(model, optimizer)
        assert len(in_optimizer(model).param_groups[0]["params"]) == count


def test_loading_a_state_between_the_call_and_the_step_leaves_every_vector_trainable() -> None:
    model = get_peft_model(make_base(), vectorfit(**FREEZING))
    model.update_and_allocate(1)
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    assert all(p.requires_grad for name, p in model.named_parameters() if ".vectorfit_" in name)


def test_a_second_training_begins_with_nothing_at_rest() -> None:
    model = get_peft_model(make_base(), vectorfit(**FREEZING | {"thaw_at_end": False}))
    optimizer = in_optimizer(model)
    for number in range(12):
        model.update_and_allocate(number)
        step(model, optimizer)
    before = vectors(model)
    model.update_and_allocate(0)
    step(model, in_optimizer(model))
    assert all(not torch.equal(value, before[name]) for name, value in vectors(model).items())


def test_a_vector_that_the_user_froze_stays_frozen() -> None:
    model = get_peft_model(make_base(), vectorfit(**FREEZING, l1=0.1))
    frozen = model.base_model.model.tall.vectorfit_sigma["default"].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for number in range(6):
        model.update_and_allocate(number)
        step(model, optimizer)
    assert not frozen.requires_grad and not frozen.any()


@pytest.mark.parametrize("options", [FREEZING, {"l1": 0.1}])
def test_a_schedule_that_nothing_calls_is_warned_of_once_at_the_second_step(options: dict[str, Any]) -> None:
    model = get_peft_model(make_base(), vectorfit(**options))
    optimizer = in_optimizer(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(model, optimizer)
    with pytest.warns(UserWarning, match="nothing calls model.base_model.update_and_allocate"):
        step(model, optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(model, optimizer)


@pytest.mark.parametrize("calls", [True, False])
def test_a_schedule_that_is_followed_or_absent_is_not_warned_of(calls: bool) -> None:
    model = get_peft_model(make_base(), vectorfit(**FREEZING if calls else {}))
    optimizer = in_optimizer(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(3):
            if calls:
                model.update_and_allocate(number)
            step(model, optimizer)


def test_a_copy_of_a_model_follows_its_own_schedule() -> None:
    model = copy.deepcopy(get_peft_model(make_base(), vectorfit(**FREEZING)))
    optimizer = in_optimizer(model)
    for number in range(3):
        model.update_and_allocate(number)
        step(model, optimizer)
    assert all(p.requires_grad for name, p in model.named_parameters() if ".vectorfit_" in name)
