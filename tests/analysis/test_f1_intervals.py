"""The interval of one run's F1 covers it, also where positives are few, or none of them was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from svft_bench.analysis.stats import around, influence, noise_of_gap, spreads
from svft_bench.analysis.stats.correlations import f1
from svft_bench.analysis.tables.predictions import with_noise
from svft_bench.analysis.tables.results import CellResult
from svft_bench.compose import cells
from svft_bench.records import save_record
from svft_bench.tasks import metrics
from tests.made_records import made_record

RUNS = 400


def drawn(items: int, *, base: float, found: float, extra: float) -> list[tuple[list[int], list[int]]]:
    """Predictions and references of classes of which so many are 1, found, and said to be without being it."""
    rng, runs = np.random.default_rng(1), []
    for _ in range(RUNS):
        gold = rng.random(items) < base
        said = np.where(gold, rng.random(items) < found, rng.random(items) < extra)
        runs.append((said.astype(int).tolist(), gold.astype(int).tolist()))
    return runs


@pytest.mark.parametrize("items", [20, 50, 250])
@pytest.mark.parametrize(
    ("base", "found", "extra"),
    [(0.5, 0.8, 0.2), (0.1, 0.6, 0.05), (0.1, 0.1, 0.1), (0.68, 0.95, 0.5), (0.5, 0.99, 0.01)],
)
def test_it_is_covered(items: int, base: float, found: float, extra: float) -> None:
    truth = 2 * base * found / (base * found + (1 - base) * extra + base)
    intervals = [f1(*run) for run in drawn(items, base=base, found=found, extra=extra)]
    assert np.mean([low <= truth <= high for low, high in intervals]) >= 0.92


def test_by_influence_values_few_positives_were_not() -> None:
    covered = []
    for run in drawn(50, base=0.1, found=0.1, extra=0.1):
        values = influence.f1(*run)
        noise = noise_of_gap([values[None]], spreads([[0.0]])[0])
        low, high = around(float(values.mean()), noise)
        covered.append(low <= 0.1 <= high)
    assert np.mean(covered) < 0.5


def test_it_holds_the_score_and_stays_in_its_range() -> None:
    for said, gold in drawn(20, base=0.3, found=0.5, extra=0.2):
        low, high = f1(said, gold)
        assert 0 <= low <= metrics.f1(said, gold) <= high <= 1
    assert f1([0, 0], [0, 0]) == (0, 1)


def test_a_table_has_it_at_one_seed(tmp_path: Path) -> None:
    tokens = ["model=minilm-l6", "task=glue/mrpc", "protocol=ours", "method=lora", "seed=0"]
    (cell,) = cells([*tokens, "task.evals.mrpc.metrics=[f1]"], any_data=True)
    said, gold = [0] * 30, [1] * 3 + [0] * 27
    rows = [
        {"eval": "mrpc", "id": i, "prediction": p, "reference": r}
        for i, (p, r) in enumerate(zip(said, gold, strict=True))
    ]
    record = made_record(cell, score=0.0, items=30)
    save_record(record, results=tmp_path, predictions=rows)
    (result,) = with_noise([CellResult(record.spec, (record,), (), ())], folder=tmp_path)
    score = result.score("mrpc")
    assert score is not None and score.interval == f1(said, gold)
    assert score.interval.high > 0.5  # none of three is no proof of none
