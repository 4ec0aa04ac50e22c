"""Random numbers of training: kept in checkpoints, and of a micro-batch that processes share, drawn as by one of them.

with Draws(of=two) as draws: model(**batch)
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

FILE = "chance.pt"  # of a checkpoint, the same at every number of processes
Drawn: TypeAlias = tuple[str, tuple[int, ...]]  # by which operation, and its shape
Part: TypeAlias = tuple[range, int]  # these rows, of so many


class NotAsOne(ValueError):
    """What a model draws by chance cannot be told to be what one process draws."""

    def __init__(self, why: str) -> None:
        super().__init__(
            "the model draws random numbers while it trains, and several processes cannot draw them as one would: "
            f"{why}; without them (dropout=0), or in one process, it runs"
        )


def state(device: torch.device) -> torch.Tensor:
    """Of the generator that models on this device draw from."""
    own = _own_generator(device)
    return torch.get_rng_state() if own is None else own.get_rng_state(device)


def set_state(value: torch.Tensor, device: torch.device) -> None:
    """Let that generator go on from here."""
    if (own := _own_generator(device)) is None:
        torch.set_rng_state(value)
    else:
        own.set_rng_state(value, device)


def _own_generator(device: torch.device) -> Any:
    """The module of a device that draws by itself; None for the CPU, and for one that draws on it."""
    module = None if device.type == "cpu" else torch.get_device_module(device)
    return module if hasattr(module, "get_rng_state") else None


def save(folder: Path, device: torch.device) -> None:
    """Keep the state of every generator that a training may draw from."""
    name, keys, *rest = np.random.get_state()
    states = {"torch": torch.get_rng_state(), "device": state(device)}
    torch.save(states | {"python": random.getstate(), "numpy": (name, torch.tensor(keys), *rest)}, folder / FILE)


def load(folder: Path, device: torch.device) -> None:
    """Go on from what `save` has kept."""
    kept = torch.load(folder / FILE, weights_only=True)
    name, keys, *rest = kept["numpy"]
    np.random.set_state((name, keys.numpy(), *rest))
    random.setstate(kept["python"])
    torch.set_rng_state(kept["torch"])
    set_state(kept["device"], device)


class Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what is drawn while this lasts; with `part`, all rows' numbers are drawn, and these rows take theirs.

    An operation on a tensor of the whole's shape and layout, with the generator in the same state, gives the numbers
    that one process draws. `common` are the places, in the order of one forward pass of `length` draws, of those that
    all rows share, as a dropout of weights.
    """

    def __init__(self, part: Part | None = None, *, common: frozenset[int] = frozenset(), length: int = 0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.part, self.common, self.length = part, common, length
        self.seen: list[Drawn] = []

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        if self.common and error == (None, None, None) and len(self.seen) != self.length:
            raise NotAsOne("a forward pass of this model draws now more and now fewer random numbers")

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded not in function.tags:
            return function(*args, **(kwargs or {}))
        shape = args[0].shape if isinstance(args[0], torch.Tensor) else args[0]
        number, name = len(self.seen), str(function)
        self.seen.append((name, tuple(shape) if isinstance(shape, Sequence) else ()))
        if self.part is None or number in self.common:
            return function(*args, **(kwargs or {}))
        return _of_all(function, args, kwargs or {}, part=self.part)


def of_all_rows(one: Sequence[Drawn], two: Sequence[Drawn]) -> frozenset[int]:
    """The places of those draws that are the same of one row and of two.

    Raises:
        NotAsOne: of two rows something else is drawn than twice as much.
    """
    common = set()
    for place, ((name, shape), (again, other)) in enumerate(zip(one, two, strict=False)):
        if name == again and shape == other:
            common.add(place)
        elif name != again or not shape or (2 * shape[0], *shape[1:]) != other:
            raise NotAsOne(f"{name} draws {_by(other)} numbers for two rows, and {_by(shape)} for one")
    if len(one) != len(two):
        raise NotAsOne("the model draws more often for two rows than for one")
    return frozenset(common)


def _of_all(function: Any, args: Any, kwargs: dict[str, Any], *, part: Part) -> Any:
    aten = torch.ops.aten
    first, *rest = args
    if function in (aten.rand.default, aten.randn.default):
        mine = _places(first[0] if first else 0, part)
        return function([_all(first[0], part), *first[1:]], *rest, **kwargs)[mine]
    if function in (aten.bernoulli_.float, aten.native_dropout.default):
        whole, mine = _whole(first, part), _places(first.shape[0] if first.dim() else 0, part)
        if function == aten.bernoulli_.float:
            return first.copy_(function(whole, *rest, **kwargs)[mine])
        whole.zero_()[mine] = first
        return tuple(item[mine] for item in function(whole, *rest, **kwargs))
    device = first.device if isinstance(first, torch.Tensor) else torch.device(kwargs.get("device") or "cpu")
    before = state(device)
    found = function(*args, **kwargs)  # as attention, whose kernels draw or do not
    if not torch.equal(before, state(device)):
        raise NotAsOne(f"{function} draws numbers that cannot be shared by rows")
    return found


def _whole(tensor: torch.Tensor, part: Part) -> torch.Tensor:
    """An empty tensor of all rows, its dimensions in this one's order in memory."""
    shape = [_all(tensor.shape[0], part), *tensor.shape[1:]]
    order = sorted(range(len(shape)), key=tensor.stride, reverse=True)
    return tensor.new_empty([shape[place] for place in order]).permute(*map(order.index, range(len(shape))))


def _all(length: int, part: Part) -> int:
    return length // len(part[0]) * part[1]


def _places(length: int, part: Part) -> slice:
    """Where in the first dimension of all rows those of this part are, which has `length` for its own."""
    if not length or length % len(part[0]):
        raise NotAsOne(f"{length} numbers are drawn for {len(part[0])} rows")
    each = length // len(part[0])
    return slice(part[0].start * each, part[0].stop * each)


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "single"
