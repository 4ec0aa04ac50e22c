"""What would make a run fit into a device's memory, the cheapest first: `remedies(spec, on=device)`."""

from __future__ import annotations

from collections.abc import Iterator

from svft_bench.analysis.estimates.devices import Device
from svft_bench.analysis.estimates.estimate import USABLE, estimate
from svft_bench.analysis.estimates.memory import Memory
from svft_bench.config.spec import RunSpec
from svft_bench.config.wording import plural

DEVICES = (2, 4, 8, 16, 32, 64)  # of one machine, over which strategy=fsdp would shard
Changes = dict[str, object]


def remedies(spec: RunSpec, *, on: Device) -> list[str]:
    """Settings with which the run fits, the first of each kind that is enough; what helps nothing is left out.

    A run that has no room for a micro-batch takes it in parts by itself, under its own name. All others are another
    run, but for gradient checkpointing in that its result is the same.
    """
    found = [told for told, changed in _tries(spec) if _fits(_memory(changed, on=on), on=on)]
    kinds = {told.split(",")[0].split(" in ")[0]: told for told in reversed(found)}
    chosen = [told for told in found if told in kinds.values()]
    need = _memory(_with(spec, checkpointed=True, rows=1), on=on)
    return chosen or [told for n in DEVICES if (told := _sharded(need, n, on=on))][:1]


def _tries(spec: RunSpec) -> Iterator[tuple[str, RunSpec]]:
    """Changes and what they are called, the least one first; later ones hold the earlier ones too."""
    halves = [spec.train.batch_size >> k for k in range(1, spec.train.batch_size.bit_length())]
    for rows in halves:
        yield f"by itself in {_parts(rows)}", _with(spec, rows=rows)
    checkpointed = "train.gradient_checkpointing=true"
    if not spec.train.gradient_checkpointing:
        yield checkpointed, _with(spec, checkpointed=True)
        for rows in halves:
            yield f"{checkpointed}, in {_parts(rows)}", _with(spec, checkpointed=True, rows=rows)
    if spec.takes_few_bits and spec.model.load_in is None:
        for bits in ("8bit", "4bit"):
            yield f"model.load_in={bits}", _with(spec, bits=bits)
            for rows in halves:
                told = f"model.load_in={bits} {checkpointed}, in {_parts(rows)}"
                yield told, _with(spec, bits=bits, checkpointed=True, rows=rows)


def _parts(rows: int) -> str:
    return f"parts of {plural(rows, 'row')}"


def _with(spec: RunSpec, *, rows: int | None = None, checkpointed: bool = False, bits: str | None = None) -> RunSpec:
    train: Changes = {"gradient_checkpointing": checkpointed or spec.train.gradient_checkpointing}
    if rows is not None:
        train |= {"batch_size": rows, "gradient_accumulation": spec.train.gradient_accumulation}
    model = spec.model if bits is None else spec.model.model_copy(update={"load_in": bits})
    return spec.model_copy(update={"train": spec.train.model_copy(update=train), "model": model})


def _memory(spec: RunSpec, *, on: Device) -> Memory:
    return estimate(spec, on=on).memory


def _fits(need: Memory, *, on: Device) -> bool:
    return need.total <= USABLE * on.memory


def _sharded(need: Memory, devices: int, *, on: Device) -> str | None:
    """Weights, factors and optimizer spread over devices, each with the activations of a row of its own.

    Before and after training each device has all weights and factors.
    """
    whole = need.weights + need.factors
    each = max((whole + need.optimizer) / devices + need.activations, whole)
    return f"strategy=fsdp over {devices} devices" if each <= USABLE * on.memory else None
