"""The adapted weight W0 + U M Vᵀ or bias of one layer, kept for as long as nothing that it is made of changes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

# How often any optimizer has stepped. Some optimizers write parameters behind the version counter's back.
_steps = 0


def _count_step(*_: Any) -> None:
    global _steps
    _steps += 1


register_optimizer_step_post_hook(_count_step)


class AdaptedWeight:
    """A dense weight or a bias, rebuilt when an optimizer steps, or when one of its ingredients is written or replaced.

    Copies and pickles start empty: it is as large as the base's and can always be rebuilt.
    """

    def __init__(self) -> None:
        self._key: Hashable = None
        self._weight: Tensor | None = None
        self._entries: Tensor | None = None
        self._counted_at = _steps
        self._forwards = 0
        self.accumulation = 1

    def __reduce__(self) -> tuple[type[AdaptedWeight], tuple[()]]:
        return AdaptedWeight, ()

    def count_forward(self) -> None:
        """Note a training forward; `accumulation` is how many there were for the previous optimizer step."""
        if self._counted_at != _steps:
            self.accumulation = max(1, self._forwards)
            self._counted_at, self._forwards = _steps, 0
        self._forwards += 1

    def get(
        self, build: Callable[[], Tensor], *, entries: Tensor, made_of: Sequence[Tensor], dtype: torch.dtype
    ) -> Tensor:
        """The weight made of the tensors `made_of`, whose effective entries are `entries`."""
        # A tensor made in inference mode can never be saved for a backward, so the two modes do not share.
        mode = (_steps, dtype, torch.is_inference_mode_enabled())
        key = (mode, *((t.data_ptr(), 0 if t.is_inference() else t._version, t.dtype) for t in made_of))
        if self._weight is None or key != self._key or not self._same_entries(entries):
            self._weight = None  # before the new one is made, so that the two are never held together
            self._weight, self._key, self._entries = build(), key, entries.detach().clone()
        return self._weight

    def _same_entries(self, entries: Tensor) -> bool:
        """On a CPU also by value, which is cheap there and sees a write through `.data`; elsewhere it would wait."""
        assert self._entries is not None
        return entries.device.type != "cpu" or torch.equal(self._entries, entries.detach())

    def drop(self) -> None:
        """Forget the weight."""
        self._weight = self._key = self._entries = None
