from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import PeftConfig, get_peft_model
from peft.utils.quantization_utils import ForwardOnlyQuantizationBackend
from torch import nn

from svft_bench.tuners import basis_layer
from tests.tuners.cases import adapted, config_of, make_base, make_input, svft, vectorfit

Method = Callable[..., PeftConfig]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "blocks"}, "pattern='blocks' is not one of plain, banded, random, top_k"),
        ({"variant": "theirs"}, "variant='theirs' is not one of ours, released"),
        ({"path": "magic"}, "path='magic' is not one of auto"),
        ({"basis_dtype": "int8"}, "basis_dtype='int8' is not one of auto"),
        ({"off_diag": -1, "pattern": "banded"}, "off_diag=-1 is negative"),
        ({"off_diag": 1.5, "pattern": "banded"}, "off_diag=1.5 is not a whole number"),
        ({"rank": "4"}, "rank='4' is not a whole number"),
        ({"entries": 3.0, "pattern": "random"}, "entries=3.0 is not a whole number"),
        ({"off_diag": 2}, "off_diag=2 has no meaning for pattern='plain'"),
        ({"off_diag": 2, "pattern": "dense"}, "off_diag=2 has no meaning for pattern='dense'"),
        ({"entries": 5, "pattern": "dense"}, "entries=5"),
        ({"entries": 5}, "entries=5"),
        ({"rank": 0}, "rank=0"),
        ({"fill_orthonormal": True}, "needs a rank"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        svft(**options)


METHODS = [svft, vectorfit]


@pytest.mark.parametrize(
    ("method", "field", "value", "wanted"),
    [
        *((svft, name, "False", "True or False") for name in ("gate", "save_basis", "replacement", "init_weights")),
        *((vectorfit, name, "false", "True or False") for name in ("train_bias", "thaw_at_end", "inference_mode")),
        (svft, "gate", 1, "True or False"),
        (svft, "off_diag", True, "a whole number"),
        (svft, "memory_budget", "0.3", "a number"),
        (svft, "modules_to_save", "head", "a list of names"),
        (vectorfit, "target_modules", 5, "a string or a list of names"),
        (vectorfit, "target_modules", {"square": 1}, "a string or a list of names"),
        (svft, "exclude_modules", [None], "a string or a list of names"),
        (svft, "rank_pattern", None, "a value of rank for each of some names of layers"),
        (svft, "off_diag_pattern", ["square"], "a value of off_diag for each of some names of layers"),
        (vectorfit, "total_step", "20", "a whole number"),
        (vectorfit, "l1", "1e-4", "a number"),
        (vectorfit, "freezing_fraction", None, "a number"),
        (vectorfit, "k", "0.2", "a number"),
    ],
)
def test_a_value_of_another_type_is_refused_and_text_is_never_true(
    method: Any, field: str, value: Any, wanted: str
) -> None:
    name = {"k": "freezing_fraction"}.get(field, field)
    with warnings.catch_warnings(), pytest.raises(ValueError, match=re.escape(f"{name}={value!r} is not {wanted}.")):
        warnings.simplefilter("ignore", DeprecationWarning)
        method(**{field: value})


def refused(base: nn.Module, config: PeftConfig, message: str) -> None:
    """The config is refused, and the model is what it was: its modules, its tensors and what trains."""
    modules, trains = list(base.modules()), [p.requires_grad for p in base.parameters()]
    tensors = {name: value.clone() for name, value in base.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        get_peft_model(base, config)
    assert list(base.modules()) == modules and [p.requires_grad for p in base.parameters()] == trains
    for name, value in base.state_dict().items():
        torch.testing.assert_close(value, tensors[name], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "banded", "off_diag": 8}, "Module 'wide': off_diag=8 does not fit a core of size 8"),
        ({"pattern": "random", "entries": 100}, "Module 'wide': entries=100 is more than the 64 cells"),
        ({"pattern": "top_k"}, "Module 'tall': top_k aligns .* not 20x12"),
        ({"rank": 13}, "rank=13 is more than the 12 singular values"),
    ],
)
def test_a_pattern_that_does_not_fit_a_layer_is_refused_before_anything_changes(
    options: dict[str, Any], message: str
) -> None:
    refused(make_base(), svft(**options), message)


@pytest.mark.parametrize("method", METHODS)
def test_weights_without_a_singular_basis_are_refused_before_anything_changes(method: Method) -> None:
    for value, message in ((float("nan"), "not finite"), (float("inf"), "not finite"), (None, "weight of zeros")):
        base = make_base()
        if value is None:
            base.wide.weight.data.zero_()
        else:
            base.wide.weight.data[1, 2] = value
        refused(base, method(), f"Module 'wide' .*{message}")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layer", [nn.Embedding(5, 4), nn.ConvTranspose2d(3, 4, 2), nn.GroupNorm(2, 4)])
def test_layers_of_other_kinds_are_refused(layer: nn.Module, method: Method) -> None:
    base = make_base()
    base.extra = layer
    refused(
        base,
        method(target_modules=["square", "extra"]),
        f"Target module 'extra' is not supported: it is a {type(layer).__name__}",
    )


def test_svft_refuses_a_layer_norm() -> None:
    base = make_base()
    base.norm = nn.LayerNorm(4)
    refused(
        base,
        svft(target_modules=["square", "norm"]),
        "Target module 'norm' is not supported: it is a LayerNorm, not a Linear, Conv1D, Conv1d, Conv2d or Conv3d",
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_projection_inside_torch_attention_is_refused_because_it_is_never_called(method: Method) -> None:
    base = make_base()
    base.attention = nn.MultiheadAttention(8, 2)
    refused(base, method(target_modules=["square", "out_proj"]), "'attention.out_proj' .*MultiheadAttention")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn, torch.complex64])
def test_a_weight_in_a_dtype_that_needs_a_dequantiser_is_refused(dtype: torch.dtype, method: Method) -> None:
    base = make_base()
    base.wide.weight = nn.Parameter(torch.ones(8, 20).to(dtype), requires_grad=False)
    refused(base, method(), f"Module 'wide' has a weight of {dtype}, which nothing here can dequantise")


@pytest.mark.parametrize("method", METHODS)
def test_a_quantised_layer_that_only_computes_forward_is_refused(
    method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backend(base: nn.Module, **_: Any) -> ForwardOnlyQuantizationBackend | None:
        return ForwardOnlyQuantizationBackend("gptq") if base.weight.shape == (8, 20) else None

    monkeypatch.setattr(basis_layer, "resolve_quantization_backend", backend)
    refused(make_base(), method(), "Module 'wide' has a quantised weight that cannot be dequantised .*gptq")


def test_a_second_adapter_that_does_not_fit_leaves_the_first_alone() -> None:
    model, x = adapted("svft_plain", moved=True), make_input()
    before = model(x)
    with pytest.raises(ValueError, match="off_diag=8"):
        model.add_adapter("second", svft(pattern="banded", off_diag=8))
    assert torch.equal(model(x), before)
    assert list(model.peft_config) == ["default"]


@pytest.mark.parametrize("use", [lambda model: model(make_input()), lambda model: model.merge_adapter()])
@pytest.mark.parametrize("case", ["svft_plain", "svft_banded", "svft_random", "svft_tied", "vectorfit"])
def test_an_adapter_that_waits_for_its_checkpoint_says_so(case: str, use: Callable[[nn.Module], object]) -> None:
    model = get_peft_model(make_base(), config_of(case), low_cpu_mem_usage=True)
    with pytest.raises(ValueError, match=r"'default' has no entries for 'square' yet: .* waits for its check"):
        use(model)


def test_a_merge_that_is_not_finite_is_refused_and_changes_nothing() -> None:
    model, x = adapted("svft_plain"), make_input()
    before = model(x)
    model.base_model.model.wide.svft_m["default"].data.fill_(float("nan"))
    with pytest.raises(ValueError, match="The adapter default seems to be broken"):
        model.base_model.model.wide.merge(safe_merge=True)
    with model.disable_adapter():
        assert torch.equal(model(x), before)


def test_two_released_adapters_cannot_be_active_together() -> None:
    model = adapted("svft_released")
    model.add_adapter("second", svft())
    with pytest.raises(ValueError, match="can only be active alone"):
        model.base_model.set_adapter(["default", "second"])
