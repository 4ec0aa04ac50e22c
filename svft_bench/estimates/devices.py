"""What a device can do: data-sheet numbers by name, or this machine's CPU timed for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any, Literal

import psutil
import yaml

Dtype = Literal["float32", "bfloat16", "float16"]

THIS = "this"


@dataclass(frozen=True)
class Device:
    """FLOP/s of matrix products by dtype (None: it has no such arithmetic), bytes/s, and bytes of memory."""

    name: str
    flops: dict[Dtype, float | None]
    bandwidth: float
    memory: float
    source: str


def device_names() -> list[str]:
    """The devices that `--on` takes."""
    return [THIS, *_sheet()]


@lru_cache
def device(name: str) -> Device:
    """The device of this name.

    Raises:
        ValueError: nothing is known of it.
    """
    if name == THIS:
        return _this_machine()
    if name not in _sheet():
        raise ValueError(f"device {name} is unknown; there are {', '.join(device_names())}")
    row = _sheet()[name]
    rates: dict[Dtype, float | None] = {
        dtype: None if row[dtype] is None else 1e12 * row[dtype] for dtype in ("float32", "bfloat16", "float16")
    }
    return Device(name, rates, 1e9 * row["bandwidth"], 1e9 * row["memory"], row["source"])


@lru_cache
def _sheet() -> dict[str, dict[str, Any]]:
    text = (Path(__file__).parent / "devices.yaml").read_text(encoding="utf-8")
    rows: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return rows


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


def _this_machine(*, size: int = 768, seconds: float = 0.1) -> Device:
    """This machine's CPU in float32, which stands for its other dtypes too; asking a GPU would load torch."""
    import numpy

    square = numpy.ones((size, size), dtype=numpy.float32)
    block = numpy.ones(2**23, dtype=numpy.float32)
    target = numpy.empty_like(block)
    rate = 2 * size**3 / _seconds(lambda: square @ square, during=seconds)
    bandwidth = 2 * block.nbytes / _seconds(lambda: numpy.copyto(target, block), during=seconds)
    rates: dict[Dtype, float | None] = {"float32": rate, "bfloat16": rate, "float16": rate}
    return Device(THIS, rates, bandwidth, float(psutil.virtual_memory().total), "timed just now, in float32")
