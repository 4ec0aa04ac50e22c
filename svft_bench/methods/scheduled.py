"""What a tuner knows beside the trained parameters, for checkpoints.

AdaLoRA's schedule: how much each number has mattered so far, and which ranks are left. PEFT keeps it in
`rankallocator`. Layers in the singular basis: the forwards of the last step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from svft_bench.tuners.adapted import forwards, go_on

RANKS, FORWARDS = "rank_pattern", "forwards"


def schedule_state(model: nn.Module) -> dict[str, Tensor]:
    """Copies on the CPU, by `kind/name of a parameter` or layer; empty for a tuner that remembers nothing."""
    allocator = _allocator(model)
    if allocator is None:
        return {f"{FORWARDS}/{name}": torch.tensor(number) for name, number in forwards(model).items()}
    state = {f"{kind}/{name}": value.cpu().clone() for kind, held in _held(allocator) for name, value in held.items()}
    ranks = allocator.peft_config.rank_pattern or {}
    return state | {f"{RANKS}/{name}": torch.tensor(kept) for name, kept in ranks.items()}


def load_schedule_state(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Let the tuner go on from what `schedule_state` gave."""
    allocator = _allocator(model)
    if allocator is None:
        go_on(model, {place.removeprefix(f"{FORWARDS}/"): int(number) for place, number in state.items()})
        return
    device = next(model.parameters()).device
    parts: dict[str, dict[str, Tensor]] = {}
    for place, value in state.items():
        kind, _, name = place.partition("/")
        parts.setdefault(kind, {})[name] = value.to(device)
    ranks = parts.pop(RANKS, {})
    allocator.peft_config.rank_pattern = {name: kept.tolist() for name, kept in ranks.items()} or None
    for kind, held in parts.items():
        setattr(allocator, kind, held)


def takes_ranks_away(model: nn.Module) -> bool:
    """Whether the tuner has such a schedule; all that it keeps then is trained parameters and the schedule's state."""
    return _allocator(model) is not None


def freeze_ranks(model: nn.Module) -> None:
    """PEFT keeps the rank that divides a scale as a parameter, which comes to train where it is moved to a base."""
    for name, parameter in model.named_parameters() if takes_ranks_away(model) else ():
        if ".ranknum." in name:
            parameter.requires_grad_(False)


@contextmanager
def all_ranks(model: nn.Module) -> Iterator[None]:
    """PEFT cuts ranks that a schedule has taken away out of an adapter's state; within this it does not."""
    allocator = _allocator(model)
    if allocator is None:
        yield
        return
    config = allocator.peft_config
    before, config.rank_pattern = config.rank_pattern, None
    try:
        yield
    finally:
        config.rank_pattern = before


def settle_ranks(model: nn.Module) -> None:
    """Let the ranks that count as left be those of the present weights, which may be of an epoch before the last."""
    allocator = _allocator(model)
    if allocator is None or allocator.peft_config.rank_pattern is None:
        return
    inner: Any = model.base_model
    values = {name: part for name, part in inner.model.named_parameters() if ".lora_E." in name}
    allocator.peft_config.rank_pattern = {name: (part != 0).flatten().tolist() for name, part in values.items()}


def _allocator(model: nn.Module) -> Any:
    return getattr(getattr(model, "base_model", None), "rankallocator", None)


def _held(allocator: Any) -> Iterator[tuple[str, dict[str, Tensor]]]:
    for kind, value in vars(allocator).items():
        if isinstance(value, dict) and value and all(isinstance(part, Tensor) for part in value.values()):
            yield kind, value
