"""What can be adapted and what it will take, known before anything of a model is replaced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from .basis_layer import quantization_of
from .budget import Holding
from .chooser import side_of
from .experts import stacks
from .options import resolve_dtype
from .plain import CONVOLUTIONS, matrix_of


def candidates(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules that PEFT looks for targets among: none of those that an adapted layer is made of."""
    inside = None
    for name, module in model.named_modules():
        if inside is None or not name.startswith(inside):
            inside = f"{name}." if isinstance(module, BaseTunerLayer) else inside
            yield name, module


def checked_weight(
    name: str, module: nn.Module, quantization: dict[str, Any], supported: tuple[type[nn.Module], ...]
) -> Tensor:
    """The (out, in) weight of a target; a ValueError that names the module where it cannot be adapted."""
    backend = quantization_of(module, quantization)
    if backend is None and not isinstance(module, supported):
        *kinds, last = (kind.__name__ for kind in supported)
        told = f"it is a {type(module).__name__}, not a {', '.join(kinds)} or {last}"
        raise ValueError(f"Target module {name!r} is not supported: {told}.")
    if isinstance(module, CONVOLUTIONS) and module.groups != 1:
        raise ValueError(
            f"Module {name!r} is a convolution of {module.groups} groups, each with a matrix of its own; only one of "
            "groups=1 can be adapted."
        )
    if isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear):
        raise ValueError(f"Module {name!r} is read by nn.MultiheadAttention and never called, so it cannot be adapted.")
    check_whole(f"Module {name!r}", getattr(module, "weight", None))
    try:
        weight = matrix_of(module, backend)
    except TypeError as error:
        raise ValueError(f"Module {name!r} has a quantised weight that cannot be dequantised ({error}).") from None
    check_values(name, weight)
    return weight


def check_whole(place: str, weight: Any) -> None:
    """Raise a ValueError where a process holds no more than its shard of a weight."""
    if hasattr(weight, "full_tensor"):
        raise ValueError(
            f"{place} is sharded over processes already, and no process has its whole weight to decompose: add every "
            "adapter with get_peft_model first, and then call fully_shard on the adapted model; tensor parallelism "
            "(tp_plan, tp_size) has to be off."
        )


def check_values(name: str, weight: Tensor) -> None:
    """Raise a ValueError for a weight that has no singular basis."""
    if weight.dtype not in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(f"Module {name!r} has a weight of {weight.dtype}, which nothing here can dequantise.")
    if not weight.is_meta and not bool(torch.isfinite(weight).all()):
        raise ValueError(f"Module {name!r} has a weight with entries that are not finite.")
    if not weight.is_meta and not bool(weight.any()):
        raise ValueError(f"Module {name!r} has a weight of zeros, which has no singular basis.")


def targeted_parameters(model: nn.Module, targets: Iterable[str] | None) -> Iterator[tuple[str, nn.Module, str]]:
    """The parameters that PEFT finds by these names or ends of names: name, module that has it, and its name there."""
    for place, module in model.named_modules():
        if not isinstance(module, BaseTunerLayer):
            plain = place.replace(".base_layer", "")
            for own, _ in module.named_parameters(recurse=False):
                name = f"{plain}.{own}"
                if any(f".{name}".endswith(f".{target}") for target in targets or ()):
                    yield name, module, own


def check_named(model: nn.Module, targets: Iterable[str] | None) -> None:
    """Raise a ValueError for a name that no parameter has, which PEFT would pass over."""
    for target in targets or ():
        if not any(targeted_parameters(model, [target])):
            stacked = sorted(name for name, _ in stacks(model))
            known = f"those that stack matrices are {', '.join(stacked[:4])}" if stacked else "none stacks matrices"
            raise ValueError(f"target_parameters has {target!r}, which no parameter of the model is named; {known}.")


def expected_holding(name: str, weight: Tensor, config: Any) -> Holding:
    """What a layer of this name and weight will hold if it is well conditioned."""
    if weight.dim() == 2 and hasattr(config, "of_layer"):
        config = config.of_layer(name, (weight.shape[0], weight.shape[1]))
    if weight.dim() != 2 or not getattr(config, "train_sigma", True):
        return Holding(weight.nbytes, 0, both=False)
    shape = (weight.shape[0], weight.shape[1])
    dtype = resolve_dtype(config.basis_dtype, weight.dtype)
    side = side_of(shape, conditioning=1.0, dtype=dtype, config=config)
    rank = None if getattr(config, "fill_orthonormal", False) else getattr(config, "rank", None)
    n = min(*shape, rank or min(shape))
    length = sum(shape) if side == "both" else min(shape)
    return Holding(weight.nbytes, n * (length * dtype.itemsize + torch.float32.itemsize), both=side == "both")
