"""Lines of the benchmarks, small, where PyTorch, transformers and PEFT are alone: on `cpu` or a stand-in device.

python tests/small_bench.py DEVICE '[["scripts/bench_svd.py", "--model", "vit-b"]]'

Records and their page go to `results` of the working directory. On the stand-in (`second`), the released algorithm's
sparse products, autocast and the count of memory are left out, which it has not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast

for absent in ("hydra", "omegaconf", "pydantic", "datasets", "evaluate", "wandb", "matplotlib", "scipy.stats"):
    sys.modules[absent] = None  # type: ignore[assignment]
sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts import bench_layer, bench_step, bench_svd, bench_tables, peers  # noqa: E402

SMALL: dict[str, tuple[Any, list[str]]] = {
    "bench_layer.py": (bench_layer, ["--tokens", "5"]),
    "bench_step.py": (bench_step, ["--batch", "2", "--length", "5"]),
    "bench_svd.py": (bench_svd, []),
}
SIZES = {"hidden_size": 128, "intermediate_size": 160}


class NoMemory(nullcontext[None]):
    """In place of a count of bytes."""

    peak = 0


def there(parse: Callable[[], argparse.Namespace]) -> argparse.Namespace:
    """What a line asks for, of the stand-in."""
    options = parse()
    options.device, options.autocast = "second", False
    if "methods" in options:
        options.methods = [method for method in options.methods if not method.startswith("released")]
    return options


def main(device: str, lines: list[list[str]]) -> None:
    """Run them all in this process, then write their page."""
    layers, steps = (SMALL[name][0] for name in ("bench_layer.py", "bench_step.py"))
    layers.LAYERS = {name: [(64, 32), (32, 64)] for name in layers.LAYERS}
    steps.SHAPES = {name: shape | SIZES for name, shape in steps.SHAPES.items()}
    steps.ViTConfig = partial(steps.ViTConfig, num_attention_heads=2, **SIZES)
    mode: Any = nullcontext()
    if device == "second":
        from tests.second_device import SecondDevice

        mode, changed = SecondDevice(), cast("Any", peers)
        changed.Memory = NoMemory
        for module, _ in SMALL.values():
            module.parse = partial(there, module.parse)
    for script, *arguments in lines:
        module, small = SMALL[Path(script).name]
        sys.argv = [script, *arguments, *small, "--device", "cpu", "--rounds", "1", "--out", "results/bench"]
        with mode:
            module.main()
    bench_tables.write_bench_page(Path("results"))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
