"""Adding a small update to a tensor of low precision."""

import math

import pytest
import torch
from torch import Tensor

from svft_bench.tuners import rounding

LOW = [torch.bfloat16, torch.float16]


def dithered(y: Tensor, update: Tensor) -> Tensor:
    return rounding.add(y, update, how="dithered")


@pytest.mark.parametrize("dtype", LOW)
def test_a_sum_that_needs_no_rounding_is_kept_to_the_bit(dtype: torch.dtype) -> None:
    y = torch.randn(64, 256).to(dtype)
    assert torch.equal(dithered(y, torch.zeros(64, 256)), y)
    ones = torch.ones(1, 256, dtype=dtype)
    assert torch.equal(dithered(ones, ones / 4), 1.25 * ones)


@pytest.mark.parametrize("dtype", LOW)
def test_updates_far_below_the_last_place_survive_on_average(dtype: torch.dtype) -> None:
    y = 1.5 * torch.ones(64, 4096, dtype=dtype)
    step = torch.finfo(dtype).eps / 50
    gain = (dithered(y, torch.full(y.shape, step)).double() - y.double()).mean() / step
    assert gain == pytest.approx(1, abs=0.02)
    assert torch.equal(rounding.add(y, torch.full(y.shape, step), how="nearest"), y)


@pytest.mark.parametrize("dtype", LOW)
def test_what_is_not_finite_stays_what_it_is(dtype: torch.dtype) -> None:
    all_ones = torch.tensor([-1, 0x7FFFFFFF], dtype=torch.int32).view(torch.float32)
    assert dithered(torch.ones(2, dtype=dtype), all_ones).isnan().all()
    infinite = torch.tensor([math.inf, -math.inf], dtype=dtype)
    assert torch.equal(dithered(infinite, torch.ones(2)), infinite)
    assert dithered(infinite, -infinite.float()).isnan().all()
