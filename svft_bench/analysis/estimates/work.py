"""Floating-point operations of a run: 4 N i o for a frozen matrix in training, by its path for an adapted one."""

from __future__ import annotations

from collections import Counter
from typing import Any

from svft_bench.analysis.estimates.paths import Path, path_of, relative_cost
from svft_bench.analysis.estimates.workload import Body, Workload
from svft_bench.config.spec import RunSpec

SINGULAR = ("SVFT", "VECTORFIT")


def training_work(spec: RunSpec, *, size: Workload, model: Body) -> float:
    """FLOPs of all forwards and backwards; what gradient checkpointing computes again is in it."""
    tokens = size.positions * spec.train.batch_size
    frozen = {"adapter": 4.0, "all": 6.0, "head": 2.0}[spec.method.trains]
    adapted = Counter(model.adapted)
    blocks = frozen * tokens * sum(i * o for i, o in (Counter(model.matrices) - adapted).elements())
    blocks += sum(_adapted(i, o, spec=spec, tokens=tokens) for i, o in model.adapted)
    passes = 1 if spec.method.trains == "head" else 3
    blocks += passes * 4 * tokens * size.positions * model.attention
    if spec.train.gradient_checkpointing and passes > 1:
        blocks *= 4 / 3 if spec.method.trains == "all" else 3 / 2
    head = frozen * (size.targets or size.positions) * spec.train.batch_size * model.width * model.vocabulary
    share = size.examples / (size.micro_batches * spec.train.batch_size) if size.micro_batches else 0.0
    return size.micro_batches * share * (model.layers * blocks + head)


def evaluation_work(*, size: Workload, model: Body) -> float:
    """FLOPs of all forwards without gradients; the update is merged then, so every method costs what the base does.

    Every beam of a decoder reads the prompt, as transformers has it; an encoder reads once for all.
    """
    reads = 1 if size.targets else size.beams
    whole, written = size.eval_positions + size.new_tokens, size.beams * size.new_tokens
    products = (
        reads * size.eval_positions + written
    ) * model.block_parameters + written * model.width * model.vocabulary
    return float(size.evaluated * (2 * products + 4 * model.layers * reads * whole**2 * model.attention))


def paths(spec: RunSpec, *, size: Workload, model: Body) -> dict[tuple[int, int], Path]:
    """The path of each shape [in, out] that a method in the singular basis adapts; nothing for other methods."""
    if spec.method.peft_type not in SINGULAR:
        return {}
    tokens, accumulation = size.positions * spec.train.batch_size, spec.train.gradient_accumulation
    return {
        (i, o): path_of(
            i,
            o,
            adapter=spec.method.adapter,
            tokens=tokens,
            accumulation=accumulation,
            dense=spec.model.load_in is None,
        )
        for i, o in model.adapted
    }


def _adapted(i: int, o: int, *, spec: RunSpec, tokens: float) -> float:
    adapter, frozen = spec.method.adapter, 4.0 * tokens * i * o
    if spec.method.peft_type in SINGULAR:
        how: dict[str, Any] = {
            "adapter": adapter,
            "tokens": tokens,
            "accumulation": spec.train.gradient_accumulation,
        }
        if adapter.get("variant") == "released":  # the authors' layer builds its weight in every forward
            return frozen * relative_cost(i, o, **how | {"accumulation": 1})["weight"]
        return frozen * relative_cost(i, o, **how)[path_of(i, o, dense=spec.model.load_in is None, **how)]
    rank = int(adapter.get("r", 0))
    if spec.method.peft_type == "LORA":
        weight_norm = 2.0 * rank * i * o if adapter.get("use_dora") else 0.0
        return frozen + 6.0 * tokens * rank * (i + o) + weight_norm
    if spec.method.peft_type == "VERA":  # its two matrices are frozen: no gradient of theirs
        return frozen + 4.0 * tokens * rank * (i + o)
    if spec.method.peft_type == "BOFT":  # the rotation is a dense i x i matrix, multiplied into the weight
        return 1.5 * frozen + 4.0 * i * i * o + 12.0 * int(adapter["boft_n_butterfly_factor"]) * i**3
    return frozen
