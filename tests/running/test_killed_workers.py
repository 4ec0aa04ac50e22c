"""A worker of a sweep that is killed fails its own cell: the others run, the list of the rest comes, the code is 1."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

from svft_bench.running.sweeping.launching import PLUGINS
from svft_bench.running.sweeping.sweep import NOTES, left_by_the_dead

LAUNCH = """
import sys
sys.path.insert(0, {folder!r})
import killing
from svft_bench.compose import cells, fixed
from svft_bench.running.sweeping.launching import launch
from svft_bench.running.sweeping.sweep import going
from svft_bench.running.sweeping.sweep import outcome
overrides = ["seed=0,1,2,3", *{launcher!r}, "results_dir={folder}/r", "output_dir={folder}/o"]
planned = cells(overrides)
with going(planned):
    code = launch(planned, overrides=fixed(overrides), job=killing.job)
print("code", code)
print(*outcome(planned), sep="\\n")
"""
# The cell of seed 1 is killed as the kernel does it when memory runs out; the others leave a mark.
JOB = """
import os, signal, time
from pathlib import Path

def job(config):
    from hydra.core.hydra_config import HydraConfig
    from svft_bench.running.sweeping.sweep import note
    number = int(HydraConfig.get().job.num)
    note(number, "begun")
    first = Path({folder!r}) / "first"
    if config.seed == 1 and ({always} or not first.exists()):
        first.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3)
    (Path({folder!r}) / f"ran-{{config.seed}}").touch()
    note(number, "ended")
    return 0
"""


LAUNCHERS = {
    "joblib": ["hydra.launcher.n_jobs=2"],
    "submitit_local": [],
    "ray": ["hydra.launcher.ray.init.num_cpus=2"],
}


def launched(folder: Path, launcher: str, *, always: bool) -> str:
    """What a sweep says in which the worker of seed 1 is killed, always or once."""
    if find_spec(f"hydra_plugins.{PLUGINS[launcher][0]}") is None:
        pytest.skip(f"hydra/launcher={launcher} is not installed; make test-launchers installs all of them")
    (folder / "killing.py").write_text(JOB.format(folder=str(folder), always=always))
    program = LAUNCH.format(folder=str(folder), launcher=[f"hydra/launcher={launcher}", *LAUNCHERS[launcher]])
    environment = os.environ | {"PYTHONPATH": str(folder)}
    line = [sys.executable, "-c", program]
    return subprocess.run(line, capture_output=True, text=True, check=True, env=environment).stdout


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_killed_worker_fails_its_cell_and_not_the_sweep(tmp_path: Path, launcher: str) -> None:
    said = launched(tmp_path, launcher, always=True)
    assert "code 1" in said
    assert {path.name for path in tmp_path.glob("ran-*")} == {"ran-0", "ran-2", "ran-3"}
    (failed,) = re.findall(r"^failed: .*(seed=\d)", said, flags=re.MULTILINE)
    assert failed == "seed=1"
    assert "the process that ran it was killed" in said
    assert "3 missing" in said


def test_a_pool_whose_worker_is_killed_once_runs_every_cell(tmp_path: Path) -> None:
    said = launched(tmp_path, "joblib", always=False)
    assert len(list(tmp_path.glob("ran-*"))) == 4 and "code 0" in said


def test_what_a_launcher_leaves_behind_when_it_ends_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NOTES, str(tmp_path))
    worker = "import pathlib, sys, time; time.sleep(0.5); pathlib.Path(sys.argv[1]).touch()"
    alive = subprocess.Popen([sys.executable, "-c", worker, f"{tmp_path}/2.ended"])
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for number, process in {1: dead.pid, 2: alive.pid, 3: os.getpid()}.items():
        (tmp_path / f"{number}.begun").write_text(str(process))
    threading.Thread(target=alive.wait).start()  # or what has ended would stay in the table of processes
    assert left_by_the_dead(5) == [1]
    assert (tmp_path / "2.ended").exists()
