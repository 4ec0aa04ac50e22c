"""Data of the hub is of the commit that a task names, or refused: every task, cold, warm, offline, under faults."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest

from svft_bench.commands.leakage import overlaps
from svft_bench.compose import options
from svft_bench.config.spec import LimitSpec, TaskSpec
from svft_bench.models import hub as asking
from svft_bench.tasks import Task, data_fingerprint, load_task
from svft_bench.tasks.files import local_files, read_file
from svft_bench.tasks.hub import load_split
from tests.hub import Hub, serving
from tests.tasks.data import png
from tests.tasks.hub_layout import UNPINNED, add_source, add_task, rows_of
from tests.tasks.layout import task_spec, write_layout

HUB_TASKS = [name for name in options("task") if task_spec(name).train.hub is not None]
RTE = task_spec("glue/rte")
PIN = RTE.train.revision
OTHER = "e" * 40


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub with the data of RTE at its pin."""
    with serving(Hub()) as served:
        add_task(served, RTE)
        yield served


def loaded(spec: TaskSpec = RTE) -> Task:
    return load_task(spec, data_root=None, limit=LimitSpec(), seed=0)


def flat(task: Task) -> list[Any]:
    """What a model would see of a task."""
    rows = [*task.train, *task.validation, *(row for found in task.evals.values() for row in found)]
    return [row | ({"image": row["image"].tobytes()} if "image" in row else {}) for row in rows]


@pytest.mark.parametrize("name", HUB_TASKS)
def test_every_task_loads_from_the_hub_and_then_from_its_cache_alone(
    name: str, hub: Hub, online: Callable[..., None]
) -> None:
    spec = task_spec(name)
    add_task(hub, spec)
    cold = loaded(spec)
    files = [file for file in cold.files if "@" in file.origin]
    pins = {file.origin.split("@")[1] for file in files}
    assert pins <= {spec.train.revision or UNPINNED, *(item.data.revision for item in spec.evals)}
    assert all(re.fullmatch("[0-9a-f]{32}", file.content or "") for file in files)
    hub.asked.clear()
    assert loaded(spec).files == cold.files
    assert hub.asked == []
    online(False)
    assert loaded(spec).files == cold.files


@pytest.mark.parametrize("name", ["cifar10", "math", "glue/stsb"])
def test_the_hub_and_a_local_folder_give_the_same_task(
    name: str, hub: Hub, online: Callable[..., None], tmp_path: Path
) -> None:
    spec = task_spec(name)
    add_task(hub, spec)
    for (kind, repo, _), files in hub.files.items():
        assert kind == "dataset"
        for source in (spec.train, *(item.data for item in spec.evals)):
            config = (source.config or "data").split("+")[0]
            if source.hub == repo and source.local:
                target = tmp_path / "local" / source.local / f"{source.split}-00000-of-00001.parquet"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(files[f"{config}/{source.split}-00000-of-00001.parquet"])
    if name == "math":
        spec = task_spec(name, "task.evals.math.data.config=algebra")
    local = load_task(spec, data_root=tmp_path / "local", limit=LimitSpec(), seed=0)
    assert flat(loaded(spec)) == flat(local)


def test_images_of_the_hub_stay_encoded_until_they_are_taken(hub: Hub, online: Callable[..., None]) -> None:
    add_task(hub, task_spec("cifar10"))
    rows, _ = load_split(task_spec("cifar10").train)
    assert rows[0]["img"]["bytes"] == png(0)


def other_commit(hub: Hub) -> None:
    """The same data set at another commit, with every label turned round."""
    for source in (RTE.train, RTE.evals[0].data):
        add_source(hub, source, rows_of(RTE, RTE.reader, shift=1), commit=OTHER)


def fill_the_cache_with_the_other_commit(hub: Hub) -> None:
    other_commit(hub)
    for split in ("train", "validation"):
        datasets.load_dataset("nyu-mll/glue", "rte", split=split, revision=OTHER)


@pytest.mark.parametrize("fault", ["offline", 500, 503, 429, 401, 403, 404, "gated", "reset"])
def test_another_commit_in_the_cache_is_never_read_under_the_pin(
    fault: Any, hub: Hub, online: Callable[..., None]
) -> None:
    fill_the_cache_with_the_other_commit(hub)
    if fault == "offline":
        online(False)
    else:
        hub.break_down(fault)
    with pytest.raises(ValueError, match=r"RTE could not be loaded from the hub .* data_root=FOLDER"):
        loaded()


def test_a_hub_that_breaks_off_on_the_way_gives_no_other_commit(hub: Hub, online: Callable[..., None]) -> None:
    fill_the_cache_with_the_other_commit(hub)
    hub.break_down(500, where="/resolve/")
    with pytest.raises(ValueError, match=f"commit {PIN} is wanted, and `datasets` gave {OTHER}"):
        loaded()


def test_the_pinned_commit_is_read_from_the_cache_also_where_another_is_newer(
    hub: Hub, online: Callable[..., None]
) -> None:
    pinned = flat(loaded())
    fill_the_cache_with_the_other_commit(hub)
    online(False)
    assert flat(loaded()) == pinned


def test_rows_of_no_known_commit_are_refused(
    hub: Hub, online: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: rows_of(RTE, RTE.reader))
    with pytest.raises(ValueError, match=f"commit {PIN} is wanted, and `datasets` gave rows of no known commit"):
        loaded()


def test_a_folder_of_the_data_set_s_name_is_not_read(hub: Hub, online: Callable[..., None], tmp_path: Path) -> None:
    write_layout(tmp_path, RTE)
    (tmp_path / "glue").rename(tmp_path / "kept")
    (tmp_path / "nyu-mll").mkdir()
    (tmp_path / "kept").rename(tmp_path / "nyu-mll" / "glue")
    with pytest.raises(ValueError, match=r"hub=nyu-mll/glue is the name of a repository and of the folder"):
        loaded()
    with pytest.raises(ValueError, match="of the folder"):
        overlaps(RTE, data_root=None)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (401, "answered 401: HF_TOKEN is not valid there"),
        (403, "answered 403: the account of HF_TOKEN may not read it"),
        (404, "answered 404: check the name"),
        (429, "answered 429: it takes fewer requests"),
        (500, "answered 500: it is down"),
        (503, "answered 503: it is down"),
        ("gated", "it is gated: accept the licence at"),
        ("reset", "the connection to .* broke off"),
        ("short", "the connection to .* broke off"),
    ],
)
def test_every_fault_is_told_by_its_cause_and_its_endpoint(
    fault: Any, sentence: str, hub: Hub, online: Callable[..., None]
) -> None:
    hub.break_down(fault)
    with pytest.raises(ValueError, match=sentence) as caught:
        loaded()
    assert hub.endpoint in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("task.train.hub=nyu-mll/gleu", "knows no dataset of that name"),
        (f"task.train.revision={'f' * 40}", f"it has no revision '{'f' * 40}'"),
        ("task.train.revision=feature-401", "it has no revision 'feature-401'"),
        ("task.train.config=ret", "'ret'"),
        ("task.train.split=trian", "trian"),
    ],
)
def test_what_is_mistyped_is_named(change: str, sentence: str, hub: Hub, online: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        loaded(task_spec("glue/rte", change))
    assert "gated" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", [500, 429, "reset", "short"])
def test_what_passes_is_waited_for(fault: Any, hub: Hub, online: Callable[..., None]) -> None:
    hub.break_down(fault, times=2)
    assert loaded().files[0].rows == 8


def test_a_branch_becomes_the_commit_that_was_read_and_a_part_of_the_name(
    hub: Hub, online: Callable[..., None]
) -> None:
    spec = task_spec("glue/rte", *(f"task.{part}.revision=main" for part in ("train", "evals.rte.data")))
    names = []
    for commit in (PIN, OTHER):
        assert commit is not None
        other_commit(hub)
        hub.refs["dataset", "nyu-mll/glue", "main"] = commit
        asking._looked_up.cache_clear()
        names.append(data_fingerprint(spec, data_root=None))
        assert [file.origin for file in loaded(spec).files] == [f"nyu-mll/glue@{commit}"] * 2
    assert names[0] != names[1]
    assert data_fingerprint(RTE, data_root=None) == "hub+hub"  # as in every record of before


def parquet(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "home" / "hub").rglob("snapshots/*/rte/train-*.parquet")
    return found.resolve()


@pytest.mark.parametrize("damage", ["cut", "one bit"])
def test_a_damaged_download_is_named_and_the_next_start_recovers(
    damage: str, hub: Hub, online: Callable[..., None], tmp_path: Path
) -> None:
    whole = flat(loaded())
    for folder in (tmp_path / "home" / "datasets").glob("nyu-mll___glue"):
        folder.rename(tmp_path / "gone")
    file = parquet(tmp_path)
    data = bytearray(file.read_bytes())
    data[40] ^= 1
    file.write_bytes(data[: len(data) // 2] if damage == "cut" else data)
    with pytest.raises(
        ValueError, match=r"train-00000-of-00001\.parquet is damaged .* the next start.* delete"
    ) as caught:
        loaded()
    assert caught.value.__cause__ is not None
    assert flat(loaded()) == whole


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_a_damaged_cache_of_rows_is_named_and_made_again(
    keep: float, hub: Hub, online: Callable[..., None], tmp_path: Path
) -> None:
    whole = flat(loaded())
    (file,) = (tmp_path / "home" / "datasets").rglob("glue-train.arrow")
    data = file.read_bytes()
    file.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(ValueError, match=r"is damaged .* the next start"):
        loaded()
    assert flat(loaded()) == whole


@pytest.mark.data
@pytest.mark.parametrize("name", ["glue/cola", "glue/mrpc", "glue/rte", "glue/stsb", "glue/wnli", "gsm8k", "cifar10"])
def test_real_rows_come_through_the_hub_as_they_lie_in_a_folder(
    name: str, hub: Hub, online: Callable[..., None], data_root: Path
) -> None:
    spec = task_spec(name)
    for source in (spec.train, *(item.data for item in spec.evals)):
        rows = [row for path in local_files(source, data_root=data_root) for row in read_file(path)]
        add_source(hub, source, datasets.Dataset.from_list(rows))
    local = load_task(spec, data_root=data_root, limit=LimitSpec(), seed=0)
    assert flat(loaded(spec)) == flat(local)
