"""Files that are whole or absent, reach the disk, honour the umask, and are known again by a digest."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import xxhash

from svft_bench.config.json_text import decoded

PARTIAL = ".partial"  # how a file ends while it is written
LEFTOVERS = (
    f"*{PARTIAL}",
    "tmp*",
    ".tmp*",
    ".*.json.????????",
    ".*.jsonl.????????",
    "merged-*",
)  # also of libraries
ASIDE = "aside"  # the folder for what cannot be trusted, beside it
TICK = 2.0  # seconds within which a file may change and keep its time
OLD = 3600.0  # seconds after which nobody writes to a partial file any more


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file that no reader ever sees a part of; a text in UTF-8."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to, beside `path`, that takes its place once the file is on the disk; nothing if that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        with told_of_room(path):
            yield partial
        settle(partial)
        partial.replace(path)
        to_disk(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_both(first: Path, content: bytes, second: Path, told: bytes) -> None:
    """Write two files of one folder, the second of which tells of the first; a signal leaves both old or both new.

    Where that cannot be, as after a kill, the second lies on the disk beside its name, as while it is written.
    """
    first.parent.mkdir(parents=True, exist_ok=True)
    new, beside = _partial(first), _partial(second)
    try:
        for path, body in ((new, content), (beside, told)):
            path.write_bytes(body)
            settle(path)  # so that nothing can fail between the two names
        try:
            new.replace(first)
            to_disk(first.parent)
        finally:
            if not new.exists():
                beside.replace(second)
        to_disk(first.parent)
    except BaseException:
        if new.exists():
            beside.unlink(missing_ok=True)
            new.unlink()
        raise


@contextmanager
def told_of_room(path: Path) -> Iterator[None]:
    """A library's error while it writes at `path` is the system's where no more can be written there, which says why.

    Raises:
        OSError: the disk is full, a quota is reached, or whatever else a file of a mebibyte meets.
    """
    try:
        yield
    except (OSError, ValueError):
        raise
    except Exception as error:
        test = _partial(path)
        try:
            test.write_bytes(bytes(1 << 20))
        except OSError as full:
            raise OSError(full.errno, full.strerror, str(path)) from error
        finally:
            test.unlink(missing_ok=True)
        raise


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")


def settle(path: Path) -> None:
    """Bring a file, or a folder with all in it, to the disk, with the permissions that the umask leaves.

    Some libraries write to a temporary file, which belongs to its user alone.
    """
    if path.is_dir():
        for inner in path.iterdir():
            settle(inner)
    else:
        path.chmod(0o666 & ~_umask())
    to_disk(path)


def _umask() -> int:
    value = os.umask(0o077)  # there is no way to ask without setting it
    os.umask(value)
    return value


def to_disk(path: Path) -> None:
    """Bring a file's bytes, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():  # with which some file systems cannot do it
            raise
    finally:
        os.close(handle)


def laid_out(body: Mapping[str, Any]) -> str:
    """JSON to be read and compared by people: a line for each value, and one for a list of plain values."""
    text = json.dumps(body, indent=1, ensure_ascii=False)  # no string of it holds a line break
    return re.sub(r"\[\n *([^][{}]*?)\n *\]", lambda plain: "[" + re.sub(r"\n *", " ", plain[1]) + "]", text) + "\n"


def sealed(body: Mapping[str, Any]) -> str:
    """Text that `unsealed` knows again: `body` as JSON, with a digest of all of it."""
    return json.dumps({**body, "sha256": _seal(body)}, indent=1)


def unsealed(path: Path) -> dict[str, Any]:
    """What `sealed` made of a body, read from a file.

    Raises:
        ValueError: this is another text, or there is none to read.
    """
    try:
        body = decoded(path.read_bytes())
        seal = body.pop("sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"has no seal, so it is cut, damaged or of an earlier version ({error})") from error
    if seal != _seal(body):
        raise ValueError("has other contents than were written")
    found: dict[str, Any] = body
    return found


def _seal(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """A digest of every file below `folder`, by its name in there."""
    return {str(file.relative_to(folder)): digest(file) for file in sorted(folder.rglob("*")) if file.is_file()}


def damage(folder: Path, expected: Mapping[str, str]) -> tuple[Path, str] | None:
    """The first file that is not as its digest says, and what is wrong with it; None where all are."""
    for file, known in ((folder / name, known) for name, known in expected.items()):
        try:
            if digest(file) != known:
                return file, "has other contents than were written"
        except OSError as error:
            return file, f"cannot be read ({error.strerror})"
    return None


def digest(path: Path) -> str:
    """A digest of a file's bytes."""
    found = xxhash.xxh3_128()  # against bits that fall over, not against people: gigabytes a second
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes; remembered until the file changes."""
    state = path.stat()
    if time.time() - state.st_mtime < TICK:
        return _sha256.__wrapped__(path, state.st_size, state.st_mtime_ns)
    return _sha256(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def set_aside(path: Path, *, why: str, then: str, into: Path | None = None) -> None:
    """Move a file or folder that cannot be trusted out of the way, if it is there, and say so in one warning.

    Its new name, in the folder `aside` of its own folder or of `into`, has no ending that a search would find.
    """
    folder = (into or path.parent) / ASIDE
    place = next(place for number in count(1) if not (place := folder / f"{path.name}.{number}").exists())
    if path.exists():
        folder.mkdir(exist_ok=True)
        path.rename(place)
        why = f"{why}, and is kept as {place}"
    warnings.warn(f"{path} {why}; {then}.", stacklevel=3)


def sweep(folder: Path, *, older_than: float = OLD) -> None:
    """Remove what a kill has left half-written in `folder` so many seconds ago or earlier."""
    for path in (path for pattern in LEFTOVERS for path in folder.glob(pattern)):
        with suppress(OSError):  # another process may sweep too
            if time.time() - path.stat().st_mtime >= older_than:
                remove(path)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
