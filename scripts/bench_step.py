"""Time whole optimizer steps against the peers: `python scripts/bench_step.py --model vit-b --batch 4`.

A step is the forward and backward of `--accumulation` micro-batches and an AdamW step. The language models are a stack
of `--layers` blocks of the real shape with a small vocabulary; times are relative to `--to` in the same round.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from scripts import peers  # noqa: E402

VOCABULARY = 1024
BLOCK = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SHAPES = {
    "gemma-2b": {"hidden_size": 2048, "intermediate_size": 16384, "num_attention_heads": 8, "num_key_value_heads": 1},
    "llama-3-8b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}
HEADS = {"vit-b": "classifier"}  # what trains alone as the method `head`
TARGETS = {"vit-b": [*BLOCK[:4], "fc1", "fc2"], "gemma-2b": BLOCK, "llama-3-8b": BLOCK}


def make_model(name: str, *, layers: int) -> nn.Module:
    """The model with random weights; `layers` blocks of it."""
    torch.manual_seed(0)
    if name == "vit-b":
        return ViTForImageClassification(ViTConfig(num_hidden_layers=layers, num_labels=100))  # type: ignore[no-any-return]
    shape: dict[str, int] = {"num_hidden_layers": layers, "vocab_size": VOCABULARY, **SHAPES[name]}
    if name == "gemma-2b":
        return GemmaForCausalLM(GemmaConfig(**shape, head_dim=256))  # type: ignore[no-any-return]
    return LlamaForCausalLM(LlamaConfig(**shape))  # type: ignore[no-any-return]


def make_batch(name: str, *, batch: int, length: int) -> dict[str, Tensor]:
    """One micro-batch of random inputs."""
    generator = torch.Generator().manual_seed(1)
    if name == "vit-b":
        images = torch.randn(batch, 3, 224, 224, generator=generator)
        return {"pixel_values": images, "labels": torch.arange(batch) % 100}
    tokens = torch.randint(VOCABULARY, (batch, length), generator=generator)
    return {"input_ids": tokens, "labels": tokens}


def training_step(model: nn.Module, batch: dict[str, Tensor], options: argparse.Namespace) -> Callable[[int], None]:
    """So many micro-batches and an optimizer step."""
    optimizer = torch.optim.AdamW(peers.trained(model), lr=1e-5)

    def step(accumulation: int) -> None:
        for _ in range(accumulation):
            with torch.autocast(options.device, torch.bfloat16, enabled=options.autocast):
                loss = model(**batch).loss / accumulation
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Every method on the same base weights, which all share that do not train them."""
    base = make_model(options.model, layers=options.layers).to(options.device, getattr(torch, options.dtype))
    shared = list(base.parameters())
    batch = make_batch(options.model, batch=options.batch, length=options.length)
    batch = {name: part.to(options.device) for name, part in batch.items()}
    if options.model == "vit-b":
        batch["pixel_values"] = batch["pixel_values"].to(getattr(torch, options.dtype))
    steps: dict[str, Callable[[], None]] = {}
    rows: dict[str, dict[str, Any]] = {}
    frozen = peers.frozen_bytes(base.requires_grad_(False))

    def prepare(method: str) -> tuple[nn.Module, Callable[[int], None]]:
        own = base if method == "full_ft" else base.get_submodule(HEADS[options.model]) if method == "head" else None
        apart = set(map(id, own.parameters())) if own else ()
        memo = {id(parameter): parameter for parameter in shared if id(parameter) not in apart}
        model = peers.adapt(copy.deepcopy(base, memo), method, options.targets).train()
        if method == "head":
            model.get_submodule(HEADS[options.model]).requires_grad_(True)
        if options.checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
        return model, training_step(model, batch, options)

    for method in options.methods:
        model, step = prepare(method)
        trained = peers.trained(model)
        held = peers.frozen_bytes(model) + sum(parameter.nbytes for parameter in trained)
        memory = peers.Memory(options.device)
        for _ in range(2):  # the first step makes the optimizer's state; two micro-batches hold as much as more
            with memory:
                step(min(options.accumulation, 2))
        rows[method] = {
            "trained": sum(parameter.numel() for parameter in trained),
            "extra_frozen_bytes": peers.frozen_bytes(model) - frozen if method != "full_ft" else 0,
            "resident_bytes": held,
            "peak_bytes": held + memory.peak,
        }
        steps[method] = functools.partial(step, options.accumulation)
    seconds = peers.interleave(steps, rounds=options.rounds, device=options.device)
    ratios = peers.ratios(seconds, to=options.to)
    for method, row in rows.items():
        row |= {**ratios[method], "seconds": sorted(seconds[method])[options.rounds // 2]}
    return rows


def show(rows: dict[str, Any], options: argparse.Namespace) -> None:
    """Print the table."""
    tokens = f"images={options.batch}" if options.model == "vit-b" else f"N={options.batch}x{options.length}"
    dtype = f"{options.dtype}{' under bfloat16 autocast' if options.autocast else ''}"
    print(f"{options.model}, {options.layers} blocks  {tokens}  A={options.accumulation}  {dtype}", end="")
    print(f"  checkpointing={options.checkpointing}  threads={torch.get_num_threads()}; relative to {options.to}")
    for method, row in rows.items():
        spread = f"{row['median']:7.2f}  ({row['low']:.2f}-{row['high']:.2f})"
        print(f"  {method:18s} {spread:24s} {row['seconds']:8.3f} s  {row['trained']:>12,d}", end="")
        print(f"  {row['extra_frozen_bytes'] / 1e6:9.2f} MB frozen beside the base", end="")
        print(f", resident {row['resident_bytes'] / 1e9:.2f} GB, peak {row['peak_bytes'] / 1e9:.2f} GB")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = peers.parser(__doc__, rounds=5)
    parser.add_argument("--model", default="vit-b", choices=TARGETS)
    parser.add_argument("--layers", type=int, default=1, help="blocks")
    parser.add_argument("--batch", type=int, default=4, help="rows of a micro-batch")
    parser.add_argument("--length", type=int, default=512, help="tokens of a row")
    parser.add_argument("--targets", nargs="+", help="the adapted layers, where they are not all of a block")
    methods = ["head", *(method for method in peers.METHODS if method != "frozen")]
    parser.add_argument("--methods", nargs="+", choices=methods, help="the usual ones, where none is named")
    parser.add_argument("--to", default="lora_r8", choices=methods, help="the method that times are relative to")
    parser.add_argument("--accumulation", type=int, default=1, help="micro-batches of an optimizer step")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--autocast", action="store_true", help="run under bfloat16 autocast")
    parser.add_argument("--checkpointing", action="store_true", help="recompute activations in the backward")
    options = parser.parse_args()
    known = [method for method in methods if method != "head" or options.model in HEADS]
    options.methods = options.methods or [method for method in known if method not in peers.REPLICATED]
    if not set(options.methods) <= set(known):
        parser.error(f"--methods head: {options.model} has no head; one that has: {', '.join(HEADS)}")
    return options


def main() -> None:
    """Measure, print and store one JSON record."""
    options = parse()
    if options.to not in options.methods:
        options.methods.insert(0, options.to)
    some = options.targets
    options.targets = some or TARGETS[options.model]
    torch.set_num_threads(options.threads)
    rows = measure(options)
    show(rows, options)
    fields = ("model", "layers", "batch", "length", "accumulation", "dtype", "autocast", "checkpointing", "rounds")
    record = {"schema": 1, "bench": "step", "relative_to": options.to, "machine": peers.machine(options.device)}
    record |= {field: getattr(options, field) for field in fields} | ({"targets": some} if some else {})
    record |= {"results": rows}
    rows_of = f"b{options.batch}" if options.model == "vit-b" else f"n{options.batch}x{options.length}"
    extra = ("-autocast" if options.autocast else "") + ("-checkpointing" if options.checkpointing else "")
    extra += f"-{''.join(target[0] for target in some)}" if some else ""
    extra += "" if options.to == "lora_r8" else f"-to-{options.to}"
    stem = f"step-{options.device}-{options.model}-l{options.layers}-{rows_of}-a{options.accumulation}-{options.dtype}"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{stem}{extra}.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"\n{options.out / f'{stem}{extra}.json'}")


if __name__ == "__main__":
    main()
