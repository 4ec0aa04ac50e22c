"""What a layer has settled on in one forward: with it, an ordinary product x Wᵀ + b is all that it has left to do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .cores import is_transformed
from .kernels import Core
from .rounding import Rounding
from .unchanging import Scope, current


@dataclass(slots=True)
class Settled:
    """The adapted weight and bias, what they were chosen for and made of, and the forward in which they hold."""

    weight: Tensor
    bias: Tensor | None
    # For which inputs: of the same dtype, of at least and at most so many tokens, with gradients or without.
    least: float
    most: float
    trains: bool
    # By which choice: of an adapter, with its scaling, as active as it was, by the options of its config, for so many
    # micro-batches of a step, as a weight that outlives one forward or does not.
    adapter: str
    active: object
    scaling: float
    options: tuple[object, ...]
    accumulation: int
    keeps: bool
    # Of what, and how added up.
    how: Rounding
    core: Core
    offset: Tensor | None
    base: Tensor
    base_bias: Tensor | None
    scope: Scope

    @property
    def trained(self) -> list[Tensor]:
        """The adapter's trained tensors, where they are the entries and the offset themselves."""
        return [self.core.m] if self.offset is None else [self.core.m, self.offset]

    def is_for(self, x: Tensor, *, active: object, scaling: dict[str, float]) -> bool:
        """Whether it holds in the present forward for this input."""
        if self.scope is not current() or self.trains is not torch.is_grad_enabled() or self.active is not active:
            return False
        dtype, kind = x.dtype, x.device.type
        if torch.is_autocast_enabled(kind) and dtype != torch.float64:  # which autocast leaves as it is
            dtype = torch.get_autocast_dtype(kind)
        return (
            dtype == self.weight.dtype
            and self.least * x.shape[-1] <= x.numel() <= self.most * x.shape[-1]
            and scaling.get(self.adapter) == self.scaling
            and not is_transformed()
        )
