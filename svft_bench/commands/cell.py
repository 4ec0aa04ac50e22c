"""One cell as a command line runs it: what goes wrong becomes one sentence and an exit code."""

from __future__ import annotations

import codecs
import logging
import os
import shlex
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

from svft_bench.config.wording import printable, sentence, warning_line
from svft_bench.running import ranks, stopping

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from svft_bench.compose import Cell

BARS = ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")


def be_quiet() -> None:
    """Keep off the terminal what libraries say to their own developers; a warning of ours is a sentence.

    A sign that the terminal's or a file's encoding has not, as ≈ or ±, becomes its escape and ends no command.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(errors="backslashreplace")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # a CPU kernel that nothing here uses is missing
    warnings.formatwarning = _once()
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # of a run's processes, each would warn of the same
    if not sys.stderr.isatty():  # in a file, the libraries' bars would be one endless line
        for name in BARS:
            os.environ.setdefault(name, "1")


def _once() -> Callable[..., str]:
    """A warning as a line, and nothing for one that was told: other filters in between make Python forget."""
    told: set[str] = set()

    def line(*warning: Any) -> str:
        text = warning_line(*warning[:4])
        if text in told:
            return ""
        told.add(text)
        return text

    return line


def trial(config: DictConfig) -> float:
    """One cell of a search and its value, perhaps in a process of its own."""
    from svft_bench.running.sweeping.searching import value

    return value(config, job)


def job(config: DictConfig) -> int:
    """One cell of a sweep, perhaps in a process of its own; a failure is told and the sweep goes on."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from svft_bench.compose import build_cell
    from svft_bench.running.sweeping.failures import keep_failure, reason_of, state
    from svft_bench.running.sweeping.own_process import alone
    from svft_bench.running.sweeping.sweep import in_a_worker, is_over, note, pace, position

    if in_a_worker():
        stopping.heed_signals()
    note(os.getpid(), "works")
    if is_over():
        return stopping.CODE
    values: Any = OmegaConf.to_container(config, resolve=True)
    job = HydraConfig.get()
    print(f"{position(int(job.job.num))} {printable(shlex.join(job.overrides.task))}", flush=True)
    cell = build_cell(values, overrides=list(job.overrides.task))
    runs = state(cell) != "done"
    start = time.perf_counter()
    note(int(job.job.num), "begun")
    try:
        code = alone(_quiet_attempt, cell) if runs and wants_own_process(cell) else attempt(cell)
    except stopping.Stopped:
        if not in_a_worker():
            raise
        code = stopping.CODE  # an exception would take the other workers down before they have their checkpoints
    except Exception as error:  # of its process, as that it was killed: its own errors a cell tells by itself
        keep_failure(cell, error)
        print(f"  failed: {reason_of(error)}", file=sys.stderr)
        code = 1
    finally:  # a launcher's process lives on, so that nobody would see that it works on this no more
        note(int(job.job.num), "ended")
    if runs and (line := pace(time.perf_counter() - start)):
        print(f"  {line}", flush=True)
    return code


def wants_own_process(cell: Cell) -> bool:
    """Whether a cell is to have a process that no other has had, where its launcher does not give it one."""
    return cell.settings.cell_process == "own" and "SUBMITIT_EXECUTOR" not in os.environ


def _quiet_attempt(cell: Cell) -> int:
    """The same as `attempt`, where `main` was never called."""
    be_quiet()
    return attempt(cell)


def attempt(cell: Cell) -> int:
    """Run one cell; what goes wrong becomes one sentence and an exit code, with the traceback in a file."""
    from svft_bench.records import record_path
    from svft_bench.running.concluding import conclude_late
    from svft_bench.running.keeping.again import is_due, recorded
    from svft_bench.running.sweeping.failures import failure_path, keep_failure, reason_of, standing

    path = record_path(cell.settings.results_dir, cell.spec)
    try:
        done = ranks.lead(
            lambda: not is_due(cell.spec, cell.settings) and recorded(cell.spec, cell.settings) is not None
        )
    except ValueError as error:
        if not ranks.speaks(error):
            return 1
        keep_failure(cell, error)
        return bad_input(error)
    if done:
        ranks.lead(lambda: conclude_late(cell.spec, cell.settings))
        ranks.say(f"  already recorded in {path} (force=true runs it again, once)")
        return 0
    warnings.filterwarnings("ignore", category=FutureWarning)  # of the libraries, to their own developers
    from svft_bench.commands.summary import one_line
    from svft_bench.running.keeping.folders import folder_of, weights_in
    from svft_bench.running.run import run

    try:
        record = run(cell.spec, cell.settings, command=cell.command)
    except KeyboardInterrupt:
        ranks.say(f"\n  the same command {standing(cell)}", file=sys.stderr)
        raise
    except Exception as error:
        if not ranks.speaks(error):
            return 1
        kept = keep_failure(cell, error)
        where = f" (traceback in {kept})" if kept else ""
        if isinstance(error, ValueError | OSError):
            return bad_input(error, where=where)
        print(f"  failed: {reason_of(error)}{where}", file=sys.stderr)
        return 1
    failure_path(cell).unlink(missing_ok=True)
    ranks.say(f"  {one_line(record)}\n  {path}\n  {weights_in(folder_of(cell.settings.output_dir, cell.spec))}")
    return 0


def bad_input(error: Exception, *, where: str = "") -> int:
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        traceback.print_exception(error)
    print(f"svft-bench: {sentence(str(error))}{where}", file=sys.stderr)
    return 2
