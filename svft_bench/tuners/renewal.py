"""What layers have settled on in one forward is renewed for the next, for all of them at once.

Where no optimizer has stepped, what the weights are made of is compared: the entries and the answers of the bases of
all layers, by one comparison for each device. Where one has, small weights of one shape are added up as one stack,
since a small layer takes its time for the calls and not for the products.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from . import attached, kernels, rounding
from .cores import is_transformed
from .kernels import Core
from .unchanging import Scope

if TYPE_CHECKING:
    from .layer import SingularLayer
    from .settled import Settled

# A layer with what it had settled on when it was asked: another thread may have it forget that meanwhile.
Pair: TypeAlias = "tuple[SingularLayer, Settled]"

# Entries of the weights that are added up as one stack: 4 MB in float32, about what a CPU's core keeps at hand.
STACKED = 2**20


class Memory:
    """The layers of a model that had settled when its last forward ended; copies and pickles start empty."""

    def __init__(self) -> None:
        self._layers: list[SingularLayer] = []
        self._joined: dict[torch.device, tuple[list[Tensor], Tensor]] = {}

    def __reduce__(self) -> tuple[type[Memory], tuple[()]]:
        return Memory, ()

    def begin(self, scope: Scope) -> None:
        """Renew what still holds."""
        layers, self._layers = self._layers, []
        if is_transformed():
            return
        same: list[Pair] = []
        changed: list[Pair] = []
        compared: list[tuple[Tensor, Tensor]] = []
        for layer in layers:
            if (settled := layer.settled_again()) is not None:
                pairs = layer.compared(settled)
                (changed if pairs is None else same).append((layer, settled))
                compared += pairs or []
        if not self._are_as_they_were(compared):
            same, changed = [], [*same, *changed]
        changed = [(layer, settled) for layer, settled in changed if settled.trains]
        _build(changed)
        for layer, settled in (*same, *changed):
            layer.renew(settled, scope)
            scope.layers.append(layer)

    def end(self, scope: Scope) -> None:
        """Remember the layers that have settled."""
        self._layers = list({id(layer): layer for layer in scope.layers}.values())

    def _are_as_they_were(self, compared: Sequence[tuple[Tensor, Tensor]]) -> bool:
        """Whether entries, offsets, bases and their biases hold the same bits as when the weights were made of them."""
        now: dict[torch.device, list[Tensor]] = defaultdict(list)
        then: dict[torch.device, list[Tensor]] = defaultdict(list)
        for present, kept in compared:
            now[present.device].append(present)
            then[present.device].append(kept)
        for device, parts in then.items():
            known = self._joined.get(device)
            if known is None or len(known[0]) != len(parts) or any(map(_differ, known[0], parts)):
                self._joined[device] = known = (parts, _bytes(parts))
            if not torch.equal(_bytes(now[device]), known[1]):
                return False
        return True


def _bytes(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.view(torch.uint8) for part in parts])


def _differ(one: Tensor, other: Tensor) -> bool:
    return one is not other


def _build(layers: Sequence[Pair]) -> None:
    """Make the adapted weights of the layers anew."""
    alike: dict[Hashable, list[Pair]] = defaultdict(list)
    for layer, settled in layers:
        alike[layer.kind(settled)].append((layer, settled))
    for group in alike.values():
        for some in _pieces(group):
            with torch.no_grad(), kernels.without_autocast(some[0][1].base.device):
                _build_stack(some)


def _pieces(group: list[Pair]) -> Iterator[list[Pair]]:
    rows, columns = group[0][0].shape
    most = max(1, STACKED // (rows * columns))
    for start in range(0, len(group), most):
        yield group[start : start + most]


def _build_stack(pairs: list[Pair]) -> None:
    layers, settled = [layer for layer, _ in pairs], [one for _, one in pairs]
    for layer in layers:
        layer.forget_weight()  # before the new ones are made
    cores, dtype, how = [one.core for one in settled], settled[0].weight.dtype, settled[0].how
    entries = torch.stack([core.m for core in cores])
    matrices = [layer.matrix() for layer in layers]
    bases = torch.stack(matrices) if len(layers) > 1 else matrices[0][None]  # no copy of a large one
    weights = rounding.add(bases.to(dtype), _updates(cores, entries), how=how).unbind()
    biases: list[tuple[Tensor, Tensor] | None] = [None] * len(layers)
    offsets = [one.offset for one in settled if one.offset is not None]
    if offsets:  # and so have all of a kind
        stacked = torch.stack(offsets)
        bases = torch.stack([one.base_bias for one in settled if one.base_bias is not None])
        sums = rounding.add(bases, stacked, how=how)
        biases = list(zip(sums, stacked, strict=True))
        with torch.enable_grad():
            made = attached.biases(sums.to(dtype).unbind(), offsets)
        for one, bias in zip(settled, made, strict=True):
            one.bias = bias
    with torch.enable_grad():
        functions = attached.weights(weights, cores)
    for (layer, one), weight, function, m, kept in zip(pairs, weights, functions, entries, biases, strict=True):
        layer.keep(one, weight, m, kept)
        one.weight = function


def _updates(cores: list[Core], entries: Tensor) -> Tensor:
    """U M Vᵀ of the cores with entries (L, k), as (L, d1, d2)."""
    basis, pattern = cores[0].basis, cores[0].pattern
    both = [(core.basis.u, core.basis.vt) for core in cores]
    left, right = ([factor for factor in side if factor is not None] for side in zip(*both, strict=True))
    m = entries.to(basis.dtype)
    if any(core.pattern != pattern for core in cores):
        folded: Sequence[Tensor] = [core.pattern.fold(*each) for core, *each in zip(cores, m, right, strict=True)]
    else:
        folded = pattern.fold_all(m, right)
    updates = m.new_empty(len(cores), left[0].shape[0], right[0].shape[1])
    for u, part, update in zip(left, folded, updates, strict=True):
        torch.mm(u, part, out=update)
    return updates
