"""Real models on real rows: each kind of task trains, predicts and is scored as a user's command would."""

from __future__ import annotations

from pathlib import Path

import pytest

from svft_bench.cli import command
from svft_bench.record import RunRecord, load_predictions, load_records

pytestmark = [pytest.mark.carrier, pytest.mark.slow]


def run(folder: Path, *overrides: str) -> RunRecord:
    assert command([*overrides, f"results_dir={folder}/results", f"output_dir={folder}/outputs", "device=cpu"]) == 0
    (record,) = load_records(folder / "results")
    return record


@pytest.mark.parametrize(("method", "rate"), [("svft_plain", 1e-2), ("lora", 1e-3)])
def test_a_vision_transformer_learns_digits(tmp_path: Path, method: str, rate: float) -> None:
    record = run(tmp_path, f"method={method}", f"train.lr={rate}", "train.epochs=2", "limit.eval=100")
    assert record.sizes.trainable_head == 3_850
    assert record.sizes.trainable_without_head == {"svft_plain": 27_648, "lora": 663_552}[method]
    assert record.scores["digits"]["accuracy"] > 0.2  # chance is 0.1
    assert record.data[-1].label != "scikit-learn digits" and "100 of" in record.data[-1].label


@pytest.mark.data
@pytest.mark.parametrize("method", ["svft_plain", "dora"])
def test_an_encoder_trains_on_rte(tmp_path: Path, data_root: Path, method: str) -> None:
    record = run(
        tmp_path,
        "model=minilm-l6",
        "task=glue/rte",
        f"method={method}",
        f"data_root={data_root}",
        "train.epochs=1",
        "limit.train=64",
        "limit.eval=32",
    )
    assert record.data[0].rows == 2_490
    assert {use.sha256 is not None for use in record.data} == {True}
    assert 0 <= record.scores["rte"]["accuracy"] <= 1


@pytest.mark.data
def test_a_language_model_answers_gsm8k(tmp_path: Path, data_root: Path) -> None:
    record = run(
        tmp_path,
        "model=smollm2-135m",
        "task=gsm8k",
        "method=svft_banded",
        f"data_root={data_root}",
        "train.max_steps=2",
        "train.batch_size=2",
        "train.gradient_accumulation=1",
        "limit.train=8",
        "limit.eval=2",
        "task.evals.gsm8k.generation.max_new_tokens=24",
    )
    assert record.sizes.trainable_without_head == 30 * (5 * (576 * 5 - 6) + 2 * (192 * 5 - 6))
    (path,) = (tmp_path / "results").rglob(f"{record.run_id}.json")
    assert all(row["prediction"].strip() for row in load_predictions(path))
    training, tested = (use.label for use in record.data)
    assert "train_seed_sample" in training  # not MetaMathQA, and not called so
    assert tested == "GSM8K (2 of 1,319)"
