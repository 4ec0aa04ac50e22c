"""The methods that the benchmarks time against each other, the clock that times them, and what each can be told.

A ratio is taken within one round, in which every method runs once; the order rotates and turns from round to round,
so that whatever else the machine does falls on all of them alike.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from peft import BOFTConfig, LoraConfig, PeftConfig, VeraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional as F

import svft_bench.methods.boft  # noqa: F401  gives BOFT its butterfly factors without a CUDA extension
from svft_bench.tuners import SVFTConfig, VectorFitConfig

ADAPTERS: dict[str, Callable[[list[str]], PeftConfig]] = {
    "lora_r8": lambda targets: LoraConfig(target_modules=targets, r=8),
    "lora_r32": lambda targets: LoraConfig(target_modules=targets, r=32),
    "lora_r64": lambda targets: LoraConfig(target_modules=targets, r=64),
    "dora_r16": lambda targets: LoraConfig(target_modules=targets, r=16, use_dora=True),
    "vera_r1024": lambda targets: VeraConfig(target_modules=targets, r=1024),
    "boft_b8_m2": lambda targets: BOFTConfig(target_modules=targets, boft_block_size=8, boft_n_butterfly_factor=2),
    "svft_plain": lambda targets: SVFTConfig(target_modules=targets),
    "svft_banded8": lambda targets: SVFTConfig(target_modules=targets, pattern="banded", off_diag=8),
    "svft_banded16": lambda targets: SVFTConfig(target_modules=targets, pattern="banded", off_diag=16),
    "svft_random16": lambda targets: SVFTConfig(target_modules=targets, pattern="random", off_diag=16),
    "svft_topk16": lambda targets: SVFTConfig(
        target_modules=targets, pattern="top_k", off_diag=16, top_k_rule="released"
    ),
    "vectorfit": lambda targets: VectorFitConfig(target_modules=targets),
}
RELEASED = {"released_plain": 0, "released_banded8": 8, "released_banded16": 16}
METHODS = ("frozen", "full_ft", *ADAPTERS, *RELEASED)
# Those of the independent replication, which timed a band of 8 against LoRA of rank 64; only its setting asks for them.
REPLICATED = ("lora_r64", "svft_banded8", "released_banded8")
USUAL = tuple(method for method in METHODS if method not in REPLICATED)
CODE = ("svft_bench", "scripts", "pyproject.toml")  # what a timing is of; its record may change beside it
RECORDS = Path(__file__).parents[1] / "results" / "bench"


def parser(description: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """What every benchmark can be told: where it runs, how often, and the folder of its record."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--rounds", type=int, default=rounds)
    made.add_argument("--out", type=Path, default=RECORDS)
    return made


class ReleasedWeight(torch.autograd.Function):
    """U (Σ + M) Vᵀ as the released layer computes it: a sparse product, a dense one, a sampled one for the gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, starts: Tensor, columns: Tensor, u: Tensor, s: Tensor, vt: Tensor) -> Tensor:
        ctx.save_for_backward(starts, columns, u, vt)
        core = torch.sparse_csr_tensor(starts, columns, values, (len(s), len(s)))
        with torch.autocast(u.device.type, enabled=False):  # which the sparse products do not take everywhere
            inner = s[:, None] * vt + core @ vt
        return u @ inner

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        starts, columns, u, vt = ctx.saved_tensors
        n = len(starts) - 1
        pattern = torch.sparse_csr_tensor(starts, columns, torch.zeros(len(columns), device=u.device), (n, n))
        left = (u.T.to(gradient.dtype) @ gradient).to(u.dtype)
        sampled = torch.sparse.sampled_addmm(pattern, left, vt.T, beta=0.0)
        return sampled.values(), None, None, None, None, None


class Released(nn.Module):
    """The released algorithm in our words: float32 factors, no base weight, a dense weight rebuilt in every forward.

    What the released code does on top (sorting its indices in every forward) is left out, in its favour.
    """

    def __init__(self, base: nn.Linear, *, off_diag: int) -> None:
        super().__init__()
        u, s, vt = torch.linalg.svd(base.weight.detach().float(), full_matrices=False)
        rows = torch.arange(len(s), device=s.device).repeat_interleave(2 * off_diag + 1)
        columns = rows + torch.arange(-off_diag, off_diag + 1, device=s.device).repeat(len(s))
        inside = (columns >= 0) & (columns < len(s))
        counts = torch.bincount(rows[inside], minlength=len(s))
        self.factors = (F.pad(counts.cumsum(0), (1, 0)), columns[inside], u, s, vt)
        self.values = nn.Parameter(torch.zeros(int(inside.sum()), device=s.device))
        self.gate = nn.Parameter(torch.zeros(1, device=s.device))
        self.bias = base.bias

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = ReleasedWeight.apply(self.values * torch.sigmoid(self.gate), *self.factors)  # type: ignore[no-untyped-call]
        return F.linear(x, weight.to(x.dtype), self.bias)


def adapt(model: nn.Module, method: str, targets: list[str]) -> nn.Module:
    """`model` with `method` on the modules whose names end in `targets`; everything else is frozen."""
    model.requires_grad_(method == "full_ft")
    if method in ADAPTERS:
        adapted: nn.Module = get_peft_model(model, ADAPTERS[method](list(targets)))
        return adapted
    if method in RELEASED:
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.Linear) and name.split(".")[-1] in targets:
                parent, _, child = name.rpartition(".")
                setattr(model.get_submodule(parent), child, Released(module, off_diag=RELEASED[method]))
    return model


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that train."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def frozen_bytes(model: nn.Module) -> int:
    """Bytes of all frozen parameters and buffers, and of the released layer's factors."""
    tensors = [*model.parameters(), *model.buffers()]
    tensors += [part for module in model.modules() if isinstance(module, Released) for part in module.factors]
    return sum({t.data_ptr(): t.nbytes for t in tensors if not t.requires_grad}.values())


class Memory:
    """The most bytes of tensors alive at once in the last `with` block, beyond those of before the first.

    On a CPU the sum of what the profiler sees allocated and freed: exact, but without the scratch space of libraries.
    """

    def __init__(self, device: str) -> None:
        self.on_cuda = device == "cuda"
        self.held = torch.cuda.memory_allocated() if self.on_cuda else 0
        self.peak = 0

    def __enter__(self) -> Memory:
        if self.on_cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            self.profile: Any = torch.autograd.profiler.profile(use_cpu=True, profile_memory=True)
            self.profile.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        if self.on_cuda:
            self.peak = torch.cuda.max_memory_allocated() - self.held
            return
        self.profile.__exit__(*error)
        events = [event for event in self.profile.kineto_results.events() if event.name() == "[memory]"]
        changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
        self.peak = self.held + max(itertools.accumulate(changes), default=0)
        self.held += sum(changes)


def synchronise(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def interleave(steps: dict[str, Callable[[], None]], *, rounds: int, device: str) -> dict[str, list[float]]:
    """Seconds of every step in every round, after one round that does not count."""
    names = list(steps)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        order = names[turn % len(names) :] + names[: turn % len(names)]
        for name in order if turn % 2 else reversed(order):
            synchronise(device)
            start = time.perf_counter()
            steps[name]()
            synchronise(device)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratios(seconds: dict[str, list[float]], *, to: str) -> dict[str, dict[str, float]]:
    """Median, quartiles and least value of each method's ratio to the method `to` in the same round."""
    table = {}
    for name, values in seconds.items():
        paired = sorted(value / base for value, base in zip(values, seconds[to], strict=True))
        quartiles = statistics.quantiles(paired, n=4, method="inclusive") if len(paired) > 1 else paired * 3
        table[name] = {"median": quartiles[1], "low": quartiles[0], "high": quartiles[2], "least": paired[0]}
    return table


def machine(device: str) -> dict[str, Any]:
    """What the figures were taken on, and of which code."""
    name = torch.cuda.get_device_name() if device == "cuda" else _processor()
    facts = {"device": device, "name": name, "threads": torch.get_num_threads(), "torch": torch.__version__}
    return facts | {"commit": _commit(), "created": datetime.now(UTC).isoformat(timespec="seconds")}


def _commit() -> str | None:
    """The commit of this checkout, with a mark where its code differs from it; None where there is no history."""
    root = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + "-dirty" * bool(git("status", "--porcelain", "--", *CODE))
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        models = []
    return models[0] if models else platform.processor()
