"""What a device can do: data-sheet numbers by name, or this machine timed for a moment."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Literal

import psutil
import yaml

from svft_bench.records.kept import kept

Dtype = Literal["float32", "bfloat16", "float16"]

THIS = "this"


@dataclass(frozen=True)
class Device:
    """FLOP/s of matrix products by dtype (None: it has no such arithmetic), bytes/s, and bytes of memory.

    `chip` is what this machine's records call it, None for a data sheet. A `gpu` waits for launches.
    """

    name: str
    flops: dict[Dtype, float | None]
    bandwidth: float
    memory: float
    source: str
    chip: str | None = None
    gpu: bool = True


def device_names() -> list[str]:
    """The devices that `--on` takes."""
    return [THIS, *_sheet()]


@lru_cache
def device(name: str, *, cpu: bool = False) -> Device:
    """The device of this name; `cpu`: of this machine the processor, even where it has a GPU, as `device=cpu` runs.

    Raises:
        ValueError: nothing is known of it.
    """
    if name == THIS:
        return _cpu() if cpu or not _has_gpu() else _gpu()
    if name not in _sheet():
        raise ValueError(f"device {name} is unknown; there are {', '.join(device_names())}")
    row = _sheet()[name]
    rates: dict[Dtype, float | None] = {
        dtype: None if row[dtype] is None else 1e12 * row[dtype] for dtype in ("float32", "bfloat16", "float16")
    }
    return Device(name, rates, 1e9 * row["bandwidth"], 1e9 * row["memory"], row["source"])


def described(on: Device) -> str:
    """The device with what it can do, and where that is known from."""
    rates = " and ".join(f"{rate / 1e12:.3g} TFLOP/s in {dtype}" for dtype, rate in _rates(on).items())
    return f"{'this machine' if on.name == THIS else on.name} ({rates}, {on.bandwidth / 1e9:.0f} GB/s: {on.source})"


def _rates(on: Device) -> dict[str, float]:
    return {dtype: rate for dtype, rate in on.flops.items() if rate is not None and dtype in ("float32", "bfloat16")}


@lru_cache
def _sheet() -> dict[str, dict[str, Any]]:
    text = (Path(__file__).parent / "devices.yaml").read_text(encoding="utf-8")
    rows: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return rows


def cpu_name() -> str:
    """The processor and its number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()} ({os.cpu_count()} cores)"


def _seconds(work: Callable[[], object], *, during: float) -> float:
    """Median seconds of the calls that fit in this time, after one that does not count: as busy as the machine is."""
    work()
    taken: list[float] = []
    begin = time.perf_counter()
    while not taken or time.perf_counter() - begin < during:
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return median(taken)


def _has_gpu() -> bool:
    """PyTorch is asked, and loaded for it, only where a driver is installed."""
    if shutil.which("nvidia-smi") is None:
        return False
    import torch

    return torch.cuda.is_available()


def _cpu(*, size: int = 768, seconds: float = 0.1) -> Device:
    """float32 without PyTorch, whose import takes seconds; another dtype when a cell asks for it."""
    import numpy

    square = numpy.ones((size, size), dtype=numpy.float32)
    block = numpy.ones(2**23, dtype=numpy.float32)
    target = numpy.empty_like(block)
    chip = cpu_name()

    def slower(dtype: Dtype) -> float:
        """Loads PyTorch once for a processor, number of threads and version of it."""
        parts = ["times slower", dtype, chip, os.environ.get("OMP_NUM_THREADS"), version("torch")]
        return float(kept(parts, lambda: str(times_slower(dtype))))

    plain = 2 * size**3 / _seconds(lambda: square @ square, during=seconds)
    rates = _Timed(lambda dtype: plain / slower(dtype))
    rates["float32"] = plain
    bandwidth = 2 * block.nbytes / _seconds(lambda: numpy.copyto(target, block), during=seconds)
    return Device(THIS, rates, bandwidth, float(psutil.virtual_memory().total), "timed just now", chip, gpu=False)


def _gpu(*, size: int = 8192, seconds: float = 0.1) -> Device:
    import torch

    block = torch.ones(2**26, device="cuda")
    target = torch.empty_like(block)
    rates = _Timed(lambda dtype: _product_rate(dtype, size=size, on="cuda", during=seconds))

    def copied() -> None:
        target.copy_(block)
        torch.cuda.synchronize()

    bandwidth = 2 * block.nbytes / _seconds(copied, during=seconds)
    found = torch.cuda.get_device_properties(0)
    return Device(THIS, rates, bandwidth, float(found.total_memory), f"{found.name}, timed just now", found.name)


class _Timed(dict[Dtype, float | None]):
    """Rates of this machine, each timed when it is first asked for."""

    def __init__(self, timed: Callable[[Dtype], float]) -> None:
        super().__init__()
        self._timed = timed

    def __missing__(self, dtype: Dtype) -> float:
        self[dtype] = rate = self._timed(dtype)
        return rate


def _product_rate(dtype: Dtype, *, size: int, on: Literal["cpu", "cuda"], during: float) -> float:
    """FLOP/s of a square product in PyTorch, which computes in every dtype and emulates what a processor lacks."""
    import torch

    square = torch.ones(size, size, dtype=getattr(torch, dtype), device=on)

    def product() -> None:
        square @ square
        if on == "cuda":
            torch.cuda.synchronize()

    return 2 * size**3 / _seconds(product, during=during)


@lru_cache
def times_slower(dtype: Dtype) -> float:
    """How many times longer than in float32 a product takes on this CPU: dozens where the dtype is emulated."""
    plain, low = (_product_rate(each, size=256, on="cpu", during=0.02) for each in ("float32", dtype))
    return plain / low
