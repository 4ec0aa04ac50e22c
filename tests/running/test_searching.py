"""A search chooses by rows that were held out, in the one direction in which a score is better, and by no seed."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus

from svft_bench.compose import cells
from svft_bench.records import load_record, load_records, record_path, save_record
from svft_bench.running.sweeping.launching import Trials
from svft_bench.running.sweeping.searching import best, check, corners, is_search, score
from tests.made_records import made_record

ROOT = Path(__file__).parents[2]
SEARCH = ["-m", "hydra/sweeper=optuna", "hydra/sweeper/sampler=grid", "score_on=validation", "task.validation_rows=4"]


def test_an_interval_is_checked_at_both_ends() -> None:
    assert corners(["seed=1", "train.lr=interval(0.01,0.1)"]) == ["seed=1", "train.lr=0.01,0.1"]
    assert corners(["train.lr=tag(log,interval(0.01,0.1))"]) == ["train.lr=0.01,0.1"]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["train.selection=last", "train.lr=0.1,0.2"], "score_on=validation"),
        (["score_on=validation", "seed=0,1"], "a seed"),
        (["score_on=validation", "hydra.sweeper.direction=minimize"], "it is maximize"),
    ],
)
def test_a_search_that_would_mislead_is_refused(overrides: list[str], told: str) -> None:
    planned = cells([line for line in overrides if not line.startswith("hydra")])
    with pytest.raises(ValueError, match=told):
        check(planned, overrides)


def test_the_value_of_a_trial_is_its_headline_metric_on_held_out_rows() -> None:
    (cell,) = cells(["score_on=validation"])
    assert score(made_record(cell, score=0.75)) == 0.75


def test_a_trial_that_gives_one_answer_to_everything_has_no_value_and_is_listed_last(tmp_path: Path) -> None:
    line = ["train.selection=best_validation", "train.lr=1e-3,1e-1", f"results_dir={tmp_path}"]
    good, collapsed = cells(line, any_data=True)
    for cell, chosen in ((good, {"epoch": 1, "score": 0.75}), (collapsed, {"epoch": 1})):
        record = made_record(cell, score=0.5).model_copy(update={"selected": {"by": "best_validation", **chosen}})
        save_record(record, results=tmp_path, predictions=[])
    with pytest.raises(ValueError, match="undefined on validation rows"):
        score(load_record(record_path(tmp_path, collapsed.spec)))
    assert [one.split()[0] for one in best([collapsed, good])] == ["75.00", "-"]


class Pool:
    """A pool of processes in which a trial is killed, and all others with it."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        if ["killed"] in job_overrides:
            raise BrokenProcessPool
        return [JobReturn(status=JobStatus.COMPLETED, _return_value=0.5) for _ in job_overrides]


def test_a_trial_whose_process_is_killed_fails_and_the_others_of_its_pool_have_their_scores() -> None:
    trials = Trials(Pool(), {})  # type: ignore[arg-type]
    found = trials.launch([["one"], ["killed"], ["other"]], 4)
    assert [one.status for one in found] == [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.COMPLETED]
    assert list(trials.lost) == [5]
    with pytest.raises(BrokenProcessPool):
        _ = found[1].return_value


@pytest.mark.slow
@pytest.mark.skipif(find_spec("hydra_plugins.hydra_optuna_sweeper") is None, reason="make test-launchers installs it")
def test_a_search_maximises_and_goes_on_after_a_trial_that_fails(
    arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    line = arguments("text", *SEARCH, "method=lora", "train.lr=choice(1e30,0.001,0.1)")
    own = {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "svft_bench", *line], capture_output=True, text=True, cwd=ROOT, env=os.environ | own
    )
    assert done.returncode == 1, done.stderr
    found = {record.spec.train.lr: 100 * score(record) for record in load_records(tmp_path / "results")}
    assert set(found) == {0.001, 0.1}
    told = [text.split() for text in done.stdout.splitlines() if " svft-bench " in text]
    assert [float(words[0]) for words in told] == sorted((round(one, 2) for one in found.values()), reverse=True)
    assert all(text in done.stderr for text in ("training diverged", "1 failed", "2 done"))


def test_no_sweeper_is_passed_over() -> None:
    assert not is_search(["hydra/sweeper=basic", "seed=0,1"])
    with pytest.raises(
        ValueError, match=r"hydra/sweeper=ax: a sweep here is Hydra's own, basic, or a search by optuna"
    ):
        is_search(["hydra/sweeper=ax"])


@pytest.mark.skipif(find_spec("hydra_plugins.hydra_optuna_sweeper") is not None, reason="Optuna's sweeper is installed")
def test_a_search_without_optuna_says_what_to_install() -> None:
    with pytest.raises(ValueError, match=r"hydra/sweeper=optuna is not installed: pip install 'svft-bench\[optuna\]'"):
        is_search(["hydra/sweeper=optuna"])
