"""The adapted weight W0 + U M Vᵀ or bias of one layer, kept for as long as it is seen to be right.

Its ingredients can be written behind the version counter's back, by `.data` and by some optimizers. So it is trusted
only between events that are ours: inside one forward or generate of a model (`unchanging`), in which nobody writes.
Everywhere else its ingredients are compared: the entries by value, and the base by its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from .answers import answer
from .cores import is_transformed

# How often any optimizer has stepped.
_steps = 0
# The forward or generate that is going on.
_scope: ContextVar[object | None] = ContextVar("_scope", default=None)

# An accelerator has to be waited for to know the outcome of a comparison. From about so many multiply-adds on (a tenth
# of a millisecond of a fast one), building the weight anew takes longer.
WORTH_WAITING = 2e10


def _count_step(*_: Any) -> None:
    global _steps
    _steps += 1


register_optimizer_step_post_hook(_count_step)


@contextmanager
def unchanging() -> Iterator[None]:
    """Within it nothing writes to weights, so each layer looks at its own once; a nested one belongs to the outer."""
    if _scope.get() is not None:
        yield
        return
    token = _scope.set(object())
    try:
        yield
    finally:
        _scope.reset(token)


def can_compare(base: Tensor, *, macs: float, trains: bool) -> bool:
    """Whether to compare, rather than to build a weight of so many multiply-adds anew in every forward."""
    return base.device.type == "cpu" or not trains or macs >= WORTH_WAITING


class Settled(NamedTuple):
    """All that a layer computes without gradients for the rest of one forward or generate: x Wᵀ + b."""

    weight: Tensor
    bias: Tensor | None
    active: object
    adapter: str
    scaling: float
    most: float
    scope: object

    def is_for(self, x: Tensor, *, active: object, scaling: dict[str, float]) -> bool:
        """Whether it holds for this input: at most so many tokens, for the same adapter, at the same precision."""
        return (
            self.scope is _scope.get()
            and self.active is active
            and not torch.is_grad_enabled()
            and x.dtype == self.weight.dtype
            and x.numel() <= self.most * x.shape[-1]
            and scaling.get(self.adapter) == self.scaling
            and not torch.is_autocast_enabled(x.device.type)
            and not is_transformed()
        )


class AdaptedWeight:
    """A dense weight or a bias, rebuilt when an optimizer steps, or when one of its ingredients is seen to change.

    Copies and pickles start empty: it is as large as the base's and can always be rebuilt.
    """

    def __init__(self) -> None:
        self._key: Hashable = None
        self._weight: Tensor | None = None
        self._entries: Tensor | None = None
        self._answer: Tensor | None = None
        self._seen_in: object | None = None
        self._counted_at = _steps
        self._forwards = 0
        self.accumulation = 1
        # Whether the previous step had one training forward only, so that nobody will ask for its weight again.
        self.alone = False
        self.settled: Settled | None = None

    def __reduce__(self) -> tuple[type[AdaptedWeight], tuple[()]]:
        return AdaptedWeight, ()

    def count_forward(self) -> None:
        """Note a training forward; `accumulation` is how many there were for the previous optimizer step."""
        if self._counted_at != _steps:
            self.accumulation, self.alone = max(1, self._forwards), self._forwards == 1
            self._counted_at, self._forwards = _steps, 0
        self._forwards += 1

    def get(
        self,
        build: Callable[[], Tensor],
        *,
        base: Tensor,
        entries: Tensor,
        made_of: Sequence[Tensor],
        dtype: torch.dtype,
        compare: bool,
        again: bool = True,
        scaling: float = 1.0,
    ) -> Tensor:
        """What `build` makes of `base`, of effective `entries`, and of the tensors and the scaling behind them.

        Where it may not `compare`, it is built anew unless an earlier call within `unchanging` has seen to it; so it is
        where it was not expected to be wanted `again`.
        """
        # A tensor made in inference mode can never be saved for a backward, so the two modes do not share.
        mode = (_steps, dtype, scaling, torch.is_inference_mode_enabled())
        key = (mode, *((t.data_ptr(), 0 if t.is_inference() else t._version, t.dtype) for t in (base, *made_of)))
        scope = _scope.get()
        known = self._weight is not None and key == self._key
        if known and (scope is None or scope is not self._seen_in):
            known = compare and self._same_entries(entries) and self._same_base(base)
        if not known:
            self.drop()  # before the new one is made, so that the two are never held together
            self._weight, self._key = build(), key
            if compare and again:
                self._entries, self._answer = entries.detach().clone(), answer(base)
        self._seen_in = scope
        assert self._weight is not None
        return self._weight

    def _same_entries(self, entries: Tensor) -> bool:
        return self._entries is not None and torch.equal(self._entries, entries.detach())

    def _same_base(self, base: Tensor) -> bool:
        return self._answer is not None and torch.equal(self._answer, answer(base))

    def settle(
        self, weight: Tensor, bias: Tensor | None, *, active: object, adapter: str, scaling: float, most: float
    ) -> None:
        """Within `unchanging`: nothing need be asked again before inputs of at most so many tokens are multiplied."""
        scope = _scope.get()  # one for each thread, where replicas of a layer share this
        if scope is not None:
            self.settled = Settled(weight, bias, active, adapter, scaling, most, scope)

    def drop(self) -> None:
        """Forget the weight."""
        self._weight = self._key = self._entries = self._answer = self._seen_in = self.settled = None
