"""A process whose default device is not that of the model: "meta" stands in, on which a stray tensor has no values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model

from svft_bench.tuners import bands, rounding
from tests.tuners.cases import CASES, MOVED_CASES, config_of, make_base, make_input, move


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
