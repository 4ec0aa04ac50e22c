"""Modules that share a weight with the input embedding, trained in full as one."""

from __future__ import annotations

import re
from typing import Any

from torch import nn


def save_as_one(model: Any, config: Any, tied: list[str]) -> None:
    """Let `modules_to_save` name the embedding alone, and tell PEFT which modules are to follow it."""
    embedding = model.get_input_embeddings()
    name = next(name for name, module in model.named_modules() if _without_wrapper(module) is embedding)
    kept = [saved for saved in config.modules_to_save if not any(_names(saved, key) for key in tied)]
    config.modules_to_save = kept if any(_names(saved, name) for saved in kept) else [*kept, name]
    config.modules_to_tie = set(tied)


def _names(saved: str, key: str) -> bool:
    """Whether an entry of `modules_to_save` stands for the module or for a parameter of it."""
    return re.fullmatch(rf"(.*\.)?{re.escape(saved)}(\..*)?", key) is not None


def _without_wrapper(module: nn.Module) -> nn.Module:
    """The module itself, where an earlier adapter has wrapped it to train it in full."""
    original: nn.Module = getattr(module, "original_module", module)
    return original
