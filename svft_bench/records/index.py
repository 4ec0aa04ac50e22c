"""Which records of a folder were found whole, and an outline of each: a table reads no more than it shows.

What the index says of a file counts only as long as the file and its predictions have the very stamps under which they
were verified, by the same code, and it is made again wherever that is not so.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import xxhash

from svft_bench.records.durable import ASIDE, write_whole
from svft_bench.records.kept import cache_folder
from svft_bench.records.outline import Outline

Stamp = tuple[int, int, int]  # when a file was written, when it was last touched in any way, its size
WORTH = 100  # records; fewer are verified as fast as an index is written


class Held(NamedTuple):
    """A record's file with its stamp and that of the predictions beside it, which is empty for none."""

    path: str
    stamps: tuple[int, ...]


def held(results: Path) -> list[Held]:
    """The files of every record below `results`, in the order of their paths.

    Raises:
        OSError: a folder cannot be read.
    """
    return sorted(_held(results / "runs"), key=lambda one: one.path.split(os.sep))


def _held(folder: Path) -> Iterator[Held]:
    for inner, names in _folders(folder):
        if os.path.basename(inner) == ASIDE:
            continue
        there = set(names)
        for name in names:
            if not name.endswith(".json"):
                continue
            beside = f"{name.removesuffix('.json')}.predictions.jsonl"
            found = [file for file in (name, f"{beside}.gz", beside) if file in there][:2]
            with suppress(FileNotFoundError):  # it may have been moved meanwhile
                stamps = [stamp for file in found for stamp in _stamp_there(f"{inner}{os.sep}{file}")]
                yield Held(f"{inner}{os.sep}{name}", tuple(stamps))


def _folders(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Every folder in this one, links to folders too but each once, with the names of its files."""
    seen: set[str] = set()
    for inner, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        if (real := os.path.realpath(inner)) in seen:
            folders.clear()
            continue
        seen.add(real)
        yield inner, names


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):  # no folder yet, or one that was moved meanwhile
        raise error


def _stamp_there(path: str) -> tuple[int, ...]:
    """The stamp of a file, none of a link that leads nowhere, as those of files that git-annex has elsewhere."""
    try:
        return _stamp(path)
    except FileNotFoundError:
        if os.path.islink(path):
            return ()
        raise


def _stamp(path: str) -> Stamp:
    stat = os.stat(path)
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size


def read_index(results: Path) -> Mapping[Held, Outline]:
    """What is known of the records below `results`; nothing where there is no index that is whole and by this code."""
    try:
        path = _path(results)
        return _read(path, _code(), (*_stamp(str(path)), os.stat(path).st_ino))
    except (OSError, ValueError, TypeError):
        return {}


@lru_cache(maxsize=2)
def _read(path: Path, code: bytes, stamp: tuple[int, ...]) -> Mapping[Held, Outline]:
    """An index as one process finds it for table after table; it is always another file that takes its place."""
    seal, _, content = path.read_bytes().partition(b"\n")
    if seal.decode() != _seal(content):
        return {}
    rows = json.loads(content)
    return {Held(path, tuple(stamps)): Outline(*fields) for path, stamps, *fields in rows}


def write_index(results: Path, records: Mapping[Held, Outline]) -> None:
    """Leave it for the next process, as long as it can be written; of two at once the later one stays."""
    rows = [[*file, *outline] for file, outline in records.items()]
    content = json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode()
    with suppress(OSError):
        write_whole(_path(results), _seal(content).encode() + b"\n" + content)


def _seal(content: bytes) -> str:
    """A digest of the rows and of the code that reads records and names cells: another version's are made again."""
    return xxhash.xxh3_128_hexdigest(_code() + content)


@cache
def _code() -> bytes:
    package = Path(__file__).parents[1]
    files = (file for part in ("config", "records") for file in sorted((package / part).rglob("*.py")))
    return b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)


def _path(results: Path) -> Path:
    """Beside the other things that can be made again, under a name for the folder."""
    return cache_folder() / "records" / f"{hashlib.sha256(os.fsencode(results.resolve())).hexdigest()[:16]}.json"
