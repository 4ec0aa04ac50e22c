"""Where numbers come from: versions, git state and machine, and the peak memory of a stretch of work."""

from __future__ import annotations

import ctypes
import gc
import platform
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

from svft_bench.analysis.estimates.devices import cpu_name
from svft_bench.records import Provenance
from svft_bench.running import ranks

PACKAGES = ("svft-bench", "torch", "transformers", "peft", "accelerate", "datasets", "evaluate", "numpy")


def provenance(
    device: torch.device,
    *,
    command: str,
    strategy: ranks.Strategy | None = None,
    packages: Sequence[str] = (),
    train_parts: int = 1,
    eval_parts: int = 1,
) -> Provenance:
    """The state of code, packages and machine now, and the command that asked for the run.

    `packages` are those that had a part beside the usual ones.
    """
    commit, dirty = git_state()
    return Provenance(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version()} | {name: _version(name) for name in (*PACKAGES, *packages)},
        commit=commit,
        dirty=dirty,
        device=_name(device),
        processes=ranks.size(),
        strategy=strategy,
        devices=tuple(ranks.gathered(_name(device))),
        train_parts=train_parts,
        eval_parts=eval_parts,
        cpu=cpu_name(),
        threads=torch.get_num_threads(),
        platform=platform.system(),
        command=command,
    )


def _name(device: torch.device) -> str:
    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else device.type


def git_state() -> tuple[str | None, bool | None]:
    """Commit of this checkout, and whether files that decide a result differ from it; (None, None) when installed."""
    return _state("HEAD", "svft_bench", "conf", "scripts", "pyproject.toml")


def package_state() -> tuple[str | None, bool | None]:
    """The package's tree in this checkout, which a commit to other files leaves as it is, and whether it differs."""
    return _state("HEAD:svft_bench", "svft_bench")


def _state(revision: str, *paths: str) -> tuple[str | None, bool | None]:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None, None
    changed = _git(root, "status", "--porcelain", "--", *paths)
    return _git(root, "rev-parse", revision), None if changed is None else bool(changed)


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


class PeakMemory:
    """Highest number of bytes seen; `bytes` is final once `peak_memory` has ended."""

    def __init__(self) -> None:
        self.bytes = 0


def _give_back_freed_memory() -> None:
    """So that a run does not count what an earlier one of the same sweep has left in the allocator (glibc keeps it)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if platform.system() == "Linux" else None
    if trim is not None:
        trim(0)


@contextmanager
def peak_memory(device: torch.device, *, every_seconds: float = 0.02) -> Iterator[PeakMemory]:
    """Peak memory while this lasts: allocated on a CUDA device, else resident in this process (sampled)."""
    peak, process, over = PeakMemory(), psutil.Process(), threading.Event()
    _give_back_freed_memory()

    def sample() -> None:
        while not over.is_set():
            peak.bytes = max(peak.bytes, process.memory_info().rss)
            over.wait(every_seconds)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        try:
            yield peak
        finally:
            peak.bytes = torch.cuda.max_memory_allocated(device)
        return
    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield peak
    finally:
        over.set()
        sampler.join()
