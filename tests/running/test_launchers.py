"""Sweeps under each of Hydra's launchers: cells run, what fails is told at the end, and the exit code says so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from svft_bench.cli import command
from svft_bench.records import load_records
from svft_bench.running.sweeping import launching
from svft_bench.running.sweeping.launching import PLUGINS
from tests.running import slurm_stand_in

ROOT = Path(__file__).parents[2]
Arguments = Callable[..., list[str]]
SMALL = {"joblib": ["hydra.launcher.n_jobs=2"], "ray": ["hydra.launcher.ray.init.num_cpus=2"]}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "submitit_slurm", "ray"])
def test_a_failing_cell_is_told_under_every_launcher(arguments: Arguments, tmp_path: Path, launcher: str) -> None:
    if find_spec(f"hydra_plugins.{PLUGINS[launcher][0]}") is None:
        pytest.skip(f"hydra/launcher={launcher} is not installed; make test-launchers installs all of them")
    line = arguments("image", "-m", f"hydra/launcher={launcher}", *SMALL.get(launcher, []), "method=lora")
    swept = [*line, "train.lr=1e30,0.001"]
    done = subprocess.run(
        [sys.executable, "-m", "svft_bench", *swept],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PATH": slurm_stand_in.put_into(tmp_path)},
    )
    assert done.returncode == 1, done.stderr
    assert len(load_records(tmp_path / "results")) == 1
    assert "training diverged" in done.stderr and "1 failed, 1 done" in done.stderr


def test_submitit_begins_no_more_cells_at_once_than_the_machine_has_processors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launching, "cpu_count", lambda: 2)
    for name, rounds in {"LocalLauncher": [[0, 1], [2, 3], [4]], "SlurmLauncher": [[0, 1, 2, 3, 4]]}.items():
        launcher = type(name, (), {})()
        assert [list(numbers) for numbers in launching._rounds(launcher, 5)] == rounds
    assert capsys.readouterr().out.startswith("2 cells at once, one for each processor")


@pytest.mark.parametrize("launcher", sorted(PLUGINS))
def test_a_launcher_that_is_not_installed_is_one_sentence(
    launcher: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svft_bench.running.sweeping.launching.find_spec", lambda name: None)
    assert command(["-m", f"hydra/launcher={launcher}", "seed=0,1"]) == 2
    said = capsys.readouterr().err
    assert f"hydra/launcher={launcher} is not installed: pip install 'svft-bench" in said and said.count("\n") == 1


@pytest.mark.parametrize("launcher", sorted(PLUGINS))
def test_a_launcher_s_field_that_there_is_not_is_one_sentence(
    launcher: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("svft_bench.running.sweeping.launching.find_spec", lambda name: name)
    line = ["-m", f"hydra/launcher={launcher}", "hydra.launcher.nope=1", "seed=0,1"]
    assert command([*line, f"results_dir={tmp_path}/r", f"output_dir={tmp_path}/o"]) == 2
    said = capsys.readouterr().err
    assert "hydra.launcher.nope" in said and said.count("\n") == 1


def test_a_launcher_s_value_of_another_type_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=many", "seed=0,1"]) == 2
    said = capsys.readouterr().err
    assert said == (
        "svft-bench: hydra.launcher.n_jobs=many: Value 'many' of type 'str' could not be converted to Integer\n"
    )
