"""`svft-bench prepare model=NAME`: fetch and check weights and fill the SVD cache, before any run needs them.

`svft-bench prepare --list` shows what the SVD cache holds, `--prune [GB]` removes what was used least recently.
"""

from __future__ import annotations

import math
import re
import time

from svft_bench.compose import model_spec, options
from svft_bench.config.spec import ModelSpec
from svft_bench.config.wording import Parser, plural


def main(argv: list[str]) -> int:
    """Load the named models (`model=a,b`) and take the SVD of every linear layer of their blocks.

    Raises:
        ValueError: an argument that names no model, or weights that cannot be had.
    """
    if argv[:1] in (["--list"], ["--prune"]):
        return _keep_house(argv)
    parser = Parser(prog="svft-bench prepare", description=__doc__)
    parser.add_argument("asked", nargs="*", metavar="model=NAME", help=f"one or more of {', '.join(options('model'))}")
    parser.add_argument("--list", action="store_true", help="what the SVD cache holds, and nothing else")
    parser.add_argument("--prune", metavar="GB", nargs="?", help="what was used least recently goes, and nothing else")
    options_given = parser.parse_args(argv)
    if options_given.list or options_given.prune is not None or "--prune" in argv:
        raise ValueError(f"prepare {' '.join(argv)}: --list and --prune [GB] stand alone, without a model")
    asked = options_given.asked
    names = [name for item in asked for name in item.removeprefix("model=").split(",")]
    if not names or any("=" in name or name.startswith("-") for name in names):
        said = " ".join(["prepare", *argv])
        raise ValueError(f"{said}: say model=NAME, of {', '.join(options('model'))}, or --list or --prune [GB]")
    for spec in [model_spec(name) for name in names]:  # all of them are known before the first is fetched
        _prepare(spec)
    return 0


def _keep_house(argv: list[str]) -> int:
    """List the SVD cache, or prune it to its limit or to a size in gigabytes."""
    verb, *rest = argv
    size = " ".join(rest) if verb == "--prune" else ""
    number = re.fullmatch(r"\d+\.?\d*|\.\d+", size, re.ASCII)
    if rest and (verb == "--list" or not number or not math.isfinite(float(size) * 1e9)):
        raise ValueError(f"prepare {' '.join(argv)}: say --list, --prune, or --prune GB, a size of 0 or more")
    from svft_bench.tuners import svd_cache

    folder, most = svd_cache.folder(), round(float(size) * 1e9) if size else svd_cache.limit()
    if folder is None:
        print("there is no SVD cache: SVFT_BENCH_CACHE or SVFT_BENCH_SVD_CACHE_GB turns it off")
        return 0
    if verb == "--prune":
        removed = svd_cache.prune(folder, most=most)
        print(f"removed {plural(len(removed), 'file')}, {sum(entry.size for entry in removed) / 1e9:.2f} GB")
    entries = svd_cache.entries(folder)
    for entry in entries if verb == "--list" else []:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        print(f"{entry.size / 1e6:10.1f} MB  last used {used}  {entry.path.name}")
    total = sum(entry.size for entry in entries) / 1e9
    print(f"{folder}: {plural(len(entries), 'file')}, {total:.2f} GB of at most {svd_cache.limit() / 1e9:g} GB")
    return 0


def _prepare(spec: ModelSpec) -> None:
    from tqdm.auto import tqdm

    from svft_bench.models.loading import load_model
    from svft_bench.tuners.svd import cache_folder, decompose

    start = time.perf_counter()
    model, _ = load_model(spec, kind=spec.kinds[0], num_labels=2, seed=0)
    print(f"{spec.title}: loaded in {time.perf_counter() - start:.0f} s")
    shapes = {shape[::-1] for form in spec.forms for shape in form.matrices.values()}
    linear = [module.weight for module in model.modules() if getattr(module, "weight", None) is not None]
    weights = [weight for weight in linear if weight.dim() == 2 and tuple(weight.shape) in shapes]
    for weight in tqdm(weights, desc=f"{spec.title}: SVD", unit="matrix"):
        decompose(weight.detach(), dtype=weight.dtype, cache=cache_folder())
