"""`svft-bench prepare model=NAME`: fetch and check weights and fill the SVD cache, before any run needs them."""

from __future__ import annotations

import time

from svft_bench.compose import model_spec, options


def main(argv: list[str]) -> int:
    """Load the named models (`model=a,b`) and take the SVD of every linear layer of their blocks.

    Raises:
        ValueError: an argument that names no model, or weights that cannot be had.
    """
    names = [name for item in argv for name in item.removeprefix("model=").split(",")]
    if not names or any("=" in name for name in names):
        raise ValueError(f"{' '.join(['prepare', *argv])}: say model=NAME, of {', '.join(options('model'))}")
    for name in names:
        _prepare(name)
    return 0


def _prepare(name: str) -> None:
    from tqdm.auto import tqdm

    from svft_bench.models import load_model
    from svft_bench.tuners.svd import cache_folder, decompose

    spec, start = model_spec(name), time.perf_counter()
    model, _ = load_model(spec, kind=spec.kinds[0], num_labels=2, seed=0)
    print(f"{spec.title}: loaded in {time.perf_counter() - start:.0f} s")
    shapes = {shape[::-1] for shape in spec.matrices.values()}
    linear = [module.weight for module in model.modules() if getattr(module, "weight", None) is not None]
    weights = [weight for weight in linear if weight.dim() == 2 and tuple(weight.shape) in shapes]
    for weight in tqdm(weights, desc=f"{spec.title}: SVD", unit="matrix"):
        decompose(weight.detach(), cache=cache_folder())
