"""Rows of one split, from local files, the hub or a library: `read_rows(source, data_root=...)`.

<data_root>/<local>/<split>.jsonl | .json | .parquet | <split>-00000-of-00001.parquet | <split>_<anything>.jsonl
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from svft_bench.spec import SourceSpec

Row = dict[str, Any]
SUFFIXES = (".jsonl", ".json", ".parquet")


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

    @property
    def sample(self) -> bool:
        """Whether this is less than, or something else than, the data set whose title it has."""
        incomplete = self.complete_rows is not None and self.rows != self.complete_rows
        return incomplete or Path(self.origin).name.startswith(f"{self.split}_")

    @property
    def label(self) -> str:
        """The name a score may carry: the benchmark's only if its file is complete, else the file's own."""
        name = self.origin if self.sample else self.title
        if self.used < self.rows:
            return f"{name} ({self.used:,} of {self.rows:,})"
        return f"{name} ({self.rows:,} rows)" if self.sample else name


def read_rows(source: SourceSpec, *, data_root: Path | None) -> tuple[Sequence[Row], DataFile]:
    """All rows of a split, and the account of where they came from with `used` still 0.

    Images stay encoded (`{"bytes": ..., "path": ...}`), so that a large set can be held or mapped.

    Raises:
        ValueError: no such split, a file that does not parse, no rows, or a hub that does not answer.
    """
    if source.builtin is not None:
        rows, file = _builtin(source)
    elif data_root is not None and source.local is not None:
        rows, file = _local(source, data_root=data_root)
    else:
        rows, file = _hub(source)
    if len(rows) == 0:
        raise ValueError(f"{file.origin}: split {source.split!r} of {source.title} has no rows")
    return rows, replace(file, rows=len(rows))


def source_fingerprint(source: SourceSpec, *, data_root: Path | None) -> str:
    """`builtin`, `hub`, or the names and contents of the local files that `read_rows` would read.

    Raises:
        ValueError: the folder has no such split.
    """
    if source.builtin is not None:
        return "builtin"
    if data_root is None or source.local is None:
        return "hub"
    return " ".join(f"{path.name}:{sha256(path)}" for path in local_files(source, data_root=data_root))


def local_files(source: SourceSpec, *, data_root: Path) -> list[Path]:
    """The files of a split: the one named as the split, else its numbered shards, else its one sample.

    Raises:
        ValueError: there is none, or several samples of it; names what the folder holds.
    """
    assert source.local is not None
    folder = data_root / source.local
    found = sorted(path for path in folder.glob(f"{source.split}*") if path.suffix in SUFFIXES)
    shard = re.compile(re.escape(source.split) + r"-\d{5}-of-\d{5}")
    exact = [path for path in found if path.stem == source.split]
    shards = [path for path in found if shard.fullmatch(path.stem)]
    samples = [path for path in found if path.stem.startswith(f"{source.split}_")]
    if len(exact) == 1 or (not exact and shards):
        return exact or shards
    if not exact and len(samples) == 1:
        return samples
    several = exact or samples
    there = ", ".join(path.name for path in several or sorted(folder.glob("*"))) or "nothing"
    problem = "more than one file" if several else "no file"
    raise ValueError(
        f"data_root={data_root} has {problem} for split {source.split!r} of {source.title}: "
        f"{source.local}/ holds {there}, expected {source.split}.jsonl, .json or .parquet"
    )


def _local(source: SourceSpec, *, data_root: Path) -> tuple[Sequence[Row], DataFile]:
    paths = local_files(source, data_root=data_root)
    parse: dict[str, Callable[[Path], list[Row]]] = {".jsonl": _jsonl, ".json": _json, ".parquet": _parquet}
    rows = [row for path in paths for row in parse[paths[0].suffix](path)]
    sums = [sha256(path) for path in paths]
    digest = sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()
    origin = f"{source.local}/{paths[0].name}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
    return rows, _account(source, origin=origin, digest=digest)


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


def _jsonl(path: Path) -> list[Row]:
    rows = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                rows.append(_object(line, where=f"{path}:{number}"))
    return rows


def _object(line: str, *, where: str) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON: {error.msg}") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where} holds {type(row).__name__}, expected an object with named columns")
    return row


def _json(path: Path) -> list[Row]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error.msg} in line {error.lineno}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} is not one array of objects")
    return rows


def _parquet(path: Path) -> list[Row]:
    import pyarrow as arrow  # type: ignore[import-untyped]
    import pyarrow.parquet as parquet  # type: ignore[import-untyped]

    try:
        rows: list[Row] = parquet.read_table(path).to_pylist()
    except arrow.ArrowInvalid:
        raise ValueError(f"{path} is not a readable parquet file") from None
    return rows


def sha256(path: Path) -> str:
    """Hex digest of a file; remembered until the file changes."""
    state = path.stat()
    return _sha256(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _sha256(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _builtin(source: SourceSpec) -> tuple[Sequence[Row], DataFile]:
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.round(digits.images * (255 / 16)).astype(np.uint8)  # sixteen grey levels in the source
    rows = [
        {"image": Image.fromarray(image), "label": int(label)} for image, label in zip(grey, digits.target, strict=True)
    ]
    return rows, _account(source, origin="sklearn.datasets.load_digits")


def _hub(source: SourceSpec) -> tuple[Sequence[Row], DataFile]:
    if source.hub is None:
        raise ValueError(
            f"{source.title} is on no hub; data_root=FOLDER (or SVFT_BENCH_DATA) must name a folder "
            f"that holds {source.local}/{source.split}.jsonl, .json or .parquet"
        )
    from svft_bench.tasks.hub import load_split

    rows, revision = load_split(source)
    return rows, _account(source, origin=f"{source.hub}@{revision}")
