"""Train adapters here and load them there, each in a fresh process: `python scripts/check_transfer.py`.

"Here" and "there" differ in threads, dtype of the base, a cold or a warm SVD cache, and the algorithm of the SVD (our
own, numpy's, or through the Gram matrix) as the stand-in for another machine. Prints, for each pattern, the largest
relative change of an update and of the outputs; exits with 1 where one is beyond what the dtypes explain.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

PATTERNS = ("plain", "banded", "random", "top_k", "dense", "vectorfit")
# Relative change of an update: what is left between two SVDs of one weight, and what a rounding of 8 bits does to
# factors (carried over) or, for a base that was rounded after training, to the basis itself.
LIMITS = {"same": 0.01, "carried": 0.02, "turned": 0.3}


def places(short: bool) -> list[tuple[int, str, str, str]]:
    """Threads, dtype, cache and algorithm of each process."""
    whole = itertools.product((1, 2), ("float32", "bfloat16"), ("cold", "warm"), ("own",))
    others = itertools.product((1,), ("float32", "bfloat16"), ("cold",), ("numpy", "gram"))
    some = [(1, "float32", "cold", "own"), (2, "bfloat16", "warm", "numpy")]
    return some if short else [*whole, *others]


def kind_of_change(trained: str, loaded: str) -> str:
    """Whether the basis is found again, made by rounding the base once more, or turned by a rounding of it."""
    if trained == loaded:
        return "same"
    return "carried" if trained == "bfloat16" else "turned"


def work(folder: Path, place: tuple[int, str, str, str], verb: str, sizes: list[int]) -> dict[str, Any]:
    """In a process of its own: save one adapter for each pattern, or load those of every other place."""
    import torch
    from peft import PeftModel, get_peft_model

    import svft_bench.tuners  # noqa: F401  so that PEFT knows them

    threads, dtype, cache, algorithm = place
    torch.set_num_threads(threads)
    if algorithm != "own":
        _replace_svd(algorithm)
    if verb == "train" and cache == "warm":
        get_peft_model(_base(dtype, sizes), _config("banded"))
    x = torch.randn(16, sizes[0], generator=torch.Generator().manual_seed(2)).to(getattr(torch, dtype))
    found: dict[str, Any] = {}
    for pattern in PATTERNS:
        if verb == "train":
            model = get_peft_model(_base(dtype, sizes), _config(pattern))
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.data.normal_(std=0.02, generator=torch.Generator().manual_seed(3))
            model.eval().save_pretrained(folder / _name(place) / pattern)
            torch.save(_seen(model, x), folder / _name(place) / f"{pattern}.pt")
            continue
        for other in sorted(path for path in folder.iterdir() if path.is_dir()):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = PeftModel.from_pretrained(_base(dtype, sizes), other / pattern).eval()
            here, there = _seen(model, x), torch.load(other / f"{pattern}.pt")
            pairs = list(zip(here["updates"], there["updates"], strict=True))
            update = max(float((one - two).norm() / two.norm()) for one, two in pairs)
            output = float((here["output"] - there["output"]).norm() / there["output"].norm())
            found[f"{other.name} {pattern}"] = [update, output]
    return found


def _base(dtype: str, sizes: list[int]) -> Any:
    import torch
    from torch import nn

    n, m = sizes
    torch.manual_seed(0)
    layers = {"square": nn.Linear(n, n), "tall": nn.Linear(n, m), "wide": nn.Linear(m, n)}
    return nn.Sequential(*layers.values()).to(getattr(torch, dtype))


def _config(pattern: str) -> Any:
    from svft_bench.tuners import SVFTConfig, VectorFitConfig

    targets = ["0", "1", "2"]
    if pattern == "vectorfit":
        return VectorFitConfig(target_modules=targets)
    if pattern == "plain":
        return SVFTConfig(target_modules=targets)
    if pattern == "dense":
        return SVFTConfig(target_modules=targets, pattern="dense", rank=8)
    chosen: Any = pattern
    return SVFTConfig(target_modules=targets, pattern=chosen, off_diag=2, top_k_rule="released")


def _seen(model: Any, x: Any) -> dict[str, Any]:
    import torch

    with torch.no_grad():
        updates = [layer.get_delta_weight("default").float() for layer in model.base_model.model]
        return {"updates": updates, "output": model(x).float()}


def _replace_svd(algorithm: str) -> None:
    import numpy as np
    import torch

    from svft_bench.tuners import svd

    def factor(weight: Any, *, precision: str = "float32") -> Any:
        exact = weight.double()
        if algorithm == "numpy":
            parts = [
                torch.from_numpy(np.ascontiguousarray(part))
                for part in np.linalg.svd(exact.numpy(), full_matrices=False)
            ]
        else:
            wide = exact.shape[0] < exact.shape[1]
            u, s, vt = svd._gram_svd(exact.T if wide else exact)
            parts = [vt.T, s, u.T] if wide else [u, s, vt]
        return svd.Factors(*(part.float().contiguous() for part in parts))

    svd.factor = factor


def _name(place: tuple[int, str, str, str]) -> str:
    return "-".join(map(str, place))


def start(folder: Path, place: tuple[int, str, str, str], verb: str, sizes: list[int]) -> dict[str, Any]:
    """`work` in a fresh process, with an SVD cache of its own."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"OMP_NUM_THREADS": str(place[0]), "SVFT_BENCH_CACHE": cache}
        command = [sys.executable, __file__, "--work", str(folder), verb, json.dumps(place), json.dumps(sizes)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{verb} at {_name(place)} failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    """Run every pair of places."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="two places instead of twelve")
    parser.add_argument("--sizes", type=int, nargs=2, default=[384, 1024], help="of the square side and the long one")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        folder, verb, place, sizes = options.work
        print(json.dumps(work(Path(folder), tuple(json.loads(place)), verb, json.loads(sizes))))
        return 0
    beyond = 0
    worst: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for place in places(options.short):
            start(Path(name), place, "train", options.sizes)
        for place in places(options.short):
            for key, (update, output) in start(Path(name), place, "load", options.sizes).items():
                other, pattern = key.split()
                kind = kind_of_change(other.split("-")[1], place[1])
                known = worst.setdefault((kind, pattern), [0.0, 0.0])
                known[:] = max(known[0], update), max(known[1], output)
                if update > LIMITS[kind]:
                    print(
                        f"trained at {other}, loaded at {_name(place)}, {pattern}: the update differs by {update:.2%}"
                    )
                    beyond += 1
    for (kind, pattern), (update, output) in sorted(worst.items()):
        print(f"{kind:8s} {pattern:10s} update {update:9.2e}  output {output:9.2e}")
    print(f"{beyond} beyond their limits")
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
