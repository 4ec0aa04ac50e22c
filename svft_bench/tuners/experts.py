"""Experts of a mixture that are kept as one 3-D parameter, (experts, out, in) or (experts, in, out)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from torch.nn.modules.conv import _ConvNd


def stacks(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters of a model that stack several matrices, by the names that they have without adapters."""
    for name, module in model.named_modules():
        if isinstance(module, (_ConvNd, BaseTunerLayer)):
            continue
        for own, parameter in module.named_parameters(recurse=False):
            if parameter.dim() == 3 and min(parameter.shape) > 1 and parameter.is_floating_point():
                yield f"{name}.{own}".replace(".base_layer", ""), parameter


def warn_of_left_out(model: nn.Module, targets: Any, *, asked: Any) -> None:
    """Say once how much of a mixture's weights an adapter on linear layers leaves out.

    `asked` is what the user wrote as targets: "all-linear", or names that may be those of such parameters.
    """
    names = [asked] if isinstance(asked, str) else list(asked or ())
    left_out = {}
    for name, parameter in stacks(model):
        meant = str(asked).lower() == "all-linear" or _is_named(name, names)
        if meant and not _is_named(name, targets or ()):
            left_out[name] = parameter.numel()
    if left_out:
        share = sum(left_out.values()) / sum(parameter.numel() for parameter in model.parameters())
        warnings.warn(
            f"{len(left_out)} parameters that stack the weights of experts, such as {next(iter(left_out))!r}, are no "
            f"linear layers, so the adapter leaves them out: {share:.1%} of the model's weights; "
            f"target_parameters={_ends(left_out)} adapts them.",
            stacklevel=3,
        )


def _ends(names: Iterable[str]) -> list[str]:
    """The ends of names by which PEFT finds them in every block."""
    return sorted({".".join(name.split(".")[-2:]) for name in names})


def _is_named(name: str, targets: Iterable[str]) -> bool:
    """Whether PEFT finds the parameter among these names or ends of names."""
    return any(f".{name}".endswith(f".{target}") for target in targets)
