"""4-bit bases: read in every layout, and adapters taken from them to 16 bits and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor, nn

from svft_bench.tuners import quantised
from svft_bench.tuners.layer import SingularLayer
from tests.tuners.cases import config_of, move

bitsandbytes = pytest.importorskip("bitsandbytes")
CASES = ["svft_plain", "svft_banded", "svft_random", "vectorfit_sigma"]
SHAPES = {"square": (64, 64), "wide": (64, 256), "tall": (128, 64)}


class Linears(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        for name, (d1, d2) in SHAPES.items():
            setattr(self, name, nn.Linear(d2, d1))

    def forward(self, x: Tensor) -> Tensor:
        return self.tall(self.square(self.wide(x)))


def four_bit(*, nested: bool = False, seed: int = 0) -> Linears:
    model = Linears(seed)
    for name, (d1, d2) in SHAPES.items():
        options = {"compute_dtype": torch.float32, "quant_type": "nf4", "compress_statistics": nested}
        layer = bitsandbytes.nn.Linear4bit(d2, d1, **options)
        layer.load_state_dict(getattr(model, name).state_dict())
        setattr(model, name, layer.to("cpu"))
    return model


def pack(model: Linears) -> Linears:
    """As a first forward without gradients does on a CPU that has the instructions."""
    for name in SHAPES:
        weight = getattr(model, name).weight
        if not quantised.is_packed(getattr(model, name)):
            convert = bitsandbytes.functional._convert_weight_packed_for_cpu
            weight.data, weight.quant_state = convert(weight.data, weight.quant_state)
    return model


def adapted(case: str, base: Linears, **changes: object) -> PeftModel:
    model = get_peft_model(base, config_of(case, target_modules=set(SHAPES), **changes))
    move(model)
    return model


def layers(model: PeftModel) -> list[SingularLayer]:
    return [model.base_model.model.get_submodule(name) for name in SHAPES]


def change(model: PeftModel, again: PeftModel) -> float:
    """The largest relative difference of the updates of a layer."""
    pairs = [
        [layer.get_delta_weight("default").float() for layer in both]
        for both in zip(layers(model), layers(again), strict=True)
    ]
    return max(float((one - other).norm() / one.norm()) for one, other in pairs)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_packed_weight_is_read_as_what_it_was(case: str, nested: bool) -> None:
    plain, packed = (adapted(case, base) for base in (four_bit(nested=nested), pack(four_bit(nested=nested))))
    for one, other in zip(layers(plain), layers(packed), strict=True):
        assert float((one.matrix() - other.matrix()).norm() / one.matrix().norm()) < 2**-8  # its scales lost 16 bits
        torch.testing.assert_close(other.basis("default").s, torch.linalg.svdvals(other.matrix()))


@pytest.mark.skipif(not bitsandbytes.functional.has_avx512bf16(), reason="this CPU computes in no packed layout")
@pytest.mark.parametrize("packs", ["before", "after"])
def test_a_base_that_packs_itself_starts_as_it_is_and_merges(packs: str) -> None:
    x, base = torch.randn(6, 256), four_bit().eval()
    with torch.no_grad():
        start = base(x) if packs == "before" else None
        model = get_peft_model(base, config_of("svft_banded", target_modules=set(SHAPES))).eval()
        start = model(x) if start is None else start
        assert quantised.is_packed(base.square.base_layer) and torch.equal(model(x), start)
        move(model, scale=0.5)
        moved = model(x)
        assert torch.linalg.norm(moved - start) > 0.3 * torch.linalg.norm(start)
        model.merge_adapter()
        assert torch.linalg.norm(model(x) - moved) < 0.2 * torch.linalg.norm(moved)
        model.unmerge_adapter()
        assert torch.equal(model(x), moved)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_an_update_trained_in_4_bits_is_carried_over_to_the_whole_base(case: str, nested: bool, tmp_path: Path) -> None:
    model = adapted(case, four_bit(nested=nested))
    model.save_pretrained(tmp_path)
    with pytest.warns(
        UserWarning, match=r"trained on nf4 64 \w+ float32 weights.* up to \d+\.\d+%; the update is carried"
    ):
        again = PeftModel.from_pretrained(Linears(), tmp_path)
    assert change(model, again) < 1e-4
    x = torch.randn(5, 256)
    with torch.no_grad(), pytest.warns(UserWarning, match="the update is carried"):
        again.save_pretrained(tmp_path / "again")
        torch.testing.assert_close(PeftModel.from_pretrained(Linears(), tmp_path / "again")(x), again(x))


@pytest.mark.parametrize("case", CASES)
def test_what_4_bits_have_turned_too_far_is_refused_with_the_way_that_works(case: str, tmp_path: Path) -> None:
    adapted(case, Linears()).save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"trained on float32 weights and the base has nf4 .*save_basis=True.*merge it"
    ):
        PeftModel.from_pretrained(four_bit(), tmp_path)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("there", "here"), [(Linears, four_bit), (four_bit, Linears)])
def test_a_saved_basis_carries_an_update_between_4_bits_and_more(
    there: type[Linears], here: type[Linears], case: str, tmp_path: Path
) -> None:
    model = adapted(case, there(), save_basis=True)
    model.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=r"base's differ by up to \d+\.\d+%; the update is carried"):
        again = PeftModel.from_pretrained(here(), tmp_path)
    assert change(model, again) < 1e-4
    with pytest.raises(ValueError, match="does not belong to the weight"):
        PeftModel.from_pretrained(Linears(1) if here is Linears else four_bit(seed=1), tmp_path)


def test_another_base_is_refused_from_4_bits_too(tmp_path: Path) -> None:
    adapted("svft_banded", four_bit()).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="trained on nf4"):
        PeftModel.from_pretrained(Linears(1), tmp_path)


def test_without_bitsandbytes_an_update_from_4_bits_is_refused_with_the_way_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapted("svft_banded", four_bit()).save_pretrained(tmp_path)
    monkeypatch.setattr(quantised, "rounded", lambda weight, kind: None)  # as an import that fails leaves it
    with pytest.raises(ValueError, match=r"trained on nf4 64 flat float32 weights and the base has float32"):
        PeftModel.from_pretrained(Linears(), tmp_path)
