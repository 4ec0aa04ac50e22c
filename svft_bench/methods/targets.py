"""Which modules of a model an adapter's fields choose, and what they name that is not there."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any

from peft import PeftConfig
from peft.tuners.tuners_utils import _maybe_include_all_linear_layers, check_target_module_exists
from torch import nn


def check_targets(model: nn.Module, config: PeftConfig, *, adapter: Mapping[str, Any], method: str) -> None:
    """Make sure that all modules and layers which the adapter's fields name are there, by PEFT's rules.

    These are `target_modules`, a regular expression or a list of suffixes, values of other fields for some layers
    (`rank_pattern`), each by a regular expression of a suffix, and what is chosen or left out of these or trains beside
    them.

    Raises:
        ValueError: one matches nothing, which PEFT by itself would pass over in silence.
    """
    targets = adapter.get("target_modules")
    every = [name for name, _ in model.named_modules()]
    for item in [targets] if isinstance(targets, str) else targets or ():
        expression = item if isinstance(targets, str) else rf"(.*\.)?({re.escape(item)})"
        if item != "all-linear" and not _matching(
            expression, every, told=f"method={method}: target_modules has {item!r}"
        ):
            ends = {name.split(".")[-1] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
            raise ValueError(
                f"method={method}: target_modules has {item!r}, which matches no module; "
                f"the linear layers here end in {', '.join(sorted(ends))}"
            )
    _check_whole(model, adapter=adapter, method=method)
    if targets:
        _check_chosen(model, config, adapter=adapter, method=method)


def _check_whole(model: nn.Module, *, adapter: Mapping[str, Any], method: str) -> None:
    """The same of the modules that train in full, and of parameters that are adapted by their own names."""
    there = {
        "modules_to_save": [name for name, _ in model.named_modules()],
        "target_parameters": [name for name, _ in model.named_parameters()],
    }
    for field, names in there.items():
        for item in adapter.get(field) or ():
            if not any(f".{name}".endswith(f".{item}") for name in names):
                kind = "parameters" if field == "target_parameters" else "modules"
                raise ValueError(f"method={method}: {field} has {item!r}, which is none of the model's {kind}")


def _check_chosen(model: nn.Module, config: PeftConfig, *, adapter: Mapping[str, Any], method: str) -> None:
    """The same of what is chosen among the modules that `target_modules` names."""
    chooses = {
        name: None for name in ("exclude_modules", "layers_to_transform", "layers_pattern") if hasattr(config, name)
    }
    named = _adapted(model, config, chooses)
    out = adapter.get("exclude_modules") or ()
    for item in [out] if isinstance(out, str) else out:
        told = f"method={method}: exclude_modules has {item!r}"
        if not _matching(item if isinstance(out, str) else rf"(.*\.)?({re.escape(item)})", named, told=told):
            raise ValueError(f"{told}, which leaves out nothing; {_ends(named)}")
    layers = adapter.get("layers_to_transform")
    for layer in [layers] if isinstance(layers, int) else layers or ():
        if not _adapted(model, config, {"layers_to_transform": [layer]}):
            among = (int(number) for name in named for number in re.findall(r"(?<=\.)\d+(?=\.)", name)[:1])
            there = f"they are in {', '.join(map(str, sorted(set(among))))}"
            raise ValueError(
                f"method={method}: layers_to_transform has {layer}, a layer with none of its modules; {there}"
            )
    if layers == []:
        raise ValueError(f"method={method}: layers_to_transform=[] chooses no layer; null is all of them")
    adapted = _adapted(model, config, {})
    if out and not adapted:
        raise ValueError(f"method={method}: exclude_modules={out!r} leaves nothing to adapt; {_ends(named)}")
    patterns = {name: value for name, value in adapter.items() if name.endswith("_pattern") and isinstance(value, dict)}
    for field, item in ((field, item) for field, value in patterns.items() for item in value):
        told = f"method={method}: {field} has {item!r}"
        if not _matching(rf"(.*\.)?({item})", adapted, told=told):
            raise ValueError(f"{told}, which matches no module that is adapted; {_ends(adapted)}")


def _adapted(model: nn.Module, config: PeftConfig, otherwise: Mapping[str, Any]) -> list[str]:
    """The modules that PEFT would adapt by this config, some of its fields being otherwise."""
    config = copy.copy(config)
    vars(config).update(otherwise)
    _maybe_include_all_linear_layers(config, model)
    return [name for name, _ in model.named_modules() if check_target_module_exists(config, name)]


def _matching(expression: str, names: Iterable[str], *, told: str) -> list[str]:
    try:
        return [name for name in names if re.fullmatch(expression, name)]
    except re.error as error:
        raise ValueError(f"{told}, no regular expression: {error}") from None


def _ends(names: Iterable[str]) -> str:
    return f"what is chosen ends in {', '.join(sorted({name.split('.')[-1] for name in names}))}"
