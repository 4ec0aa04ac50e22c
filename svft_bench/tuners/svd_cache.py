"""The folder of the SVD cache: where it is, how large it may grow, and what goes first.

`$SVFT_BENCH_CACHE/svd/<key>.safetensors`, at most `$SVFT_BENCH_SVD_CACHE_GB`, by default 64 GB in all.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

DEFAULT_GB = 64.0
# What a killed process leaves, our name and that of safetensors below it, is swept after so many seconds; the largest
# file takes a fraction of them to write.
LEFTOVERS = (".*.partial", ".tmp*")
STALE = 3600.0


class Entry(NamedTuple):
    """A file of the cache; `used` is when it was last read or written, in seconds since the epoch."""

    path: Path
    size: int
    used: float


def folder() -> Path | None:
    """`$SVFT_BENCH_CACHE/svd`, by default `~/.cache/svft-bench/svd`; None where there is to be no cache.

    Raises:
        ValueError: it would be in a home folder that is not known, as that of a container's user without a name.
    """
    root = os.environ.get("SVFT_BENCH_CACHE")
    if root == "" or limit() == 0:
        return None
    try:
        return Path("~/.cache/svft-bench" if root is None else root).expanduser() / "svd"
    except RuntimeError:
        raise ValueError(
            "SVFT_BENCH_CACHE: no home folder is known; name another folder, or none for no cache"
        ) from None


def limit() -> int:
    """The most bytes that the cache may take."""
    named = os.environ.get("SVFT_BENCH_SVD_CACHE_GB") or str(DEFAULT_GB)
    try:
        gigabytes = float(named)
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes * 1e9 < float("inf"):
        raise ValueError(f"SVFT_BENCH_SVD_CACHE_GB={named} is not a size in gigabytes; say 0 (no cache) or more.")
    return round(gigabytes * 1e9)


def entries(cache: Path) -> list[Entry]:
    """The files of a cache, the least recently used first."""
    found = []
    for path in cache.glob("*.safetensors"):
        with suppress(OSError):  # another process may have removed it
            found.append(Entry(path, path.stat().st_size, path.stat().st_mtime))
    return sorted(found, key=lambda entry: entry.used)


def mark_used(path: Path) -> None:
    """Note that a file was read; a cache that only others may write stays as it is."""
    with suppress(OSError):
        os.utime(path)


def prune(cache: Path, *, most: int, keep: Path | None = None) -> list[Entry]:
    """Remove the least recently used files until `most` bytes are left, and what killed processes left; what went."""
    for pattern in LEFTOVERS:
        for path in cache.glob(pattern):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE:
                    path.unlink()
    files = entries(cache)
    size, removed = sum(entry.size for entry in files), []
    for entry in files:
        if size > most and entry.path != keep:
            entry.path.unlink(missing_ok=True)  # whoever has it mapped keeps it
            removed.append(entry)
            size -= entry.size
    return removed


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; the file then takes the place of `path` in one step, as the umask has it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL, 0o666))
    mode = temporary.stat().st_mode & 0o777
    try:
        yield temporary
        temporary.chmod(mode)  # safetensors makes a file of its own, which nobody else may read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
