"""Real rows of the folder that SVFT_BENCH_DATA names: every set there loads, and every gold answer scores itself."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from svft_bench.config.spec import LimitSpec
from svft_bench.tasks import load_task, score
from svft_bench.tasks.answers import MARKER
from tests.tasks.layout import task_spec

pytestmark = pytest.mark.data

SIZES = {  # task: (train, validation, evals)
    "glue/cola": (8551, 0, [1043]),
    "glue/mrpc": (3668, 0, [408]),
    "glue/rte": (2490, 0, [277]),
    "glue/sst2": (20000, 0, [872]),
    "glue/stsb": (5749, 0, [1500]),
    "glue/wnli": (635, 0, [71]),
    "gsm8k": (2984, 0, [1319]),
    "math": (2984, 0, [500]),
    "commonsense": (2880, 120, [3270, 1838, 1954, 2009, 1267, 2376, 1172, 500]),
    "cifar10": (100, 20, [600]),
    "food101_10class": (100, 20, [100]),
    "oxford_flowers_12class": (120, 24, [120]),
}
LABELS = {
    "glue/rte": ["RTE", "RTE"],
    "glue/sst2": ["glue/sst2/train_sample.jsonl (20,000 rows)", "SST-2"],
    "gsm8k": ["metamathqa/train_seed_sample.jsonl (2,984 rows)", "GSM8K"],
    "math": ["metamathqa/train_seed_sample.jsonl (2,984 rows)", "math/test_sample.jsonl (500 rows)"],
    "cifar10": [
        "images/cifar10/train-00000-of-00001.parquet (120 of 2,000)",
        "images/cifar10/test-00000-of-00001.parquet (600 rows)",
    ],
    "food101_10class": ["Food-101 10-class cut (120 of 300)", "Food-101 10-class cut"],
}


@pytest.mark.parametrize("name", SIZES)
def test_real_sets_load_whole(data_root: Path, name: str) -> None:
    task = load_task(task_spec(name), data_root=data_root, limit=LimitSpec(), seed=0)
    assert (len(task.train), len(task.validation), [len(rows) for rows in task.evals.values()]) == SIZES[name]
    assert task.skipped == {}
    assert all(file.sha256 and file.used == file.rows for file in task.files[1:])
    if name in LABELS:
        assert [file.label for file in task.files] == LABELS[name]


@pytest.mark.parametrize("name", ["gsm8k", "math", "commonsense"])
def test_the_gold_answer_of_every_real_row_is_right_by_both_rules(data_root: Path, name: str) -> None:
    spec = task_spec(name)
    task = load_task(spec, data_root=data_root, limit=LimitSpec(eval=300), seed=0)
    for item in spec.evals:
        gold = "the correct answer is " if name == "commonsense" else MARKER
        rows = [{**row, "prediction": f"{gold}{row['reference']}"} for row in task.evals[item.name]]
        assert score(item, rows) == {"accuracy": 1.0, "accuracy_strict": 1.0}


def test_whole_gold_solutions_are_right_by_the_stricter_rules(data_root: Path) -> None:
    for name, column in (("gsm8k", "answer"), ("math", "solution")):
        spec = task_spec(name)
        task = load_task(spec, data_root=data_root, limit=LimitSpec(eval=200), seed=0)
        whole = dict(enumerate(_solutions(data_root, name, column)))
        rows = [{**row, "prediction": whole[int(row["id"])]} for row in task.evals[name]]
        assert score(spec.evals[0], rows) == {"accuracy": 0.0, "accuracy_strict": 1.0}


def _solutions(root: Path, name: str, column: str) -> list[str]:
    from svft_bench.tasks.files import local_files, read_file

    (path,) = local_files(task_spec(name).evals[0].data, data_root=root)
    return [row[column] for row in read_file(path)]


def test_the_wrong_answer_of_another_row_is_mostly_wrong(data_root: Path) -> None:
    spec = task_spec("gsm8k")
    rows = load_task(spec, data_root=data_root, limit=LimitSpec(), seed=0).evals["gsm8k"]
    shifted = [{**row, "prediction": f"{MARKER}{other['reference']}"} for row, other in itertools.pairwise(rows)]
    assert all(value < 0.05 for value in score(spec.evals[0], shifted).values())
