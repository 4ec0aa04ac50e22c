"""An adapter carries over to a machine whose SVD of the same weight has other signs, or other vectors where it may."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from svft_bench.tuners import svd, transfer
from svft_bench.tuners.layer import SingularLayer
from tests.tuners.cases import CASES, MOVED_CASES, TARGETS, config_of, make_base, make_input, move
from tests.tuners.test_architectures import logits, make

TRAINS_A_CORE = [case for case in [*CASES, *MOVED_CASES] if case != "vectorfit_bias"]
TIED = ["svft_tied", "svft_tied_plain", "svft_tied_random"]
DIAGONAL = ["svft_plain", "svft_tied_plain", "vectorfit", "vectorfit_sigma"]
# Layer by layer, some with equal singular values, and some that have zeros among them.
SPECTRA = {"equal": [5.0, 3.0, 3.0, 3.0, 2.0, 1.0, 1.0, 0.5], "null": [5.0, 4.0, 3.0, 2.0, 1.0, 0.0, 0.0, 0.0]}


def rotation(size: int, seed: int) -> Tensor:
    q: Tensor = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed))).Q
    return q


def flipped(factors: svd.Factors, weight: Tensor) -> svd.Factors:
    signs = torch.where(torch.arange(len(factors.s)) % 2 == 0, 1.0, -1.0).to(factors.u)
    return svd.Factors(factors.u * signs, factors.s, factors.vt * signs[:, None])


def turned(factors: svd.Factors, weight: Tensor) -> svd.Factors:
    """Another basis of every cluster, and for the zeros one on each side."""
    u, s, vt = (part.clone() for part in factors)
    rounded = s.mul(1e4).round()
    for value in set(rounded.tolist()):
        pairs = (rounded == value).nonzero().flatten()
        left = right = rotation(len(pairs), 1).to(u)
        if value == 0:
            right = rotation(len(pairs), 2).to(u)
        u[:, pairs], vt[pairs] = u[:, pairs] @ left, right.T @ vt[pairs]
    return svd.Factors(u, s, vt)


def by_numpy(factors: svd.Factors, weight: Tensor) -> svd.Factors:
    """Another library, in float64, without any rule for signs."""
    parts = np.linalg.svd(weight.double().numpy(), full_matrices=False)
    return svd.Factors(*(torch.from_numpy(np.ascontiguousarray(part)).to(factors.u.dtype) for part in parts))


def by_gram_matrix(factors: svd.Factors, weight: Tensor) -> svd.Factors:
    wide = weight.shape[0] < weight.shape[1]
    u, s, vt = svd._gram_svd((weight.T if wide else weight).double())
    parts = (vt.T, s, u.T) if wide else (u, s, vt)
    return svd.Factors(*(part.to(factors.u.dtype) for part in parts))


MACHINES = {"flipped": flipped, "turned": turned, "numpy": by_numpy, "gram": by_gram_matrix}


@contextmanager
def on_machine(name: str) -> Iterator[None]:
    """A stand-in for a machine on which the SVD comes out differently."""
    decompose = svd.decompose

    def other(weight: Tensor, **options: Any) -> svd.Factors:
        return MACHINES[name](decompose(weight, **options), weight)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(svd, "decompose", other)
        yield


def shaped(spectrum: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The shapes model with weights of a given spectrum."""
    base, values = make_base(), torch.tensor(SPECTRA[spectrum])
    for seed, layer in enumerate((base.square, base.tall, base.wide, base.conv, base.twin)):
        d1, d2 = layer.weight.shape
        n = min(d1, d2)
        s = torch.cat([values, 0.01 * values[0] / torch.arange(1, 10)])[:n].sort(descending=True).values
        layer.weight.data = (rotation(d1, 10 + seed)[:, :n] * s) @ rotation(d2, 20 + seed)[:n]
    return base.to(dtype)


def trained(case: str, base: nn.Module, **changes: Any) -> PeftModel:
    torch.manual_seed(1)
    model = get_peft_model(base, config_of(case, **changes))
    move(model)
    return model.eval()


def loaded(base: nn.Module, folder: Path) -> PeftModel:
    return PeftModel.from_pretrained(base, folder).eval()


@pytest.mark.parametrize("machine", ["flipped", "numpy", "gram"])
@pytest.mark.parametrize("case", TRAINS_A_CORE)
def test_other_signs_and_another_algorithm_give_the_same_function(case: str, machine: str, tmp_path: Path) -> None:
    model, x = trained(case, make_base()), make_input()
    model.save_pretrained(tmp_path)
    with on_machine(machine), torch.no_grad():
        again = loaded(make_base(), tmp_path)
        torch.testing.assert_close(again(x), model(x), atol=2e-5, rtol=1e-4)
        again.merge_adapter()
        torch.testing.assert_close(again(x), model(x), atol=2e-5, rtol=1e-4)


def entries(model: nn.Module) -> dict[str, Tensor]:
    return {name: part.detach() for name, part in model.named_parameters() if ".default" in name}


@pytest.mark.parametrize("case", ["svft_banded", "svft_random", "svft_gate", "svft_tied"])
def test_the_entries_stay_as_they_are_so_that_an_optimizer_s_state_still_belongs_to_them(
    case: str, tmp_path: Path
) -> None:
    model = trained(case, make_base())
    model.save_pretrained(tmp_path)
    with on_machine("flipped"):
        again = loaded(make_base(), tmp_path)
    assert all(torch.equal(value, entries(again)[name]) for name, value in entries(model).items())


@pytest.mark.parametrize("case", ["svft_banded", "svft_dense", "svft_tied", "vectorfit", "svft_top_k_released"])
def test_an_adapter_goes_from_machine_to_machine(case: str, tmp_path: Path) -> None:
    model, x = trained(case, shaped("equal")), make_input()
    folder = tmp_path / "first"
    model.save_pretrained(folder)
    for machine in ("flipped", "turned", "numpy", "turned"):
        with on_machine(machine):
            again = loaded(shaped("equal"), folder)
            folder = tmp_path / machine
            again.save_pretrained(folder)
        with torch.no_grad():
            torch.testing.assert_close(again(x), model(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("case", DIAGONAL)
def test_signs_are_nothing_to_a_diagonal_core_however_its_entries_come(case: str, tmp_path: Path) -> None:
    model, x = trained(case, make_base()), make_input()
    with on_machine("flipped"), torch.no_grad():
        other = get_peft_model(make_base(), config_of(case)).eval()
        other.load_state_dict({name: part for name, part in model.state_dict().items() if ".default" in name}, False)
        torch.testing.assert_close(other(x), model(x))


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize(
    "case", ["svft_plain", "svft_banded", "svft_random", "svft_dense", "svft_released", "vectorfit", *TIED]
)
def test_vectors_of_equal_singular_values_may_be_any(case: str, spectrum: str, tmp_path: Path) -> None:
    model, x = trained(case, shaped(spectrum)), make_input()
    said = rf"{4 + (case in TIED)} of the adapted modules .* needs their basis.* square, tall, wide, \.\.\."
    with pytest.warns(UserWarning, match=said):
        model.save_pretrained(tmp_path)
    with on_machine("turned"), torch.no_grad():
        again = loaded(shaped(spectrum), tmp_path)
        torch.testing.assert_close(again(x), model(x), atol=1e-4, rtol=1e-4)


def test_only_the_vectors_that_may_turn_are_saved(tmp_path: Path) -> None:
    trained("svft_banded", make_base()).save_pretrained(tmp_path / "none")
    assert not any("close" in name for name in load_file(tmp_path / "none" / "adapter_model.safetensors"))
    with pytest.warns(UserWarning, match="needs their basis"):
        trained("svft_banded", shaped("equal")).save_pretrained(tmp_path / "some")
    state = load_file(tmp_path / "some" / "adapter_model.safetensors")
    assert state["base_model.model.square.svft_basis_close"].tolist() == [1, 2, 3, 5, 6]
    assert state["base_model.model.square.svft_basis_close_u"].shape == (5, 12)
    assert state["base_model.model.tall.svft_basis_close_u"].shape == (5, 20)


def test_a_singular_value_of_zero_counts_as_close_and_so_does_a_pair_at_the_cut() -> None:
    s = torch.tensor([4.0, 2.0, 1.0, 1.0 - 1e-7, 1e-7])
    assert transfer.close_pairs(s).tolist() == [2, 3, 4]
    assert transfer.close_pairs(s, rank=3).tolist() == [2]
    assert transfer.close_pairs(torch.tensor([1.0])).tolist() == []


def test_the_sign_of_a_pair_is_kept_in_two_bytes_by_an_entry_that_cannot_be_small() -> None:
    vectors = rotation(300, 3)
    pivots = transfer.pivots_of(vectors)
    assert pivots.dtype == torch.int16 and pivots.shape == (300,)
    found = vectors[pivots.long().abs() - 1, torch.arange(300)]
    assert bool((found.abs() >= 300**-0.5).all()) and torch.equal(found.sign(), pivots.sign().float())
    assert transfer.pivots_of(torch.randn(40_000, 2)).dtype == torch.int32


@pytest.mark.parametrize("case", TRAINS_A_CORE)
def test_a_checkpoint_from_before_signs_were_kept_still_loads(case: str, tmp_path: Path) -> None:
    model, x = trained(case, make_base()), make_input()
    model.save_pretrained(tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    state = load_file(path)
    new = ("basis_of", "basis_pivots", "basis_close", "basis_close_u", "basis_close_vt")
    state = {name: part for name, part in state.items() if not name.endswith(new)}
    for name, module in model.named_modules():
        if isinstance(module, SingularLayer) and "default" in module.basis_names:
            (key,) = (key for key in state if key.startswith(f"{name}.") and key.endswith("fingerprint"))
            fingerprints = module.basis("default").fingerprints
            assert fingerprints is not None
            state[key] = fingerprints.earlier
    save_file(state, path, metadata={"format": "pt"})
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(loaded(make_base(), tmp_path)(x), model(x))


ROUNDED = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", ROUNDED)
@pytest.mark.parametrize("case", ["svft_plain", "svft_banded", "svft_random", "vectorfit"])
def test_an_update_trained_on_rounded_weights_is_carried_over_to_those_that_were_rounded(
    case: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = trained(case, make_base(dtype))
    model.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=r"trained on \w*float16 weights.* up to 0\.\d+%; the update is carr"):
        again = loaded(make_base(), tmp_path)
    # The run-time factors are as the base they are on, so rounded on one side only.
    assert change(model, again) < (0.01 if dtype == torch.bfloat16 else 1e-3)


def change(model: PeftModel, again: PeftModel) -> float:
    """The largest relative difference of the updates of a layer."""
    layers = [[m.base_model.model.get_submodule(name) for m in (model, again)] for name in TARGETS]
    pairs = [[layer.get_delta_weight("default").float() for layer in both] for both in layers]
    return max(float((one - other).norm() / one.norm()) for one, other in pairs)


@pytest.mark.parametrize("dtype", ROUNDED)
@pytest.mark.parametrize("case", ["svft_plain", "svft_banded", "svft_random", "vectorfit"])
def test_an_update_trained_on_exact_weights_is_put_on_rounded_ones_and_its_change_is_said(
    case: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = trained(case, make_base())
    model.save_pretrained(tmp_path)
    with on_machine("flipped"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        again = loaded(make_base(dtype), tmp_path)
        again(make_input(dtype))
    said = [str(warning.message) for warning in caught if "trained on float32 weights" in str(warning.message)]
    assert len(said) == 1
    assert change(model, again) < 0.2
    assert loaded(make_base(dtype), _resaved(again, tmp_path / "again"))(make_input(dtype)).isfinite().all()


def _resaved(model: PeftModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("trained_on", "other"), itertools.permutations([torch.float32, torch.bfloat16], 2))
def test_another_base_is_refused_in_another_dtype_too(
    trained_on: torch.dtype, other: torch.dtype, tmp_path: Path
) -> None:
    trained("svft_banded", make_base(trained_on)).save_pretrained(tmp_path)
    base = make_base()
    base.tall.weight.data = base.tall.weight.data.flip(0)
    with pytest.raises(ValueError, match=r"trained on \w+ weights and the base has \w+.*save_basis=True"):
        loaded(base.to(other), tmp_path)


@pytest.mark.parametrize("case", ["svft_banded", "vectorfit"])
@pytest.mark.parametrize(("there", "here"), itertools.permutations([torch.float32, torch.bfloat16], 2))
def test_weights_of_equal_values_are_one_base_in_either_dtype(
    case: str, there: torch.dtype, here: torch.dtype, tmp_path: Path
) -> None:
    model = trained(case, make_base(torch.bfloat16).to(there))
    model.save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = loaded(make_base(torch.bfloat16).to(here), tmp_path)
    assert change(model, again) < 0.01


@pytest.mark.parametrize("options", [{}, {"save_basis": True}], ids=str)
def test_a_loader_that_passes_over_the_signs_is_named_with_one_that_does_not(
    options: dict[str, Any], tmp_path: Path
) -> None:
    config = config_of("svft_banded", target_modules=["q_proj"], **options)
    get_peft_model(make("llama"), config).save_pretrained(tmp_path)
    with on_machine("flipped"):
        model = make("llama")
        model.load_adapter(tmp_path)
        with pytest.raises(ValueError, match=r"as the load_adapter .* load it with PeftModel\.from_pretrained\.$"):
            logits(model)
        logits(loaded(make("llama"), tmp_path))
