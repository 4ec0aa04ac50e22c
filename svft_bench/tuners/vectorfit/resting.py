"""From the call that lets vectors rest to the optimizer's step: no gradient, and afterwards every vector trains again.

Between two steps every vector is trainable, so that an optimizer made there, for a resumed training or for a second
one, gets them all.
"""

from __future__ import annotations

import warnings
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, distributed
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook


class Scheduled(Protocol):
    """A layer whose vectors follow a schedule; `follows` says whether the schedule was ever told of a step."""

    follows: bool

    def scheduled(self) -> list[Tensor]: ...

    def before_step(self) -> None: ...

    def wake(self) -> None: ...


_layers: WeakSet[Scheduled] = WeakSet()
_steps_alone: WeakKeyDictionary[Optimizer, int] = WeakKeyDictionary()


def watch(layer: Scheduled) -> None:
    """Wake the layer's vectors after every step of their optimizer."""
    _layers.add(layer)


def is_averaged(vector: Tensor) -> bool:
    """Whether every process has to send a gradient of the vector, as `DistributedDataParallel` demands.

    A shard of `fully_shard` may lack one.
    """
    several = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
    return several and not hasattr(vector, "full_tensor")


class Still(torch.autograd.Function):
    """A vector whose gradient is zero."""

    @staticmethod
    def forward(ctx: Any, vector: Tensor) -> Tensor:
        return vector.view_as(vector)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return torch.zeros_like(g)


def _of(optimizer: Optimizer) -> list[Scheduled]:
    if not _layers:
        return []
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    return [layer for layer in _layers if any(id(vector) in held for vector in layer.scheduled())]


def _before_step(optimizer: Optimizer, *_: Any) -> None:
    layers = _of(optimizer)
    for layer in layers:
        layer.before_step()
    if layers and not any(layer.follows for layer in layers):
        _steps_alone[optimizer] = _steps_alone.get(optimizer, 0) + 1
        if _steps_alone[optimizer] == 2:
            warnings.warn(
                "The freezing or the L1 penalty of VectorFit is configured, but nothing calls "
                "model.base_model.update_and_allocate(step) before each optimizer step, so that neither happens.",
                stacklevel=2,
            )


def _after_step(optimizer: Optimizer, *_: Any) -> None:
    for layer in _of(optimizer):
        layer.wake()


register_optimizer_step_pre_hook(_before_step)
register_optimizer_step_post_hook(_after_step)
