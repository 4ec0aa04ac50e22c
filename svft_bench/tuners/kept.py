"""Small tensors of indices that are made once for each size and device."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import torch
from torch import Tensor

Args = ParamSpec("Args")

# How many a function keeps; the oldest goes first.
KEPT = 64


def kept(function: Callable[Args, Tensor]) -> Callable[Args, Tensor]:
    """`function`, which keeps what it made for positional arguments that come again.

    Nothing that a compiler or an exporter traces is kept or handed to it: what it sees are stand-ins without values,
    which a later forward would take for the real thing. Nor is a tensor of inference mode, of no use to a backward.
    """
    made: dict[tuple[object, ...], Tensor] = {}

    @wraps(function)
    def call(*args: Args.args, **kwargs: Args.kwargs) -> Tensor:
        if torch.compiler.is_compiling():
            return function(*args, **kwargs)
        assert not kwargs
        if (known := made.get(args)) is not None:
            return known
        with torch.inference_mode(False):
            value = function(*args, **kwargs)
        if type(value) is Tensor:  # not the fake one of a caller who traces by other means
            while len(made) >= KEPT:
                made.pop(next(iter(made)))
            made[args] = value
        return value

    call.made = made  # type: ignore[attr-defined]
    return call
