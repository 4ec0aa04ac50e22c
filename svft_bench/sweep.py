"""A sweep as it goes: which cell of how many, what the rest will take, and at its end the cells without a record."""

from __future__ import annotations

import os
from collections.abc import Sequence
from statistics import fmean

from svft_bench.compose import Cell
from svft_bench.estimates import duration
from svft_bench.failures import reason, state

# Cells before this product, cells in all, cells to run when the sweep began, and its process: in the environment, for a
# launcher's other processes too.
PLACE = "SVFT_BENCH_PLACE"

_seconds: list[float] = []  # of the cells that this process has run


def begin(planned: Sequence[Cell]) -> None:
    """Note how much there is to do, before the first cell runs."""
    todo = sum(state(cell) != "done" for cell in planned)
    _seconds.clear()
    os.environ[PLACE] = f"0 {len(planned)} {todo} {os.getpid()}"


def product(before: int) -> None:
    """Note that a product begins, with this many cells before it."""
    os.environ[PLACE] = " ".join([str(before), *os.environ[PLACE].split()[1:]])


def position(number: int) -> str:
    """`[3/12]`, for the cell of this number in its product."""
    before, total, *_ = os.environ.get(PLACE, "0 ?").split()
    return f"[{int(before) + number + 1}/{total}]"


def pace(seconds: float) -> str | None:
    """How far the sweep is after a cell that took this long; None at its end, and where cells run side by side."""
    _, _, todo, process = os.environ.get(PLACE, "0 0 0 0").split()
    _seconds.append(seconds)
    left = int(todo) - len(_seconds)
    if left <= 0 or int(process) != os.getpid():
        return None
    return (
        f"{len(_seconds)} run in {duration(sum(_seconds))}, {left} to go: about {duration(left * fmean(_seconds))} left"
    )


def outcome(planned: Sequence[Cell]) -> list[str]:
    """What is left without a record, one line for each such cell and one in all; nothing when all is done."""
    states = [state(cell) for cell in planned]
    lines = [
        f"failed: {cell.command}\n  {reason(cell)}" if found == "failed" else f"no record: {cell.command}"
        for cell, found in zip(planned, states, strict=True)
        if found != "done"
    ]
    again = "the same command tries again what has no record"
    return [*lines, f"{counted(states)}; {again}"] if lines else []


def counted(states: Sequence[str]) -> str:
    """`3 done, 1 failed`, in the order of the states' first cells."""
    return ", ".join(f"{states.count(name)} {name}" for name in dict.fromkeys(states))
