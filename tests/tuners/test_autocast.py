from __future__ import annotations

import pytest
import torch
from peft import get_peft_model
from torch import nn

from svft_bench.tuners import SVFTConfig
from tests.tuners.cases import CASES, MOVED_CASES, adapted, config_of, make_base, make_input, move
from tests.tuners.layers import LARGER, PATTERNS, One

TOLERANCE = 0.02  # of outputs near 1, some matrices in bfloat16


def together(case: str, dtype: torch.dtype) -> nn.Module:
    model = adapted(case, dtype=dtype, moved=True)
    model.add_adapter("second", config_of(case))
    model.set_adapter("second")
    move(model, seed=11)
    model.base_model.set_adapter(["default", "second"])
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", CASES)
def test_two_active_adapters_compute_train_and_merge_under_autocast(case: str, dtype: torch.dtype) -> None:
    model, x = together(case, dtype), make_input(dtype)
    want = model(x).float()
    trained = [p for p in model.parameters() if p.requires_grad]
    exact = torch.autograd.grad(model(x).float().square().sum(), trained)
    for mode in (True, False):
        model.train(mode)
        with torch.autocast("cpu", torch.bfloat16):
            y = model(x)
            gradients = torch.autograd.grad(y.float().square().sum(), trained)
        torch.testing.assert_close(y.float(), want, atol=TOLERANCE, rtol=0)
        for gradient, wanted in zip(gradients, exact, strict=True):
            assert float((gradient - wanted).norm()) <= 0.1 * float(wanted.norm()) + 1e-3
    with torch.autocast("cpu", torch.bfloat16):
        model.merge_adapter()
    torch.testing.assert_close(model(x).float(), want, atol=1e-5 if dtype == torch.float32 else TOLERANCE, rtol=0)
    model.unmerge_adapter()
    assert all(
        torch.equal(value, make_base(dtype).state_dict()[name]) for name, value in model.unload().state_dict().items()
    )


@pytest.mark.parametrize("case", [*CASES, *MOVED_CASES])
def test_a_merge_is_the_same_whether_or_not_autocast_surrounds_it(case: str) -> None:
    plain, surrounded = adapted(case, moved=True), adapted(case, moved=True)
    plain.merge_adapter()
    with torch.autocast("cpu", torch.bfloat16):
        surrounded.merge_adapter()
    for name, value in surrounded.state_dict().items():
        assert torch.equal(value, plain.state_dict()[name]), name


@pytest.mark.parametrize("pattern", [name for name in PATTERNS if name != "vectorfit"])
def test_larger_cores_train_together_under_autocast(pattern: str) -> None:
    for shape in LARGER.values():
        config = SVFTConfig(target_modules=["linear"], **PATTERNS[pattern])
        model = get_peft_model(One(shape, bias=True, dtype=torch.float32), config)
        model.add_adapter("second", SVFTConfig(target_modules=["linear"], **PATTERNS[pattern]))
        model.base_model.set_adapter(["default", "second"])
        move(model)
        with torch.autocast("cpu", torch.bfloat16):
            model(torch.randn(4, shape[1])).float().square().mean().backward()
        assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.requires_grad)
