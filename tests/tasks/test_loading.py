"""What a task trains on and is scored on: draws, limits, held-out rows, skips and refusals."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from svft_bench.config.spec import LimitSpec
from svft_bench.tasks import data_fingerprint, load_task
from svft_bench.tasks.readers import TEXT_READERS
from tests.tasks.layout import task_spec, write_layout
from tests.tasks.loading import ALL, ids, load, toy_math
from tests.toy import write_rows

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


def test_digits_are_those_of_scikit_learn_in_256_greys() -> None:
    read, theirs = load("digits"), load_digits()
    rows = {row["id"]: row for row in [*read.train, *read.validation, *read.evals["digits"]]}
    assert len(rows) == len(theirs.target)
    for row in rows.values():
        at = int(str(row["id"]))
        assert row["label"] == theirs.target[at]
        assert np.array_equal(np.asarray(row["image"].convert("L")), np.round(theirs.images[at] * (255 / 16)))


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


def test_training_examples_have_targets_and_eval_examples_references(tmp_path: Path) -> None:
    toy_math(tmp_path)
    task = load("gsm8k", tmp_path)
    assert task.train[3]["target"] == "#### 3\nThe answer is: 3"
    assert task.train[3]["prompt"].endswith("### Instruction:\n3?\n\n### Response:")
    assert task.evals["gsm8k"][3]["reference"] == "1003"
    assert task.evals["gsm8k"][3]["prompt"].endswith("### Response: Let's think step by step.")


def test_a_solution_is_read_whole_and_without_the_marks_of_a_calculator() -> None:
    row = {"question": "?", "answer": "She has 2*3=<<2*3=6>>6.\n#### 6"}
    assert TEXT_READERS["gsm8k_solution"](row)["reference"] == "She has 2*3=6.\n#### 6"
    row = {"query": "?", "response": "So 6.\nThe answer is: 6"}
    assert TEXT_READERS["metamath_solution"](row)["reference"] == row["response"]
    row = {"problem": "?", "solution": "So $\\boxed{6}$."}
    assert TEXT_READERS["math_solution"](row)["reference"] == row["solution"]


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


def test_the_fingerprint_tells_builtin_hub_and_local_data(tmp_path: Path) -> None:
    toy_math(tmp_path)
    assert data_fingerprint(task_spec("digits"), data_root=tmp_path) == "builtin"
    assert data_fingerprint(task_spec("gsm8k"), data_root=None) == "hub+hub"
    trained, scored = data_fingerprint(task_spec("gsm8k"), data_root=tmp_path).split("+")
    assert len(trained) == len(scored) == 12 and trained != scored
    with pytest.raises(ValueError, match="no file for split 'test' of MATH"):
        data_fingerprint(task_spec("math"), data_root=tmp_path)


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


def test_commonsense_rows_set_aside_come_from_every_set_with_their_own_options(tmp_path: Path) -> None:
    formats = ["true/false", "solution1/solution2", "ending1/ending2/ending3/ending4"]
    rows = [
        {"instruction": f"?\n\nAnswer format: {named}", "input": "", "output": "x", "answer": named.split("/")[0]}
        for named in formats * 4
    ]
    write_rows(tmp_path / "commonsense/train.jsonl", rows)
    spec = task_spec("commonsense_likelihood", "task.validation_rows=9", "score_on=validation")
    task = load_task(spec, data_root=tmp_path, limit=ALL, seed=0, score_on="validation")
    assert ids(task.validation) == ids(task.evals["commonsense_likelihood"])
    assert {"/".join(row["options"]) for row in task.validation} == set(formats)
    assert all(row["reference"] == row["options"][0] for row in task.validation)
