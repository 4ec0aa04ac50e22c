"""One forward or generate of a model, in which nobody writes to its weights: `with unchanging(): ...`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol


class Scope:
    """One forward or generate, with the layers that settled in it on what they multiply with."""

    def __init__(self) -> None:
        self.layers: list[Any] = []


class Memory(Protocol):
    """What a model remembers from one forward to the next."""

    def begin(self, scope: Scope) -> None: ...

    def end(self, scope: Scope) -> None: ...


_scope: ContextVar[Scope | None] = ContextVar("_scope", default=None)


# The forward or generate that is going on, one for each thread; not a function of ours, for which a small layer waits.
current = _scope.get


@contextmanager
def unchanging(memory: Memory | None = None) -> Iterator[None]:
    """Within it nothing writes to weights, so each layer looks at its own once; a nested one belongs to the outer."""
    if _scope.get() is not None:
        yield
        return
    scope = Scope()
    token = _scope.set(scope)
    try:
        if memory is not None:
            memory.begin(scope)
        yield
        if memory is not None:
            memory.end(scope)
    finally:
        _scope.reset(token)
