"""Time one adapted linear layer against its peers: `python scripts/bench_layer.py --models vit-b --tokens 1576`.

A step is the forward and backward of `--accumulation` micro-batches and one write to the trained parameters; its time
is given per micro-batch, relative to the frozen layer's forward and backward in the same round. `--decode` times the
forward alone, without gradients.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from scripts import peers  # noqa: E402

# (out, in) of the distinct linear layers of a block; the tiny ones hardly compute and show what calling them costs.
LAYERS = {
    "tiny": [(64, 64), (256, 64), (64, 256)],
    "vit-b": [(768, 768), (3072, 768), (768, 3072)],
    "gemma-2b": [(2048, 2048), (256, 2048), (16384, 2048), (2048, 16384)],
    "llama-3-8b": [(4096, 4096), (1024, 4096), (14336, 4096), (4096, 14336)],
}
# Tokens of one `generate`, for which a layer looks once at what its weight is made of. GSM8K's solutions have 127 on
# average, by SmolLM2's tokenizer.
GENERATED = 128
# BOFT multiplies the weight with dense matrices of the input's size.
BOFT_LARGEST = 2048


class Layer(nn.Module):
    """A model of one linear layer."""

    def __init__(self, shape: tuple[int, int], *, dtype: torch.dtype, device: str) -> None:
        super().__init__()
        self.linear = nn.Linear(shape[1], shape[0], dtype=dtype, device=device)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        return y


def training_step(model: nn.Module, x: Tensor, gradient: Tensor, *, accumulation: int) -> Callable[[], None]:
    """Forward and backward of the micro-batches, and a write to the trained entries as an optimizer makes it."""
    parameters = peers.trained(model)
    optimizer = torch.optim.SGD(parameters, lr=1e-6) if parameters else None

    def step() -> None:
        for _ in range(accumulation):
            x.grad = None
            model(x).backward(gradient)
        if optimizer is not None:
            optimizer.step()
            optimizer.zero_grad()

    return step


def decoding_step(model: nn.Module, x: Tensor) -> Callable[[], None]:
    """The forwards of one `generate`, which enters PEFT's hooks once and then calls the model itself."""
    adapted: Any = model if isinstance(model, PeftModel) else None
    inner = model if adapted is None else adapted.get_base_model()
    hooks = nullcontext if adapted is None else adapted.base_model._enable_peft_forward_hooks

    def step() -> None:
        with torch.no_grad(), hooks():
            for _ in range(GENERATED):
                inner(x)

    return step


def measure(shape: tuple[int, int], options: argparse.Namespace) -> dict[str, Any]:
    """One layer with every method."""
    dtype = getattr(torch, options.dtype)
    steps, models = {}, {}
    for method in options.methods:
        if method == "boft_b8_m2" and shape[1] > BOFT_LARGEST:
            continue
        torch.manual_seed(0)
        model = peers.adapt(Layer(shape, dtype=dtype, device=options.device), method, ["linear"])
        x = torch.randn(options.tokens, shape[1], device=options.device).to(dtype)
        if options.decode:
            steps[method] = decoding_step(model.eval(), x)
        else:
            gradient = torch.randn(options.tokens, shape[0], device=options.device).to(dtype)
            steps[method] = training_step(model, x.requires_grad_(), gradient, accumulation=options.accumulation)
        models[method] = model
    seconds = peers.interleave(steps, rounds=options.rounds, device=options.device)
    table: dict[str, dict[str, Any]] = dict(peers.ratios(seconds, to="frozen"))
    base = peers.frozen_bytes(models["frozen"])
    for method, model in models.items():
        table[method]["extra_frozen_bytes"] = peers.frozen_bytes(model) - base
        paths = [module.path_taken for module in model.modules() if getattr(module, "path_taken", None)]
        if paths:
            table[method]["path"] = paths[0]
    frozen = sorted(seconds["frozen"])[options.rounds // 2] / (GENERATED if options.decode else options.accumulation)
    return {"shape": list(shape), "frozen_seconds": frozen, "ratios": table}


def show(result: dict[str, Any], options: argparse.Namespace) -> None:
    """Print one layer's ratios."""
    shape = "x".join(map(str, result["shape"]))
    kind = "decode" if options.decode else f"A={options.accumulation}"
    print(f"\n{shape}  N={options.tokens}  {kind}  {options.dtype}  threads={torch.get_num_threads()}", end="")
    print(f"  frozen {1000 * result['frozen_seconds']:.3g} ms")
    for method, row in result["ratios"].items():
        spread = f"{row['median']:7.2f}  ({row['low']:.2f}-{row['high']:.2f})"
        print(f"  {method:18s} {spread:24s} {row['extra_frozen_bytes'] / 1e6:9.2f} MB  {row.get('path', '')}")


def store(results: list[dict[str, Any]], options: argparse.Namespace) -> Path:
    """Write the record of the layers so far; large layers take minutes, and an interrupted run keeps the small ones."""
    fields = ("tokens", "accumulation", "decode", "dtype", "rounds")
    record = {"schema": 1, "bench": "layer", "machine": peers.machine(options.device)}
    record |= {field: getattr(options, field) for field in fields} | {"results": results}
    record |= {"generated": GENERATED} if options.decode else {}
    kind = f"decode{GENERATED}" if options.decode else f"a{options.accumulation}"
    name = f"layer-{options.device}-{'+'.join(options.models)}-n{options.tokens}-{kind}-{options.dtype}.json"
    path: Path = options.out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path


def parse() -> argparse.Namespace:
    """The command line."""
    parser = peers.parser(__doc__, rounds=5)
    parser.add_argument("--models", nargs="+", default=["vit-b"], choices=LAYERS)
    parser.add_argument("--methods", nargs="+", default=list(peers.USUAL), choices=peers.METHODS)
    parser.add_argument("--tokens", type=int, default=1576, help="tokens of a micro-batch")
    parser.add_argument("--accumulation", type=int, default=1, help="micro-batches of an optimizer step")
    parser.add_argument("--decode", action="store_true", help="time forwards without gradients")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    return parser.parse_args()


def main() -> None:
    """Measure, print and store one JSON record."""
    options = parse()
    if "frozen" not in options.methods:
        options.methods.insert(0, "frozen")
    torch.set_num_threads(options.threads)
    results: list[dict[str, Any]] = []
    for model in options.models:
        for shape in LAYERS[model]:
            results.append({"model": model, **measure(shape, options)})
            show(results[-1], options)
            path = store(results, options)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
