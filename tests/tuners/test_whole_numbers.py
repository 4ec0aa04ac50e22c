"""Whole numbers in an adapter's files, after an average or a cast of all that is in them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from tests.tuners.cases import config_of, make_input
from tests.tuners.test_transfer import on_machine, shaped, trained

EVERYTHING: dict[str, Callable[[Tensor], Tensor]] = {
    "averaged": lambda part: (part + part) / 2,
    "weighted": lambda part: 0.3 * part + 0.7 * part,
    "bfloat16": lambda part: part.bfloat16(),
    "float64": lambda part: part.double(),
}


@pytest.mark.parametrize("machine", ["numpy", "turned"])
@pytest.mark.parametrize("change", EVERYTHING)
@pytest.mark.parametrize(
    "case", ["svft_plain", "svft_banded", "svft_random", "svft_top_k", "svft_saved_basis", "vectorfit"]
)
def test_an_average_or_a_cast_of_every_tensor_of_an_adapter_loads(case: str, change: str, machine: str) -> None:
    model, x = trained(case, shaped("equal")), make_input()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = {name: EVERYTHING[change](part) for name, part in get_peft_model_state_dict(model).items()}
    with on_machine(machine), torch.no_grad():
        again = get_peft_model(shaped("equal"), config_of(case)).eval()
        set_peft_model_state_dict(again, state)
        near = 0.05 if change == "bfloat16" else 1e-4
        torch.testing.assert_close(again(x), model(x), atol=near, rtol=near)


@pytest.mark.parametrize(
    ("case", "low_cpu_mem_usage", "sentence"),
    [
        ("svft_banded", False, r"fingerprint' holds whole numbers that are none in torch\.float16"),
        ("svft_random", True, "cells of a drawn pattern are whole numbers, which torch.bfloat16 cannot"),
    ],
)
def test_whole_numbers_that_a_cast_has_lost_are_refused(case: str, low_cpu_mem_usage: bool, sentence: str) -> None:
    options: dict[str, Any] = {"target_modules": ["head"]}
    base = nn.ModuleDict({"head": nn.Linear(40, 40)})
    state = get_peft_model_state_dict(get_peft_model(base, config_of(case, **options)))
    dtype = torch.bfloat16 if low_cpu_mem_usage else torch.float16
    state = {name: part.to(dtype) if part.dtype == torch.int32 else part for name, part in state.items()}
    again = get_peft_model(
        nn.ModuleDict({"head": nn.Linear(40, 40)}), config_of(case, **options), low_cpu_mem_usage=low_cpu_mem_usage
    )
    again.base_model.model.load_state_dict(base.state_dict(), strict=False)
    with pytest.raises(ValueError, match=sentence):
        set_peft_model_state_dict(again, state, low_cpu_mem_usage=low_cpu_mem_usage)
