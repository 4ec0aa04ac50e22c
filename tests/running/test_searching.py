"""A search chooses by rows that were held out, in the one direction in which a score is better, and by no seed."""

from importlib.util import find_spec

import pytest

from svft_bench.compose import cells
from svft_bench.running.sweeping.searching import check, corners, is_search, score
from tests.made_records import made_record


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
