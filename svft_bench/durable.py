"""Files that are whole or absent, reach the disk, honour the umask, and are known again by a digest."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import xxhash

PARTIAL = ".partial"  # how a file ends while it is written
ASIDE = "damaged"  # the folder for what cannot be trusted, beside it
OLD = 3600.0  # seconds after which nobody writes to a partial file any more


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file that no reader ever sees a part of; a text in UTF-8."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to, beside `path`, that takes its place once the file is on the disk; nothing if that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        yield partial
        settle(partial)
        partial.replace(path)
        _to_disk(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def settle(path: Path) -> None:
    """Bring a file, or a folder with all in it, to the disk, with the permissions that the umask leaves.

    Some libraries write to a temporary file, which belongs to its user alone.
    """
    if path.is_dir():
        for inner in path.iterdir():
            settle(inner)
    else:
        path.chmod(0o666 & ~_umask())
    _to_disk(path)


def _umask() -> int:
    value = os.umask(0o077)  # there is no way to ask without setting it
    os.umask(value)
    return value


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():  # with which some file systems cannot do it
            raise
    finally:
        os.close(handle)


def sealed(body: Mapping[str, Any]) -> str:
    """Text that `unsealed` knows again: `body` as JSON, with a digest of all of it."""
    return json.dumps({**body, "sha256": _seal(body)}, indent=1)


def unsealed(path: Path) -> dict[str, Any]:
    """What `sealed` made of a body, read from a file.

    Raises:
        ValueError: this is another text, or there is none to read.
    """
    try:
        body = json.loads(path.read_bytes())
        seal = body.pop("sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"cannot be read ({type(error).__name__}: {error})") from error
    if seal != _seal(body):
        raise ValueError("has other contents than were written")
    found: dict[str, Any] = body
    return found


def _seal(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """A digest of every file below `folder`, by its name in there."""
    return {str(file.relative_to(folder)): _digest(file) for file in sorted(folder.rglob("*")) if file.is_file()}


def damage(folder: Path, expected: Mapping[str, str]) -> str | None:
    """What is wrong with the first file that is not as its digest says; None where all are."""
    for name, digest in expected.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        try:
            if _digest(file) != digest:
                return f"{name} has other contents than were written"
        except OSError as error:
            return f"{name} cannot be read ({error})"
    return None


def _digest(path: Path) -> str:
    digest = xxhash.xxh3_128()  # against bits that fall over, not against people: gigabytes a second
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def set_aside(path: Path, *, why: str, then: str) -> None:
    """Move a file or folder that cannot be trusted out of the way, and say so in one warning."""
    place = path.parent / ASIDE / path.name
    place.parent.mkdir(exist_ok=True)
    number = 1
    while place.exists():
        number += 1
        place = place.with_name(f"{path.name}-{number}")
    path.rename(place)
    warnings.warn(f"{path}: {why}; it is set aside as {place}, and {then}.", stacklevel=3)


def sweep(folder: Path, *, older_than: float = OLD) -> None:
    """Remove what a kill has left half-written in `folder` so many seconds ago or earlier."""
    for path in folder.glob(f".*{PARTIAL}"):
        with suppress(OSError):  # another process may sweep too
            if time.time() - path.stat().st_mtime >= older_than:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
