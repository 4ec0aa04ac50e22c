"""The options that both tuners share, and the checks of a config that need no model."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch

from .chooser import PathOption
from .rounding import Rounding
from .svd import Precision

BasisDtype = Literal["auto", "float64", "float32", "bfloat16", "float16"]


def check_choices(config: Any, **choices: tuple[str, ...]) -> None:
    """Raise a ValueError that names the first field whose value is none of its choices."""
    for name, allowed in choices.items():
        if getattr(config, name) not in allowed:
            raise ValueError(f"{name}={getattr(config, name)!r} is not one of {', '.join(allowed)}.")


def check_common(config: Any) -> None:
    """Check the fields that every tuner of the singular basis has; a list of targets becomes a set, as PEFT expects."""
    for name in ("target_modules", "exclude_modules"):
        if isinstance(getattr(config, name), list):
            setattr(config, name, set(getattr(config, name)))
    if isinstance(config.target_modules, str):
        for name in ("layers_to_transform", "layers_pattern"):
            if getattr(config, name) is not None:
                raise ValueError(f"{name} selects among a list of target_modules, not within a regular expression.")
    if config.memory_budget is not None and not config.memory_budget >= 0:
        raise ValueError(f"memory_budget={config.memory_budget} is not a multiple of the weights, which begins at 0.")
    choices = {"basis_dtype": BasisDtype, "svd_precision": Precision, "path": PathOption, "rounding": Rounding}
    check_choices(config, **{name: get_args(literal) for name, literal in choices.items()})


def resolve_dtype(basis_dtype: BasisDtype, weight: torch.dtype | None) -> torch.dtype:
    """The run-time dtype of the factors of a weight of dtype `weight`."""
    if basis_dtype != "auto":
        return getattr(torch, basis_dtype)  # type: ignore[no-any-return]
    return weight if weight is not None and weight.is_floating_point else torch.float32
