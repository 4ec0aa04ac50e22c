"""The small models and the configs on which every statement of the tuner contract is tested."""

from __future__ import annotations

import copy
from typing import Any

import torch
from peft import PeftConfig, get_peft_model
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from svft_bench.tuners import SVFTConfig, VectorFitConfig

TARGETS = ["square", "tall", "wide", "conv"]


class Shapes(nn.Module):
    """Square, tall and wide linears with and without bias, and a Conv1D: every kind of base layer in a row.

    The twin of the square one is adapted where layers of one shape have something in common.
    """

    def __init__(self) -> None:
        super().__init__()
        self.square = nn.Linear(12, 12, bias=False)
        self.tall = nn.Linear(12, 20)
        self.wide = nn.Linear(20, 8)
        self.conv = Conv1D(12, 8)
        self.twin = nn.Linear(12, 12, bias=False)
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.square, self.tall, self.wide, self.conv, self.twin):
            x = torch.nn.functional.gelu(layer(x) + 0.1)
        return self.head(x)


def make_base(dtype: torch.dtype = torch.float32) -> Shapes:
    torch.manual_seed(0)
    model = Shapes()
    for parameter in (model.conv.weight, model.conv.bias):
        nn.init.normal_(parameter, std=0.3)
    return model.to(dtype).eval()


def make_input(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(5, 12, generator=torch.Generator().manual_seed(7)).to(dtype)


def svft(**options: Any) -> SVFTConfig:
    return SVFTConfig(**{"target_modules": list(TARGETS)} | options)


def vectorfit(**options: Any) -> VectorFitConfig:
    return VectorFitConfig(**{"target_modules": list(TARGETS)} | options)


# Every case starts at the base model.
CASES: dict[str, PeftConfig] = {
    "svft_plain": svft(),
    "svft_banded": svft(pattern="banded", off_diag=2),
    "svft_random": svft(pattern="random", off_diag=2),
    "svft_random_replacement": svft(pattern="random", entries=30, replacement=True),
    "svft_top_k": svft(pattern="top_k", off_diag=1, target_modules=["square"]),
    "svft_top_k_released": svft(pattern="top_k", off_diag=1, top_k_rule="released"),
    "svft_dense": svft(pattern="dense"),
    "svft_dense_rank": svft(pattern="dense", rank=3),
    "svft_rank": svft(pattern="banded", off_diag=1, rank=3),
    "svft_rank_filled": svft(pattern="banded", off_diag=1, rank=3, fill_orthonormal=True),
    "svft_tied": svft(pattern="banded", off_diag=2, tied=True, target_modules=[*TARGETS, "twin"]),
    "svft_tied_plain": svft(tied=True, target_modules=[*TARGETS, "twin"]),
    "svft_tied_random": svft(pattern="random", off_diag=2, tied=True, target_modules=[*TARGETS, "twin"]),
    "svft_gate": svft(pattern="banded", off_diag=1, gate=True),
    "svft_saved_basis": svft(pattern="banded", off_diag=2, save_basis=True),
    "svft_exact": svft(svd_precision="float64", basis_dtype="float32"),
    "vectorfit": vectorfit(),
    "vectorfit_sigma": vectorfit(train_bias=False),
    "vectorfit_bias": vectorfit(train_sigma=False),
    "vectorfit_adaptive": vectorfit(freezing="adaptive", total_step=20),
}
# These do not.
MOVED_CASES: dict[str, PeftConfig] = {
    "svft_kaiming": svft(pattern="banded", off_diag=1, init="kaiming"),
    "svft_released": svft(pattern="banded", off_diag=1, variant="released"),
    "svft_released_rank": svft(pattern="banded", off_diag=1, variant="released", rank=4),
}


def config_of(name: str, **changes: Any) -> PeftConfig:
    config = copy.deepcopy((CASES | MOVED_CASES)[name])
    for field, value in changes.items():
        setattr(config, field, value)
    return config


def adapted(name: str, *, dtype: torch.dtype = torch.float32, moved: bool = False, **changes: Any) -> nn.Module:
    """The shapes model with the adapter of a case; `moved` gives every trained entry another value."""
    torch.manual_seed(1)
    model = get_peft_model(make_base(dtype), config_of(name, **changes))
    if moved:
        move(model)
    return model.eval()


def move(model: nn.Module, *, seed: int = 5, scale: float = 0.2) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += scale * torch.randn(parameter.shape, generator=generator).to(parameter)
