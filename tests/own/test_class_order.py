"""A class of the hub's is the one that its own names say, whatever order a task of one's own gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from svft_bench.config.spec import LimitSpec, TaskSpec
from svft_bench.tasks import load_task
from tests.own.test_data import _write
from tests.tasks.data import png

CLASSES = ["negative", "positive"]


def of_the_hub(names: list[str], *, images: bool = False) -> datasets.Dataset:
    """Two rows of each class by their numbers, and the names that the hub has for these."""
    rows: list[dict[str, Any]] = [{"text": f"{names[i % 2]} {i}", "label": i % 2} for i in range(4)]
    features: dict[str, Any] = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    if images:
        rows = [row | {"image": {"bytes": png(0), "path": None}} for row in rows]
        features["image"] = datasets.Image(decode=False)
    return datasets.Dataset.from_list(rows, features=datasets.Features(features))


def task_of(kind: str, evaluation: dict[str, Any]) -> TaskSpec:
    train = {"title": "t", "hub": "me/mine", "split": "train"}
    columns = (
        {"image": "image", "label": "label"} if kind == "image_classification" else {"text": "text", "label": "label"}
    )
    item = {"data": evaluation, "reader": "columns", "metrics": ["accuracy"]}
    fields = {"name": "t", "title": "t", "source": "t", "version": 1, "kind": kind, "reader": "columns", "labels": 2}
    length = {} if kind == "image_classification" else {"max_length": 8}
    return TaskSpec.model_validate(
        fields | length | {"columns": columns, "classes": CLASSES, "train": train, "evals": {"t": item}}
    )


@pytest.mark.parametrize("names", [["positive", "negative"], CLASSES])
def test_a_number_of_the_hub_is_the_class_of_its_name_there(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svft_bench.tasks.hub.load_split", lambda source: (of_the_hub(names), "c" * 40))
    _write(tmp_path / "x.jsonl", [{"text": f"{name} film", "label": name} for name in CLASSES])
    task = task_of("sequence_classification", {"title": "t", "file": "x.jsonl"})
    found = load_task(task, data_root=tmp_path, limit=LimitSpec(), seed=0)
    for row in (*found.train, *found.evals["t"]):
        assert CLASSES[row["label"]] == row["text"].split()[0]


def test_a_picture_s_class_is_that_of_its_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = of_the_hub(["positive", "negative"], images=True)
    monkeypatch.setattr("svft_bench.tasks.hub.load_split", lambda source: (rows, "c" * 40))
    task = task_of("image_classification", {"title": "t", "hub": "me/mine", "split": "test"})
    found = load_task(task, data_root=None, limit=LimitSpec(), seed=0)
    assert [row["label"] for row in found.train] == [1, 0, 1, 0]


def test_names_of_one_s_own_in_the_order_of_the_hub_s_numbers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("svft_bench.tasks.hub.load_split", lambda source: (of_the_hub(["neg", "pos"]), "c" * 40))
    task = task_of("sequence_classification", {"title": "t", "hub": "me/mine", "split": "test"})
    found = load_task(task, data_root=None, limit=LimitSpec(), seed=0)
    assert [row["label"] for row in found.train] == [0, 1, 0, 1]


@pytest.mark.parametrize("reader", ["columns", "sentence"])
def test_one_class_under_two_numbers_is_refused_where_no_names_are_given(
    reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = {"train": CLASSES, "test": CLASSES[::-1]}
    rows = {split: of_the_hub(names).rename_column("text", "sentence") for split, names in order.items()}
    monkeypatch.setattr("svft_bench.tasks.hub.load_split", lambda source: (rows[source.split], "c" * 40))
    named = task_of("sequence_classification", {"title": "t", "hub": "me/other", "split": "test"})
    columns = {"text": "sentence", "label": "label"} if reader == "columns" else {}
    item = named.evals[0].model_copy(update={"reader": reader})
    task = named.model_copy(update={"classes": (), "columns": columns, "reader": reader, "evals": (item,)})
    with pytest.raises(ValueError, match=r"class 'positive' is number 1 in me/mine@c+ and 0 in me/other@c+: with"):
        load_task(task, data_root=None, limit=LimitSpec(), seed=0)
