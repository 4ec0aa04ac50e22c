"""A sweep whose cells other processes run: each as it is through, known by its record or its failure, and the pace.

[3/12] seed=2: done; 2 of 12 through after 40 s, about 200 s left
"""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from svft_bench.analysis.estimates import duration
from svft_bench.compose import Cell
from svft_bench.config.wording import printable
from svft_bench.running.sweeping.failures import failure_path, reason, state
from svft_bench.running.sweeping.sweep import position

POLL = 2.0  # seconds between two looks, which on a file system of a cluster are not free


@dataclass(frozen=True)
class Awaited:
    """A cell that has no record yet, its number, and when it failed before, if it did."""

    number: int
    cell: Cell
    failed: float | None

    def how(self) -> str | None:
        """How it ended; None while it has not."""
        if state(self.cell) == "done":
            return "done"
        return None if _failed(self.cell) in (None, self.failed) else f"failed: {reason(self.cell)}"


@contextmanager
def watched(planned: Sequence[Cell]) -> Iterator[None]:
    """While this lasts, print a line for each cell that ends, wherever it runs."""
    awaited = [Awaited(n, cell, _failed(cell)) for n, cell in enumerate(planned) if state(cell) != "done"]
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(awaited, over), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def of_hydra(line: str) -> bool:
    """Whether an override is of Hydra's own settings."""
    return line.lstrip("+~").startswith("hydra")


def own(cell: Cell) -> list[str]:
    """The overrides of a cell without Hydra's, which the launcher has already."""
    return [line for line in cell.overrides if not of_hydra(line)]


def _watch(awaited: Sequence[Awaited], over: threading.Event) -> None:
    begun, left, last = time.monotonic(), list(awaited), False
    while left and not last:
        last = over.wait(POLL)  # and one more look
        for item, how in [(item, item.how()) for item in left]:
            if how is not None:
                left.remove(item)
                told = pace(len(awaited) - len(left), of=len(awaited), seconds=time.monotonic() - begun)
                print(f"{position(item.number)} {printable(shlex.join(own(item.cell)))}: {how}; {told}", flush=True)


def pace(through: int, *, of: int, seconds: float) -> str:
    """How many are through, and how long the rest will take at that pace."""
    rest = f", about {duration(seconds / through * (of - through))} left" if through < of else ""
    return f"{through} of {of} through after {duration(seconds)}{rest}"


def _failed(cell: Cell) -> float | None:
    with suppress(FileNotFoundError):
        return failure_path(cell).stat().st_mtime
    return None
