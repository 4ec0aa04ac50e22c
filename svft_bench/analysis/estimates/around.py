"""What a run takes beside its steps and its scores: loading, the decomposition of its weights, its process, its record.

seconds = constants of a class of device, in `around.yaml`, times bytes of weights, rows, and min(m, n) m n of matrices
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import yaml

from svft_bench.analysis.estimates.devices import Device
from svft_bench.analysis.estimates.memory import BYTES
from svft_bench.analysis.estimates.workload import Workload
from svft_bench.config.spec import RunSpec
from svft_bench.methods.counts import adapted_matrices

DECOMPOSED = ("SVFT", "VECTORFIT")
FLOAT = 4  # bytes of a number in a factor
GIB = 2**30
GIGA = 1e9


@dataclass(frozen=True)
class Around:
    """Seconds of a class of device.

    Of a command's start; of a run, of any model's loading, of each GiB of weights and each row that are read; of each
    matrix and each 10^9 of min(m, n) m n that are decomposed, and of each GiB of factors that the cache has.
    """

    start: float
    run: float
    load: float
    gib: float
    row: float
    matrix: float
    decompose: float
    factors: float


def around(on: Device) -> Around:
    """The constants of this device's class."""
    return _classes()["gpu" if on.gpu else "cpu"]


def loading(spec: RunSpec, *, size: Workload, on: Device) -> float:
    """Seconds until data and model are there, and of the run's own process and record."""
    of = around(on)
    weights = spec.model.parameters * BYTES[spec.model.dtype] / GIB
    return of.run + of.load + of.gib * weights + of.row * (size.read + size.evaluated)


def decomposing(specs: Sequence[RunSpec], *, on: Device) -> list[float]:
    """Seconds of each run for its singular factors: the first in this order decomposes, the others read."""
    of, known = around(on), set[tuple[str, str]]()
    return [sum(_matrices(spec, of=of, known=known)) for spec in specs]


def _matrices(spec: RunSpec, *, of: Around, known: set[tuple[str, str]]) -> list[float]:
    if spec.method.peft_type not in DECOMPOSED or spec.method.modules is None:
        return []
    seconds = []
    for letters, (i, o), copies in adapted_matrices(spec.model, spec.method.modules):
        n, name = min(i, o), (spec.model.path, f"{letters} {i} {o}")
        made = of.matrix + of.decompose * n * i * o / GIGA
        read = of.factors * FLOAT * n * (i + o + 1) / GIB
        seconds.append(copies * (read if name in known else made))
        known.add(name)
    return seconds


@lru_cache
def _classes() -> dict[str, Around]:
    text = (Path(__file__).parent / "around.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, float]] = yaml.safe_load(text)
    names = [field.name for field in fields(Around)]
    return {name: Around(**{key: values[key] for key in names}) for name, values in found.items()}
