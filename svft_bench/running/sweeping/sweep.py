"""A sweep as it goes: which cell of how many, what the rest will take, and at its end the cells without a record."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import fmean
from typing import Literal

from svft_bench.analysis.estimates import duration
from svft_bench.compose import Cell
from svft_bench.running.stopping import telling_others
from svft_bench.running.sweeping.failures import reason, state

Step = Literal["begun", "ended", "works"]
# Cells in all, cells to run when the sweep began, and its process: in the environment, for a launcher's other processes
# too, as is the folder in which each notes the cells that it begins and ends.
PLACE, NOTES = "SVFT_BENCH_PLACE", "SVFT_BENCH_NOTES"
OVER = "over"

_seconds: list[float] = []  # of the cells that this process has run


@contextmanager
def going(planned: Sequence[Cell]) -> Iterator[None]:
    """While this lasts, cells know their place and note how far they are."""
    begin(planned)
    with _noting():
        yield


@contextmanager
def going_of(number: int) -> Iterator[Path]:
    """The same for so many cells that are not known yet; gives the folder of the notes."""
    _place(number, number)
    with _noting() as folder:
        yield folder


@contextmanager
def _noting() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="svft-bench-") as folder:
        os.environ[NOTES] = folder
        with telling_others(_tell_workers):
            yield Path(folder)
    del os.environ[NOTES]


def begin(planned: Sequence[Cell]) -> None:
    """Note how much there is to do, before the first cell runs."""
    todo = sum(state(cell) != "done" for cell in planned)
    _place(len(planned), todo)


def _place(cells: int, todo: int) -> None:
    _seconds.clear()
    os.environ[PLACE] = f"{cells} {todo} {os.getpid()}"


def say(number: int, text: str) -> None:
    """Note what the trial of this number is, which only its sweeper has known before."""
    if folder := os.environ.get(NOTES):
        with suppress(FileNotFoundError):
            (Path(folder) / f"{number}.trial").write_text(text, encoding="utf-8")


def note(number: int, step: Step) -> None:
    """Note that the cell of this number began or ended, for who looks after its process was killed.

    Or that the process of this number works on cells. On another host there is no folder for it.
    """
    if folder := os.environ.get(NOTES):
        with suppress(FileNotFoundError):
            (Path(folder) / f"{number}.{step}").write_text(f"{os.getpid()}")


def in_a_worker() -> bool:
    """Whether this process runs cells for another one, that began the sweep."""
    return os.environ.get(PLACE, f"{os.getpid()}").split()[-1] != str(os.getpid())


def is_over() -> bool:
    """Whether a signal has ended the sweep."""
    return NOTES in os.environ and (Path(os.environ[NOTES]) / OVER).exists()


def _tell_workers(signum: int) -> bool:
    """Hand a signal on to the processes that run cells; whether there are any beside this one."""
    folder = Path(os.environ[NOTES])
    (folder / OVER).touch()
    workers = {int(path.stem) for path in folder.glob("*.works")} - {os.getpid()}
    for worker in workers:
        with suppress(ProcessLookupError):
            os.kill(worker, signum)
    return bool(workers)


def left_by_the_dead(cells: int) -> list[int]:
    """Numbers of cells whose process, another one of this machine, has died; returns when no such process goes on."""
    while True:
        open_ = [number for number in range(cells) if noted(number, "begun") and not noted(number, "ended")]
        workers = {number: _worker(number) for number in open_}
        if not any(_lives(worker) for worker in workers.values() if worker != os.getpid()):
            return [number for number in open_ if workers[number] != os.getpid() and not noted(number, "ended")]
        time.sleep(0.2)


def _worker(number: int) -> int:
    """The process that began this cell; 0, which lives, while it writes so."""
    return int((Path(os.environ[NOTES]) / f"{number}.begun").read_text() or 0)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def noted(number: int, step: Step) -> bool:
    """Whether the cell of this number has begun, or ended."""
    return (Path(os.environ[NOTES]) / f"{number}.{step}").exists()


def position(number: int) -> str:
    """`[3/12]`, for the cell of this number."""
    return f"[{number + 1}/{os.environ.get(PLACE, '?').split()[0]}]"


def pace(seconds: float) -> str | None:
    """How far the sweep is after a cell that took this long; None at its end, and where cells run side by side."""
    _, todo, process = os.environ.get(PLACE, "0 0 0").split()
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
        f"failed: {cell.typed}\n  {reason(cell)}" if found == "failed" else f"no record: {cell.typed}"
        for cell, found in zip(planned, states, strict=True)
        if found != "done"
    ]
    again = "the same command tries again what has no record"
    return [*lines, f"{counted(states)}; {again}"] if lines else []


def counted(states: Sequence[str]) -> str:
    """`3 done, 1 failed`, in the order of the states' first cells."""
    return ", ".join(f"{states.count(name)} {name}" for name in dict.fromkeys(states))
