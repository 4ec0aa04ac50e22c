"""Seconds and bytes of one run on one device.

seconds = FLOPs / (peak · UTILISATION) + bytes moved / bandwidth + launches, for training and for evaluation; `around`
has what a run takes beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

from svft_bench.analysis.estimates.around import loading
from svft_bench.analysis.estimates.devices import Device, Dtype
from svft_bench.analysis.estimates.launches import evaluation_launches, training_launches
from svft_bench.analysis.estimates.memory import BYTES, Memory, memory
from svft_bench.analysis.estimates.paths import Path
from svft_bench.analysis.estimates.work import evaluation_work, paths, training_work
from svft_bench.analysis.estimates.workload import Body, Workload, body, workload
from svft_bench.config.spec import KINDS, RunSpec

UTILISATION = 0.5  # share of the peak that matrix products reach in a real step; source: ours, an assumption
USABLE = 0.92  # share of a device's memory that a step can fill, the rest being its context and fragments; source: ours


@dataclass(frozen=True)
class Estimate:
    """One run on one device; `flops` are those of training, `load_seconds` those of neither training nor scoring."""

    train_seconds: float
    eval_seconds: float
    load_seconds: float
    step_seconds: float
    flops: float
    memory: Memory
    paths: dict[tuple[int, int], Path]

    @property
    def seconds(self) -> float:
        """All but the decomposition of the weights, which cells of a model share (`around.decomposing`)."""
        return self.train_seconds + self.eval_seconds + self.load_seconds


def estimate(spec: RunSpec, *, on: Device) -> Estimate:
    """What this run takes on this device."""
    return estimate_of(spec, size=workload(spec), model=body(spec), on=on)


def estimate_of(spec: RunSpec, *, size: Workload, model: Body, on: Device) -> Estimate:
    """The same for a run of this size on this part of its model."""
    multiplied = _whole_bands(spec) if on.gpu else spec
    taken = paths(multiplied, size=size, model=model)
    need = memory(spec, size=size, model=model, paths=taken)
    flops = training_work(multiplied, size=size, model=model)
    usual = need.activations * size.positions / size.longest
    moved = 4 * usual * size.micro_batches + (need.weights + 2 * need.optimizer) * size.steps
    training = flops / _rate(on, spec.train.precision) + moved / on.bandwidth
    training += training_launches(spec, size=size, model=model) if on.gpu else 0.0
    return Estimate(
        train_seconds=training,
        eval_seconds=_evaluation(spec, size=size, model=model, on=on),
        load_seconds=loading(spec, size=size, on=on),
        step_seconds=training / size.steps if size.steps else 0.0,
        flops=flops,
        memory=need,
        paths=taken,
    )


def is_estimated(spec: RunSpec) -> bool:
    """Whether this arithmetic is of its model: a stack of blocks at one width and one length, which no UNet is."""
    return not KINDS[spec.task.kind].draws


def unfit(spec: RunSpec, found: Estimate, *, on: Device) -> str | None:
    """Why the run cannot happen on this device, if so."""
    if on.flops[spec.train.precision] is None:
        return f"{on.name} has no {spec.train.precision}"
    if is_estimated(spec) and found.memory.total > USABLE * on.memory:
        return f"does not fit: {on.name} has {on.memory / 2**30:.0f} GiB"
    return None


def _evaluation(spec: RunSpec, *, size: Workload, model: Body, on: Device) -> float:
    """Every token that is generated reads all weights once for its batch."""
    read = size.decode_steps * spec.model.parameters * BYTES[spec.model.dtype]
    launches = evaluation_launches(spec, size=size, model=model) if on.gpu else 0.0
    return evaluation_work(size=size, model=model) / _rate(on, spec.model.dtype) + read / on.bandwidth + launches


def _whole_bands(spec: RunSpec) -> RunSpec:
    """The run with a core that costs as much on a GPU, where a band is multiplied whole (`tuners.bands`)."""
    if spec.method.adapter.get("pattern") != "banded":
        return spec
    return spec.model_copy(update={"method": spec.method.model_copy(update={"pattern": "random"})})


def _rate(on: Device, dtype: Dtype) -> float:
    """FLOP/s that a step reaches; a device without the dtype's arithmetic computes in float32."""
    return UTILISATION * (on.flops[dtype] or on.flops["float32"] or 1.0)
