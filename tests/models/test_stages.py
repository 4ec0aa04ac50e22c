"""Blocks that differ: a model of several stages is counted, checked and limited by all of them."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from svft_bench.compose import cells
from svft_bench.config.spec import MethodSpec, ModelSpec
from svft_bench.methods.applying import LONG, apply_method, count, peft_config, stored_bytes
from svft_bench.methods.counts import check_shapes, frozen_factors, trained_parameters
from svft_bench.models.blocks import check_numbers, numbers

NARROW = {"layers": 2, "matrices": {"q": [8, 8], "k": [8, 8], "u": [8, 32]}}
WIDE = {"layers": 3, "matrices": {"q": [16, 16], "k": [12, 16], "u": [16, 64]}}


def staged(**changes: Any) -> ModelSpec:
    values = cells(["model=minilm-l6", "method=lora", "task=glue/rte"], any_data=True)[0].spec.model.model_dump()
    targets = {letter: [letter] for letter in "qku"} | {"all_linear": ["q", "k", "u"]}
    own = {"layers": 5, "parameters": 5440, "matrices": WIDE["matrices"], "biases": ["u"], "targets": targets}
    return ModelSpec.model_validate(values | own | {"stages": [NARROW, WIDE], "head_modules": []} | changes)


def built() -> nn.Module:
    def block(form: Any) -> nn.Module:
        return nn.ModuleDict({k: nn.Linear(i, o, bias=k == "u") for k, (i, o) in form["matrices"].items()})

    return nn.ModuleList(block(form) for form in (NARROW, WIDE) for _ in range(form["layers"]))


def method(name: str, **changes: Any) -> MethodSpec:
    spec = cells(["model=minilm-l6", f"method={name}", "task=glue/rte", "protocol=ours"], any_data=True)[0].spec.method
    return spec.model_copy(update={"modules": "all_linear", "target_modules": ["q", "k", "u"], **changes})


@pytest.mark.parametrize("name", ["lora", "svft_plain", "vectorfit", "full_ft"])
def test_the_closed_form_sums_over_stages(name: str) -> None:
    model, spec, chosen = built(), staged(), method(name)
    before = stored_bytes(model)
    config = peft_config(chosen, kind="sequence_classification", head_modules=(), total_steps=LONG, seed=0)
    adapted = apply_method(model, chosen, config, head_modules=())
    counted = count(adapted, head_modules=(), base_bytes=before)
    assert trained_parameters(spec, chosen) == counted.trainable
    if name == "svft_plain":
        assert frozen_factors(spec, chosen) == 2 * (128 + 128 + 64) + 3 * (512 + 12 * 28 + 256)


def test_a_model_of_several_stages_is_known_by_all_of_them() -> None:
    check_numbers(built(), staged(), kind="sequence_classification")
    assert numbers(built(), staged()).layers == 5
    for wrong in (
        {"stages": [NARROW | {"layers": 1}, WIDE]},
        {"stages": [NARROW | {"matrices": NARROW["matrices"] | {"k": [4, 8]}}, WIDE]},
        {"parameters": 5441},
    ):
        with pytest.raises(ValueError, match="its file states"):
            check_numbers(built(), staged(**wrong), kind="sequence_classification")


def test_without_stages_a_matrix_of_two_shapes_is_refused() -> None:
    with pytest.raises(ValueError, match="matrix q is to have one shape in all blocks, here it has 8 x 8, 16 x 16"):
        numbers(built(), staged(stages=[]))


def test_the_narrowest_stage_limits_a_band() -> None:
    check_shapes(staged(), method("svft_banded", off_diag=7))
    with pytest.raises(ValueError, match=r"off_diag=8: the smallest matrix .* has 8 singular values, so 7 is the most"):
        check_shapes(staged(), method("svft_banded", off_diag=8))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"biases": ["x"]}, "biases has x; matrices has q, k, u"),
        ({"stages": [{"layers": 1, "matrices": {"z": [1, 1]}}]}, "stages has z; matrices has q, k, u"),
    ],
)
def test_biases_and_stages_name_matrices_that_there_are(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        staged(**changes)
