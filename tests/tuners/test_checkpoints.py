from __future__ import annotations

import dataclasses
import itertools
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import (
    PeftConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from torch import Tensor, nn

from tests.tuners.cases import CASES, MOVED_CASES, TARGETS, Shapes, adapted, config_of, make_base, make_input

ALL = [*CASES, *MOVED_CASES]
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
SIZES = {"square": (12, 12), "tall": (20, 12), "wide": (8, 20), "conv": (12, 8)}


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", ALL)
def test_a_saved_adapter_loads_to_the_same_function(
    case: str, dtype: torch.dtype, low_cpu_mem_usage: bool, tmp_path: Path
) -> None:
    model, x = adapted(case, dtype=dtype, moved=True), make_input(dtype)
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(make_base(dtype), tmp_path, low_cpu_mem_usage=low_cpu_mem_usage).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(x), model(x))
    fresh = {name: value for name, value in again.state_dict().items() if "_" in name}
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in fresh.items())


@pytest.mark.parametrize("case", ["svft_banded", "svft_random", "vectorfit"])
def test_an_adapter_does_not_load_onto_another_base(case: str, tmp_path: Path) -> None:
    adapted(case, moved=True).save_pretrained(tmp_path)
    other = make_base()
    other.tall.weight.data = other.tall.weight.data.flip(0)
    with pytest.raises(ValueError, match=r"another singular basis of 'base_model\.model\.tall'.*save_basis=True"):
        PeftModel.from_pretrained(other, tmp_path)


USES: dict[str, Callable[[PeftModel], object]] = {
    "forward": lambda model: model(make_input()),
    "merge": lambda model: model.merge_adapter(),
    "with_another": lambda model: (model.base_model.set_adapter(["default", "second"]), model(make_input())),
}


@pytest.mark.parametrize(
    ("case", "use"),
    [
        *itertools.product(["svft_banded", "vectorfit"], USES),
        *itertools.product(["svft_released"], ["forward", "merge"]),  # it is always alone
    ],
)
def test_entries_put_in_by_hand_are_refused_on_another_base_when_they_are_used(case: str, use: str) -> None:
    state = {name: value for name, value in adapted(case, moved=True).state_dict().items() if ".default" in name}
    base = make_base()
    base.tall.weight.data = base.tall.weight.data.flip(0)
    other = get_peft_model(base, config_of(case)).eval()
    other.add_adapter("second", config_of(case))
    other.load_state_dict(state, strict=False)
    with pytest.raises(ValueError, match=r"another singular basis of 'tall'"):
        USES[use](other)


def averaged(one: Tensor, other: Tensor, keep: float) -> Tensor:
    return keep * one + (1 - keep) * other


AVERAGES: dict[str, Callable[[PeftModel, PeftModel, float], object]] = {
    "in_the_state_dict": lambda mean, model, keep: [
        one.copy_(averaged(one, other, keep))
        for one, other in zip(mean.state_dict().values(), model.state_dict().values(), strict=True)
    ],
    "in_the_buffers": lambda mean, model, keep: [
        one.copy_(averaged(one, other, keep)) for one, other in zip(mean.buffers(), model.buffers(), strict=True)
    ],
    "as_a_new_state_dict": lambda mean, model, keep: mean.load_state_dict(
        {name: averaged(part, model.state_dict()[name], keep) for name, part in mean.state_dict().items()}
    ),
}


@pytest.mark.parametrize("keep", [0.9, 0.9999])
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("case", ["svft_random", "svft_top_k", "svft_tied_random"])
def test_a_running_average_of_all_in_a_state_dict_leaves_the_cells_where_they_are(
    case: str, average: str, keep: float
) -> None:
    model, mean = adapted(case, moved=True), adapted(case, moved=True)
    with torch.no_grad():
        for _ in range(3):
            AVERAGES[average](mean, model, keep)
        torch.testing.assert_close(mean(make_input()), model(make_input()))
    cells = {name: part for name, part in model.state_dict().items() if "index" in name}
    assert cells and all(torch.equal(mean.state_dict()[name], part) for name, part in cells.items())


@pytest.mark.parametrize("case", ["svft_banded", "svft_saved_basis", "svft_random", "vectorfit"])
@pytest.mark.parametrize("merged", [False, True])
def test_who_saves_an_adapter_learns_that_its_basis_is_of_weights_that_are_gone(
    case: str, merged: bool, tmp_path: Path
) -> None:
    model = adapted(case, moved=True)
    if merged:
        model.merge_adapter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.bfloat16().float().save_pretrained(tmp_path)
    model.unmerge_adapter() if merged else None
    weight = model.base_model.model.tall.base_layer.weight
    weight.data.copy_(weight.flip(0))
    if merged:
        model.merge_adapter()
    with pytest.warns(UserWarning, match=r"weight of tall is no longer .* load the base's weights before"):
        model.save_pretrained(tmp_path)


def test_an_adapter_that_is_added_later_gets_a_basis_of_the_weight_that_is_there_then() -> None:
    model = adapted("svft_banded")
    weight = model.base_model.model.tall.base_layer.weight
    weight.data.copy_(weight.flip(0))
    model.add_adapter("second", config_of("svft_banded"))
    layer = model.base_model.model.tall
    assert layer.has_left("default") and not layer.has_left("second")
    assert layer.basis("second") is not layer.basis("default")


@pytest.mark.parametrize("case", ["svft_banded", "svft_rank_filled", "svft_saved_basis", "svft_random", "vectorfit"])
def test_a_whole_state_brings_the_weights_that_its_basis_is_of(case: str, tmp_path: Path) -> None:
    model, x = adapted(case, moved=True), make_input()
    other = get_peft_model(Shapes().eval(), config_of(case)).eval()
    other.load_state_dict(model.state_dict())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(other(x), model(x))
        other.save_pretrained(tmp_path)
        torch.testing.assert_close(PeftModel.from_pretrained(make_base(), tmp_path)(x), model(x))


def test_an_adapter_for_weights_that_are_gone_does_not_load(tmp_path: Path) -> None:
    adapted("svft_banded", moved=True).save_pretrained(tmp_path)
    model = adapted("svft_banded")
    weight = model.base_model.model.tall.base_layer.weight
    weight.data.copy_(weight.flip(0))
    with pytest.raises(ValueError, match=r"another singular basis of 'base_model\.model\.tall'"):
        model.load_adapter(tmp_path, "default")


@pytest.mark.parametrize("case", ["svft_banded", "svft_random", "svft_saved_basis", "svft_rank"])
@pytest.mark.parametrize("size", [7, 30])
def test_an_adapter_for_another_size_of_base_is_refused_with_both_sizes(case: str, size: int, tmp_path: Path) -> None:
    def base(size: int) -> nn.Module:
        return nn.ModuleDict({"head": nn.Linear(size, size)})

    get_peft_model(base(12), config_of(case, target_modules=["head"])).save_pretrained(tmp_path)
    sentence = rf"head' has a weight of {size}x{size} .* basis of \d+ pairs, but .* in one of (12 pairs|vectors of \d+)"
    if (case, size) == ("svft_rank", 30):
        sentence = "another singular basis"
    with pytest.raises(ValueError, match=sentence):
        PeftModel.from_pretrained(base(size), tmp_path)


def test_an_adapter_for_another_rank_is_refused_with_both(tmp_path: Path) -> None:
    adapted("svft_banded").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"square.* basis of 4 pairs, but .* in one of 12 pairs: .* rank in"):
        PeftModel.from_pretrained(make_base(), tmp_path, config=config_of("svft_banded", rank=4))


@pytest.mark.parametrize(("saved", "config"), itertools.permutations(["svft_plain", "svft_banded"], 2))
def test_another_pattern_is_not_called_another_base(saved: str, config: str, tmp_path: Path) -> None:
    model = adapted(saved)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"trained in this basis of .*square', but with another configuration"):
        PeftModel.from_pretrained(make_base(), tmp_path, config=config_of(config))


@pytest.mark.parametrize("case", ["svft_rank_filled", "svft_random", "svft_banded"])
def test_an_adapter_loads_where_its_layers_go_by_other_names(case: str) -> None:
    model, x, prefix = adapted(case, moved=True), make_input(), "base_model.model."
    state = get_peft_model_state_dict(model)
    for _ in range(2):
        state = {f"{prefix}0.{name.removeprefix(prefix).removeprefix('0.')}": part for name, part in state.items()}
        other = get_peft_model(nn.Sequential(make_base()), config_of(case)).eval()
        set_peft_model_state_dict(other, state)
        torch.testing.assert_close(other(x), model(x))
        state = get_peft_model_state_dict(other)


def test_a_saved_basis_comes_back_to_the_bit(tmp_path: Path) -> None:
    model = adapted("svft_saved_basis", dtype=torch.float64, moved=True)
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(make_base(torch.float64), tmp_path)
    for name in TARGETS:
        one, other = (m.base_model.model.get_submodule(name).basis("default") for m in (model, again))
        assert one.s.dtype == torch.float64
        for part in ("u", "s", "vt"):
            assert torch.equal(getattr(one, part), getattr(other, part))


def test_a_saved_basis_does_not_load_onto_another_base(tmp_path: Path) -> None:
    adapted("svft_saved_basis", moved=True).save_pretrained(tmp_path)
    other = make_base()
    other.tall.weight.data = other.tall.weight.data.flip(0)
    with pytest.raises(ValueError, match="does not belong to the weight of"):
        PeftModel.from_pretrained(other, tmp_path)


def test_a_checkpoint_holds_the_entries_and_what_tells_their_basis_but_no_basis(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    def names(case: str) -> set[str]:
        adapted(case).save_pretrained(tmp_path / case)
        state = load_file(tmp_path / case / "adapter_model.safetensors")
        return {name.rsplit(".", 1)[-1] for name in state}

    assert names("svft_plain") == {"svft_m", "svft_fingerprint", "svft_basis_of"}
    assert names("svft_banded") == names("svft_plain") | {"svft_basis_pivots"}
    assert names("svft_random") == names("svft_banded") | {"svft_index"}
    assert names("vectorfit") == {f"vectorfit_{part}" for part in ("sigma", "bias", "fingerprint", "basis_of")}
    assert names("svft_saved_basis") == names("svft_plain") | {"svft_basis_u", "svft_basis_s", "svft_basis_vt"}


@pytest.mark.parametrize("case", ["svft_banded", "vectorfit"])
def test_a_config_file_holds_every_field_and_comes_back(case: str, tmp_path: Path) -> None:
    config = adapted(case).peft_config["default"]
    config.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert set(stored) == {field.name for field in dataclasses.fields(config)} and stored["path"] == "auto"
    again = PeftConfig.from_pretrained(tmp_path)
    assert type(again) is type(config)
    assert dataclasses.replace(again, inference_mode=False) == config
