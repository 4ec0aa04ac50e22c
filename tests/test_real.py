"""Real models on real rows: each kind of task trains, predicts and is scored as a user's command would."""

from __future__ import annotations

from pathlib import Path

import pytest

from svft_bench.cli import command
from svft_bench.compose import cells, model_spec
from svft_bench.config.spec import LimitSpec
from svft_bench.models.loading import load_model
from svft_bench.records import RunRecord, load_predictions, load_records
from svft_bench.running.predicting.evaluation import predict
from svft_bench.tasks import load_task

pytestmark = [pytest.mark.carrier, pytest.mark.slow]

LEFT_OUT = ("piqa", "siqa", "hellaswag", "arc_e", "arc_c", "obqa")  # of eight that decode alike


def run(folder: Path, *overrides: str) -> RunRecord:
    folders = [f"results_dir={folder}/results", f"output_dir={folder}/outputs"]
    assert command([*overrides, "protocol=ours", *folders, "device=cpu"]) == 0
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
@pytest.mark.parametrize("method", ["svft_plain", "lora"])
@pytest.mark.parametrize("task", ["oxford_flowers_12class", "food101_10class"])
def test_a_vision_transformer_trains_on_photographs(tmp_path: Path, data_root: Path, task: str, method: str) -> None:
    rate = {"svft_plain": 1e-2, "lora": 1e-3}[method]
    few = ["limit.train=24", "limit.eval=12", "train.batch_size=12", "train.epochs=1"]
    record = run(tmp_path, f"task={task}", f"method={method}", f"train.lr={rate}", f"data_root={data_root}", *few)
    assert record.costs.steps == 2
    assert record.data[-1].used == 12 and record.data[-1].sha256 is not None


@pytest.mark.data
@pytest.mark.parametrize("method", ["svft_plain", "dora"])
@pytest.mark.parametrize(("task", "rows"), [("rte", 2_490), ("stsb", 5_749)])
def test_an_encoder_trains_on_glue(tmp_path: Path, data_root: Path, task: str, rows: int, method: str) -> None:
    record = run(
        tmp_path,
        "model=minilm-l6",
        f"task=glue/{task}",
        f"method={method}",
        f"data_root={data_root}",
        "train.epochs=1",
        "limit.train=64",
        "limit.eval=32",
    )
    assert record.data[0].rows == rows
    assert {use.sha256 is not None for use in record.data} == {True}
    assert all(-1 <= value <= 1 for value in record.scores[task].values())


LANGUAGE = {  # task: overrides that keep its texts short
    "gsm8k": ["task.evals.gsm8k.generation.max_new_tokens=12", "limit.eval=2"],
    "math": ["task.evals.math.generation.max_new_tokens=8", "limit.eval=2"],
    "commonsense": [*(f"~task.evals.{name}" for name in LEFT_OUT), "limit.eval=1"],
}


@pytest.mark.data
@pytest.mark.parametrize("method", ["svft_banded", "lora"])
@pytest.mark.parametrize("task", LANGUAGE)
def test_a_language_model_trains_and_answers(tmp_path: Path, data_root: Path, task: str, method: str) -> None:
    record = run(
        tmp_path,
        "model=smollm2-135m",
        f"task={task}",
        f"method={method}",
        f"data_root={data_root}",
        "train.max_steps=1",
        "train.batch_size=2",
        "train.gradient_accumulation=1",
        "train.precision=float32",
        "limit.train=8",
        "eval_batch_size=4",
        *LANGUAGE[task],
    )
    if method == "svft_banded":
        assert record.sizes.trainable_without_head == 30 * (5 * (576 * 5 - 6) + 2 * (192 * 5 - 6))
    (path,) = (tmp_path / "results").rglob(f"{record.run_id}.json")
    assert all(row["prediction"].strip() for row in load_predictions(path))
    training, *tested = (use.label for use in record.data)
    assert "_sample" in training  # a part of the set, and not called by its name
    assert len(tested) == len(record.scores) and (task != "gsm8k" or tested == ["GSM8K (2 of 1,319)"])


@pytest.mark.data
def test_the_batch_size_changes_no_real_prediction(data_root: Path) -> None:
    tasks = {"commonsense": "siqa", "commonsense_likelihood": "siqa_likelihood"}
    model, processor = load_model(model_spec("smollm2-135m"), kind="causal_lm", num_labels=0, seed=0)
    for task, name in tasks.items():
        short = [] if "likelihood" in task else [f"task.evals.{name}.generation.max_new_tokens=6"]
        (cell,) = cells([f"task={task}", "model=smollm2-135m", "train.lr=1", *short], any_data=True)
        spec = cell.spec.task
        item = next(item for item in spec.evals if item.name == name)
        only = spec.model_copy(update={"evals": (item,)})
        examples = load_task(only, data_root=data_root, limit=LimitSpec(train=1, eval=3), seed=0).evals[name]
        one, other = (
            predict(
                model,
                examples,
                task=spec,
                evaluation=item,
                processor=processor,
                batch_size=batch_size,
                merged=False,
                progress=lambda count: None,
            )
            for batch_size in (1, 3)
        )
        assert [row["prediction"] for row in one] == [row["prediction"] for row in other]
