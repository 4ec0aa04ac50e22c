"""A cell of a sweep in a process of its own: its exit code, its end by signals, and nothing that outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from svft_bench.cli import command
from svft_bench.compose import Cell
from svft_bench.records import load_records
from svft_bench.running import stopping
from svft_bench.running.sweeping import sweep
from svft_bench.running.sweeping.own_process import alone

ROOT = Path(__file__).parents[2]
WAITS = "begun"  # written below a cell's outputs by one that waits to be told to end


def test_a_sweep_s_cells_run_each_alone_and_end_as_ever(
    arguments: Callable[..., list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = arguments("image", "-m", "method=lora", "train.lr=1e30,0.001,0.01", "cell_process=own")
    assert command(line) == 1
    assert len(load_records(tmp_path / "results")) == 2
    said = capfd.readouterr().err
    assert "failed: svft-bench" in said and "training diverged" in said and "1 failed, 2 done" in said


def seed(cell: Cell) -> int:
    return cell.spec.seed


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_exit_code_is_that_of_the_cell(cell: Callable[..., Cell], code: int) -> None:
    assert alone(seed, cell(f"seed={code}")) == code


def killed(_: Cell) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def test_a_killed_process_is_an_error_of_its_cell(cell: Callable[..., Cell]) -> None:
    with pytest.raises(RuntimeError, match=r"the process that ran it was killed by SIGKILL, as for want of memory"):
        alone(killed, cell())


def leaving_one_behind(cell: Cell) -> int:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    cell.settings.output_dir.mkdir()
    (cell.settings.output_dir / "pid").write_text(f"{child.pid}")
    return 1


def test_what_a_failed_cell_leaves_running_is_ended_and_waited_for_by_nobody(cell: Callable[..., Cell]) -> None:
    failed = cell()
    assert alone(leaving_one_behind, failed) == 1
    left = int((failed.settings.output_dir / "pid").read_text())
    deadline = time.monotonic() + 60
    while psutil.pid_exists(left) and psutil.Process(left).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def waiting(cell: Cell) -> int:
    """As a run waits for a signal: heeds it, and says by which it was."""
    cell.settings.output_dir.mkdir(exist_ok=True)
    begun = cell.settings.output_dir / WAITS
    begun.write_text(f"{os.getpid()}")
    try:
        time.sleep(1000)
    except KeyboardInterrupt as error:
        begun.with_name("ended").write_text(f"{type(error).__name__} {error}".strip())
        raise
    return 0


@pytest.mark.parametrize(
    ("signum", "raised", "said"),
    [
        (signal.SIGINT, KeyboardInterrupt, "KeyboardInterrupt"),
        (signal.SIGTERM, stopping.Stopped, "Stopped SIGTERM"),
        (signal.SIGUSR1, stopping.Stopped, "Stopped SIGUSR1"),
    ],
)
def test_a_signal_ends_the_cell_s_process_first(
    cell: Callable[..., Cell], signum: signal.Signals, raised: type[BaseException], said: str
) -> None:
    told = cell()
    begun = told.settings.output_dir / WAITS

    def tell() -> None:
        while not begun.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signum)

    threading.Thread(target=tell, daemon=True).start()
    with stopping.heeding_signals(), sweep.going([told]), pytest.raises(raised):
        alone(waiting, told)
    assert begun.with_name("ended").read_text() == said


ORPHAN = """
from svft_bench.compose import cells
from svft_bench.running.sweeping import own_process
from tests.running.test_own_process import waiting

own_process.IMPORTED.clear()
own_process.alone(waiting, cells(["output_dir={folder}", "results_dir={folder}"])[0])
"""


def test_a_cell_s_process_does_not_outlive_the_one_that_began_it(tmp_path: Path) -> None:
    """The program has no guard against being imported, as scripts have not."""
    (tmp_path / "program.py").write_text(ORPHAN.format(folder=tmp_path))
    parent = subprocess.Popen([sys.executable, tmp_path / "program.py"], env=os.environ | {"PYTHONPATH": str(ROOT)})
    while not (tmp_path / WAITS).exists():
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    while not (tmp_path / "ended").exists():
        time.sleep(0.05)
    assert (tmp_path / "ended").read_text() == "Stopped SIGTERM"
