"""What a layer has settled on in one forward: with it, an ordinary product x Wᵀ + b is all that it has left to do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .kernels import Core
from .rounding import Rounding
from .unchanging import Scope


@dataclass(slots=True)
class Settled:
    """The adapted weight and bias, what they were chosen for and made of, and the forward in which they hold."""

    weight: Tensor
    bias: Tensor | None
    # For which inputs: of the weight's dtype, on this kind of device, of at least and at most so many numbers, by which
    # grad mode.
    kind: str
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

    def is_cast_from(self, x: Tensor) -> bool:
        """Whether autocast, which leaves float64 as it is, computes with x in the weight's dtype."""
        return self.weight.dtype == (x.dtype if x.dtype == torch.float64 else torch.get_autocast_dtype(self.kind))
