"""Adding a small update to a low-precision tensor without losing it to rounding.

A bfloat16 sum rounded to nearest ignores every update below half a unit in the last place. Rounded against
thresholds that are spread evenly over that unit, the updates survive on average, and a sum that needs no rounding,
as at the start of training, stays as it is to the bit. The thresholds are fixed, so nothing depends on a generator.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from .cores import in_forward_mode
from .kept import kept

Rounding = Literal["dithered", "nearest"]

# Bits of a float32 that the narrower type drops.
DROPPED = {torch.bfloat16: 16, torch.float16: 13}


def add(y: Tensor, update: Tensor, *, how: Rounding) -> Tensor:
    """y + update in the dtype of y; differentiable in both."""
    if how == "nearest" or y.dtype not in DROPPED:
        return y + update.to(y.dtype)
    function = _DitheredAddForward if in_forward_mode() else _DitheredAdd
    total: Tensor = function.apply(y, update)  # type: ignore[no-untyped-call]
    return total


class _DitheredAdd(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, update: Tensor) -> Tensor:
        # In place, since the sum is as large as the activations. The carry out of a NaN of all ones, the usual one on
        # some devices, would be a zero; Python's has room.
        total = torch.add(update.float(), y).nan_to_num_(nan=math.nan, posinf=math.inf, neginf=-math.inf)
        bits = total.view(torch.int32)
        bits.add_(_thresholds(y.shape[-1], y.dtype, y.device)).bitwise_and_(-(2 ** DROPPED[y.dtype]))
        return total.to(y.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.dtypes, ctx.shape = (inputs[0].dtype, inputs[1].dtype), output.shape

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        return g.to(ctx.dtypes[0]), g.to(ctx.dtypes[1])


class _DitheredAddForward(_DitheredAdd):
    """The same in forward mode, apart because no compiler takes a function that has it."""

    @staticmethod
    def jvp(ctx: Any, dy: Tensor | None, du: Tensor | None) -> Tensor:
        parts = [part.to(ctx.dtypes[0]) for part in (dy, du) if part is not None]
        return sum(parts[1:], parts[0]).expand(ctx.shape)


@kept
def _thresholds(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What is added to the dropped bits before they are cut off, one for each column, spread by the golden ratio."""
    spread = torch.frac(torch.arange(1, length + 1, dtype=torch.float64, device="cpu") * 0.6180339887498949)
    offsets: Tensor = (spread * 2 ** DROPPED[dtype]).to(torch.int32)
    return offsets.to(device)
