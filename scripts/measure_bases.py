"""Measure how far singular bases of real weights move: `python scripts/measure_bases.py minilm-l6 --every 3`.

Each weight is factored by one thread in float32, and again with two threads, in float64, by numpy, from what the cache
gives back, and after the weight was rounded to bfloat16. For each: pairs whose sign flipped, pairs that turned by more
than a hundredth (and how many of those our rule would store), the update of a random core that a mended adapter makes
there, and how many pairs the rule stores in all.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from svft_bench.models.carriers import CARRIERS, model_folder  # noqa: E402
from svft_bench.tuners import svd, transfer  # noqa: E402
from svft_bench.tuners.basis import smaller  # noqa: E402
from svft_bench.tuners.svd import Factors  # noqa: E402

TURNED = 0.01


def weights(folder: Path, *, every: int) -> Iterator[tuple[str, Tensor]]:
    """Every so-manieth weight matrix of the blocks in a model folder."""
    found = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  it is no dict
                tensor = file.get_tensor(name)
                if tensor.dim() == 2 and "embed" not in name and "head" not in name and "classifier" not in name:
                    found += 1
                    if found % every == 0:
                        yield name, tensor.float()


def by_numpy(weight: Tensor) -> Factors:
    """Another LAPACK, without any rule for signs."""
    parts = np.linalg.svd(weight.numpy(), full_matrices=False)
    return Factors(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts))


def elsewhere(weight: Tensor, cache: Path) -> dict[str, Factors]:
    """The factors of a weight as other machines may have them."""
    torch.set_num_threads(2)
    found = {"two threads": svd.factor(weight)}
    torch.set_num_threads(1)
    found["float64"] = svd.factor(weight, precision="float64")
    found["numpy"] = by_numpy(weight)
    for _ in range(2):
        found["cache"] = svd.decompose(weight, cache=cache)
    found["bfloat16 base"] = svd.factor(weight.bfloat16())
    return found


def compare(one: Factors, other: Factors, close: Tensor) -> dict[str, float]:
    """What differs between two bases of one weight before they are mended, and in an update afterwards."""
    u, v = ((a.double() * b.double()).sum(0) for a, b in ((one.u, other.u), (one.vt.T, other.vt.T)))
    turned = torch.minimum(u.abs(), v.abs()) < 1 - TURNED**2 / 2
    stored = torch.zeros_like(turned)
    stored[close] = True
    saved = transfer.Saved(
        pivots=transfer.pivots_of(smaller(one.u, one.vt)),
        close=close,
        close_u=one.u.T[close],
        close_vt=one.vt[close],
    )
    m = torch.randn(len(one.s), len(one.s), generator=torch.Generator().manual_seed(0)).triu(-2).tril(2)
    updates = [f.u @ m @ f.vt for f in (one, transfer.mended(other, saved))]
    return {
        "flipped": int((u < 0).sum()),
        "turned": int(turned.sum()),
        "turned, not stored": int((turned & ~stored).sum()),
        "update": float((updates[0] - updates[1]).norm() / updates[0].norm()),
    }


def measure(name: str, *, every: int) -> dict[str, Any]:
    """The sums over a model's matrices, and the largest change of an update."""
    totals: dict[str, dict[str, float]] = {}
    pairs = stored = matrices = entries = 0
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as cache:
        for _, weight in weights(model_folder(name), every=every):
            here = svd.factor(weight)
            close = transfer.close_pairs(here.s)
            pairs, stored, matrices = pairs + len(here.s), stored + len(close), matrices + 1
            entries += len(close) * sum(weight.shape)
            for place, factors in elsewhere(weight, Path(cache)).items():
                found, known = compare(here, factors, close), totals.setdefault(place, {})
                for key, value in found.items():
                    known[key] = max(known.get(key, 0.0), value) if key == "update" else known.get(key, 0) + value
    return {"matrices": matrices, "pairs": pairs, "stored": stored, "stored entries": entries, "places": totals}


def main() -> None:
    """Measure, print, and put the models into one JSON record beside those measured before."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(CARRIERS))
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth matrix")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench" / "bases-cpu.json")
    options = parser.parse_args()
    known = json.loads(options.out.read_text()) if options.out.exists() else {"models": {}}
    record: dict[str, Any] = {"schema": 1, "bench": "bases", "torch": torch.__version__, "models": known["models"]}
    for name in options.models:
        record["models"][name] = found = {"every": options.every, **measure(name, every=options.every)}
        print(f"{name}: {found['matrices']} matrices, {found['pairs']} pairs, {found['stored']} stored")
        for place, row in found["places"].items():
            print(f"  {place:14s}", "  ".join(f"{key} {value:.3g}" for key, value in row.items()), flush=True)
        options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
