"""What an evaluation has predicted so far, batch after batch on the disk, so that one that was killed goes on.

outputs/…/finished-<run_id>/<number of the eval>-<number of the process>.jsonl
"""

from __future__ import annotations

import json
import shutil
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from svft_bench.running import ranks
from svft_bench.running.keeping.folders import FITTED


def folder_of_finished(folder: Path, run_id: str) -> Path:
    """Where a run's finished batches lie until it has its record."""
    return folder / f"finished-{run_id}"


def forget(folder: Path, run_id: str) -> None:
    """Remove them."""
    shutil.rmtree(folder_of_finished(folder, run_id), ignore_errors=True)


class Finished:
    """The batches of one eval that are through, under these trained weights and this code.

    `seconds` are those that the first process took for what was found.
    """

    def __init__(self, folder: Path, *, run_id: str, number: int, code: str) -> None:
        self.folder, self.number = folder_of_finished(folder, run_id), number
        self.origin = sha256((folder / FITTED).read_bytes() + code.encode()).hexdigest()
        self.seconds = 0.0
        self.began = time.perf_counter()

    def read(self) -> dict[int, dict[str, Any]]:
        """An earlier call's predictions by their places; a line that is cut, damaged or of other weights is none."""
        rows: dict[int, dict[str, Any]] = {}
        for path in sorted(self.folder.glob(f"{self.number}-*.jsonl")):
            for line in path.read_bytes().splitlines():
                seal, _, body = line.partition(b" ")
                if seal.decode("ascii", "replace") == self._seal(body):
                    found = json.loads(body)
                    rows |= {int(place): row for place, row in found["rows"].items()}
                    self.seconds += found["seconds"] if path.stem.endswith("-0") else 0.0
        self.began = time.perf_counter()
        return rows

    def add(self, rows: dict[int, dict[str, Any]]) -> None:
        """Keep a batch."""
        self.folder.mkdir(exist_ok=True)
        now = time.perf_counter()
        body = json.dumps({"rows": rows, "seconds": now - self.began}).encode()
        with (self.folder / f"{self.number}-{ranks.rank()}.jsonl").open("ab") as file:
            file.write(b"\n" + self._seal(body).encode() + b" " + body + b"\n")  # the line before may have been cut
        self.began = now

    def _seal(self, body: bytes) -> str:
        return sha256(self.origin.encode() + body).hexdigest()
