"""What the hub holds for a task: parquet files in folders named after configs, and a card that lists them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import datasets

from svft_bench.config.spec import ReaderName, SourceSpec, TaskSpec
from svft_bench.tasks.readers import IMAGE_COLUMNS
from tests.hub import Hub
from tests.tasks.data import png
from tests.tasks.layout import ROWS

UNPINNED = "d" * 40  # what the branch of a data set without a pin stands for


def add_task(hub: Hub, task: TaskSpec) -> None:
    """Every data set that a task reads, at the commit that it names."""
    sources = [(task.train, task.reader), *([(task.validation, task.reader)] if task.validation else [])]
    for source, reader in [*sources, *((item.data, item.reader) for item in task.evals)]:
        if source.hub is not None:
            add_source(hub, source, rows_of(task, reader, count=8 + task.validation_rows))


def add_source(hub: Hub, source: SourceSpec, rows: datasets.Dataset, *, commit: str | None = None) -> None:
    """One split of all configs of a data set."""
    assert source.hub is not None
    commit = commit or source.revision or UNPINNED
    files = dict(hub.files.get(("dataset", source.hub, commit), {}))
    for config in source.config.split("+") if source.config else ["data"]:
        file = BytesIO()
        rows.to_parquet(file)
        files[f"{config}/{source.split}-00000-of-00001.parquet"] = file.getvalue()
    files["README.md"] = card(files)
    hub.add("dataset", source.hub, files, commit=commit, refs=("main",) if source.revision is None else ())


def card(files: dict[str, bytes]) -> bytes:
    """The configs and splits of these files, as the hub's card of a data set lists them."""
    lines = ["---", "configs:"]
    for config in sorted({path.split("/")[0] for path in files if "/" in path}):
        lines += [f"- config_name: {'default' if config == 'data' else config}", "  data_files:"]
        splits = sorted(path.split("/")[1].split("-0")[0] for path in files if path.startswith(f"{config}/"))
        for split in splits:
            lines += [f"  - split: {split}", f"    path: {config}/{split}-*"]
    return "\n".join([*lines, "---", ""]).encode()


def rows_of(task: TaskSpec, reader: ReaderName, *, count: int = 8, shift: int = 0) -> datasets.Dataset:
    """A handful of rows, or thirteen pictures of every class, in the hub's columns and types."""
    if reader in IMAGE_COLUMNS:
        image, label = IMAGE_COLUMNS[reader]
        if label is None:
            seen = [{image: {"bytes": png(index), "path": f"{index}.png"}} for index in range(5)]
            return datasets.Dataset.from_list(seen, features=datasets.Features({image: datasets.Image()}))
        names = [f"class {number}" for number in range(task.labels or 0)]
        features = datasets.Features({image: datasets.Image(), label: datasets.ClassLabel(names=names)})
        made: list[dict[str, Any]] = [
            {image: {"bytes": png(13 * number + index + shift), "path": f"{index}.png"}, label: number}
            for index in range(13)
            for number in range(len(names))
        ]
        return datasets.Dataset.from_list(made, features=features)
    labels = [float(i % 6) if task.labels == 1 else (i + shift) % (task.labels or 1) for i in range(count)]
    labelled = task.kind == "sequence_classification"
    return datasets.Dataset.from_list(
        [ROWS[reader] | ({"label": label, "idx": i} if labelled else {}) for i, label in enumerate(labels)]
    )
