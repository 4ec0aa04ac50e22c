"""Runs that draw the rows they score, as a few-shot set and validation rows are drawn: seeds share but some of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from svft_bench.analysis import stats
from svft_bench.analysis.stats.resampling import resampled
from svft_bench.analysis.tables.predictions import with_noise
from svft_bench.analysis.tables.results import cell_results
from svft_bench.compose import cells
from svft_bench.records import RunRecord, save_record
from svft_bench.tasks import score
from tests.made_records import made_record

POOL = 400


def drawn(rng: np.random.Generator, *, seeds: int, left_out: int, sigma: float = 0.02) -> list[dict[int, float]]:
    """Right answers by item, in the order of the pool without the rows that each seed left out."""
    easy = rng.beta(0.6, 0.4, size=POOL)
    runs = []
    for _ in range(seeds):
        chance = np.clip(easy + sigma * rng.normal(), 0, 1)
        right = (rng.random(POOL) < chance).astype(float).tolist()
        kept = sorted(rng.choice(POOL, POOL - left_out, replace=False).tolist())
        runs.append({item: right[item] for item in kept})
    return runs


def spread(runs: Sequence[dict[int, float]]) -> stats.Spread:
    means = [fmean(run.values()) for run in runs]
    return stats.Spread(float(np.var(means, ddof=1)), len(runs) - 1, len(runs) - 1)


def test_runs_on_the_same_items_have_the_noise_of_their_table() -> None:
    runs = drawn(np.random.default_rng(1), seeds=3, left_out=0)
    table = np.array([list(run.values()) for run in runs])
    assert stats.noise_of_runs([runs], spread(runs)) == stats.noise_of_gap([table], spread(runs))
    other = [dict(reversed(run.items())) if index else run for index, run in enumerate(runs)]  # in another order
    assert stats.noise_of_runs([other], spread(runs)) == stats.noise_of_gap([table], spread(runs))


def test_the_noise_of_items_is_found_where_each_seed_leaves_out_others() -> None:
    whole, cut, by_place = [], [], []
    rng = np.random.default_rng(2)
    for _ in range(20):
        runs = drawn(rng, seeds=5, left_out=40)
        same = drawn(rng, seeds=5, left_out=0)
        whole.append(stats.noise_of_runs([same], spread(same)).items * POOL)
        cut.append(stats.noise_of_runs([runs], spread(runs)).items * (POOL - 40))
        table = np.array([list(run.values()) for run in runs])
        by_place.append(stats.noise_of_gap([table], spread(runs)).items * (POOL - 40))
    assert fmean(cut) == pytest.approx(0.9 * fmean(whole), rel=0.1)  # two seeds share nine of ten
    assert fmean(by_place) < 0.2 * fmean(whole)  # what pairing rows by their place finds of it


def test_an_interval_covers_where_rows_are_drawn() -> None:
    rng = np.random.default_rng(3)
    truth, inside, by_place = 0.6, [], []
    for _ in range(300):
        runs = drawn(rng, seeds=5, left_out=40, sigma=0.0)
        mean = fmean(fmean(run.values()) for run in runs)
        table = np.array([list(run.values()) for run in runs])
        for found, noise in (
            (inside, stats.noise_of_runs([runs], spread(runs))),
            (by_place, stats.noise_of_gap([table], spread(runs))),
        ):
            low, high = stats.around(mean, noise)
            found.append(low <= truth <= high)
    assert fmean(inside) > 0.93 and fmean(by_place) < 0.9


def test_rows_of_which_no_two_seeds_have_one_are_noise_of_the_seeds() -> None:
    runs = [{(seed, item): float(item % 4 > 0) for item in range(100)} for seed in range(3)]
    noise = stats.noise_of_runs([runs], stats.Spread(0.0, 2.0, 2.0))
    assert noise.items == 0 and noise.seeds == pytest.approx(0.25 * 0.75 / 100 / 3)


def test_texts_of_other_rows_at_each_seed_are_resampled_apart() -> None:
    gold = ["a b", "c d", "e f", "g h"] * 10
    one, other = (["a b"] * 40, gold), (["c d"] * 36, gold[:36])
    low, high = resampled("rouge1", [one, other], paired=False)
    assert low < fmean([0.25, 0.25]) < high
    apart = resampled("rouge1", [one], paired=False)
    assert high - low < apart.high - apart.low


def answered(folder: Path, *, seed: int, unanswerable: int) -> RunRecord:
    """A run on validation rows of SQuAD 2.0, of which so many of 40 have no answer."""
    line = ["model=deberta-v3-base", "method=lora", "task=squad_v2", "score_on=validation", f"seed={seed}"]
    (cell,) = cells(line, any_data=True)
    (item,) = cell.spec.task.evals
    rows = [
        {
            "eval": item.name,
            "id": f"{seed}-{index}",
            "reference": [] if index < unanswerable else ["the cat"],
            "span": "cat" if index % 3 else "black dog",
            "gap": -2.0,
            "prediction": "cat" if index % 3 else "black dog",
        }
        for index in range(40)
    ]
    record = made_record(cell, score=0.0, items=40)
    record = record.model_copy(update={"scores": {item.name: score(item, rows)}})
    save_record(record, results=folder, predictions=rows)
    return record


def test_seeds_whose_validation_rows_have_other_numbers_of_answers_have_a_table(tmp_path: Path) -> None:
    records = [answered(tmp_path, seed=seed, unanswerable=10 + seed) for seed in range(3)]
    asked = cells(
        ["model=deberta-v3-base", "method=lora", "task=squad_v2", "score_on=validation", "seed=0,1,2"], any_data=True
    )
    (result,) = with_noise(cell_results(asked, records), folder=tmp_path)
    (found,) = result.scores
    assert found.seeds == 3 and found.interval is not None and found.interval.low < found.mean < found.interval.high
    low, high = next(iter(result.resampled.values()))["has_answer_exact_match"]
    assert low < 1 and high > 0
