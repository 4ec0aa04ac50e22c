"""The base layers that are W x + b: their matrix, and what tells that one is something else."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from .offloading import is_hooked, onloaded

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

# The forwards that are W x + b, and that of a matrix of a stack, which is never called.
PLAIN = {kind.forward for kind in (nn.Linear, Conv1D, *CONVOLUTIONS, nn.Module)}


def is_more(base: nn.Module, backend: Any = None) -> bool:
    """Whether what a base layer makes of an input may be something else than W x + b."""
    own = type(base).forward in PLAIN or backend is not None
    replaced = "forward" in base.__dict__ and not is_hooked(base)
    return bool(not own or replaced or base._forward_hooks or base._forward_pre_hooks)


def matrix_of(base: nn.Module, backend: Any = None) -> Tensor:
    """The weight of `base` as (out, in), dequantised or loaded where it has to be."""
    with onloaded(base):
        weight: Tensor = backend.get_base_weight(base) if backend is not None else base.weight.detach()  # type: ignore[operator]
    return as_matrix(base, weight)


def as_matrix(base: nn.Module, weight: Tensor) -> Tensor:
    """A weight as the base layer stores it, as (out, in); that of a convolution as (out, in·k·k)."""
    if isinstance(base, Conv1D):
        return weight.T
    return weight.flatten(1) if weight.dim() > 2 else weight
