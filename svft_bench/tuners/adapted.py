"""The adapted weight W0 + U M Vᵀ or bias of one layer, kept for as long as it is seen to be right.

Its ingredients can be written behind the version counter's back, by `.data` and by some optimizers. So it is trusted
only between events that are ours: inside one forward or generate of a model (`unchanging`), in which nobody writes.
Everywhere else its ingredients are compared: the entries by value, and the base by its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from .answers import answer
from .settled import Settled
from .unchanging import current

# How often any optimizer has stepped.
_steps = 0
_counting = True

# An accelerator has to be waited for to know the outcome of a comparison. From about so many multiply-adds on (a tenth
# of a millisecond of a fast one), building the weight anew takes longer.
WORTH_WAITING = 2e10


def _count_step(*_: Any) -> None:
    global _steps
    _steps += 1


register_optimizer_step_post_hook(_count_step)


def can_compare(base: Tensor, *, macs: float, trains: bool) -> bool:
    """Whether to compare, rather than to build a weight of so many multiply-adds anew in every forward."""
    return base.device.type == "cpu" or not trains or macs >= WORTH_WAITING


def key_of(made_of: Sequence[Tensor], *, dtype: torch.dtype, scaling: float) -> Hashable:
    """What tells a weight from another one, but for writes behind the version counter's back."""
    # A tensor made in inference mode can never be saved for a backward, so the two modes do not share.
    mode = (_steps, dtype, scaling, torch.is_inference_mode_enabled())
    return (mode, *((t.data_ptr(), 0 if t.is_inference() else t._version, t.dtype) for t in made_of))


@contextmanager
def uncounted() -> Iterator[None]:
    """While this lasts, training forwards are of no step, as those that only look how a loss is made."""
    global _counting
    _counting = False
    try:
        yield
    finally:
        _counting = True


def forwards(model: nn.Module) -> dict[str, int]:
    """How many training forwards each adapted layer has had for the last optimizer step, by its name.

    Its path in the next step depends on it, and with its path the rounding: a checkpoint that leaves it out goes on to
    other bits.
    """
    return {name: kept.forwards for name, kept in _of_layers(model)}


def go_on(model: nn.Module, counts: Mapping[str, int]) -> None:
    """Let the layers be as after the step that `forwards` was asked after."""
    for name, kept in _of_layers(model):
        kept.go_on(counts[name])


def _of_layers(model: nn.Module) -> Iterator[tuple[str, AdaptedWeight]]:
    for name, module in model.named_modules():
        if isinstance(kept := getattr(module, "_adapted", None), AdaptedWeight):
            yield name, kept


class Held(NamedTuple):
    """A weight, the key of what it was made of, and where they were seen the entries and the answer of the base.

    `seen_in` is the forward in which it was last made or compared.
    """

    weight: Tensor
    key: Hashable
    entries: Tensor | None
    answer: Tensor | None
    seen_in: object | None


class AdaptedWeight:
    """A dense weight or a bias, rebuilt when an optimizer steps, or when one of its ingredients is seen to change.

    Copies and pickles start empty: it is as large as the base's and can always be rebuilt. What is held is one value
    that is replaced as a whole, and never asked for twice: another thread that calls the model may drop it any time.
    """

    def __init__(self) -> None:
        self._held: Held | None = None
        self._counted_at = _steps
        self.forwards = 0
        self.accumulation = 1
        # Whether the previous step had one training forward only, so that nobody will ask for its weight again.
        self.alone = False
        self.settled: Settled | None = None

    def __reduce__(self) -> tuple[type[AdaptedWeight], tuple[()]]:
        return AdaptedWeight, ()

    def count_forward(self) -> None:
        """Note a training forward; `accumulation` is how many there were for the previous optimizer step."""
        self.begin_step()
        self.forwards += _counting

    def begin_step(self) -> None:
        """Begin to count anew where an optimizer has stepped."""
        if self._counted_at != _steps:
            self.accumulation, self.alone = max(1, self.forwards), self.forwards == 1
            self._counted_at, self.forwards = _steps, 0

    def go_on(self, forwards: int) -> None:
        """Be as after a step of so many training forwards."""
        self.forwards, self._counted_at = forwards, _steps - 1

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
        key, scope, held = key_of([base, *made_of], dtype=dtype, scaling=scaling), current(), self._held
        if held is not None and held.key == key:
            seen_here = scope is not None and scope is held.seen_in
            if seen_here or (compare and self._same_entries(held, entries) and self._same_base(held, base)):
                self._held = held._replace(seen_in=scope)
                return held.weight
        held = None
        self.drop()  # before the new one is made, so that the two are never held together
        seen = (entries.detach().clone(), answer(base)) if compare and again else None
        return self.put(build(), key=key, seen=seen)

    def put(self, weight: Tensor, *, key: Hashable, seen: tuple[Tensor, Tensor] | None) -> Tensor:
        """Keep a weight for the present forward, and where entries and answer of the base were `seen`, for others."""
        entries, its_answer = (None, None) if seen is None else seen
        self._held = Held(weight, key, entries, its_answer, current())
        return weight

    @property
    def weight(self) -> Tensor | None:
        """What is held."""
        held = self._held
        return None if held is None else held.weight

    def made_of(self, key: Hashable) -> tuple[Tensor, Tensor] | None:
        """The entries and the answer that were seen when it was made, where it was made of the tensors of this key."""
        held = self._held
        if held is None or held.key != key or held.entries is None or held.answer is None:
            return None
        return held.entries, held.answer

    def see(self) -> None:
        """Trust it for the present forward: somebody has compared."""
        if (held := self._held) is not None:
            self._held = held._replace(seen_in=current())

    def _same_entries(self, held: Held, entries: Tensor) -> bool:
        return held.entries is not None and torch.equal(held.entries, entries.detach())

    def _same_base(self, held: Held, base: Tensor) -> bool:
        return held.answer is not None and torch.equal(held.answer, answer(base))

    def drop(self) -> None:
        """Forget the weight, and what a layer has settled on."""
        self.forget()
        self.settled = None

    def forget(self) -> None:
        """Forget the weight."""
        self._held = None
