"""Whether all that a checkpoint holds is in the model that was loaded from it: `check_used(model, spec, ...)`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import nn

from svft_bench.config.spec import ModelSpec


def check_finite(model: nn.Module, spec: ModelSpec) -> None:
    """Refuse weights that are no numbers, with which every loss is none either.

    Raises:
        ValueError: names the first parameter that has such.
    """
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point() or parameter.is_meta or not parameter.numel():
            continue
        ends = parameter.detach().aminmax()
        if not (ends.min.isfinite() and ends.max.isfinite()):
            raise ValueError(
                f"model={spec.name}: {name} of the checkpoint {spec.path} holds values that are no numbers (nan or inf)"
            )


def check_used(model: nn.Module, spec: ModelSpec, *, unexpected: Iterable[str]) -> None:
    """Refuse a checkpoint with more blocks, or with more biases, than its configuration makes a model of.

    What else it has is of another head or task, and the library leaves it out: `unexpected`.

    Raises:
        ValueError: names the first parameter that is left out.
    """
    forms = {_form(name) for name, _ in model.named_parameters()}
    linear = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    for name in sorted(unexpected):
        for full in (name, prefix + name):
            module, _, last = full.rpartition(".")
            if _form(full) in forms or (last == "bias" and module in linear):
                raise ValueError(
                    f"model={spec.name}: the checkpoint {spec.path} holds {name}, and the model that its config.json "
                    "describes has no place for it: the configuration is of another model"
                )


def _form(name: str) -> str:
    """A parameter's name in any block."""
    return re.sub(r"\.\d+\.", ".N.", name)
