"""The seeds that a gap needs are those of the comparisons that the table of an experiment corrects for."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from svft_bench.analysis.tables.pairs import named_in
from svft_bench.analysis.tables.seeds import seeds_for
from svft_bench.commands.plan import main as plan
from svft_bench.compose import cells
from svft_bench.records import save_record
from tests.made_records import made_record


def needed(folder: Path, named: Sequence[str]) -> tuple[str, int, int]:
    """What is said, the seeds that it says, and of how many recorded pairs."""
    asked = cells(["experiment=demo", "method=head,lora,svft_plain,vectorfit"], any_data=True)
    told = seeds_for(asked, 0.03, folder=folder, named=named)[0].told
    seeds, pairs = (int(found) for found in re.findall(r"needs (\d+) seeds .from (\d+) recorded", told)[0])
    return told, seeds, pairs


def test_seeds_are_for_the_comparisons_named_beforehand(tmp_path: Path) -> None:
    rng = random.Random(2)
    line = ["experiment=demo", "method=head,lora,svft_plain,vectorfit", "seed=0,1,2,3"]
    for cell in cells(line, any_data=True):
        share = 0.8 + rng.gauss(0, 0.02)
        right = [rng.random() < share for _ in range(3000)]
        rows = [{"eval": "digits", "id": i, "prediction": int(good), "reference": 1} for i, good in enumerate(right)]
        save_record(made_record(cell, score=sum(right) / 3000, items=3000), results=tmp_path, predictions=rows)
    every, many, pairs = needed(tmp_path, ())
    assert "corrected for 6 comparisons, needs" in every and pairs == 6
    few, fewer, of = needed(tmp_path, ["svft_plain lora"])
    assert "corrected for 1 comparison named beforehand, needs" in few and of == 1 and fewer < many
    (unknown,) = seeds_for(cells(line, any_data=True), 0.03, folder=tmp_path, named=["vera lora"])
    assert "needs unknown seeds" in unknown.told and unknown.seeds is unknown.least is None


def test_a_plan_for_programs_has_the_seeds_that_a_gap_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["experiment=demo", "method=lora,svft_plain", "seed=0,1", f"results_dir={tmp_path}"]
    for cell in cells(line, any_data=True):
        right = 800 + 10 * cell.spec.seed
        rows = [{"eval": "digits", "id": i, "prediction": int(i < right), "reference": 1} for i in range(1000)]
        save_record(made_record(cell, score=right / 1000), results=tmp_path, predictions=rows)
    for gap in ("30", "0.01"):
        assert plan([*line, "--gap", gap]) == 0
        printed = capsys.readouterr().out
        assert plan([*line, "--json", "--gap", gap]) == 0
        (found,) = json.loads(capsys.readouterr().out)["gaps"]
        assert found["eval"] == "digits" and found["gap"] == float(gap) / 100 and found["pairs"] == 1
        seeds, least = found["seeds"], found["least"]
        said = f"needs {seeds} seed" if seeds else f"they show {100 * least:.1f} at best"
        assert said in printed and (seeds is None) != (least is None)
    assert plan([*line, "--json"]) == 0 and "gaps" not in json.loads(capsys.readouterr().out)


def test_an_experiment_names_its_comparisons() -> None:
    assert named_in(["experiment=small_seeds", "model=minilm-l6"])[0] == "svft_banded lora"
    assert named_in(["model=minilm-l6"]) == () and named_in(["experiment=demo"]) == ()
