"""Rows, images, labels and settings that do not fit: counted skips where a row can be missed, one sentence else."""

from __future__ import annotations

from pathlib import Path

import pytest

from svft_bench.config.spec import LimitSpec
from svft_bench.tasks import load_task, score
from tests.tasks.data import write_images
from tests.tasks.layout import task_spec, write_layout
from tests.tasks.loading import ALL, ids, load, toy_math
from tests.toy import write_rows

PAIR: dict[str, object] = {"sentence1": "a", "sentence2": "b", "label": 1}


def test_rows_without_a_gold_answer_are_scored_as_wrong_counted_and_named(tmp_path: Path) -> None:
    toy_math(tmp_path, questions=4)
    rows = [
        {"question": "1?", "answer": answer} for answer in ("#### 1", "", None, "no mark", "#### ", "#### x", "#### 2")
    ]
    write_rows(tmp_path / "gsm8k" / "main" / "test.jsonl", [*rows, {"question": " ", "answer": "#### 3"}])
    task = load("gsm8k", tmp_path)
    assert len(task.evals["gsm8k"]) == task.files[1].used == task.files[1].rows == 8
    assert task.skipped == {
        "gsm8k/main/test.jsonl: no gold answer that can be read, scored as wrong (row 1, 2, 3, 4, 5)": 5
    }
    rows = [{**example, "prediction": f"The answer is: {example['reference']}"} for example in task.evals["gsm8k"]]
    assert score(task_spec("gsm8k").evals[0], rows) == {"accuracy": 3 / 8, "accuracy_strict": 1.0}


def test_training_rows_without_an_answer_are_left_out_and_counted(tmp_path: Path) -> None:
    toy_math(tmp_path, questions=4)
    good = {"query": "1?", "original_question": "1?", "response": "So 1.\nThe answer is: 1", "type": "t"}
    bad = [good | change for change in ({"response": ""}, {"response": None}, {"query": " "})]
    write_rows(tmp_path / "metamathqa" / "train.jsonl", [*bad, good])
    task = load("gsm8k", tmp_path)
    assert ids(task.train) == ["3"]
    assert task.skipped == {"metamathqa/train.jsonl: no question or no answer": 3}


@pytest.mark.parametrize("text", [None, 3, ["a"]])
@pytest.mark.parametrize("column", ["sentence1", "sentence2"])
def test_a_text_that_is_none_is_refused(tmp_path: Path, column: str, text: object) -> None:
    for split in ("train", "validation"):
        write_rows(tmp_path / f"glue/rte/{split}.jsonl", [PAIR, PAIR | {column: text}])
    with pytest.raises(ValueError, match=r"glue/rte/train\.jsonl row 1 holds something else where a text is expected"):
        load("glue/rte", tmp_path)


def test_an_answer_that_is_no_text_is_refused(tmp_path: Path) -> None:
    toy_math(tmp_path, questions=4)
    write_rows(tmp_path / "gsm8k" / "main" / "test.jsonl", [{"question": "1?", "answer": 1}])
    with pytest.raises(
        ValueError, match=r"test\.jsonl row 0 holds something else where a text is expected: .*'answer': 1"
    ):
        load("gsm8k", tmp_path)


def test_no_row_with_an_answer_is_refused(tmp_path: Path) -> None:
    toy_math(tmp_path, questions=4)
    write_rows(tmp_path / "gsm8k" / "main" / "test.jsonl", [{"question": "1?", "answer": ""}])
    with pytest.raises(ValueError, match=r"gsm8k/main/test\.jsonl: none of its 1 row can be used"):
        load("gsm8k", tmp_path)


def test_images_that_do_not_decode_are_left_out_and_counted(tmp_path: Path) -> None:
    spec = task_spec("cifar10")
    labels = [label for _ in range(13) for label in range(10)]
    for split in ("train", "test"):
        write_images(tmp_path / f"images/cifar10/{split}.parquet", labels, columns=("img", "label"), broken=[7, 8])
    task = load_task(spec, data_root=tmp_path, limit=ALL, seed=0)
    assert len(task.train) == 100 and len(task.validation) == 20
    assert ids(task.evals["cifar10"]) == [str(index) for index in range(130) if index not in (7, 8)]
    assert task.skipped["images/cifar10/test.parquet: image does not decode"] == 2
    assert all(example["image"] is not None for part in (task.train, task.validation) for example in part)


def test_a_set_of_which_no_image_decodes_is_refused(tmp_path: Path) -> None:
    spec = task_spec("cifar10")
    write_layout(tmp_path, spec)
    for old in (tmp_path / "images/cifar10").glob("test*"):
        old.unlink()
    write_images(tmp_path / "images/cifar10/test.parquet", range(10), columns=("img", "label"), broken=range(10))
    with pytest.raises(ValueError, match=r"test\.parquet: none of its 10 rows can be used; .*does not decode': 10"):
        load_task(spec, data_root=tmp_path, limit=ALL, seed=0)


def test_a_draw_that_leaves_nothing_to_score_is_refused(tmp_path: Path) -> None:
    spec = task_spec("digits", "task.few_shot.train_per_class=170", "task.few_shot.validation_per_class=4")
    rest = load_task(spec, data_root=None, limit=ALL, seed=0).evals["digits"]
    assert len(rest) == 1797 - 10 * 174
    with pytest.raises(ValueError, match="class 8 has 174 usable rows, the draw needs 175"):
        load("digits", None, "task.few_shot.train_per_class=171", "task.few_shot.validation_per_class=4")


def test_a_limit_counts_images_that_decode(tmp_path: Path) -> None:
    spec = task_spec("cifar10")
    write_layout(tmp_path, spec)
    labels = [label for _ in range(2) for label in range(10)]
    for old in (tmp_path / "images/cifar10").glob("test*"):
        old.unlink()
    file = tmp_path / "images/cifar10/test.parquet"
    write_images(file, labels, columns=("img", "label"), broken=range(10))
    assert len(load_task(spec, data_root=tmp_path, limit=LimitSpec(eval=10), seed=0).evals["cifar10"]) == 10


def test_a_class_with_too_few_images_is_refused(tmp_path: Path) -> None:
    spec = task_spec("cifar10")
    write_layout(tmp_path, spec, per_class=11)
    with pytest.raises(ValueError, match="class 0 has 11 usable rows, the draw needs 12"):
        load_task(spec, data_root=tmp_path, limit=ALL, seed=0)


@pytest.mark.parametrize("label", [-1, 2, 1.0, None, "entailment"])
def test_a_label_out_of_range_is_refused(tmp_path: Path, label: object) -> None:
    for split in ("train", "validation"):
        write_rows(tmp_path / f"glue/rte/{split}.jsonl", [{"sentence1": "a", "sentence2": "b", "label": label}])
    with pytest.raises(
        ValueError, match=r"glue/rte/train\.jsonl row 0 has label .* expected a whole number from 0 to 1"
    ):
        load("glue/rte", tmp_path)


def test_a_regression_label_that_is_no_number_is_refused(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        write_rows(tmp_path / f"glue/stsb/{split}.jsonl", [{"sentence1": "a", "sentence2": "b", "label": float("nan")}])
    with pytest.raises(ValueError, match="label nan, expected a number"):
        load("glue/stsb", tmp_path)


@pytest.mark.parametrize("name", ["glue/rte", "cifar10"])
def test_a_missing_column_is_named(tmp_path: Path, name: str) -> None:
    for split in ("train", "validation", "test"):
        write_rows(tmp_path / "glue/rte" / f"{split}.jsonl", [{"sentence1": "a", "label": 0}])
        write_images(tmp_path / "images/cifar10" / f"{split}.parquet", range(10), columns=("image", "label"))
    column = "sentence2" if name == "glue/rte" else "img"
    with pytest.raises(ValueError, match=f"row 0 has no column '{column}'; its columns are"):
        load(name, tmp_path)


FEW = "+task.few_shot={train_per_class: 2, validation_per_class: 1}"
WITHOUT_CLASSES = ("glue/stsb", "squad", "gsm8k", "xsum", "dreambooth")


def test_a_few_texts_of_each_class_are_drawn(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        rows = [{"sentence": f"{split} {n}", "label": n % 2} for n in range(20)]
        write_rows(tmp_path / f"glue/sst2/{split}.jsonl", rows)
    data = load_task(task_spec("glue/sst2", FEW), data_root=tmp_path, limit=ALL, seed=0)
    assert sorted(row["label"] for row in data.train) == [0, 0, 1, 1]
    assert sorted(row["label"] for row in data.validation) == [0, 1]


@pytest.mark.parametrize(
    ("name", "override", "sentence"),
    [
        ("glue/rte", "task.max_length=null", "needs max_length"),
        ("gsm8k", "task.prompt=null", "needs prompt"),
        ("cifar10", "task.labels=null", "needs labels"),
        ("cifar10", "task.validation_rows=5", "with few_shot, use few_shot.validation_per_class"),
        *((name, FEW, "few_shot draws rows of each class, and task .* has none") for name in WITHOUT_CLASSES),
        ("gsm8k", "task.evals.gsm8k.generation=null", "answer and generation belong together"),
        ("gsm8k", "task.reader=csv", "'image_label', 'img_label'"),
        ("gsm8k", "task.evals.gsm8k.metrics=[meteor]", "'accuracy', 'accuracy_strict'"),
        ("gsm8k", "task.prompt.loss_on=question", "'answer' or 'sequence'"),
    ],
)
def test_a_task_whose_parts_do_not_fit_is_refused(name: str, override: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        task_spec(name, override)


@pytest.mark.parametrize("label", [float("inf"), float("-inf")])
def test_a_regression_label_beyond_numbers_is_refused(tmp_path: Path, label: float) -> None:
    for split in ("train", "validation"):
        write_rows(tmp_path / f"glue/stsb/{split}.jsonl", [{"sentence1": "a", "sentence2": "b", "label": label}])
    with pytest.raises(ValueError, match=f"label {label}, expected a number"):
        load("glue/stsb", tmp_path)
