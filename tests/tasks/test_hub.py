"""The hub's own loader on a folder of the hub's layout: the same examples as the local reader finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from svft_bench.spec import LimitSpec, SourceSpec
from svft_bench.tasks import load_task
from svft_bench.tasks.hub import load_split, resolved_revision
from svft_bench.tasks.sources import read_rows
from tests.tasks.data import png
from tests.tasks.layout import task_spec
from tests.toy import write_rows


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a test stays in the user's cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write_hub_images(folder: Path, *, split: str) -> None:
    """A parquet file with the hub's Image and ClassLabel features, 12 pictures of each of ten classes."""
    names = [f"class {label}" for label in range(10)]
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    labels = [label for _ in range(12) for label in range(10)]
    images = [{"bytes": png(index), "path": None} for index in range(len(labels))]
    folder.mkdir(parents=True, exist_ok=True)
    table = datasets.Dataset.from_dict({"img": images, "label": labels}, features=features)
    table.to_parquet(str(folder / f"{split}-00000-of-00001.parquet"))


def test_images_of_the_hub_stay_encoded_until_they_are_taken(tmp_path: Path) -> None:
    write_hub_images(tmp_path / "set", split="train")
    rows, _ = load_split(SourceSpec(title="t", hub=str(tmp_path / "set"), split="train"))
    assert rows[0]["img"]["bytes"] == png(0)


def test_the_hub_and_a_local_folder_give_the_same_task(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_hub_images(tmp_path / "images" / "cifar10", split=split)
    folder = str(tmp_path / "images" / "cifar10")
    spec = task_spec("cifar10", f"task.train.hub={folder}", f"task.evals.cifar10.data.hub={folder}")
    tasks = [load_task(spec, data_root=root, limit=LimitSpec(), seed=0) for root in (None, tmp_path)]
    hub, local = ([flat(part) for part in (task.train, task.validation, task.evals["cifar10"])] for task in tasks)
    assert hub == local
    assert tasks[0].files[0].origin == f"{folder}@{spec.train.revision}"


def flat(examples: Any) -> list[tuple[str, int, bytes]]:
    return [(one["id"], one["label"], one["image"].tobytes()) for one in examples]


def test_configs_joined_by_plus_are_read_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(path: str, config: str, *, split: str, revision: str | None) -> datasets.Dataset:
        asked.append((path, config, split, revision))
        return datasets.Dataset.from_dict({"problem": [config]})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = SourceSpec(title="MATH", hub="org/math", config="algebra+geometry", split="test", revision="abc")
    rows, file = read_rows(source, data_root=None)
    assert [row["problem"] for row in rows] == ["algebra", "geometry"]
    assert asked == [("org/math", "algebra", "test", "abc"), ("org/math", "geometry", "test", "abc")]
    assert file.origin == "org/math@abc"


def test_the_revision_is_the_commit_in_the_addresses_that_were_fetched() -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    checksums = {f"hf://datasets/org/set@{commit}/data/train-00000-of-00001.parquet": {"num_bytes": 1}}
    assert resolved_revision(checksums) == commit
    assert resolved_revision(None) == "main"


def test_json_lines_load_as_the_hub_would_load_them(tmp_path: Path) -> None:
    rows = [{"question": "1+1?", "answer": "#### 2"}, {"question": "2+2?", "answer": "#### 4"}]
    write_rows(tmp_path / "gsm8k" / "test.jsonl", rows)
    source = SourceSpec(title="GSM8K", hub=str(tmp_path / "gsm8k"), split="test", local="gsm8k")
    hub, _ = read_rows(source, data_root=None)
    local, _ = read_rows(source, data_root=tmp_path)
    assert list(hub) == list(local) == rows
