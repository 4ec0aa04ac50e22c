"""The cells of drawn patterns, which an average over everything in a state dict leaves as they were drawn."""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners._buffer_dict import BufferDict
from torch import Tensor

from ..checkpoint import whole
from ..cores import is_stand_in, mark_of

# Truncated time and again, a running average comes to rest within this part of what it averages.
ROUNDING = 2e-3


class Cells(BufferDict):  # type: ignore[misc]
    """The flat cells (k,) of each adapter's pattern, buffers of a state dict like any others.

    An average over all of them, trained entries and whole numbers alike, is rounded, and the next cell is another
    function. So cells that differ by no more than that from the drawn ones are put back when they are read or saved;
    others take their place, as those that are loaded do.
    """

    def __init__(self) -> None:
        super().__init__(persistent=True)
        self._drawn: dict[str, Tensor] = {}
        # Which tensor was compared with the drawn cells, and how often it had been written.
        self._compared: dict[str, tuple[int, int]] = {}

    def __getitem__(self, adapter: str) -> Tensor:
        held: Tensor = self._buffers[adapter]
        if not torch.compiler.is_compiling() and self._compared.get(adapter) != mark_of(held):
            self._compare(adapter, held)
        return held

    def __setitem__(self, adapter: str, cells: Tensor) -> None:
        super().__setitem__(adapter, cells)
        self._draw(adapter)

    def __delitem__(self, adapter: str) -> None:
        super().__delitem__(adapter)
        self._drawn.pop(adapter, None)
        self._compared.pop(adapter, None)

    def _draw(self, adapter: str) -> None:
        cells = self._buffers[adapter]
        if not cells.is_meta:
            self._drawn[adapter], self._compared[adapter] = cells.detach().to("cpu", copy=True), mark_of(cells)

    def _compare(self, adapter: str, held: Tensor) -> None:
        if held.is_meta or is_stand_in(held):
            return
        drawn, here = self._drawn.get(adapter), held.detach().cpu()
        known = drawn is not None and drawn.shape == here.shape and not torch.equal(drawn, here)
        if known and drawn is not None and _is_rounded(here, drawn, by=ROUNDING):
            held.copy_(drawn)
        self._draw(adapter)

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        for adapter in self:
            self[adapter]
        super()._save_to_state_dict(*args, **kwargs)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        loaded = {adapter: key for adapter in self if (key := f"{prefix}{adapter}") in state_dict}
        for adapter, key in loaded.items():
            if state_dict[key].is_floating_point():
                state_dict[key] = self._rounded(state_dict[key], adapter)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        for adapter in loaded:
            self._draw(adapter)

    def _rounded(self, cells: Tensor, adapter: str) -> Tensor:
        """The whole numbers of which an average or a cast has made others."""
        drawn, by = self._drawn.get(adapter), 4 * torch.finfo(cells.dtype).eps
        known = drawn is not None and drawn.shape == cells.shape and _is_rounded(cells.cpu(), drawn, by=by)
        if known and drawn is not None:
            return drawn
        if (told := whole(cells)) is None:
            raise ValueError(
                f"The cells of a drawn pattern are whole numbers, which {cells.dtype} cannot tell apart; an average or "
                "a cast of an adapter is to leave those of its tensors that are integers as they are."
            )
        return told.to(torch.int32)


def _is_rounded(cells: Tensor, drawn: Tensor, *, by: float) -> bool:
    """Whether cells may have come from the drawn ones by rounding and truncation."""
    return bool(((cells.double() - drawn).abs() <= 1 + by * drawn.double()).all())
