"""Methods are compared item by item, on predictions that give the recorded scores."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, pvariance
from typing import Any

import pytest

from svft_bench.compose import Cell, cells
from svft_bench.record import RunRecord, save_record
from svft_bench.stats import mcnemar, no_difference, over_seeds
from svft_bench.tables import table
from svft_bench.tables.experiment import experiment_table
from svft_bench.tables.pairs import pairs_table
from svft_bench.tables.predictions import _correlations, _scores, with_noise
from svft_bench.tables.results import cell_results
from svft_bench.tables.value import Table
from svft_bench.tasks.scoring import score
from tests.made_records import made_record


def digits(*methods: str, seeds: str) -> list[Cell]:
    return cells(["experiment=demo", f"method={','.join(methods)}", f"seed={seeds}"], any_data=True)


def saved(cell: Cell, right: Sequence[bool], *, folder: Path, score: float | None = None) -> RunRecord:
    rows = [
        {"eval": "digits", "id": index, "prediction": int(good), "reference": 1} for index, good in enumerate(right)
    ]
    share = sum(right) / len(right)
    record = made_record(cell, score=share if score is None else score, items=len(right))
    save_record(record, results=folder, predictions=rows)
    return record


def made(asked: Sequence[Cell], records: Sequence[RunRecord], folder: Path) -> Table:
    return pairs_table(cell_results(asked, records), name="demo", title="Demo", folder=folder)


def test_one_seed_is_the_exact_mcnemar_test(tmp_path: Path) -> None:
    asked = digits("lora", "svft_plain", seeds="0")
    better = [index >= 5 for index in range(100)]  # wrong on 0 to 4
    worse = [index < 85 for index in range(100)]  # wrong on 85 to 99
    records = [saved(cell, right, folder=tmp_path) for cell, right in zip(asked, (worse, better), strict=True)]
    (row,) = made(asked, records, tmp_path).rows
    assert row.cells[1:3] == ("SVFT plain", "LoRA")
    assert row.facts["difference"] == pytest.approx(0.10)
    assert row.facts["p"] == pytest.approx(mcnemar(15, 5))
    assert row.bold


def test_equal_predictions_are_no_difference(tmp_path: Path) -> None:
    asked = digits("lora", "svft_plain", seeds="0")
    records = [saved(cell, [True, False] * 20, folder=tmp_path) for cell in asked]
    (row,) = made(asked, records, tmp_path).rows
    assert row.facts["p"] == 1.0 and not row.bold


def test_every_pair_counts_in_the_correction(tmp_path: Path) -> None:
    asked = digits("head", "lora", "svft_plain", seeds="0")
    rights = ([index >= wrong for index in range(60)] for wrong in (20, 4, 3))
    records = [saved(cell, right, folder=tmp_path) for cell, right in zip(asked, rights, strict=True)]
    rows = made(asked, records, tmp_path).rows
    assert len(rows) == 3
    assert rows[0].facts["p_holm"] == pytest.approx(3 * rows[0].facts["p"])


def test_two_settings_of_one_method_are_told_apart(tmp_path: Path) -> None:
    asked = cells(["experiment=demo_rates", "method=lora", "train.lr=1e-3,3e-3", "seed=0"], any_data=True)
    records = [
        saved(cell, [i >= wrong for i in range(60)], folder=tmp_path)
        for cell, wrong in zip(asked, (20, 5), strict=True)
    ]
    (row,) = made(asked, records, tmp_path).rows
    assert row.cells[1:3] == ("LoRA lr=0.003", "LoRA lr=0.001")


def test_a_pair_of_fewer_seeds_than_its_peers_is_shown_and_not_tested(tmp_path: Path) -> None:
    asked = digits("head", "lora", "svft_plain", seeds="0,1")
    run = [cell for cell in asked if cell.spec.method.name != "svft_plain" or cell.spec.seed == 0]
    wrong = {"head": 20, "lora": 15, "svft_plain": 0}
    records = [saved(cell, [i >= wrong[cell.spec.method.name] for i in range(60)], folder=tmp_path) for cell in run]
    found = made(asked, records, tmp_path)
    tested, *untested = found.rows
    assert tested.cells[1:3] == ("LoRA", "head only") and tested.facts["p_holm"] == tested.facts["p"]
    assert [row.cells[3].split()[0] for row in untested] == ["+33.3", "+25.0"]
    assert all(row.cells[4:6] == ("", "") and row.facts["p"] is None and not row.bold for row in untested)
    assert any(note.startswith("Without p") for note in found.notes)


def test_several_seeds_pair_by_seed_and_report_their_spread(tmp_path: Path) -> None:
    asked = digits("lora", "svft_plain", seeds="0,1,2")
    wrong = {"lora": (30, 31, 32), "svft_plain": (20, 21, 22)}
    records = [
        saved(cell, [i >= wrong[cell.spec.method.name][cell.spec.seed] for i in range(100)], folder=tmp_path)
        for cell in asked
    ]
    found = made(asked, records, tmp_path)
    assert found.rows[0].facts["difference"] == pytest.approx(0.10)
    assert found.rows[0].cells[-1] == "3"
    assert any("3 seeds and 100 items miss an unpaired gap" in note for note in found.notes)
    assert any("noise of items removed" in note for note in found.notes)


def test_the_average_of_eight_sets_shows_what_none_of_them_can(tmp_path: Path) -> None:
    """Five questions of a hundred more on every set: a gap of 0.05 whose variance is that of 800 questions."""
    asked = cells(["model=smollm2-135m", "method=lora,svft_plain", "task=commonsense_likelihood"], any_data=True)
    records = []
    for cell, wrong in zip(asked, (25, 20), strict=True):
        rows: list[dict[str, Any]] = [
            {"eval": item.name, "id": i, "prediction": "a" if i >= wrong else "b", "reference": "a"}
            for item in cell.spec.task.evals
            for i in range(100)
        ]
        records.append(made_record(cell, score=1 - wrong / 100, items=100))
        save_record(records[-1], results=tmp_path, predictions=rows)
    found = {str(row.facts["eval"]): row for row in made(asked, records, tmp_path).rows}
    assert len(found) == 9
    assert found["boolq_likelihood"].facts["p"] == pytest.approx(mcnemar(5, 0))
    average = found["average"].facts
    assert (average["method"], average["difference"]) == ("svft_plain", pytest.approx(0.05))
    assert average["p"] == pytest.approx(no_difference([0.05], item_variance=0.05 * 0.95 / 800))
    assert [name for name, row in found.items() if row.bold] == ["average"]


def test_a_correlation_is_compared_by_a_paired_bootstrap(tmp_path: Path) -> None:
    asked = cells(["model=minilm-l6", "method=lora,svft_plain", "task=glue/stsb"], any_data=True)
    folder, records = tmp_path, []
    for cell, noise in zip(asked, (0.1, 2.0), strict=True):
        truth = [float(index % 7) for index in range(60)]
        guess = [value + noise * ((index * 37) % 11 - 5) for index, value in enumerate(truth)]
        rows: list[dict[str, Any]] = [
            {"eval": "stsb", "id": i, "prediction": g, "reference": t}
            for i, (g, t) in enumerate(zip(guess, truth, strict=True))
        ]
        record = made_record(cell, score=score(cell.spec.task.evals[0], rows)["pearson"], items=60)
        save_record(record, results=folder, predictions=rows)
        records.append(record)
    (row,) = made(asked, records, folder).rows
    assert row.facts["method"] == "lora" and row.bold


@pytest.mark.parametrize("seeds", ["0", "0,1"])
def test_a_metric_without_a_formula_has_its_interval_from_the_stored_predictions(seeds: str, tmp_path: Path) -> None:
    row = ["method=svft_plain", "train.lr=1e-1", f"seed={seeds}"]
    asked = cells(["experiment=small_gsm8k_rates", *row], any_data=True)
    rng = random.Random(0)
    counts = [[rng.randint(40, 90) for _ in range(200)] for _ in asked]
    records = []
    for cell, of_seed in zip(asked, counts, strict=True):
        rows = [
            {"eval": "solutions", "id": i, "prediction": right, "reference": 100} for i, right in enumerate(of_seed)
        ]
        records.append(made_record(cell, score=fmean(of_seed) / 100, items=200))
        save_record(records[-1], results=tmp_path, predictions=rows)
    (bare,) = cell_results(asked, records)
    assert bare.scores[0].interval is None
    (found,) = with_noise([bare], folder=tmp_path)
    of_items = fmean(pvariance(of_seed) for of_seed in counts) / 100**2 / 200
    low, high = over_seeds([fmean(of_seed) / 100 for of_seed in counts], item_variance=of_items)
    assert found.scores[0].interval == pytest.approx((low, high), abs=0.15 * (high - low))
    assert found.scores[0].mean == pytest.approx(fmean(map(fmean, counts)) / 100)
    note = "miss an unpaired gap under"
    assert any(note in line for line in experiment_table([found], name="n", title="").notes) == (seeds != "0")


def test_methods_that_always_answer_alike_do_not_differ(tmp_path: Path) -> None:
    asked = cells(["model=minilm-l6", "method=lora,svft_plain", "task=glue/cola"], any_data=True)
    rows: list[dict[str, Any]] = [{"eval": "cola", "id": i, "prediction": 1, "reference": i % 2} for i in range(20)]
    records = [made_record(cell, score=0.0, items=20) for cell in asked]
    for record in records:
        save_record(record, results=tmp_path, predictions=rows)
    (row,) = made(asked, records, tmp_path).rows
    assert row.cells[3:6] == ("+0.0 [+0.0, +0.0]", "1.000", "1.000") and not row.bold


def test_predictions_that_do_not_give_the_score_are_refused(tmp_path: Path) -> None:
    asked = digits("lora", "svft_plain", seeds="0")
    records = [saved(cell, [True, False] * 5, folder=tmp_path, score=0.9) for cell in asked]
    with pytest.raises(ValueError, match=r"give accuracy 0\.500000, its record says 0\.900000"):
        made(asked, records, tmp_path)


def test_missing_predictions_are_named(tmp_path: Path) -> None:
    asked = digits("lora", "svft_plain", seeds="0")
    records = [made_record(cell, score=0.5) for cell in asked]
    with pytest.raises(ValueError, match="has no predictions beside its record"):
        made(asked, records, tmp_path)


def test_the_verb_prints_the_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = digits("lora", "svft_plain", seeds="0")
    for cell in asked:
        saved(cell, [True, False] * 20, folder=tmp_path)
    assert table(["demo", "--pairs", "--format", "csv", "--results", str(tmp_path)]) == 0
    assert "digits,lora,svft_plain,0.0" in capsys.readouterr().out


@pytest.mark.parametrize(("metric", "task"), [("pearson", "glue/stsb"), ("matthews", "glue/cola")])
def test_the_quick_resampled_correlation_is_the_metric(metric: str, task: str) -> None:
    import numpy

    rng = numpy.random.default_rng(0)
    draw = rng.normal if metric == "pearson" else lambda size: rng.integers(2, size=size)
    truth, one, other = (draw(size=40).tolist() for _ in range(3))
    pairs = [
        ({"prediction": a, "reference": y}, {"prediction": b, "reference": y})
        for y, a, b in zip(truth, one, other, strict=True)
    ]
    evaluation = cells(["model=minilm-l6", f"task={task}", "train.lr=1"], any_data=True)[0].spec.task.evals[0]
    assert evaluation.metrics[0] == metric
    for index in (*rng.integers(40, size=(5, 40)), numpy.array([3] * 40)):
        assert _correlations(pairs)(index) == pytest.approx(_scores(evaluation, pairs)(index), abs=1e-12)
