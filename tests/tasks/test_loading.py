"""What a task trains on and is scored on: draws, limits, held-out rows, skips and refusals."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from svft_bench.spec import LimitSpec
from svft_bench.tasks import Task, data_fingerprint, load_task
from tests.tasks.data import write_images
from tests.tasks.layout import task_spec, write_layout
from tests.toy import write_rows

ALL = LimitSpec()


def load(name: str, root: Path | None = None, *overrides: str, limit: LimitSpec = ALL, seed: int = 0) -> Task:
    return load_task(task_spec(name, *overrides), data_root=root, limit=limit, seed=seed)


def ids(examples: Any) -> list[str]:
    return [example["id"] for example in examples]


IMAGE_TASKS = [
    "cifar10",
    "cifar100",
    "flowers102",
    "food101",
    "resisc45",
    "mnist",
    "gtsrb",
    "food101_10class",
    "oxford_flowers_12class",
]
GLUE_ROWS: dict[str, dict[str, Any]] = {
    "mnli": {"premise": "a", "hypothesis": "b", "label": 2},
    "sst2": {"sentence": "a", "label": 1},
    "mrpc": {"sentence1": "a", "sentence2": "b", "label": 1},
    "cola": {"sentence": "a", "label": 0},
    "qnli": {"question": "a", "sentence": "b", "label": 1},
    "qqp": {"question1": "a", "question2": "b", "label": 0},
    "rte": {"sentence1": "a", "sentence2": "b", "label": 1},
    "stsb": {"sentence1": "a", "sentence2": "b", "label": 3.4},
    "wnli": {"sentence1": "a", "sentence2": "b", "label": 0},
}


@pytest.mark.parametrize("name", IMAGE_TASKS)
def test_image_tasks_draw_ten_and_two_a_class(tmp_path: Path, name: str) -> None:
    spec = task_spec(name)
    write_layout(tmp_path, spec)
    task = load_task(spec, data_root=tmp_path, limit=LimitSpec(eval=7), seed=3)
    assert Counter(Counter(example["label"] for example in task.train).values()) == {10: spec.labels}
    assert Counter(Counter(example["label"] for example in task.validation).values()) == {2: spec.labels}
    (examples,) = task.evals.values()
    assert len(examples) == 7
    assert examples[0]["image"].mode == "RGB"
    if spec.validation is None:
        assert not set(ids(task.train)) & set(ids(task.validation))


@pytest.mark.parametrize("name", GLUE_ROWS)
def test_glue_tasks_read_the_hub_s_columns(tmp_path: Path, name: str) -> None:
    spec = task_spec(f"glue/{name}")
    for source in (spec.train, *(item.data for item in spec.evals)):
        write_rows(tmp_path / f"glue/{name}" / f"{source.split}.jsonl", [GLUE_ROWS[name] | {"idx": 0}])
    task = load_task(spec, data_root=tmp_path, limit=ALL, seed=0)
    pair = "b" if len(GLUE_ROWS[name]) == 3 else None
    expected = {"id": "0", "text": "a", "text_pair": pair, "label": GLUE_ROWS[name]["label"]}
    assert list(task.train) == [expected]
    assert [list(rows) for rows in task.evals.values()] == [[expected]] * len(spec.evals)


def test_digits_are_parted_into_100_20_and_1677() -> None:
    task = load("digits")
    (rest,) = task.evals.values()
    parts = [ids(task.train), ids(task.validation), ids(rest)]
    assert [len(part) for part in parts] == [100, 20, 1677]
    assert sorted(int(one) for part in parts for one in part) == list(range(1797))
    assert [file.label for file in task.files] == ["scikit-learn digits (120 of 1,797)", "scikit-learn digits"]


def test_the_draw_follows_the_seed() -> None:
    first, again, other = (ids(load("digits", seed=seed).train) for seed in (1, 1, 2))
    assert first == again != other


def toy_math(root: Path, *, questions: int = 20) -> None:
    asked = [
        {"type": "t", "query": f"{i}?", "original_question": f"{i}?", "response": f"#### {i}\nThe answer is: {i}"}
        for i in range(questions)
    ]
    write_rows(root / "metamathqa" / "train.jsonl", asked)
    tested = [{"question": f"{i}?", "answer": f"so\n#### 1,{i:03}"} for i in range(questions)]
    write_rows(root / "gsm8k" / "main" / "test.jsonl", tested)


def test_training_examples_have_targets_and_eval_examples_references(tmp_path: Path) -> None:
    toy_math(tmp_path)
    task = load("gsm8k", tmp_path)
    assert task.train[3]["target"] == "#### 3\nThe answer is: 3"
    assert task.train[3]["prompt"].endswith("### Instruction:\n3?\n\n### Response:")
    assert task.evals["gsm8k"][3]["reference"] == "1003"
    assert task.evals["gsm8k"][3]["prompt"].endswith("### Response: Let's think step by step.")


def test_limits_take_the_beginning_of_a_shuffle(tmp_path: Path) -> None:
    toy_math(tmp_path)
    five = [load("gsm8k", tmp_path, limit=LimitSpec(train=5, eval=5), seed=seed) for seed in (0, 1)]
    seven = load("gsm8k", tmp_path, limit=LimitSpec(train=7, eval=7))
    assert ids(seven.train)[:5] == ids(five[0].train) != ids(five[1].train)
    assert ids(seven.evals["gsm8k"])[:5] == ids(five[0].evals["gsm8k"]) == ids(five[1].evals["gsm8k"])
    assert [file.used for file in seven.files] == [7, 7]


def test_rows_can_be_held_out_of_a_training_set(tmp_path: Path) -> None:
    toy_math(tmp_path)
    task = load("gsm8k", tmp_path, "task.validation_rows=4")
    assert len(task.validation) == 4 and len(task.train) == 16
    assert not set(ids(task.train)) & set(ids(task.validation))
    assert set(task.validation[0]) == {"id", "prompt", "reference"}
    with pytest.raises(ValueError, match=r"leaves nothing to train on: .* has 20 rows"):
        load("gsm8k", tmp_path, "task.validation_rows=20")


def test_rows_without_an_answer_are_left_out_and_counted(tmp_path: Path) -> None:
    toy_math(tmp_path, questions=4)
    rows = [
        {"question": "1?", "answer": answer} for answer in ("#### 1", "", None, "no mark", "#### ", "#### x", "#### 2")
    ]
    write_rows(tmp_path / "gsm8k" / "main" / "test.jsonl", [*rows, {"question": " ", "answer": "#### 3"}])
    task = load("gsm8k", tmp_path)
    assert ids(task.evals["gsm8k"]) == ["0", "6"]
    assert task.skipped == {"gsm8k/main/test.jsonl: no question or no answer": 6}
    assert task.files[1].used == 2 and task.files[1].rows == 8


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
        write_rows(tmp_path / f"glue/rte/{split}.jsonl", [GLUE_ROWS["rte"], GLUE_ROWS["rte"] | {column: text}])
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
    with pytest.raises(ValueError, match=r"gsm8k/main/test\.jsonl: none of its 1 rows can be used"):
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
    with pytest.raises(ValueError, match="class 8 has 174 usable images, the draw needs 175"):
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
    with pytest.raises(ValueError, match="class 0 has 11 usable images, the draw needs 12"):
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


def test_the_fingerprint_tells_builtin_hub_and_local_data(tmp_path: Path) -> None:
    toy_math(tmp_path)
    assert data_fingerprint(task_spec("digits"), data_root=tmp_path) == "builtin"
    assert data_fingerprint(task_spec("gsm8k"), data_root=None) == "hub+hub"
    trained, scored = data_fingerprint(task_spec("gsm8k"), data_root=tmp_path).split("+")
    assert len(trained) == len(scored) == 12 and trained != scored
    with pytest.raises(ValueError, match="no file for split 'test' of MATH"):
        data_fingerprint(task_spec("math"), data_root=tmp_path)


@pytest.mark.parametrize(
    ("name", "override", "sentence"),
    [
        ("glue/rte", "task.max_length=null", "needs max_length"),
        ("gsm8k", "task.prompt=null", "needs prompt"),
        ("cifar10", "task.labels=null", "needs labels"),
        ("cifar10", "task.validation_rows=5", "with few_shot, use few_shot.validation_per_class"),
        ("gsm8k", "task.evals.gsm8k.generation=null", "answer and generation belong together"),
        ("gsm8k", "task.reader=csv", "'image_label', 'img_label'"),
        ("gsm8k", "task.evals.gsm8k.metrics=[bleu]", "'accuracy', 'accuracy_strict'"),
        ("gsm8k", "task.prompt.loss_on=question", "'answer' or 'sequence'"),
    ],
)
def test_a_task_whose_parts_do_not_fit_is_refused(name: str, override: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        task_spec(name, override)


def test_a_whole_image_set_can_be_trained_on(tmp_path: Path) -> None:
    spec = task_spec("cifar10", "task.few_shot=null", "task.validation_rows=20")
    write_layout(tmp_path, spec)
    task = load_task(spec, data_root=tmp_path, limit=ALL, seed=0)
    assert (len(task.train), len(task.validation), len(task.evals["cifar10"])) == (110, 20, 130)


def test_scoring_on_validation_reads_no_reported_row() -> None:
    spec = task_spec("digits")
    both = [load_task(spec, data_root=None, limit=ALL, seed=1, score_on=on) for on in ("reported", "validation")]
    assert ids(both[1].evals["digits"]) == ids(both[0].validation)
    assert ids(both[1].train) == ids(both[0].train)
    assert not set(ids(both[1].evals["digits"])) & set(ids(both[0].evals["digits"]))
    assert both[1].files[-1].label == "scikit-learn digits: validation rows"


def test_a_split_for_validation_is_what_is_scored(tmp_path: Path) -> None:
    row = GLUE_ROWS["rte"]
    write_rows(tmp_path / "glue/rte/train.jsonl", [row | {"idx": index} for index in range(5)])
    spec = task_spec("glue/rte", "task.validation_rows=2", "train.selection=last")
    task = load_task(
        spec, data_root=tmp_path, limit=ALL, seed=0, score_on="validation"
    )  # there is no file to report on
    assert ids(task.evals["rte"]) == ids(task.validation) and len(task.train) == 3
