"""Single layers of every shape and pattern, forced onto a path, and the dense definition that they must equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor, nn

from svft_bench.tuners import SVFTConfig, VectorFitConfig, kernels
from svft_bench.tuners.layer import SingularLayer

SHAPES = {"square": (12, 12), "tall": (24, 8), "wide": (8, 24)}
LARGER = {"larger square": (160, 160), "larger tall": (256, 96), "larger wide": (96, 256)}
PATHS = ["token", "weight", "one_sided", "rotated"]
EXACT = ["token", "weight", "one_sided"]
PATTERNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "banded": {"pattern": "banded", "off_diag": 2},
    "random": {"pattern": "random", "entries": 25},
    "repeated": {"pattern": "random", "entries": 25, "replacement": True},
    "truncated": {"pattern": "banded", "off_diag": 1, "rank": 4},
    "dense": {"pattern": "dense", "rank": 4},
    "gated": {"pattern": "banded", "off_diag": 1, "gate": True},
    "vectorfit": {"vectorfit": True},
}


class One(nn.Module):
    """A model of one linear layer."""

    def __init__(self, shape: tuple[int, int], *, bias: bool, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.linear = nn.Linear(shape[1], shape[0], bias=bias, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def layer_of(
    path: str,
    *,
    shape: str,
    bias: bool = True,
    dtype: torch.dtype = torch.float64,
    vectorfit: bool = False,
    **options: Any,
) -> SingularLayer:
    config = (VectorFitConfig if vectorfit else SVFTConfig)(target_modules=["linear"], path=path, **options)
    model = get_peft_model(One((SHAPES | LARGER)[shape], bias=bias, dtype=dtype), config, autocast_adapter_dtype=False)
    layer: SingularLayer = model.base_model.model.linear
    generator = torch.Generator().manual_seed(4)
    for p in layer.trained("default"):
        p.data.copy_(0.3 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return layer


def dense(layer: SingularLayer, x: Tensor) -> Tensor:
    """The definition: the whole U, M and Vᵀ from a fresh SVD, by autograd."""
    weight = layer.matrix().double()
    u, _, vt = torch.linalg.svd(weight, full_matrices=False)
    signs = torch.where(u.gather(0, u.abs().argmax(0, keepdim=True)) < 0, -1.0, 1.0).double()
    core = layer.core("default")
    assert core is not None
    n = core.basis.size
    u, vt = (u * signs)[:, :n], (vt * signs.T)[:n]
    offset = layer.bias_offset("default")
    bias = layer.get_base_layer().bias
    y = x @ (weight + u @ core.pattern.dense(core.m).double() @ vt).T
    return y if bias is None else y + bias.double() + (0 if offset is None else offset)


def square_layer() -> SingularLayer:
    return layer_of("weight", shape="square", dtype=torch.float32)


def gradients(
    layer: SingularLayer, *inputs: Tensor, forward: Callable[[Tensor], Tensor] | None = None
) -> list[Tensor | None]:
    """What a loss on each of the inputs in turn leaves in the trained entries; `forward` stands in for the layer."""
    layer.zero_grad()
    forward = layer if forward is None else forward
    for x in inputs:
        forward(x).square().sum().backward()
    return [p.grad for p in layer.trained("default")]


def builds(layer: SingularLayer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many weights are built from here on, in a list of one number."""
    count = [0]
    original = kernels.weight_delta

    def counted(*args: Any, **options: Any) -> Tensor:
        count[0] += 1
        return original(*args, **options)

    monkeypatch.setattr(kernels, "weight_delta", counted)
    return count
