"""Adapted layers whose weight a model reads instead of calling them, so that the adapter is left out."""

from __future__ import annotations

import re
import warnings
from types import SimpleNamespace
from typing import Any

import torch
from peft.tuners.tuners_utils import _check_lora_target_modules_mamba
from torch import nn

from .layer import SingularLayer


def refuse_as_for_lora(model: Any, name: str) -> None:
    """Raise a ValueError for a module that PEFT refuses to adapt with LoRA, since its weight is only read."""
    try:
        _check_lora_target_modules_mamba(SimpleNamespace(peft_type="LORA"), model, name.rpartition(".")[2])
    except ValueError:
        kind = model.config.model_type
        raise ValueError(
            f"Module {name!r} of a {kind} model is read by its kernel and not called, so it cannot be adapted; "
            "name others in target_modules, or this one in exclude_modules."
        ) from None


def keep_off_the_fast_path(model: nn.Module) -> None:
    """Have torch's encoder layers call their adapted layers in eval mode too, and not read them into a fused kernel."""
    for module in model.modules():
        adapted = [child for child in module.children() if isinstance(child, SingularLayer)]
        if adapted and isinstance(module, nn.TransformerEncoderLayer) and not adapted[0]._forward_pre_hooks:
            adapted[0].register_forward_pre_hook(_nothing)  # a layer with a hook is called
        if isinstance(module, nn.TransformerEncoder) and any(isinstance(m, SingularLayer) for m in module.modules()):
            module.use_nested_tensor = False  # the padded batch for that kernel alone


def _nothing(*_: Any) -> None: ...


def warn_of_uncalled(model: nn.Module) -> None:
    """Once, after the first training forward of `model`, name the adapted layers that it did not call."""
    if _look not in model._forward_hooks.values():
        model.register_forward_hook(_look)


def _look(model: nn.Module, *_: Any) -> None:
    if torch.compiler.is_compiling() or not (model.training and torch.is_grad_enabled()):
        return
    for key in [key for key, hook in model._forward_hooks.items() if hook is _look]:
        del model._forward_hooks[key]
    layers = {name: module for name, module in model.named_modules() if isinstance(module, SingularLayer)}
    called = {_place(name) for name, layer in layers.items() if layer.called}
    missed = [name for name, layer in layers.items() if not layer.called and _place(name) not in called]
    missed = [name for name in missed if set(layers[name].active_adapters) & set(layers[name].configs)]
    for name in missed:
        layers[name].called = True  # said once
    if missed:
        shown = ", ".join(missed[:6]) + (", ..." if len(missed) > 6 else "")
        warnings.warn(
            f"The first training forward did not call {len(missed)} of {len(layers)} adapted layers, so their adapters "
            f"do not train: {shown}. A model that reads the weight of a layer passes over its adapter.",
            stacklevel=2,
        )


def _place(name: str) -> str:
    """The name, without its number for an expert of a mixture: some get no token, but the others are called."""
    return re.sub(r"(expert[^.]*)\.\d+", r"\1", name)
