"""Checkpoints of one training: written elsewhere, sealed, and then given their name; two of them are kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from svft_bench.records.durable import (
    PARTIAL,
    damage,
    digests,
    remove,
    sealed,
    set_aside,
    settle,
    to_disk,
    told_of_room,
    unsealed,
    write_whole,
)

MANIFEST = "manifest.json"
STATE = "trainer_state.json"  # of the Trainer
KEPT = 2
ELSE = "training goes on from the checkpoint before, or begins again"


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint; `loss` is summed over the steps since `logged`, the last one that the curve knows of.

    `parts` says into how many a micro-batch was cut for want of memory.
    """

    folder: Path
    step: int
    loss: float
    logged: int
    parts: int


@contextmanager
def new_checkpoint(
    folder: Path, step: int, *, origin: str, loss: float, logged: int, parts: int, best: Path
) -> Iterator[Path]:
    """A folder to write a checkpoint of this step to; sealed with the best epoch so far, it gets its name in `folder`.

    `origin` says of which code and training it is. Older checkpoints go, but for the one before.

    Raises:
        OSError: it has no room; nothing of it is left.
    """
    written, whole = folder / f".checkpoint-{step}{PARTIAL}", folder / f"checkpoint-{step}"
    shutil.rmtree(written, ignore_errors=True)
    written.mkdir(parents=True)
    try:
        with told_of_room(written):
            yield written
        if best.exists():
            _link(best, written / best.name)
        settle(written)
        body = {"origin": origin, "loss": loss, "logged": logged, "parts": parts, "files": digests(written)}
        write_whole(written / MANIFEST, sealed(body))
        written.rename(whole)
    except BaseException:  # of a full disk it would be the last straw
        shutil.rmtree(written, ignore_errors=True)
        raise
    to_disk(folder)
    for old in _newest_first(folder)[KEPT:]:
        shutil.rmtree(old)


def take_up(folder: Path, *, origin: str, best: Path) -> Checkpoint | None:
    """The newest good checkpoint in `folder`, with its best epoch put back to `best`; None where there is none.

    One that a kill cut short is removed; one that is damaged, or of another origin, is named and set aside.
    """
    if folder.is_file():
        set_aside(folder, why="is a file where a folder belongs", then=ELSE, into=folder.parent)
    if best.is_dir():
        set_aside(best, why="is a folder where a file belongs", then=ELSE, into=folder.parent)
    best.unlink(missing_ok=True)  # it may know of epochs that come after the checkpoint
    for cut in folder.glob(f"*{PARTIAL}"):
        remove(cut)
    for path in _newest_first(folder):
        try:
            manifest = unsealed(path / MANIFEST)
        except ValueError as error:
            set_aside(path, why=f"cannot be trusted: its {MANIFEST} {error}", then=ELSE, into=folder.parent)
            continue
        if manifest["origin"] != origin:
            set_aside(path, why="is of other code, other packages or another training", then=ELSE, into=folder.parent)
        elif found := damage(path, manifest["files"]):
            set_aside(path, why=f"cannot be trusted: its {found[0].name} {found[1]}", then=ELSE, into=folder.parent)
        else:
            if best.name in manifest["files"]:
                _link(path / best.name, best)
            return Checkpoint(path, _step(path), manifest["loss"], manifest["logged"], manifest["parts"])
    return None


def newest(folder: Path) -> Path | None:
    """The checkpoint to go on from, as far as can be seen without reading it."""
    return next(iter(_newest_first(folder)), None)


def _newest_first(folder: Path) -> list[Path]:
    found = (path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdecimal())
    return sorted(found, key=_step, reverse=True)


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _link(source: Path, target: Path) -> None:
    """The same bytes under a second name, which costs nothing; a copy on file systems that have but one name each."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
