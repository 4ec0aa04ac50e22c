"""Rows of one split, from local files, the hub or a library: `read_rows(source, data_root=...)`."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from svft_bench.config.home import from_home
from svft_bench.config.spec import SourceSpec
from svft_bench.config.wording import plural
from svft_bench.models.hub import commit_now, is_commit
from svft_bench.records.durable import sha256
from svft_bench.tasks.files import Row, local_files, own_rows, own_sha256, read_file


@dataclass(frozen=True)
class DataFile:
    """What was read from one source, and how much of it was used."""

    title: str
    origin: str
    split: str
    rows: int
    complete_rows: int | None
    used: int
    sha256: str | None
    content: str | None = None

    @property
    def sample(self) -> bool:
        """Whether this may be less than, or something else than, the data set whose title it has.

        A local file is taken for the whole set only if it has the number of rows that the whole set is known to have.
        """
        unknown = self.complete_rows is None and self.sha256 is not None
        incomplete = self.complete_rows is not None and self.rows != self.complete_rows
        return unknown or incomplete or Path(self.origin).name.startswith(f"{self.split}_")

    @property
    def label(self) -> str:
        """The name a score may carry: the benchmark's only if its file is complete, else the file's own."""
        name = self.origin if self.sample else self.title
        if self.used < self.rows:
            return f"{name} ({self.used:,} of {self.rows:,})"
        return f"{name} ({plural(self.rows, 'row')})" if self.sample else name


def read_rows(source: SourceSpec, *, data_root: Path | None) -> tuple[Sequence[Row], DataFile]:
    """All rows of a split, and the account of where they came from with `used` still 0.

    Images stay encoded (`{"bytes": ..., "path": ...}`), so that a large set can be held or mapped.

    Raises:
        ValueError: no such split, a file that does not parse, no rows, or a hub that does not answer.
    """
    if source.builtin is not None:
        rows, file = _builtin(source)
    elif source.lines:
        rows, file = [{"text": line} for line in source.lines], _account(source, origin=f"lines of {source.title}")
    elif source.file is not None:
        rows, file = _own(source, data_root=data_root)
    elif data_root is not None and source.local is not None:
        rows, file = _local(source, data_root=data_root)
    else:
        rows, file = _hub(source)
    if len(rows) == 0:
        raise ValueError(f"{file.origin}: split {source.split!r} of {source.title} has no rows")
    return rows, replace(file, rows=len(rows))


def column(rows: Sequence[Row], name: str) -> list[Any]:
    """One column of all rows; of a mapped set the other columns are not read."""
    if isinstance(rows, list):
        return [row[name] for row in rows]
    mapped: Any = rows
    return list(mapped[name])


def class_names(rows: Sequence[Row], name: str | None) -> list[str]:
    """The names that a set of the hub has for the numbers of its classes in this column; none elsewhere."""
    features = getattr(rows, "features", None) or {}
    return list(getattr(features.get(name), "names", None) or [])


def source_fingerprint(source: SourceSpec, *, data_root: Path | None) -> str:
    """`builtin`, `hub`, or the names and contents of the local files that `read_rows` would read.

    A data set whose commit is not pinned has the one that its branch or tag stands for now.

    Raises:
        ValueError: the folder has no such split, or the hub no such revision.
    """
    if source.builtin is not None or source.lines:
        return "builtin"
    if source.file is not None:
        path = own_path(source, data_root=data_root)
        return f"{path.name}:{own_sha256(path)}"
    if data_root is None or source.local is None:
        if source.hub is None or is_commit(source.revision):
            return "hub"
        commit = commit_now(source.hub, kind="dataset", revision=source.revision)
        return f"hub@{commit}" if commit else "hub"
    return " ".join(f"{path.name}:{sha256(path)}" for path in local_files(source, data_root=data_root))


def _local(source: SourceSpec, *, data_root: Path) -> tuple[Sequence[Row], DataFile]:
    paths = local_files(source, data_root=data_root)
    rows = [row for path in paths for row in read_file(path)]
    sums = [sha256(path) for path in paths]
    digest = sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()
    origin = f"{source.local}/{paths[0].name}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
    return rows, _account(source, origin=origin, digest=digest)


def own_path(source: SourceSpec, *, data_root: Path | None) -> Path:
    """Where a file or folder of the user's own lies."""
    assert source.file is not None
    return (data_root or Path()) / from_home(source.file)


def _own(source: SourceSpec, *, data_root: Path | None) -> tuple[Sequence[Row], DataFile]:
    """The rows of a file of the user's own, which is the whole set that its title names; or a share of them."""
    path = own_path(source, data_root=data_root)
    rows = own_rows(path)
    if source.share is not None:
        first, last = (round(share * len(rows)) for share in source.share)
        order = random.Random(0).sample(range(len(rows)), len(rows))
        rows = [rows[index] for index in sorted(order[first:last])]
    file = _account(source, origin=f"{path.parent.name}/{path.name}", digest=own_sha256(path))
    return rows, replace(file, complete_rows=len(rows))


def _account(source: SourceSpec, *, origin: str, digest: str | None = None) -> DataFile:
    return DataFile(
        title=source.title,
        origin=origin,
        split=source.split,
        rows=0,
        complete_rows=source.rows,
        used=0,
        sha256=digest,
    )


def _builtin(source: SourceSpec) -> tuple[Sequence[Row], DataFile]:
    import numpy as np
    from PIL import Image

    found = find_spec("sklearn")  # whose `load_digits` reads this file, and half a second of modules first
    assert found is not None and found.origin is not None
    digits = np.loadtxt(Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    grey = np.round(digits[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # sixteen grey levels in the source
    rows = [
        {"image": Image.fromarray(image), "label": int(label)} for image, label in zip(grey, digits[:, -1], strict=True)
    ]
    return rows, _account(source, origin="sklearn.datasets.load_digits")


def _hub(source: SourceSpec) -> tuple[Sequence[Row], DataFile]:
    if source.hub is None:
        raise ValueError(
            f"{source.title} is on no hub; data_root=FOLDER (or SVFT_BENCH_DATA) must name a folder "
            f"that holds {source.local}/{source.split}.jsonl, .json or .parquet"
        )
    from svft_bench.tasks.content import content
    from svft_bench.tasks.hub import check_unchanged, load_split

    rows, commit = load_split(source)
    made = content(rows)
    check_unchanged(rows, source, content=made)
    return rows, replace(_account(source, origin=f"{source.hub}@{commit}"), content=made)
