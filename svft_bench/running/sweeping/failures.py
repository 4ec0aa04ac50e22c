"""Cells that failed: the reason and the traceback stay beside the run's own files until the cell has its record."""

from __future__ import annotations

import traceback
from contextlib import suppress
from pathlib import Path
from typing import Literal

from svft_bench.compose import Cell
from svft_bench.config.wording import sentence
from svft_bench.records import DamagedRecord, load_record, record_path
from svft_bench.records.durable import write_whole
from svft_bench.running.keeping.again import is_asked
from svft_bench.running.keeping.folders import FITTED, folder_of
from svft_bench.running.training.checkpoints import newest

State = Literal["done", "failed", "missing"]


def failure_path(cell: Cell) -> Path:
    """Where the failure of this run lies, if it has one; tasks that share their training fail each on their own."""
    return folder_of(cell.settings.output_dir, cell.spec) / f"error-{cell.spec.run_id}.log"


def keep_failure(cell: Cell, error: Exception) -> Path | None:
    """Write the reason, the command and the traceback of the exception in flight; None where nothing can be written."""
    path = failure_path(cell)
    text = f"{reason_of(error)}\n\n{cell.typed}\n\n{traceback.format_exc()}"
    try:
        write_whole(path, text.encode(errors="backslashreplace"))  # of a path's bytes that are no text
    except OSError:
        return None
    return path


def reason_of(error: Exception) -> str:
    """An error in one line: bad input by its own sentence, anything else with its type before it."""
    line = sentence(str(error))
    return line if isinstance(error, ValueError | OSError) and line else f"{type(error).__name__}: {line}"


def state(cell: Cell) -> State:
    """Whether the cell has its whole record, or failed when it was last tried; what is asked for again has none yet."""
    if not (cell.settings.force and is_asked(cell.spec, cell.settings)):
        with suppress(DamagedRecord, FileNotFoundError):
            load_record(record_path(cell.settings.results_dir, cell.spec))
            return "done"
    return "failed" if failure_path(cell).exists() else "missing"


def reason(cell: Cell) -> str:
    """Why the cell failed when it was last tried."""
    return failure_path(cell).read_text(encoding="utf-8", errors="replace").partition("\n")[0]


def diverged(cell: Cell) -> bool:
    """Whether the cell's training diverged when it was last tried, as it would again."""
    return failure_path(cell).exists() and reason(cell).startswith(FloatingPointError.__name__)


def standing(cell: Cell) -> str:
    """What the cell's command does when it is given once more after an interruption."""
    folder = folder_of(cell.settings.output_dir, cell.spec)
    if (folder / FITTED).exists():
        return f"goes on with the trained weights in {folder}"
    if checkpoint := newest(folder / "checkpoints"):
        return f"goes on from {checkpoint}"
    return "begins at the start"
