"""Kinds of base weight: how one is called, what a packed one holds, and its rounding repeated on another weight."""

from __future__ import annotations

import copy
from typing import Any

import torch
from peft.utils.quantization_utils import Bnb4bitBackend
from torch import Tensor, nn

FLOATS = ("float64", "float32", "bfloat16", "float16")


class Unpacking4bitBackend(Bnb4bitBackend):  # type: ignore[misc]
    """PEFT's, also for the layout that bitsandbytes gives a weight in its first forward without gradients on a CPU."""

    def get_base_weight(self, base_layer: nn.Module) -> Tensor:
        weight: Any = base_layer.weight
        if not is_packed(base_layer):
            return super().get_base_weight(base_layer)  # type: ignore[no-any-return]
        from bitsandbytes import functional

        # The inverse leaves the block maxima transposed, and writes into the state that it is given.
        codes, state = functional._convert_weight_packed_for_cpu_inverse(weight.data, copy.copy(weight.quant_state))
        state.absmax = weight.quant_state.absmax.T.reshape(-1).float()
        state.nested = False
        return functional.dequantize_4bit(codes, state)


def unpacking(backend: Any) -> Any:
    """The backend of a base layer that PEFT found, one that can read packed weights for a 4-bit one."""
    return Unpacking4bitBackend() if type(backend) is Bnb4bitBackend else backend


def entries(parameter: Tensor) -> int:
    """How many numbers a parameter stands for: a 4-bit one keeps two in a byte."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else state.shape.numel()


def is_packed(base: nn.Module) -> bool:
    """Whether bitsandbytes has laid out the 4-bit weight for the CPU, which rounds its block maxima to bfloat16."""
    return getattr(getattr(base.weight, "quant_state", None), "packing_format_for_cpu", False)


def kind_of(base: nn.Module, backend: Any, weight: Tensor) -> str:
    """What a base's weight is: its dtype, or the format of a quantised one, enough of it to be repeated."""
    dtype = str(weight.dtype).removeprefix("torch.")
    if backend is None:
        return dtype
    if not isinstance(backend, Bnb4bitBackend):
        return f"{backend.backend_name} {dtype}"
    state: Any = base.weight.quant_state  # type: ignore[union-attr]
    packed = is_packed(base)
    nested = state.original_nested if packed else state.nested
    dtype = str(state.original_dtype if packed else state.dtype).removeprefix("torch.")
    return " ".join(
        [state.quant_type, str(state.blocksize), "nested" if nested else "flat", dtype, *["packed"] * packed]
    )


def is_float(kind: str) -> bool:
    """Whether a kind of weight is an ordinary dtype."""
    return kind in FLOATS


def rounded(weight: Tensor, kind: str) -> Tensor | None:
    """An ordinary weight as it would be in another kind; None where that cannot be repeated here."""
    if is_float(kind):
        return weight.to(getattr(torch, kind))
    name, *rest = kind.split()
    if name not in ("nf4", "fp4") or rest[-1] == "packed":
        return None
    try:
        from bitsandbytes import functional
    except ImportError:
        return None
    blocksize, nested, dtype = rest
    codes, state = functional.quantize_4bit(
        weight.to(getattr(torch, dtype)).contiguous(),
        blocksize=int(blocksize),
        compress_statistics=nested == "nested",
        quant_type=name,
    )
    return functional.dequantize_4bit(codes, state)
