"""Adaptive vector freezing: which vectors rest until the next round, S ← β S + (1 - β) mean|δ|.

The paper's own algorithm could not be obtained; this one is reconstructed from its abstract and figures.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Schedule(NamedTuple):
    """The optimizer steps at which the frozen set changes."""

    start: int
    interval: int
    rounds: int
    thaw_at_end: bool

    def round_at(self, step: int) -> int | None:
        """The round that is due just before `step` (0-based); None where none is."""
        number, rest = divmod(step - self.start, self.interval)
        return number if rest == 0 and 0 <= number < self.rounds else None

    def thaws_at(self, step: int) -> bool:
        """Whether everything thaws just before `step`."""
        return self.thaw_at_end and self.rounds > 0 and step == self.start + self.rounds * self.interval


def schedule(*, total_step: int, start: float, interval: float, rounds: int, thaw_at_end: bool) -> Schedule:
    """Turn fractions of the training into steps; an interval is at least one step."""
    return Schedule(round(start * total_step), max(1, round(interval * total_step)), rounds, thaw_at_end)


def smoothed(strength: Tensor, movement: Tensor, *, beta: float, first: bool) -> Tensor:
    """The strength of every vector after a round in which their mean absolute increments were `movement`."""
    return movement if first else beta * strength + (1 - beta) * movement


def strongest(strength: Tensor, *, count: int) -> Tensor:
    """A mask of the `count` strongest vectors; the earlier of two equal ones comes first."""
    order = torch.sort(strength, descending=True, stable=True).indices
    return torch.zeros_like(strength, dtype=torch.bool).index_fill(0, order[:count], True)


def drawn(vectors: int, *, count: int, seed: int, number: int) -> Tensor:
    """A mask of `count` vectors drawn for round `number`, the same whenever training resumes."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    return strongest(torch.rand(vectors, generator=generator, device="cpu"), count=count)
