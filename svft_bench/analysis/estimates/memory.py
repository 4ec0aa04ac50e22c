"""Bytes that are alive at the peak of a training step: weights, factors, gradients and optimizer, activations."""

from __future__ import annotations

from dataclasses import dataclass

from svft_bench.analysis.estimates.paths import Path
from svft_bench.analysis.estimates.workload import Body, Workload
from svft_bench.config.spec import RunSpec
from svft_bench.methods.counts import frozen_factors, trained_parameters

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# Bytes of a number in the blocks' matrices; of 4 bits, with a float32 for every 64 of them.
FEW_BITS = {"8bit": 1.0, "4bit": 0.5 + 4 / 64}
CACHED: tuple[Path, ...] = ("weight",)


@dataclass(frozen=True)
class Memory:
    """Bytes by what they hold; `optimizer` is gradients, the trained entries of an adapter, and AdamW's two moments."""

    weights: float
    factors: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """Everything together."""
        return self.weights + self.factors + self.optimizer + self.activations


def memory(spec: RunSpec, *, size: Workload, model: Body, paths: dict[tuple[int, int], Path]) -> Memory:
    """What one training step needs; the process itself and its libraries are not in it."""
    stored, run = BYTES[spec.model.dtype], BYTES[spec.train.precision]
    trained = trained_parameters(spec.model, spec.method) or 0
    head = spec.model.head_modules and spec.task.outputs * model.width
    adapter = 4 * trained if spec.method.trains == "adapter" else 0
    factors = frozen_factors(spec.model, spec.method) * stored
    factors += run * model.layers * sum(i * o for i, o in model.adapted if paths.get((i, o)) in CACHED)
    whole = spec.model.parameters - (model.block_parameters if spec.model.load_in else 0)
    weights = whole * stored + (spec.model.parameters - whole) * FEW_BITS.get(spec.model.load_in or "", 0.0)
    if spec.model.load_in:  # a matrix is whole again while it multiplies
        weights += stored * max(i * o for i, o in model.matrices)
    elif stored != run and spec.method.trains != "head":  # autocast's copies live from the forward to the backward
        copied = model.block_parameters / (model.layers if spec.train.gradient_checkpointing else 1)
        weights += run * copied
    activations = _activations(spec, size=size, model=model, run=run)
    return Memory(weights, float(factors), 12.0 * (trained + (head or 0)) + adapter, activations)


def _activations(spec: RunSpec, *, size: Workload, model: Body, run: int) -> float:
    tokens = size.longest * spec.train.batch_size
    scored = (size.targets or size.longest) * spec.train.batch_size
    loss = 3.0 * 4 * scored * model.vocabulary  # logits, their softmax and its gradient, in float32
    if spec.method.trains == "head":
        return 4.0 * tokens * (4 * model.width + max(o for _, o in model.matrices)) + loss
    block = _saved(spec, model=model, run=run, positions=size.longest) * tokens
    if spec.train.gradient_checkpointing:
        return model.layers * tokens * model.width * run + block + loss
    return model.layers * block + loss


def _saved(spec: RunSpec, *, model: Body, run: int, positions: int) -> float:
    """Bytes per token that one block keeps from its forward for its backward."""
    inner = max(o for _, o in model.matrices if o != model.vocabulary)
    norms = 2 * 4 * model.width
    attention = 4 * model.attention * run
    if spec.model.attention == "eager":
        attention += 2 * model.heads * positions * 4
    mlp = (3 if model.gated else 1) * inner * run
    inputs = {"adapter": _inputs(model), "all": 2 * model.width + inner, "head": 0}[spec.method.trains] * run
    return norms + attention + mlp + inputs + _of_the_method(spec, model=model) * run


def _inputs(model: Body) -> int:
    """Numbers per token in the inputs that adapted matrices keep; matrices of one shape read one input."""
    return sum(i for i, _ in set(model.adapted))


def _of_the_method(spec: RunSpec, *, model: Body) -> int:
    """Numbers per token that the adapted matrices keep beside their inputs."""
    if spec.method.peft_type in ("SVFT", "VECTORFIT"):
        return sum(min(pair) for pair in model.adapted if max(pair) >= 2 * min(pair))
    rank = int(spec.method.adapter.get("r", 0))
    dora = sum(2 * o for _, o in model.adapted) if spec.method.adapter.get("use_dora") else 0
    return rank * len(model.adapted) * (2 if spec.method.peft_type == "VERA" else 1) + dora
