from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor, nn

from tests.tuners.cases import CASES, MOVED_CASES, TARGETS, adapted, config_of, make_base, make_input, move, svft

ALL = [*CASES, *MOVED_CASES]
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
SIZES = {"square": (12, 12), "tall": (20, 12), "wide": (8, 20), "conv": (12, 8), "twin": (12, 12)}


def gap(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().abs().max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_the_start_is_the_base_model_bit_for_bit(case: str, dtype: torch.dtype) -> None:
    x = make_input(dtype)
    assert torch.equal(adapted(case, dtype=dtype)(x), make_base(dtype)(x))


@pytest.mark.parametrize("case", ALL)
def test_a_moved_adapter_changes_the_output(case: str) -> None:
    x = make_input()
    assert gap(adapted(case, moved=True)(x), make_base()(x)) > 1e-3


@pytest.mark.parametrize("case", ALL)
@pytest.mark.parametrize("dtype", DTYPES)
def test_disabled_is_the_base_model_bit_for_bit(case: str, dtype: torch.dtype) -> None:
    model, x = adapted(case, dtype=dtype, moved=True), make_input(dtype)
    before = model(x)
    with model.disable_adapter():
        assert torch.equal(model(x), make_base(dtype)(x))
    assert torch.equal(model(x), before)


def expected_count(case: str) -> int:
    config = config_of(case)
    total = 0
    for name, (d1, d2) in SIZES.items():
        if name not in config.target_modules or (name == "twin" and config.tied):
            continue
        n = min(d1, d2)
        if case.startswith("vectorfit"):
            total += n * config.train_sigma + (d1 * config.train_bias if name != "square" else 0)
            continue
        n = n if config.rank is None or config.fill_orthonormal else config.rank
        d = n - 1 if config.pattern == "dense" else config.off_diag  # n(2n - 1) - n(n - 1) is n²
        total += (config.entries or n * (2 * d + 1) - d * (d + 1)) + config.gate
    return total


@pytest.mark.parametrize("case", ALL)
def test_only_the_declared_entries_train_and_their_number_is_the_closed_form(case: str) -> None:
    model = adapted(case)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in trained.values()) == expected_count(case)
    prefix = "vectorfit_" if case.startswith("vectorfit") else "svft_"
    assert all(f".{prefix}" in name for name in trained)
    assert all(p.dtype == torch.float32 for p in trained.values())


@pytest.mark.parametrize("case", ALL)
def test_every_trained_entry_gets_a_gradient(case: str) -> None:
    model = adapted(case, moved=True)
    model(make_input()).square().sum().backward()
    for name, p in model.named_parameters():
        assert (p.grad is not None) == p.requires_grad, name
        if p.requires_grad:
            assert float((p.grad != 0).float().mean()) > 0.9, name


@pytest.mark.parametrize("case", ALL)
def test_merging_equals_the_forward_and_unmerging_restores_every_bit(case: str) -> None:
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-5), (torch.bfloat16, 0.1)):
        model, x = adapted(case, dtype=dtype, moved=True), make_input(dtype)
        want, base = model(x), copy.deepcopy(model.state_dict())
        model.merge_adapter(safe_merge=True)
        assert gap(model(x), want) < tolerance
        model.unmerge_adapter()
        assert all(torch.equal(value, base[name]) for name, value in model.state_dict().items())
        assert torch.equal(model(x), want)


@pytest.mark.parametrize("case", ALL)
def test_merge_and_unload_gives_the_plain_model_with_the_adapted_function(case: str) -> None:
    model, x = adapted(case, moved=True), make_input()
    want = model(x)
    merged = model.merge_and_unload()
    assert gap(merged(x), want) < 1e-5
    assert merged.state_dict().keys() == make_base().state_dict().keys()


@pytest.mark.parametrize("case", ALL)
def test_unload_gives_the_base_model_back(case: str) -> None:
    x = make_input()
    assert torch.equal(adapted(case, moved=True).unload()(x), make_base()(x))


@pytest.mark.parametrize("case", ["svft_banded", "svft_random", "svft_tied", "vectorfit"])
def test_adapters_live_side_by_side(case: str) -> None:
    x = make_input()
    model = adapted(case, moved=True)
    first = model(x)
    model.add_adapter("second", config_of(case, **({"pattern_seed": 9} if case == "svft_random" else {})))
    assert torch.equal(model(x), first)
    model.set_adapter("second")
    assert torch.equal(model(x), make_base()(x))
    move(model, seed=11)
    second = model(x)
    assert gap(second, first) > 1e-3
    model.base_model.set_adapter(["default", "second"])
    both = model(x)
    model.merge_adapter()
    assert gap(model(x), both) < 1e-5
    model.unmerge_adapter()
    model.set_adapter("default")
    assert torch.equal(model(x), first)
    model.delete_adapter("second")
    assert torch.equal(model(x), first)
    assert not any("second" in name for name in model.state_dict())


def test_adapters_share_one_basis() -> None:
    model = adapted("svft_plain")
    model.add_adapter("second", config_of("svft_banded"))
    assert len(model.base_model.model.square.singular_bases) == 1
    model.add_adapter("third", config_of("svft_rank"))
    assert len(model.base_model.model.square.singular_bases) == 2
    model.delete_adapter("third")
    assert len(model.base_model.model.square.singular_bases) == 1


@pytest.mark.parametrize("case", ["svft_banded", "svft_released", "svft_tied", "vectorfit"])
def test_a_mixed_batch_gives_every_row_its_adapter(case: str) -> None:
    x = make_input()
    model = adapted(case, moved=True)
    model.add_adapter("second", config_of(case))
    first = model(x)
    model.set_adapter("second")
    move(model, seed=11)
    second = model.eval()(x)
    names = ["default", "second", "__base__", "second", "default"]
    mixed = model(x, adapter_names=names)
    wanted = {"default": first, "second": second, "__base__": make_base()(x)}
    for row, name in enumerate(names):
        torch.testing.assert_close(mixed[row], wanted[name][row], atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="third"):
        model(x, adapter_names=["third"] * 5)
    with pytest.raises(ValueError, match="but got 2 and 5"):
        model(x, adapter_names=["default"] * 2)


@pytest.mark.parametrize("case", ["svft_plain", "vectorfit"])
def test_modules_to_save_train_in_full_and_come_back(case: str, tmp_path: Path) -> None:
    model, x = adapted(case, modules_to_save=["head"], moved=True), make_input()
    trained = [name for name, p in model.named_parameters() if p.requires_grad and "head" in name]
    assert len(trained) == 2
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(PeftModel.from_pretrained(make_base(), tmp_path)(x), model(x))


@pytest.mark.parametrize("case", ["svft_plain", "vectorfit"])
def test_excluded_modules_stay_as_they_are(case: str) -> None:
    model = adapted(case, target_modules={"square", "tall"}, exclude_modules={"tall"})
    assert isinstance(model.base_model.model.tall, nn.Linear)


@pytest.mark.parametrize("case", ALL)
def test_copies_and_pickles_compute_the_same(case: str) -> None:
    model, x = adapted(case, moved=True), make_input()
    torch.testing.assert_close(copy.deepcopy(model)(x), model(x))
    torch.testing.assert_close(pickle.loads(pickle.dumps(model))(x), model(x))


def test_one_seed_repeats_a_random_pattern_and_two_differ() -> None:
    def cells(seed: int) -> Tensor:
        model = get_peft_model(make_base(), svft(pattern="random", entries=20, pattern_seed=seed))
        return torch.stack([model.base_model.model.get_submodule(name).svft_index["default"] for name in TARGETS[1:]])

    assert torch.equal(cells(1), cells(1))
    assert not torch.equal(cells(1), cells(2))
    assert not torch.equal(cells(1)[1], cells(1)[2])
