"""One owner at a time: whoever else comes is told who it is, and waits; what died owns nothing."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from svft_bench.config.json_text import decoded
from svft_bench.records.durable import write_whole

POLL = 0.5  # seconds between two looks at a lock that somebody else holds


@contextmanager
def owning(lock: Path, *, command: str) -> Iterator[None]:
    """Hold the lock file `lock` while this lasts; wait, and say for whom, while another process holds it.

    The system takes the lock back when its holder dies, on folders shared by NFS too. Where it has no such locks,
    filelock's own file stands in, which on another host outlives its holder.

    Raises:
        OSError: there is no lock to be had in this folder.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    owner = lock.with_name(f"{lock.name}.owner")
    file = FileLock(lock)
    try:
        file.acquire(blocking=False)
    except Timeout:
        print(f"  waiting for {_told(owner)} (its lock is {lock})", file=sys.stderr, flush=True)
        file.acquire(poll_interval=POLL)
    try:
        write_whole(owner, json.dumps(_me(command)))
        yield
    finally:
        owner.unlink(missing_ok=True)
        file.release()


@contextmanager
def owning_now(lock: Path) -> Iterator[None]:
    """The same for a moment, without waiting.

    Raises:
        OSError: another process holds it, or there is no lock to be had in this folder.
    """
    file = FileLock(lock)
    file.acquire(blocking=False)
    try:
        yield
    finally:
        lock.with_name(f"{lock.name}.owner").unlink(missing_ok=True)
        file.release()


def _me(command: str) -> dict[str, str | int]:
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": now, "command": command}


def _told(owner: Path) -> str:
    try:
        return "process {pid} on {host}, at work since {since}: {command}".format(**decoded(owner.read_text()))
    except (OSError, ValueError, KeyError, TypeError):  # it has just begun, or has just ended
        return "another process"
