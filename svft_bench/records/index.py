"""Which records of a folder were found whole, and when their files were written: a table reads only its own again.

The index holds no score and no specification. What it says of a file counts only as long as the file and its
predictions have the very stamps under which they were verified, and it is made again wherever that is not so.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from svft_bench.records.durable import ASIDE, sealed, unsealed, write_whole

Stamp = tuple[int, int, int]  # when a file was written, when it was last touched in any way, its size
Place = tuple[str, str, str]  # the names of a record's task, model and method
WORTH = 100  # records; fewer are verified as fast as an index is written


@dataclass(frozen=True)
class Held:
    """A record's file with its stamps; `predictions` are those of the file beside it, None for none."""

    path: Path
    record: Stamp
    predictions: Stamp | None

    @property
    def stamps(self) -> list[list[int] | None]:
        """As JSON has them."""
        return [list(self.record), None if self.predictions is None else list(self.predictions)]


@dataclass(frozen=True)
class Verified:
    """A record that was whole at these stamps."""

    stamps: list[list[int] | None]
    run_id: str
    place: Place


def held(results: Path) -> list[Held]:
    """The files of every record below `results`, in the order of their paths."""
    return sorted(_held(results / "runs"), key=lambda one: one.path)


def _held(folder: Path) -> Iterator[Held]:
    for inner, _, names in os.walk(folder):
        if os.path.basename(inner) == ASIDE:
            continue
        there = set(names)
        for name in names:
            if not name.endswith(".json"):
                continue
            path = os.path.join(inner, name)
            beside = [f"{name.removesuffix('.json')}.predictions.jsonl{ending}" for ending in (".gz", "")]
            found = next((os.path.join(inner, file) for file in beside if file in there), None)
            with suppress(FileNotFoundError):  # a run that is made again takes its predictions away first
                yield Held(Path(path), _stamp(path), None if found is None else _stamp(found))


def _stamp(path: str) -> Stamp:
    stat = os.stat(path)
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size


def read_index(results: Path) -> dict[str, Verified]:
    """What is known of the records below `results`, by their paths; nothing where there is no index that is whole."""
    try:
        body = unsealed(_path(results))
        if body["by"] != version("svft-bench"):
            return {}
        return {
            path: Verified(stamps, run_id, (task, model, method))
            for path, (stamps, run_id, task, model, method) in body["records"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def write_index(results: Path, records: Mapping[str, Verified]) -> None:
    """Leave it for the next process, as long as it can be written; of two at once the later one stays."""
    rows: dict[str, Any] = {path: [one.stamps, one.run_id, *one.place] for path, one in records.items()}
    with suppress(OSError):
        write_whole(_path(results), sealed({"by": version("svft-bench"), "records": rows}))


def _path(results: Path) -> Path:
    """Beside the other things that can be made again, under a name for the folder."""
    cache = Path(os.environ.get("SVFT_BENCH_CACHE") or Path.home() / ".cache" / "svft-bench").expanduser()
    return cache / "records" / f"{hashlib.sha256(os.fsencode(results.resolve())).hexdigest()[:16]}.json"
