"""Weights that accelerate keeps on the CPU or on disk, and loads for the forward of their module only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from accelerate.hooks import remove_hook_from_module
from torch import nn


def is_hooked(module: nn.Module) -> bool:
    """Whether accelerate places the module's tensors, offloaded or not."""
    return "_hf_hook" in module.__dict__  # several times a forward: `hasattr` raises and catches where there is none


def onloaded(module: nn.Module) -> AbstractContextManager[None]:
    """The module's own parameters where its forward would have them; what is read from it stays when they go."""
    away = is_hooked(module) and any(p.is_meta for p in module.parameters(recurse=False))
    return _loaded(module) if away else nullcontext()


@contextmanager
def _loaded(module: nn.Module) -> Iterator[None]:
    hook: Any = module._hf_hook
    hook.pre_forward(module)
    try:
        yield
    finally:
        hook.post_forward(module, torch.empty(0))


def reclaim(container: nn.Module, *, device: torch.device) -> None:
    """Take trained entries out of accelerate's hands: their container is never called, so they would not come back."""
    for module in container.modules():
        if is_hooked(module):
            hook: Any = module._hf_hook
            hook.pre_forward(module)
            remove_hook_from_module(module)
            module.to(device)
