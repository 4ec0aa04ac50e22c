"""Methods that answer alike at some seed, and what a table says beyond its pairs."""

from __future__ import annotations

import random
from pathlib import Path
from statistics import fmean

import pytest

from svft_bench.analysis.tables.experiment import experiment_table
from svft_bench.analysis.tables.pairs import pairs_table
from svft_bench.analysis.tables.predictions import with_noise
from svft_bench.analysis.tables.results import cell_results
from svft_bench.compose import cells
from tests.made_records import answered


def test_a_collapse_is_counted_and_no_interval_leaves_the_scores_range(tmp_path: Path) -> None:
    """LoRA answers 1 to everything at one seed of three; the majority of the truth is 1."""
    line = ["model=minilm-l6", "method=lora,svft_plain,head", "task=glue/mrpc", "seed=0,1,2", "train.lr=1"]
    asked = cells(line, any_data=True)
    truth = [int(index % 3 > 0) for index in range(300)]
    rng = random.Random(1)
    records = []
    for cell in asked:
        given = [one if rng.random() < 0.9 else 1 - one for one in truth]
        if cell.spec.method.name == "head" or (cell.spec.method.name, cell.spec.seed) == ("lora", 2):
            given = [1] * 300
        records.append(answered(cell, given, truth, folder=tmp_path))
    found = experiment_table(with_noise(cell_results(asked, records), folder=tmp_path), name="n", title="")
    place = [column.title for column in found.columns].index("learns")
    learned = fmean(record.score("mrpc", "accuracy") for record in records[:2])
    assert [row.cells[place] for row in found.rows] == [f"2 of 3 ({100 * learned:.1f})", "3 of 3", "0 of 3"]
    assert found.rows[0].facts["mrpc.learned_mean"] == pytest.approx(learned)
    assert "One answer to everything: mrpc: LoRA at seed 2; mrpc: head only at seed 0, 1, 2." in found.notes
    for row in found.rows:
        assert 0 <= row.facts["mrpc.low"] <= row.facts["mrpc.accuracy"] <= row.facts["mrpc.high"] <= 1
        assert (
            "±" not in row.cells[1] or 0 <= row.facts["mrpc.accuracy"] + float(row.cells[1].split("± ")[1]) / 100 <= 1
        )
    quiet = found.rows[1].facts  # the collapse of another does not make SVFT plain noisy
    assert quiet["mrpc.high"] - quiet["mrpc.low"] < 0.15


def test_a_table_of_pairs_says_what_pairs_cannot(tmp_path: Path) -> None:
    line = ["model=minilm-l6", "method=full_ft,lora,head", "task=glue/mrpc", "seed=0,1,2", "train.lr=1"]
    asked = cells(line, any_data=True)
    truth = [index % 2 for index in range(2000)]
    wrong = {"full_ft": 200, "lora": 210, "head": 800}
    records = []
    for cell in asked:
        count = wrong[cell.spec.method.name] + cell.spec.seed
        records.append(
            answered(cell, [1 - one if i < count else one for i, one in enumerate(truth)], truth, folder=tmp_path)
        )
    notes = pairs_table(cell_results(asked, records), name="demo", title="Demo", folder=tmp_path).notes
    (alike,) = [note for note in notes if "all 3 alike?" in note]
    assert "p < 0.001" in alike
    (same,) = [note for note in notes if note.startswith("Shown to be as good as full fine-tuning")]
    assert "within 5 mrpc: LoRA." in same
