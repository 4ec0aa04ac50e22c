"""An adapter that is the weighted sum of others: Σ w (U M Vᵀ) = U (Σ w M) Vᵀ where they train the same entries."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from peft.tuners._buffer_dict import BufferDict
from peft.utils import ModulesToSaveWrapper

from .layer import SingularLayer

# Fields by which two adapters train the same entries.
SAME = (
    "pattern",
    "off_diag",
    "off_diag_pattern",
    "entries",
    "entries_pattern",
    "rank",
    "rank_pattern",
    "fill_orthonormal",
    "oversized",
    "train_sigma",
    "train_bias",
)

# Fields that choose among the targets.
CHOOSING = ("exclude_modules", "layers_to_transform", "layers_pattern")


def add(model: Any, weights: dict[str, float], name: str, *, kind: str, options: Mapping[str, Any]) -> None:
    """Give `model`, a tuner's, the adapter `name` with the sum of the updates of others, each times its weight.

    Raises:
        ValueError: a sum that would not be exact.
    """
    _check_kind(kind, options)
    _check(model, weights, name=name)
    configs = [model.peft_config[adapter] for adapter in weights]
    chosen = _targets(model, weights, configs)
    model.peft_config[name] = replace(configs[0], **chosen, init_weights=True, **_from_zero(configs[0]))
    try:
        model.inject_adapter(model.model, name)
    except Exception:
        del model.peft_config[name]
        raise
    for layer in _layers(model):
        if name in layer.configs:
            _fill(layer, weights, name=name)
    _warn_of_modules(model, weights, name=name)


def _targets(model: Any, weights: dict[str, float], configs: list[Any]) -> dict[str, Any]:
    """The fields by which the new adapter is on every layer that one of the others is on, and on no other."""
    targets = [config.target_modules for config in configs]
    if any(getattr(config, field) != getattr(configs[0], field) for config in configs for field in CHOOSING):
        names = [layer.key for layer in _layers(model) if not layer.configs.keys().isdisjoint(weights)]
        return {"target_modules": "|".join(map(re.escape, names)), **dict.fromkeys(CHOOSING)}
    both = "|".join(f"({target})" for target in targets) if isinstance(targets[0], str) else set().union(*targets)
    return {"target_modules": both}


def _fill(layer: SingularLayer, weights: dict[str, float], *, name: str) -> None:
    adapters = [adapter for adapter in weights if adapter in layer.configs]
    for place, entries in enumerate(layer.trained(name)):
        parts = [weights[a] * layer.scaled(a, layer.trained(a)[place]) for a in adapters]
        with torch.no_grad():
            entries.copy_(sum(parts, torch.zeros_like(entries)))
        entries.requires_grad_(False)
    if adapters[0] in layer.basis_names:
        _share_basis(layer, name, of=adapters[0])


def _warn_of_modules(model: Any, weights: dict[str, float], *, name: str) -> None:
    """Say which modules that an adapter trains in full are in no sum of updates."""
    wrappers = [
        (place, module) for place, module in model.model.named_modules() if isinstance(module, ModulesToSaveWrapper)
    ]
    left = [(place, of) for place, module in wrappers for of in weights if of in module.modules_to_save]
    if left:
        told = ", ".join(f"{place} of {of}" for place, of in left)
        warnings.warn(
            f"The adapter {name} is the sum of updates alone: it leaves out what others train in full by "
            f"modules_to_save ({told}), and has those modules as the base has them.",
            stacklevel=4,
        )


def _share_basis(layer: SingularLayer, adapter: str, *, of: str) -> None:
    """Let `adapter` train in the basis, and where it is drawn on the pattern, of another one."""
    layer.basis_names[adapter], layer.basis_origins[adapter] = layer.basis_names[of], layer.basis_origins[of]
    for name in layer.other_param_names:
        container = getattr(layer, name)
        if isinstance(container, BufferDict) and of in container and name.endswith(("index", "fingerprint")):
            container[adapter] = container[of].clone()
    layer.drop_unused_bases()


def _check_kind(kind: str, options: Mapping[str, Any]) -> None:
    """Raise a ValueError for another combination, and for what LoRA's others take, such as a density."""
    if kind != "linear":
        raise ValueError(f"combination_type={kind!r}: adapters in the singular basis are summed by 'linear' alone.")
    if given := sorted(option for option, value in options.items() if value is not None):
        raise ValueError(f"combination_type='linear' takes no {', '.join(given)}: the sum is exact and whole.")


def _check(model: Any, weights: dict[str, float], *, name: str) -> None:
    if name in model.peft_config:
        raise ValueError(f"Adapter {name} already exists")
    if not weights:
        raise ValueError("Found no adapter matching the names in []")
    for adapter in weights:
        if adapter not in model.peft_config:
            raise ValueError(f"Adapter {adapter} does not exist")
        if not math.isfinite(weights[adapter]):
            raise ValueError(f"Adapter {adapter} has the weight {weights[adapter]}, which is not finite.")
    _check_configs({adapter: model.peft_config[adapter] for adapter in weights})
    wrappers = [module for module in model.modules() if isinstance(module, ModulesToSaveWrapper)]
    if shared := sum(sum(adapter in module.modules_to_save for adapter in weights) > 1 for module in wrappers):
        raise ValueError(
            "Cannot add weighted adapters if they target the same module with modules_to_save, but found "
            f"{shared} such instance(s)."
        )
    for layer in _layers(model):
        _check_same_entries(layer, [adapter for adapter in weights if adapter in layer.configs])


def _check_configs(configs: dict[str, Any]) -> None:
    for adapter, config in configs.items():
        if getattr(config, "gate", False):
            raise ValueError(
                f"Adapter {adapter} has a gate: the sum of gated cores is no gated core, so there is no exact sum."
            )
        if config.trainable_token_indices:
            raise ValueError(f"Adapter {adapter} trains tokens (trainable_token_indices), which no sum holds.")
        if getattr(config, "target_parameters", None):
            raise ValueError(
                f"add_weighted_adapter does not support targeting nn.Parameter (problematic adapter '{adapter}')"
            )
    for field in SAME:
        if len({str(getattr(config, field, None)) for config in configs.values()}) > 1:
            told = " and ".join(f"{getattr(config, field)!r}" for config in configs.values())
            raise ValueError(f"Adapters {', '.join(configs)} have {field}={told}, so the sum is none of an adapter.")
    if len({isinstance(config.target_modules, str) for config in configs.values()}) > 1:
        raise ValueError("all adapter configs should follow the same target modules type, a list or an expression.")


def _check_same_entries(layer: SingularLayer, adapters: list[str]) -> None:
    """Raise a ValueError where the trained entries of two adapters stand for different updates."""
    for one, other in pairwise(adapters):
        index: Any = getattr(layer, "svft_index", {})
        drawn = [index[adapter] for adapter in (one, other) if adapter in index]
        same = not drawn or (len(drawn) == 2 and torch.equal(drawn[0], drawn[1]))
        if not same or not _same_basis(layer, one, other):
            raise ValueError(
                f"Adapters {one} and {other} do not train the same entries in one basis of {layer.key!r}, so the "
                "sum of their updates is none of an adapter; merging one after the other adds both."
            )


def _same_basis(layer: SingularLayer, one: str, other: str) -> bool:
    names = [layer.basis_names.get(adapter) for adapter in (one, other)]
    if names[0] == names[1] or None in names:
        return names[0] == names[1]
    own, its = (dict(layer.basis(adapter).named_buffers()) for adapter in (one, other))
    return own.keys() == its.keys() and all(torch.equal(part, its[name]) for name, part in own.items())


def _from_zero(config: Any) -> dict[str, Any]:
    """The fields by which the new adapter begins at zero, and each layer of it with entries of its own."""
    return {"init": "zeros", "tied": False} if hasattr(config, "init") else {}


def _layers(model: Any) -> Iterator[SingularLayer]:
    return (module for module in model.model.modules() if isinstance(module, SingularLayer))
