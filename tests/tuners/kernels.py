"""A small model of convolutions of every kind, on which the tuner contract is tested as it is on linear layers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from torch import Tensor, nn
from torch.nn import functional as F

from tests.tuners.cases import config_of, move

# (out, in·k·k) of every convolution, in the model's order.
SIZES = {
    "strided": (6, 18),
    "point": (6, 6),
    "tall": (20, 6),
    "dilated": (12, 80),
    "patches": (40, 48),
    "line": (16, 120),
    "cube": (8, 64),
}


class Kernels(nn.Module):
    """Strides, paddings, dilations; wide, square and tall matrices; in one, two and three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.strided = nn.Conv2d(2, 6, 3, stride=2, padding=1, padding_mode="reflect")
        self.point = nn.Conv2d(6, 6, 1, bias=False)
        self.tall = nn.Conv2d(6, 20, 1)
        self.dilated = nn.Conv2d(20, 12, 2, dilation=2, padding="same")
        self.patches = nn.Conv2d(12, 40, 2, stride=2)
        self.line = nn.Conv1d(40, 16, 3, padding=1, padding_mode="circular")
        self.cube = nn.Conv3d(16, 8, (1, 2, 2))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.strided, self.point, self.tall, self.dilated, self.patches):
            x = F.gelu(layer(x) + 0.1)
        x = F.gelu(self.line(x.flatten(2)))
        return self.head(self.cube(x.view(-1, 16, 1, 2, 2)).flatten(1))


def make_kernels(dtype: torch.dtype = torch.float32, *, channels_last: bool = False) -> Kernels:
    torch.manual_seed(0)
    model = Kernels()
    for parameter in model.parameters():
        parameter.data *= 2
    for module in model.modules() if channels_last else ():
        layouts = {nn.Conv2d: torch.channels_last, nn.Conv3d: torch.channels_last_3d}
        if (layout := layouts.get(type(module))) is not None:
            module.to(memory_format=layout)  # type: ignore[call-overload]
    return model.to(dtype).eval()


def make_pictures(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(5, 2, 9, 9, generator=torch.Generator().manual_seed(7)).to(dtype)


def of_kernels(case: str, **changes: Any) -> Any:
    """The config of a case for all convolutions; alignment takes square matrices only."""
    square = case == "svft_top_k"
    return config_of(case, **{"target_modules": {"point"} if square else set(SIZES)} | changes)


def adapted_kernels(
    case: str,
    *,
    dtype: torch.dtype = torch.float32,
    moved: bool = False,
    channels_last: bool = False,
    **changes: Any,
) -> PeftModel:
    torch.manual_seed(1)
    model = get_peft_model(make_kernels(dtype, channels_last=channels_last), of_kernels(case, **changes))
    if moved:
        move(model)
    return model.eval()


def main(folder: Path, *cases: str) -> None:
    """In another process: load what was saved there, and compare its answers."""
    torch.set_num_threads(2)
    for case in cases:
        model = PeftModel.from_pretrained(make_kernels(), folder / case).eval()
        wanted = torch.load(folder / f"{case}.pt")
        torch.testing.assert_close(model(make_pictures()), wanted, atol=2e-5, rtol=1e-4)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
