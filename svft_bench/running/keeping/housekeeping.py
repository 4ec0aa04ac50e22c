"""What runs have left, recorded or not, and what of it may go: checkpoints, weights and leftovers, never a record.

What a command would still go on from, the checkpoints of a training that has not ended, goes only where it is asked for
by its state; weights go only where every run of them is recorded; what a process works on is left alone.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, get_args

from filelock import FileLock, Timeout

from svft_bench.records import Place, RunRecord, load_records, predictions_path, record_path
from svft_bench.records.durable import ASIDE, LEFTOVERS, OLD
from svft_bench.running.keeping.folders import FITTED, TRAINED, training_folder

State = Literal["done", "failed", "running", "unfinished"]
Part = Literal["checkpoints", "weights", "caches"]
STATES, PARTS = get_args(State), get_args(Part)
_ID = re.compile("[0-9a-f]{12}")
_OF_A_RUN = re.compile(r"(?:run|error|again)-([0-9a-f]{12})")
CHECKPOINTS = ("checkpoints", "best.safetensors")
WEIGHTS = (FITTED, TRAINED, "adapter")  # the first speaks of the others, and so goes first


@dataclass(frozen=True)
class Left:
    """One run: its record, or what it left in its training's folder; `written` is in seconds since the epoch."""

    state: State
    run_id: str
    place: Place
    seed: int | None
    written: float
    size: int
    path: Path
    folder: Path | None
    reason: str | None = None


@dataclass(frozen=True)
class Gone:
    """A file or folder that goes, or would."""

    path: Path
    size: int


def runs_left(results: Path, outputs: Path) -> list[Left]:
    """Every run that has a record below `results` or files below `outputs`, in the order of their places."""
    records = load_records(results)
    done = [_recorded(record, results=results, outputs=outputs) for record in records]
    ids = {record.run_id for record in records}
    known = {one.folder for one in done}
    others = [one for folder in _folders(outputs) for one in _unrecorded(folder, outputs, ids, known=known)]
    return sorted([*done, *others], key=lambda one: (one.place, one.written))


def matching(
    runs: Sequence[Left], *, words: dict[str, str], states: Collection[str], older_than: float | None
) -> list[Left]:
    """Those whose task, model, method and seed are among the words', in these states, written so long ago or longer."""

    def fits(one: Left) -> bool:
        values = dict(zip(("task", "model", "method"), one.place, strict=True)) | {"seed": str(one.seed)}
        return (
            all(any(fnmatch(values[key], item) for item in text.split(",")) for key, text in words.items())
            and (not states or one.state in states)
            and (older_than is None or time.time() - one.written >= older_than)
        )

    return [one for one in runs if fits(one)]


def prune(
    chosen: Sequence[Left], *, among: Sequence[Left], parts: Collection[str], states: Collection[str], dry: bool
) -> list[Gone]:
    """Remove these parts of the chosen runs' trainings, by the rules above; what went, or with `dry` what would.

    `states` are those that were asked for by name.
    """
    gone: list[Gone] = []
    for folder in dict.fromkeys(one.folder for one in chosen if one.folder is not None and one.folder.is_dir()):
        picked, every = ([one for one in runs if one.folder == folder] for runs in (chosen, among))
        ended = (folder / FITTED).exists() or all(one.state == "done" for one in every)
        going: list[Path] = []
        if "checkpoints" in parts and (ended or {one.state for one in picked} <= {*states} - {"running"}):
            going += [folder / name for name in CHECKPOINTS]
        if "weights" in parts and all(one.state == "done" for one in every):
            going += [folder / name for name in WEIGHTS]
        if "caches" in parts:
            stale = (path for pattern in LEFTOVERS for path in folder.glob(pattern))
            going += [folder / ASIDE, *(path for path in stale if time.time() - _time(path) >= OLD)]
        gone += _removed(folder, [path for path in going if path.exists()], dry=dry)
    return gone


def _removed(folder: Path, going: Sequence[Path], *, dry: bool) -> list[Gone]:
    """What went while no process trained or scored here; nothing where one does."""
    found = [Gone(path, _size(path)) for path in going]
    with ExitStack() as held:
        try:
            for lock in sorted(folder.glob("*.lock")):
                held.enter_context(FileLock(lock).acquire(blocking=False))
        except Timeout:
            return []
        for path in [] if dry else going:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found


def _recorded(record: RunRecord, *, results: Path, outputs: Path) -> Left:
    path = record_path(results, record.spec)
    folder = training_folder(outputs, record.spec.place, record.train_id)
    size = _size(path) + _size(predictions_path(path)) + _size(folder)
    written = datetime.fromisoformat(record.provenance.created).timestamp()
    there = folder if folder.is_dir() else None
    return Left("done", record.run_id, record.spec.place, record.spec.seed, written, size, path, there)


def _unrecorded(folder: Path, outputs: Path, recorded: set[str], *, known: Collection[Path | None]) -> Iterator[Left]:
    """What has no record in a training's folder; the folder itself where no run is named there."""
    place = _place(folder, outputs)
    found = (_OF_A_RUN.match(path.name) for path in _inside(folder))
    names = sorted({match.group(1) for match in found if match})
    size = _size(folder)
    for run_id in [name for name in names if name not in recorded]:
        log = folder / f"error-{run_id}.log"
        lock = folder / f"run-{run_id}.lock"
        state: State = "running" if _is_held(lock) else "failed" if log.exists() else "unfinished"
        path, reason = (log, _first_line(log)) if state == "failed" else (folder, None)
        yield Left(state, run_id, place, None, _written(folder), size, path, folder, reason)
    if not names and folder not in known:
        yield Left("unfinished", "", place, None, _written(folder), size, folder, folder)


def _folders(outputs: Path) -> list[Path]:
    """Every training's folder below `outputs`, as this version and those before 0.2 place them."""
    found = (path for depth in (1, 4, 5) for path in outputs.glob("/".join("*" * depth)) if _ID.fullmatch(path.name))
    return sorted(path for path in found if path.is_dir())


def _place(folder: Path, outputs: Path) -> Place:
    *task, model, method, _ = ("", "", *folder.relative_to(outputs).parts)[-5:]
    return "/".join(filter(None, task)), model, method


def _is_held(lock: Path) -> bool:
    if not lock.exists():
        return False
    try:
        with FileLock(lock).acquire(blocking=False):
            return False
    except Timeout:
        return True


def _size(path: Path) -> int:
    """Its bytes, and all in it; what goes meanwhile, as a checkpoint that a training renames, has none."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return sum(map(_size, path.iterdir())) if path.is_dir() else path.stat().st_size
    return 0


def _written(folder: Path) -> float:
    """When something in it was last written, of what stays there while it is looked at."""
    return max(map(_time, _inside(folder)), default=_time(folder))


def _time(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


def _inside(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return list(folder.iterdir())
    return []


def _first_line(log: Path) -> str:
    with suppress(FileNotFoundError):
        return log.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    return ""
