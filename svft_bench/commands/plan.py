"""`svft-bench plan OVERRIDES [--on DEVICE]`: the cells of a sweep, which are recorded, and what the others will take.

Time and memory are arithmetic for the named device (`estimates`), except on this machine where a run of the same cell
at another seed was recorded: then its own costs are shown, without the sign ≈.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from svft_bench.analysis.estimates import (
    THIS,
    UTILISATION,
    Device,
    Estimate,
    Share,
    around,
    decomposing,
    described,
    device,
    device_names,
    device_seconds,
    disk,
    duration,
    error,
    estimate,
    gibibytes,
    is_estimated,
    remedies,
    unfit,
    wall,
)
from svft_bench.analysis.tables.fitting import whole
from svft_bench.analysis.tables.pairs import named_in
from svft_bench.analysis.tables.seeds import seeds_for
from svft_bench.compose import Cell, cells
from svft_bench.config.wording import Parser, devices, plural, points
from svft_bench.methods.counts import NUMBERS, trained_parameters
from svft_bench.records import RunRecord, load_records
from svft_bench.running.preflight import check_methods
from svft_bench.running.sweeping.failures import State, reason, state
from svft_bench.running.sweeping.sweep import counted

MEMORY = ("weights", "factors", "optimizer", "activations")
COLUMNS = ("model", "method", "task", "seed", "trained", "time", "memory", *MEMORY)


@dataclass(frozen=True)
class Planned:
    """One cell with its estimate, the record of another seed of it, and its state."""

    cell: Cell
    guess: Estimate
    like: RunRecord | None
    state: State
    unfit: str | None
    factors: float

    @property
    def known(self) -> bool:
        """Whether its time is measured, or its model one that the estimates are of."""
        return self.like is not None or is_estimated(self.cell.spec)

    @property
    def share(self) -> Share:
        """What it takes of a device, the training apart, which other cells may share; nothing where it is not known."""
        if not self.known:
            return Share(self.cell.spec.train_id, 0.0, 0.0)
        loaded = self.guess.load_seconds + self.factors
        if self.like is None:
            return Share(self.cell.spec.train_id, self.guess.train_seconds, self.guess.eval_seconds, loaded)
        costs = self.like.costs
        return Share(self.cell.spec.train_id, costs.train_seconds, costs.eval_seconds, loaded)

    @property
    def seconds(self) -> float:
        """Measured where another seed was recorded on such a machine, else estimated."""
        if self.like is None:
            return self.guess.seconds + self.factors
        costs = self.like.costs
        return costs.load_seconds + costs.adapt_seconds + costs.train_seconds + costs.eval_seconds


def main(argv: list[str]) -> int:
    """Print the plan of the cells that these overrides stand for."""
    asked = _parser().parse_intermixed_args(argv)
    found = list({cell.spec.run_id: cell for cell in cells(asked.overrides)}.values())  # a run asked for twice is one
    if any(map(_is_of_an_adapter, asked.overrides)):
        check_methods(found)
    on = device(asked.on, cpu=found[0].settings.device == "cpu")
    wanted = {cell.spec.cell_id for cell in found}
    near = {cell.spec.place for cell in found}
    records = load_records(found[0].settings.results_dir, of=lambda one: one.cell_id in wanted, near=near)
    planned = plan(found, records=records, on=on)
    folder, named = found[0].settings.results_dir, named_in(asked.overrides)
    gaps = seeds_for(found, asked.gap / 100, folder=folder, named=named) if asked.gap else []
    if asked.json:
        body = as_json(planned, on=on, devices=asked.devices)
        print(json.dumps(body | ({"gaps": [asdict(gap) for gap in gaps]} if asked.gap else {}), indent=2))
        return 0
    console = Console(markup=False)
    print(whole(_table(planned)), end="")
    for line in [*_notes(planned, on=on, devices=asked.devices), *(gap.told for gap in gaps)]:
        console.print(line, highlight=False, soft_wrap=True)  # a command is copied whole
    return 0


def _is_of_an_adapter(override: str) -> bool:
    """Whether it sets a field that the adapter's own config alone can judge, which takes seconds to import."""
    group, _, name = override.lstrip("+").partition("=")[0].partition(".")
    return group == "method" and name not in {"", "modules", *NUMBERS}


def plan(found: Sequence[Cell], *, records: Sequence[RunRecord], on: Device) -> list[Planned]:
    """Each cell with what it will take on this device, and whether it is done."""
    alike = _newest(records, chip=on.chip)
    states = [state(cell) for cell in found]
    left = [cell for cell, known in zip(found, states, strict=True) if known != "done"]
    factors = dict(zip(map(id, left), decomposing([cell.spec for cell in left], on=on), strict=True))
    planned = []
    for cell, known in zip(found, states, strict=True):
        guess = estimate(cell.spec, on=on)
        like = alike.get(cell.spec.cell_id)
        planned.append(Planned(cell, guess, like, known, unfit(cell.spec, guess, on=on), factors.get(id(cell), 0.0)))
    return planned


def _newest(records: Sequence[RunRecord], *, chip: str | None) -> dict[str, RunRecord]:
    """The newest record of each cell on such a processor or GPU, whatever its seed, by `cell_id`."""
    here = sorted((r for r in records if r.provenance.chip == chip), key=lambda record: record.provenance.created)
    return {record.spec.cell_id: record for record in here}


def _table(planned: Sequence[Planned]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in (*COLUMNS, "state"):
        words = name in ("model", "method", "task", "state")
        table.add_column(name, justify="left" if words else "right")
    for item in planned:
        table.add_row(*_row(item))
    return table


def _row(item: Planned) -> list[str]:
    spec, need = item.cell.spec, item.guess.memory
    trained = trained_parameters(spec.model, spec.method)
    measured = item.like is not None
    peak = item.like.costs.peak_memory_bytes if item.like else need.total
    parts = [gibibytes(getattr(need, name)) if is_estimated(spec) else "?" for name in MEMORY]
    own = [line.split(".", 1)[1] for line in item.cell.overrides if line.startswith(("method.", "train."))]
    return [
        spec.model.name,
        " ".join([spec.method.name, *own]),
        spec.task.name,
        str(spec.seed),
        "?" if trained is None else f"{trained:,}",
        ("" if measured else "≈ ") + duration(item.seconds) if item.known else "?",
        ("" if measured else "≈ ") + gibibytes(peak) if item.known else "?",
        *parts,
        item.unfit or {"done": "done", "failed": "failed", "missing": "-"}[item.state],
    ]


def _notes(planned: Sequence[Planned], *, on: Device, devices: int) -> list[str]:
    states = [item.state for item in planned]
    todo = [item for item in planned if item.state != "done" and item.unfit is None]
    each = device_seconds([item.share for item in todo], start=around(on).start)
    lines = [f"{plural(len(planned), 'cell')}: {counted(states)}; about {duration(sum(each))} left on {described(on)}."]
    if devices > 1:
        through = duration(wall(each, devices=devices))
        lines.append(f"On {devices} such devices about {through}: the longest first, one device for a cell.")
    lines += [*_by_method(planned), *_fitting(planned, on=on)]
    if unknown := sum(not item.known for item in planned):
        lines.append(f"{plural(unknown, 'cell')} of a UNet: time and memory are not estimated, and in no sum here.")
    lines.append(_disk(planned, devices=devices))
    lines += [f"failed: {item.cell.typed}\n  {reason(item.cell)}" for item in planned if item.state == "failed"]
    lines += [f"{name}: {text}." for name, text in _paths(planned).items()]
    launched = ", with the launches of a GPU" if on.gpu else ""
    lines.append(
        f"Time: training and evaluation at {UTILISATION:.0%} of the peak (assumed) and the whole bandwidth{launched}; "
        f"{duration(around(on).start)} until a command begins, loading, and each matrix of a model decomposed once, as "
        "with an empty cache; texts count at their usual or else longest length. "
        "Memory: GiB at the peak of a step, without the process and its libraries."
    )
    return [*lines, *([known] if (known := error(on)) else [])]


def _by_method(planned: Sequence[Planned]) -> list[str]:
    """How many trials each of several methods gets, and what they take."""
    methods: dict[str, list[Planned]] = {}
    for item in (item for item in planned if item.known):
        methods.setdefault(item.cell.spec.method.name, []).append(item)
    if len(methods) < 2:
        return []
    sums = (f"{name} {len(own)} in {duration(sum(item.seconds for item in own))}" for name, own in methods.items())
    return [f"By method: {', '.join(sums)}."]


def _fitting(planned: Sequence[Planned], *, on: Device) -> list[str]:
    """What would make each model and method fit that does not, said once."""
    found = ((f"{name} on {model}", _ways(item, on=on)) for (model, name, _), item in _unfit(planned).items())
    lines = (
        f"{cell} fits {'; '.join(ways)}." if ways else f"{cell} fits in no way known here." for cell, ways in found
    )
    return list(dict.fromkeys(lines))


def _unfit(planned: Sequence[Planned]) -> dict[tuple[str, str, str], Planned]:
    """One of each kind of cell that does not fit into the memory."""
    kinds = {(spec.model.name, spec.method.name, spec.task.name): item for item in planned for spec in [item.cell.spec]}
    return {kind: item for kind, item in kinds.items() if item.unfit is not None}


def _ways(item: Planned, *, on: Device) -> list[str]:
    return remedies(item.cell.spec, on=on) if on.flops[item.cell.spec.train.precision] is not None else []


def _disk(planned: Sequence[Planned], *, devices: int) -> str:
    found = disk([item.cell.spec for item in planned], devices=devices)
    return (
        f"Disk: {gibibytes(found.svd_cache)} GiB of singular factors in the cache, {gibibytes(found.checkpoints)} of "
        f"trained weights and checkpoints, {gibibytes(found.hub)} of models from the hub; without data sets."
    )


def as_json(planned: Sequence[Planned], *, on: Device, devices: int) -> dict[str, Any]:
    """The plan for programs: seconds and bytes, and what each cell is."""
    todo = [item for item in planned if item.state != "done" and item.unfit is None]
    each = device_seconds([item.share for item in todo], start=around(on).start)
    return {
        "device": on.name,
        "devices": devices,
        "device_hours": sum(each) / 3600,
        "wall_seconds": wall(each, devices=devices),
        "disk_bytes": asdict(disk([item.cell.spec for item in planned], devices=devices)),
        "cells": [
            {
                "command": item.cell.command,
                "run_id": item.cell.spec.run_id,
                "train_id": item.cell.spec.train_id,
                "model": item.cell.spec.model.name,
                "method": item.cell.spec.method.name,
                "task": item.cell.spec.task.name,
                "seed": item.cell.spec.seed,
                "state": item.state,
                "measured": item.like is not None,
                "train_seconds": item.share.train_seconds if item.known else None,
                "eval_seconds": item.share.eval_seconds if item.known else None,
                "load_seconds": item.share.load_seconds if item.known else None,
                "memory_bytes": asdict(item.guess.memory) if is_estimated(item.cell.spec) else None,
                "unfit": item.unfit,
                "fits_with": [] if item.unfit is None else _ways(item, on=on),
            }
            for item in planned
        ],
    }


def _paths(planned: Sequence[Planned]) -> dict[str, str]:
    """The paths that the layers of each method in the singular basis will take."""
    found: dict[str, str] = {}
    for item in planned:
        shapes: dict[str, list[str]] = {}
        for (inputs, outputs), path in item.guess.paths.items():
            shapes.setdefault(path, []).append(f"{outputs} x {inputs}")
        if shapes:
            text = "; ".join(f"{path} path for {', '.join(names)}" for path, names in shapes.items())
            found[f"{item.cell.spec.method.name} on {item.cell.spec.model.name}"] = text
    return found


def _parser() -> Parser:
    parser = Parser(
        prog="svft-bench plan",
        description="What a command would run, which of it is recorded, and the time and memory of the rest.",
        epilog="svft-bench plan experiment=svft_table1_math --on H100-80GB --devices 8",
    )
    parser.add_argument("overrides", nargs="*", help="as for the run")
    parser.add_argument("--on", default=THIS, metavar="DEVICE", help=f"one of {', '.join(device_names())}")
    parser.add_argument("--devices", type=devices, default=1, metavar="N", help="how many of them work side by side")
    parser.add_argument("--json", action="store_true", help="the same for programs")
    parser.add_argument("--gap", type=points, metavar="POINTS", help="also: the seeds that show such a gap")
    parser.add_argument("-m", "--multirun", action="store_true", help="as for the run; makes no difference here")
    return parser
