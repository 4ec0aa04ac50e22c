"""What a sweep takes of several devices: their hours, the time until the last one is through, and the disk beside them.

Cells go to devices the longest first, each to the one that is free first: at most 4/3 of the best time there can be.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from svft_bench.analysis.estimates.memory import BYTES
from svft_bench.config.spec import RunSpec
from svft_bench.methods.counts import adapted_matrices, trained_parameters

DECOMPOSED = ("SVFT", "VECTORFIT")
MOMENTS = 3  # numbers in a checkpoint for each that is trained: itself and AdamW's two moments
KEPT = 2  # checkpoints of a training that is under way
FLOAT = 4  # bytes, of factors and trained weights


@dataclass(frozen=True)
class Share:
    """What one cell takes of a device: its training, which others of the same `train_id` find done, and the rest."""

    train_id: str
    train_seconds: float
    eval_seconds: float
    load_seconds: float = 0.0


@dataclass(frozen=True)
class Disk:
    """Bytes of a whole sweep on the disk."""

    svd_cache: float
    checkpoints: float
    hub: float


def busy(shares: Sequence[Share]) -> dict[str, float]:
    """Seconds of a device for each training and all that is scored after it."""
    found: dict[str, float] = {}
    for share in shares:
        training = 0.0 if share.train_id in found else share.train_seconds
        found[share.train_id] = found.get(share.train_id, 0.0) + training + share.eval_seconds + share.load_seconds
    return found


def device_seconds(shares: Sequence[Share], *, start: float) -> list[float]:
    """Seconds of each of these trainings with its scores, the first of them with the start of the command."""
    first, *others = busy(shares).values() or (None,)
    return [] if first is None else [first + start, *others]


def wall(seconds: Sequence[float], *, devices: int) -> float:
    """Seconds until the last of so many devices is through."""
    free = [0.0] * devices
    for one in sorted(seconds, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + one)
    return max(free)


def disk(specs: Sequence[RunSpec], *, devices: int) -> Disk:
    """What these runs leave on the disk or hold there, with as many trainings under way as there are devices."""
    trainings = {spec.train_id: _trained_bytes(spec) for spec in specs}
    under_way = sorted(trainings.values(), reverse=True)[:devices]
    models = {(spec.model.path, spec.model.revision): spec.model for spec in specs if spec.model.source == "hub"}
    return Disk(
        svd_cache=sum(_factors(specs).values()),
        checkpoints=2 * sum(trainings.values()) + KEPT * MOMENTS * sum(under_way),
        hub=float(sum(model.parameters * BYTES[model.dtype] for model in models.values())),
    )


def _trained_bytes(spec: RunSpec) -> float:
    """Of the weights that a training keeps, which lie there twice: for a run, and as PEFT has them."""
    head = max((min(pair) for pair in spec.model.matrices.values()), default=0) * spec.task.outputs
    trained = trained_parameters(spec.model, spec.method) or 0
    return float(FLOAT * (trained + (head if spec.head_modules else 0)))


def _factors(specs: Sequence[RunSpec]) -> dict[tuple[str, str], float]:
    """Bytes of the singular factors of each matrix of a model, which all its cells share."""
    found: dict[tuple[str, str], float] = {}
    for spec in specs:
        if spec.method.peft_type in DECOMPOSED and spec.method.modules is not None:
            for letters, (i, o), copies in adapted_matrices(spec.model, spec.method.modules):
                found[spec.model.path, f"{letters} {i} {o}"] = float(FLOAT * copies * min(i, o) * (i + o + 1))
    return found
