"""`svft-bench plan OVERRIDES`: the cells of a sweep, which of them are recorded, and what the others will take.

Time and memory come from a record of the same model, task and method when there is one (marked `measured`), else from
arithmetic that is an upper bound on the work and an assumption about the machine (marked `≈`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from svft_bench.compose import Cell, cells
from svft_bench.counts import frozen_factors, trained_parameters
from svft_bench.record import RunRecord, load_records, record_path
from svft_bench.spec import RunSpec

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Estimate:
    """Seconds and bytes of one run, and whether they were measured."""

    seconds: float
    memory_bytes: float
    measured: bool


def main(argv: list[str]) -> int:
    """Print the plan of the cells that these overrides stand for."""
    planned = cells([item for item in argv if item not in ("-m", "--multirun")])
    records = load_records(planned[0].settings.results_dir)
    rate = machine_flops()
    table = Table(box=None, pad_edge=False)
    for name in ("model", "method", "task", "seed", "trained", "time", "memory", "record"):
        numeric = name in ("seed", "trained", "time", "memory")
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    left = 0.0
    for cell in planned:
        done = record_path(cell.settings.results_dir, cell.spec).exists()
        guess = estimate(cell.spec, records, flops_per_second=rate)
        left += 0 if done else guess.seconds
        table.add_row(*_row(cell, guess), "done" if done else "-")
    console = Console()
    console.print(table)
    console.print(
        f"{len(planned)} cells, about {duration(left)} left on this machine ({rate / 1e9:.0f} GFLOP/s in float32)"
    )
    return 0


def estimate(spec: RunSpec, records: Sequence[RunRecord], *, flops_per_second: float) -> Estimate:
    """What one run takes: the newest like it if one was recorded, else arithmetic.

    The arithmetic counts 6 FLOPs per parameter and position in training (4 where the base is frozen) and 2 in
    evaluation; it bounds text from above by the longest allowed sequence.
    """
    like = [record for record in records if _alike(record.spec, spec)]
    if like:
        newest = max(like, key=lambda record: record.provenance.created)
        costs = newest.costs
        seconds = costs.load_seconds + costs.adapt_seconds + costs.train_seconds + costs.eval_seconds
        return Estimate(seconds, costs.peak_memory_bytes, measured=True)
    trained = trained_parameters(spec.model, spec.method) or 0
    frozen_base = 4 if spec.method.trains == "adapter" else 6
    examples, evaluated, positions = _sizes(spec)
    work = spec.model.parameters * positions * (frozen_base * examples * spec.train.epochs + 2 * evaluated)
    weights = spec.model.parameters * BYTES[spec.model.dtype] + frozen_factors(spec.model, spec.method) * 4
    activations = spec.train.batch_size * positions * spec.model.layers * _width(spec) * 16 * 4
    return Estimate(work / flops_per_second, weights + 16 * trained + activations, measured=False)


def _alike(one: RunSpec, other: RunSpec) -> bool:
    return one.model_copy(update={"seed": other.seed, "data": other.data}).run_id == other.run_id


def _sizes(spec: RunSpec) -> tuple[int, int, int]:
    """Training examples, evaluated examples, and positions (patches or tokens, at most) of one example."""
    task = spec.task
    train = task.train.rows or 0
    if task.few_shot is not None:
        train = task.few_shot.train_per_class * (task.labels or 1)
    evaluated = sum(min(item.data.rows or 0, spec.limit.eval or math.inf) for item in task.evals)
    positions = task.max_length or (task.prompt.max_length if task.prompt else 0)
    if spec.model.image is not None:
        positions = (spec.model.image.size // (spec.model.patch or 16)) ** 2 + 1
    generated = max((item.generation.max_new_tokens for item in task.evals if item.generation), default=0)
    return min(train, spec.limit.train or train), int(evaluated), positions + generated


def _width(spec: RunSpec) -> int:
    return max(min(pair) for pair in spec.model.matrices.values())


def machine_flops(*, size: int = 768, seconds: float = 0.05) -> float:
    """Float32 FLOP/s of this machine's CPU in a matrix product, timed for a moment; asking a GPU would load torch."""
    import numpy

    left = numpy.ones((size, size), dtype=numpy.float32)
    left @ left
    start, rounds = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        left @ left
        rounds += 1
    return float(2 * size**3 * rounds / (time.perf_counter() - start))


def _row(cell: Cell, guess: Estimate) -> list[str]:
    spec = cell.spec
    trained = trained_parameters(spec.model, spec.method)
    sign = "" if guess.measured else "≈ "
    return [
        spec.model.name,
        _settings(cell),
        spec.task.name,
        str(spec.seed),
        "?" if trained is None else f"{trained:,}",
        sign + duration(guess.seconds),
        sign + f"{guess.memory_bytes / 2**30:.1f} GiB",
    ]


def _settings(cell: Cell) -> str:
    own = [item.split(".", 1)[1] for item in cell.overrides if item.startswith("method.")]
    return " ".join([cell.spec.method.name, *own])


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
