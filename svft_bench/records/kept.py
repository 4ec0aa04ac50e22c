"""Results that follow from what they were made from alone, kept on the disk under a digest of all of that.

Nothing is trusted by a name or a time: who asks digests the contents of what a result depends on, to which the code of
this package is added, and other contents are another result. What was cut or damaged on the disk is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import xxhash

from svft_bench.config.home import from_home
from svft_bench.records.durable import digest

DAYS = 30  # after which a result is made again
MOST = 2**30  # bytes of all of them, beyond which the older half is let go
OLDER = "DELETE FROM kept WHERE at <= (SELECT at FROM kept ORDER BY at LIMIT 1 OFFSET (SELECT count(*) / 2 FROM kept))"
LIBRARIES = ("hydra-core", "omegaconf", "pydantic", "numpy", "scipy", "matplotlib")
FAILURES = (sqlite3.Error, OSError)  # of the store, without which everything is made as if for the first time


def kept(parts: Any, make: Callable[[], str]) -> str:
    """The text that `make` makes of these `parts`, which are values that JSON knows."""
    found = find(parts)
    return keep(parts, make()) if found is None else found


def find(parts: Any) -> str | None:
    """What was kept of these parts, if anything was and is whole."""
    name = _name(parts)
    with suppress(*FAILURES), closing(_store()) as store:
        row = store.execute("SELECT seal, content FROM kept WHERE name = ?", (name,)).fetchone()
        if row is not None and row[0] == _seal(name, row[1]):
            return str(row[1], "utf-8")
    return None


def keep(parts: Any, text: str) -> str:
    """Keep a text that was made of these parts, as long as it can be written, and by code that is still the same."""
    keep_all([(parts, text)])
    return text


def keep_all(made: Iterable[tuple[Any, str]]) -> None:
    """The same of many, which are written at once."""
    if _edited():
        return
    now = time.time()
    named = ((_name(parts), text.encode()) for parts, text in made)
    with suppress(*FAILURES), closing(_store()) as store, store:
        rows = ((name, now, _seal(name, content), content) for name, content in named)
        store.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", rows)
        store.execute("DELETE FROM kept WHERE at < ?", (now - 86400 * DAYS,))
        if store.execute("SELECT sum(length(content)) FROM kept").fetchone()[0] > MOST:
            store.execute(OLDER)


def _name(parts: Any) -> str:
    return hashlib.sha256(json.dumps([code(), parts]).encode()).hexdigest()


def _store() -> sqlite3.Connection:
    path = cache_folder() / "kept.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    store = sqlite3.connect(path, timeout=10)
    try:
        store.execute("CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, at REAL, seal TEXT, content BLOB)")
    except sqlite3.DatabaseError:
        store.close()
        raise
    return store


def _seal(name: str, content: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(name.encode() + content)


def cache_folder() -> Path:
    """Where things lie that can be made again.

    Raises:
        FileNotFoundError: it would be in a home folder that is not known.
    """
    try:
        return from_home(os.environ.get("SVFT_BENCH_CACHE") or "~/.cache/svft-bench")
    except ValueError as error:
        raise FileNotFoundError(f"{error}; SVFT_BENCH_CACHE names another folder for what is cached") from None


def _edited() -> bool:
    """Whether a file of the code or of `conf/` was touched since shortly before this process began.

    It may have been imported before that and digested after it, or the other way round in a process of its own.
    """
    package = Path(__file__).parents[1]
    begin = psutil.Process().create_time() - 2
    files = [*package.rglob("*.*"), *(package.parent / "conf").rglob("*.yaml")]
    return any(path.stat().st_ctime > begin for path in files if path.suffix not in ("", ".pyc"))


@cache
def code() -> list[str]:
    """What makes results here: every file of this package as it is, and the libraries by their versions."""
    package = Path(__file__).parents[1]
    files = sorted(path for path in package.rglob("*.*") if path.is_file() and path.suffix != ".pyc")
    return [*(f"{path.relative_to(package)} {digest(path)}" for path in files), *map(version, LIBRARIES)]
