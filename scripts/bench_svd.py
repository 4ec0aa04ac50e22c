"""Time the SVD of a layer and its cache against `torch.linalg.svd` as is: `python scripts/bench_svd.py --threads 2`.

Errors are of the whole factors, in float64: max |UᵀU - 1| and |VVᵀ - 1|, and ‖U Σ Vᵀ - W‖ / ‖W‖.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from scripts import bench_layer, peers  # noqa: E402
from svft_bench.tuners import svd  # noqa: E402


def errors(factors: svd.Factors, weight: Tensor) -> dict[str, float]:
    """How far the factors are from orthonormal, and their product from the weight."""
    u, s, vt = (part.double() for part in factors)
    one = torch.eye(len(s), dtype=torch.float64, device=s.device)
    orthogonality = max(float((u.T @ u - one).abs().max()), float((vt @ vt.T - one).abs().max()))
    difference = torch.linalg.norm((u * s) @ vt - weight.double())
    return {"orthogonality": orthogonality, "reconstruction": float(difference / torch.linalg.norm(weight.double()))}


def measure(shape: tuple[int, int], *, device: str, rounds: int) -> dict[str, Any]:
    """One Gaussian weight by torch, by both precisions, and from the cache."""
    torch.manual_seed(0)
    weight = torch.randn(shape, device=device) / shape[1] ** 0.5
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        svd.decompose(weight, cache=cache)
        makers: dict[str, Callable[[], Any]] = {
            "torch": partial(torch.linalg.svd, weight, full_matrices=False),
            "float32": partial(svd.decompose, weight),
            "float64": partial(svd.decompose, weight, precision="float64"),
            "cache hit": partial(svd.decompose, weight, cache=cache),
        }
        made: dict[str, svd.Factors] = {}

        def step(name: str) -> None:
            made[name] = svd.Factors(*makers[name]())

        seconds = peers.interleave({name: partial(step, name) for name in makers}, rounds=rounds, device=device)
        table: dict[str, dict[str, float]] = peers.ratios(seconds, to="torch")
        for name, factors in made.items():
            table[name] |= {"seconds": sorted(seconds[name])[rounds // 2], **errors(factors, weight)}
    return {"shape": list(shape), "methods": table}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = peers.parser(__doc__, rounds=3)
    parser.add_argument("--model", default="gemma-2b", choices=bench_layer.LAYERS)
    return parser.parse_args()


def main() -> None:
    """Measure, print and store one JSON record."""
    options = parse()
    torch.set_num_threads(options.threads)
    results = []
    for shape in bench_layer.LAYERS[options.model]:
        results.append(measure(shape, device=options.device, rounds=options.rounds))
        print(f"\n{shape[0]}x{shape[1]}  threads={options.threads}")
        for name, row in results[-1]["methods"].items():
            print(
                f"  {name:10s} {row['seconds']:8.2f} s  {row['median']:6.2f} ({row['low']:.2f}-{row['high']:.2f})",
                end="",
            )
            print(f"  orthogonality {row['orthogonality']:.1e}  reconstruction {row['reconstruction']:.1e}")
    record = {"schema": 1, "bench": "svd", "machine": peers.machine(options.device), "rounds": options.rounds}
    record |= {"model": options.model, "results": results}
    path = options.out / f"svd-{options.device}-{options.model}-t{options.threads}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\n{path}")


if __name__ == "__main__":
    main()
