"""What a checkpoint says of the bases of its layers, and what is said of it to the user."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .basis_layer import BasisLayer
from .transfer import Found, Saved

# Prefixes that PEFT puts before a module's name in a checkpoint.
PEFT_PREFIX = "base_model.model."
# A relative change of the weights that is not worth a warning: the fingerprint's own rounding.
UNFELT = 1e-4


def saved(state_dict: dict[str, Tensor], prefix: str) -> Saved:
    """What a checkpoint says of a layer's basis, taken out of it; it has PEFT's prefix even where the model has not."""
    if f"{prefix}fingerprint" not in state_dict and not prefix.startswith(PEFT_PREFIX):
        prefix = PEFT_PREFIX + prefix
    described = {part: state_dict.pop(f"{prefix}basis_{part}", None) for part in Saved._fields[1:]}
    for part in ("of", "pivots", "close", "fill_seed"):
        if (values := described[part]) is not None:
            described[part] = whole(values)
    fingerprint = state_dict.get(f"{prefix}fingerprint")
    if fingerprint is not None and fingerprint.is_floating_point():
        check_finite(fingerprint, f"{prefix}fingerprint")
        state_dict[f"{prefix}fingerprint"] = fingerprint = fingerprint.round().to(torch.int32)
    return Saved(fingerprint, **described)


def whole(values: Tensor) -> Tensor | None:
    """Whole numbers of which an average or a cast of all tensors has made others; None where none can tell them now."""
    if not values.is_floating_point():
        return values
    told = bool((values.abs() <= 2 / torch.finfo(values.dtype).eps).all())
    return values.round().long() if told else None


def check_finite(values: Tensor, name: str) -> None:
    """Raise a ValueError where whole numbers did not fit into the dtype that they were cast to."""
    if not bool(values.isfinite().all()):
        raise ValueError(
            f"{name!r} holds whole numbers that are none in {values.dtype}; an average or a cast of an adapter is to "
            "leave those of its tensors that are integers as they are."
        )


def check_parts(state_dict: dict[str, Tensor], model: nn.Module, adapter: str) -> None:
    """Raise a ValueError where a checkpoint has other parts than the adapter: entries would change their meaning.

    PEFT passes over parts that are missing or too many. A layer of which there is nothing is passed over here too, and
    so is an offset of the bias that is missing, which stays what it is. Entries for a layer that has no adapter here
    are of an update that would be left out.
    """
    prefix = PEFT_PREFIX if any(key.startswith(PEFT_PREFIX) for key in state_dict) else ""
    _check_places(state_dict, model, adapter)
    for name, layer in model.named_modules():
        if not isinstance(layer, BasisLayer) or adapter not in layer.configs:
            continue
        place = f"{prefix}{name.removeprefix(PEFT_PREFIX)}."
        here = {part for part in layer.parts if adapter in getattr(layer, part)}
        saved = {part for part in layer.parts if {f"{place}{part}", f"{place}{part}.m"} & state_dict.keys()}
        whole = any(f"{place}{part}" in state_dict for part in layer.other_param_names if part.endswith("fingerprint"))
        missing = {part for part in here - saved if whole and not part.endswith("bias")}
        if saved - here or missing:
            raise ValueError(
                f"Module {name.removeprefix(PEFT_PREFIX)!r}: the adapter to be loaded has {_told(saved)} and the one "
                f"here has {_told(here)}, so its configuration is another one; load it with its own."
            )


def _check_places(state_dict: dict[str, Tensor], model: nn.Module, adapter: str) -> None:
    layers = {name.removeprefix(PEFT_PREFIX): layer for name, layer in model.named_modules()}
    adapted = {name: layer for name, layer in layers.items() if isinstance(layer, BasisLayer)}
    parts = {part for layer in adapted.values() for part in layer.adapter_layer_names}
    found = [key.removeprefix(PEFT_PREFIX).removesuffix(".m").rpartition(".") for key in state_dict]
    places = dict.fromkeys(place for place, _, part in found if part in parts)
    known = {name for name, layer in adapted.items() if adapter in layer.configs}
    if left_out := sorted(place for place in places if place not in known):
        raise ValueError(
            f"The adapter to be loaded trains {len(places)} modules, of which {len(left_out)} have no adapter here: "
            f"{_some(left_out)}. The configuration or the base model is another one, or wrapped; load it with its own."
        )


def _told(parts: set[str]) -> str:
    return " and ".join(sorted(parts)) or "nothing"


def needed(kept: dict[str, dict[str, Tensor]]) -> str:
    """One line on the modules whose basis another SVD would turn."""
    pairs = sum(len(described["close"]) for described in kept.values())
    size = sum(tensor.nbytes for described in kept.values() for tensor in described.values())
    return (
        f"{len(kept)} of the adapted modules have singular values that (nearly) agree, so the adapter needs their "
        f"basis; {pairs} pairs of vectors ({size / 1e6:.1f} MB) are saved with it, of {_some(kept)}."
    )


def left(names: Iterable[str]) -> str:
    """One line on the modules whose weight was replaced after the adapter was added."""
    return (
        f"The weight of {_some(names)} is no longer the one that was there when the adapter was added, in whose "
        "singular basis it trains, so the saved adapter will be refused on this base: load the base's weights before "
        "get_peft_model; merge_and_unload keeps what was trained."
    )


def changed(found: dict[str, Found]) -> str | None:
    """One line on what an adapter does differently on weights of another kind, None where it does the same."""
    differ = {name: basis for name, basis in found.items() if max(basis.change, basis.weight_change) > UNFELT}
    if not differ:
        return None
    weights = max(basis.weight_change for basis in differ.values())
    update = max(basis.change for basis in differ.values())
    carried = f"changes by up to {update:.1%}" if update else "is carried over"
    return (
        f"The adapter was trained on {next(iter(differ.values())).kind} weights, from which the base's differ by up to "
        f"{weights:.2%}; the update {carried}, in {len(differ)} modules, such as {_some(differ)}."
    )


def _some(names: Iterable[str]) -> str:
    shown = [name.removeprefix(PEFT_PREFIX) for name in names]
    return ", ".join(shown[:3]) + (", ..." if len(shown) > 3 else "")
