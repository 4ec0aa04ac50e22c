"""A process whose default device is not that of the model: "meta" stands in, on which a stray tensor has no values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor

from svft_bench.tuners import bands, rounding
from tests.tuners.cases import CASES, MOVED_CASES, Shapes, adapted, config_of, make_base, make_input, move


@pytest.fixture
def elsewhere() -> Iterator[None]:
    for cached in (bands._band_rows, bands._band_columns, bands.band_index, rounding._thresholds):
        cached.made.clear()
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", [*CASES, *MOVED_CASES])
def test_nothing_of_an_adapter_lands_on_the_default_device(
    case: str, dtype: torch.dtype, elsewhere: None, tmp_path: Path
) -> None:
    x = make_input(dtype)
    wanted = get_peft_model(make_base(dtype), config_of(case))
    move(wanted)
    want = wanted.eval()(x)
    bases = [make_base(dtype), make_base(dtype)]
    torch.set_default_device("meta")
    model = get_peft_model(bases[0], config_of(case))
    with torch.device("cpu"):
        move(model)
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"cpu"}
    assert torch.equal(model.eval()(x), want)
    if hasattr(model.base_model, "update_and_allocate"):
        for step in range(4):
            model.base_model.update_and_allocate(step)
    model.train()(x).float().square().mean().backward()
    model.eval().save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(bases[1], tmp_path).eval()
    assert {tensor.device.type for tensor in (*again.parameters(), *again.buffers())} == {"cpu"}
    torch.testing.assert_close(again(x), want, atol=1e-5 if dtype == torch.float32 else 0.01, rtol=0)
    model.merge_adapter()
    model.unmerge_adapter()
    assert torch.equal(model(x), want)


def filled(model: PeftModel, state: dict[str, Tensor], *, assign: bool) -> PeftModel:
    if not assign:
        model.to_empty(device="cpu")
    model.load_state_dict(state, assign=assign)
    return model.eval()


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("case", [*CASES, *MOVED_CASES])
def test_an_adapter_that_was_added_without_weights_gets_its_basis_when_they_come(
    case: str, assign: bool, tmp_path: Path
) -> None:
    x, model = make_input(), adapted(case, moved=True)
    with torch.device("meta"):
        empty = [get_peft_model(Shapes(), config_of(case)) for _ in range(2)]
    filled(empty[0], model.state_dict(), assign=assign)
    with torch.inference_mode():
        torch.testing.assert_close(empty[0](x), model(x))
    empty[0].train()(x).square().sum().backward()
    assert all(part.grad is not None for part in empty[0].parameters() if part.requires_grad)
    filled(empty[1], model.state_dict(), assign=assign).save_pretrained(tmp_path)
    torch.testing.assert_close(PeftModel.from_pretrained(make_base(), tmp_path).eval()(x), model(x))
