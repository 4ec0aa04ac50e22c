"""A cell of a sweep in a process of its own: what it takes is its own, and what kills it kills no other cell.

The processes are forked from one that has imported what every run needs and has done nothing else: no thread is lost in
a fork, and no GPU was touched before it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import (
    forkserver,
    get_all_start_methods,
    get_context,
    get_start_method,
    parent_process,
    set_start_method,
)
from multiprocessing.process import BaseProcess
from types import ModuleType

from svft_bench.compose import Cell
from svft_bench.running import stopping
from svft_bench.running.sweeping import sweep

IMPORTED = ["svft_bench.commands.preloaded"]
PATIENCE = 60.0  # seconds for a cell's process whose parent has died to end by itself
ENDED_BY = {stopping.CODE, 128 + signal.SIGINT}


def get_ready() -> None:
    """Begin the imports, which take seconds, while other things are looked at."""
    if get_start_method(allow_none=True) not in get_all_start_methods():  # joblib's own, which the new process lacks
        set_start_method("forkserver", force=True)
    get_context("forkserver").set_forkserver_preload(IMPORTED)
    forkserver.ensure_running()


def alone(attempt: Callable[[Cell], int], cell: Cell) -> int:
    """The exit code of `attempt(cell)` in a process of its own.

    Raises:
        RuntimeError: the process was killed.
        KeyboardInterrupt: this process was told to end, and the other one has.
    """
    get_ready()
    context = get_context("forkserver")
    process = context.Process(target=_work, args=(attempt, cell, dict(os.environ)))
    with _of_no_program():
        process.start()
    with _cleared_away(process):
        try:
            process.join()
        except KeyboardInterrupt:
            with suppress(ProcessLookupError):
                os.kill(process.pid or 0, stopping.asked() or signal.SIGINT)
            process.join()
            raise
    code = process.exitcode
    assert code is not None
    if code in ENDED_BY:
        stopping.check()
    if code < 0:
        raise RuntimeError(f"the process that ran it was killed by {signal.Signals(-code).name}, as for want of memory")
    return code


@contextmanager
def _of_no_program() -> Iterator[None]:
    """A process that is begun now does not import the program that called us, which then would run once more."""
    program = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program


@contextmanager
def _cleared_away(process: BaseProcess) -> Iterator[None]:
    """Nothing that the process has begun outlives it, nor does it outlive a second Ctrl-C."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()


def _work(attempt: Callable[[Cell], int], cell: Cell, environment: dict[str, str]) -> None:
    """What the process does: a group of its own, so that a terminal's Ctrl-C comes once, handed on by its parent."""
    os.setpgid(0, 0)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stopping.heed_signals()
    sweep.note(os.getpid(), "works")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        code = attempt(cell)
    except stopping.Stopped:
        code = stopping.CODE
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    sys.exit(code)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(PATIENCE)
    os._exit(stopping.CODE)
