"""One core for all layers of a shape: a module that they share, whose entries a checkpoint holds once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoint import PEFT_PREFIX


class TiedCore(nn.Module):
    """The entries `m` (k,) that several layers train as one; their gradient is the sum of the layers'.

    A module, since PEFT, accelerate and `load_state_dict(assign=True)` put new parameters in the place of old ones:
    those who share the module go on with one.
    """

    def __init__(self, m: Tensor) -> None:
        super().__init__()
        self.m = nn.Parameter(m)

    @property
    def is_meta(self) -> bool:
        return self.m.is_meta


def tie(layers: Iterable[Any], adapter: str) -> None:
    """Give all layers of one shape and one pattern the core of the first of them.

    Raises:
        ValueError: they are on several devices.
    """
    first: dict[tuple[object, ...], Any] = {}
    for layer in layers:
        config = layer.configs[adapter]
        owner = first.setdefault((layer.shape, config.off_diag, config.entries, config.rank), layer)
        places = [one._get_base_layer_device_and_dtype(one.get_base_layer())[0] for one in (owner, layer)]
        if places[0] != places[1] and torch.device("meta") not in places:
            raise ValueError(
                f"tied=True shares entries among layers of one shape, and these are on two devices: {owner.key!r} on "
                f"{places[0]}, {layer.key!r} on {places[1]}."
            )
        layer.svft_tied[adapter] = owner.svft_tied[adapter]


def leave_out(state_dict: dict[str, Tensor], layers: dict[str, Any], adapter: str) -> None:
    """Leave the entries of a core in a checkpoint under the name of the first of its layers alone."""
    for _, *others in _groups(layers, adapter):
        for name in others:
            state_dict.pop(f"{name}.svft_tied.{adapter}.m", None)


def fill_in(state_dict: dict[str, Tensor], layers: dict[str, Any], adapter: str) -> None:
    """Put them back under the names of all, none of which is missing then."""
    prefixed = any(key.startswith(PEFT_PREFIX) for key in state_dict)
    for names in _groups(layers, adapter):
        prefix = PEFT_PREFIX if prefixed and not names[0].startswith(PEFT_PREFIX) else ""
        keys = [f"{prefix}{name}.svft_tied.m" for name in names]
        held = [state_dict[key] for key in keys if key in state_dict]
        state_dict.update(dict.fromkeys(keys, held[0]) if held else {})


def _groups(layers: dict[str, Any], adapter: str) -> Iterator[list[str]]:
    """The names of the layers that share a core, for each core."""
    found: dict[nn.Module, list[str]] = {}
    for name, layer in layers.items():
        if adapter in layer.svft_tied:
            found.setdefault(layer.svft_tied[adapter], []).append(name)
    yield from found.values()
