"""How wide a range of rates is: by an error that is known, of rates that were run, and of seeds that have a score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from svft_bench.analysis.tables.choosing import choices
from svft_bench.analysis.tables.predictions import with_noise
from svft_bench.analysis.tables.results import CellResult, cell_results
from svft_bench.analysis.tables.searched import Usable, search_notes, usable_range, usable_ranges
from svft_bench.compose import cells
from svft_bench.records import RunRecord, save_record
from tests.made_records import made_record

TOKENS = ["model=smollm2-135m", "task=gsm8k", "protocol=ours", "method=lora", "score_on=validation"]
TOKENS += [
    "task.validation_rows=50",
    "+task.validated_by={name: solutions, data: {title: MetaMathQA-40K, split: train, local: metamathqa}, "
    "reader: metamath_solution, metrics: [token_accuracy]}",
]
SIMILAR = ["model=minilm-l6", "task=glue/stsb", "protocol=ours", "method=lora", "task.validation_rows=200"]


def solved(folder: Path, *, tokens: Sequence[int], rate: str) -> RunRecord:
    """A run that has so many of 100 tokens of each solution right."""
    (cell,) = cells([*TOKENS, f"train.lr={rate}", "seed=0"], any_data=True)
    (item,) = cell.spec.task.evals
    rows = [{"eval": item.name, "id": i, "prediction": right, "reference": 100} for i, right in enumerate(tokens)]
    record = made_record(cell, score=sum(tokens) / 100 / len(tokens), items=len(tokens))
    save_record(record, results=folder, predictions=rows)
    return record


def ranges(results: Sequence[CellResult]) -> list[Usable]:
    return list(usable_ranges(results).values())


def test_a_metric_without_a_formula_has_the_error_of_its_predictions(tmp_path: Path) -> None:
    """A standard error of 10 / √50 = 1.4 points: a rate a point below the best is usable, one three below is not."""
    made = {"1e-3": [60, 80] * 25, "1e-2": [59, 79] * 25, "1e-1": [57, 77] * 25}
    records = [solved(tmp_path, tokens=tokens, rate=rate) for rate, tokens in made.items()]
    results = [CellResult(record.spec, (record,), (), ()) for record in records]
    (found,) = ranges(with_noise(results, folder=tmp_path))
    assert found.decades == pytest.approx(1.0) and found.learns and str(found) == "≥ 1.0"
    assert ranges(results) == []  # nothing tells the error without them


def searched(scores: Mapping[str, Sequence[float | None] | None]) -> list[CellResult]:
    """A search of Pearson's correlation at three seeds; None is a run that there is not, or an undefined score."""
    line = [*SIMILAR, "train.selection=best_validation", "seed=0,1,2"]
    found = []
    for rate, at_seeds in scores.items():
        asked = cells([*line, f"train.lr={rate}"], any_data=True)
        records = []
        for cell, score in zip(asked, at_seeds or (), strict=at_seeds is not None):
            chosen = {"by": "best_validation", "epoch": 1} | ({} if score is None else {"score": score})
            records.append(made_record(cell, score=0.5, items=1500).model_copy(update={"selected": chosen}))
        found += cell_results(asked, records)
    return found


def test_a_rate_that_was_not_run_is_no_part_of_a_range() -> None:
    steady = (0.80, 0.80, 0.80)
    (found,) = ranges(searched({"1e-4": (0.1, 0.1, 0.1), "1e-3": steady, "1e-2": None, "1e-1": steady}))
    assert (found.decades, found.open) == (0.0, True)
    assert usable_range({1e-3: 0.8, 1e-2: 0.8, 1e-1: None}, error=0.1) == Usable(1.0, True)


def test_a_rate_that_collapses_at_a_seed_is_known_to_be_unusable() -> None:
    steady = (0.80, 0.80, 0.80)
    lower = {"1e-4": (0.1, 0.1, 0.1), "1e-3": steady}
    (found,) = ranges(searched({**lower, "1e-2": (0.81, None, 0.81), "1e-1": steady}))
    assert (found.decades, found.open) == (0.0, False)
    (told,) = search_notes(searched({**lower, "1e-2": (None, None, None)}))
    assert told.endswith(", 0.0.")


def test_of_trials_at_one_rate_the_best_counts() -> None:
    assert usable_range({1e-3: 0.8, 1e-2: -math.inf}, error=0.01).decades == 0.0
    grid = ["train.lr=1e-3,1e-2,1e-1", "train.lr_bias=1e-4,1e-3", "seed=0"]
    asked = cells(["method=vectorfit", "score_on=validation", "protocol=ours", *grid], any_data=True)
    score = {(1e-3, 1e-4): 0.2, (1e-2, 1e-4): 0.9, (1e-1, 1e-4): 0.2}
    made = [made_record(one, score=score.get((one.spec.train.lr, one.spec.train.lr_bias or 0), 0.1)) for one in asked]
    (found,) = ranges(cell_results(asked, made))
    assert (found.decades, found.open) == (0.0, False)


def test_a_rate_that_collapses_at_a_seed_is_not_chosen_by_the_mean_of_the_others() -> None:
    found = searched({"1e-3": (0.70, 0.71, 0.70), "1e-2": (0.90, None, None)})
    (choice,) = choices(found)
    assert choice.best.spec.train.lr == 1e-3 and choice.score == pytest.approx(0.7033, abs=1e-4)
    with pytest.raises(ValueError, match=r"LoRA on glue/stsb: no trial has a score .* at every seed"):
        choices(searched({"1e-3": (None, 0.7, 0.7), "1e-2": (0.90, None, None)}))
