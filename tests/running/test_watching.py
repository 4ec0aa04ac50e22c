"""A sweep that others run says of each cell that it is through, and how long the rest will take."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from svft_bench.compose import Cell, cells
from svft_bench.records import save_record
from svft_bench.running.sweeping import limits, watching
from svft_bench.running.sweeping.failures import keep_failure
from svft_bench.running.sweeping.limits import timed
from svft_bench.running.sweeping.sweep import begin
from svft_bench.running.sweeping.watching import pace, watched
from tests.made_records import made_record

SLURM = "hydra/launcher=submitit_slurm"
GEMMA = ["model=gemma-2b", "method=svft_plain", "task=gsm8k"]


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    monkeypatch.setattr(watching, "POLL", 0.01)
    found = cells(["seed=0,1,2", f"results_dir={tmp_path}/r", f"output_dir={tmp_path}/o"])
    begin(found)
    return found


def fail(cell: Cell, reason: str) -> None:
    try:
        raise ValueError(reason)
    except ValueError as error:
        keep_failure(cell, error)


def test_each_cell_is_told_when_it_is_through(planned: list[Cell], capsys: pytest.CaptureFixture[str]) -> None:
    fail(planned[1], "as last week")
    with watched(planned):
        fail(planned[0], "no such rows")
        save_record(made_record(planned[2], score=0.5), results=planned[2].settings.results_dir, predictions=[])
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert said[0].startswith("[1/3] ") and " seed=0: failed: no such rows; 1 of 3 through after 0 s" in said[0]
    assert said[1].startswith("[3/3] ") and " seed=2: done; 2 of 3 through" in said[1]


def test_the_rest_goes_at_the_pace_of_what_is_through() -> None:
    assert pace(2, of=8, seconds=40.0) == "2 of 8 through after 40 s, about 2 min left"
    assert pace(8, of=8, seconds=40.0) == "8 of 8 through after 40 s"


def test_a_job_of_a_cluster_has_three_times_the_estimate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def longest(hours: float) -> None:
        monkeypatch.setattr(limits, "estimate", lambda spec, on: SimpleNamespace(seconds=3600 * hours * spec.seed))

    found = cells([*GEMMA, "seed=1,2"], any_data=True)
    longest(1.0)
    assert timed([SLURM, *GEMMA], found) == [SLURM, *GEMMA, "hydra.launcher.timeout_min=360"]
    assert "3 times what the longest cell is estimated to take on one A100-80GB" in capsys.readouterr().out
    longest(0.01)
    assert timed([SLURM], found)[-1] == "hydra.launcher.timeout_min=60"


@pytest.mark.parametrize("line", [[SLURM, "hydra.launcher.timeout_min=5"], ["hydra/launcher=joblib"], ["seed=0"]])
def test_a_limit_that_is_given_stays(line: list[str]) -> None:
    assert timed(line, cells(["seed=0"])) == line
