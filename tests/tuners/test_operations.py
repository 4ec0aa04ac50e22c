"""How many operations a training layer dispatches, which is what a small layer takes its time for on every device."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from svft_bench.tuners import SVFTConfig, VectorFitConfig

LAYERS, WIDTH, TOKENS = 4, 256, 512
TARGETS = [str(place) for place in range(LAYERS)]
METHODS: dict[str, Any] = {
    "plain": SVFTConfig(target_modules=TARGETS),
    "banded": SVFTConfig(target_modules=TARGETS, pattern="banded", off_diag=16),
    "vectorfit": VectorFitConfig(target_modules=TARGETS),
}
# What says how a tensor is read, and computes or copies nothing.
VIEWS = {"t", "view", "detach", "permute", "unsqueeze", "expand", "promote_types", "transpose", "unbind"}
VIEWS |= {"split_with_sizes", "empty", "new_empty", "_unsafe_view", "slice", "unfold", "as_strided"}
# By the micro-batches of a step.
MOST = {
    1: {"plain": 8.0, "banded": 10.25, "vectorfit": 11.25},
    16: {"plain": 7.25, "banded": 8.25, "vectorfit": 9.75},
}


class Operations(TorchDispatchMode):
    """Counts what is dispatched within it and computes or copies."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).split(".")[1]
        self.count[name] += name not in VIEWS
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("accumulation", MOST)
@pytest.mark.parametrize("method", METHODS)
def test_a_training_layer_dispatches_few_operations_a_micro_batch(method: str, accumulation: int) -> None:
    torch.manual_seed(0)
    base = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))).bfloat16()
    model = get_peft_model(base, METHODS[method]).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    x, ones = torch.randn(TOKENS, WIDTH).bfloat16().requires_grad_(), torch.ones(TOKENS, WIDTH).bfloat16()
    for _ in range(3):
        with Operations() as operations:
            for _ in range(accumulation):
                x.grad = None
                model(x).backward(ones)
        optimizer.step()
        optimizer.zero_grad()
    taken = operations.count.total() / LAYERS / accumulation
    assert taken <= MOST[accumulation][method], (taken, operations.count)
