"""y = conv(x, W0 + U M Vᵀ) + b + Δb: a convolution, whose kernels are the rows of an (out, in·k·k) matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import kernels, rounding
from .cores import is_transformed
from .kernels import Core
from .layer import SingularLayer, run_dtype
from .plain import CONVOLUTIONS

# What models read of a convolution that they call, as Whisper does for the length of its output.
READ = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
# How a weight of so many dimensions may lie in memory, other than in their order.
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


class ConvLayer(SingularLayer):
    """A convolution with the adapted weight, rebuilt in every forward that needs a gradient.

    A well-conditioned one with at least twice as many inputs as outputs (nearly every 3x3) keeps the factor of its
    outputs alone, and its update works on them: y + U M Σ⁻¹ Uᵀ (y - b).
    """

    plain_kinds = CONVOLUTIONS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        base = self.get_base_layer()
        self.in_features, self.out_features = base.in_channels, base.out_channels
        for name in READ:
            setattr(self, name, getattr(base, name))

    @property
    def channels(self) -> int:
        """The dimension of the outputs, counted from the last."""
        return -len(self.get_base_layer().kernel_size) - 1

    def oriented(self, weight: Tensor) -> Tensor:
        base = self.get_base_layer().weight
        last = CHANNELS_LAST.get(base.dim())
        lies_last = last is not None and not base.is_contiguous() and base.is_contiguous(memory_format=last)
        own = weight.reshape(base.shape)
        return own.contiguous(memory_format=last) if lies_last and last is not None else own

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y: Tensor = self.get_base_layer()._conv_forward(x, self.oriented(weight), bias)
        return y

    def along_outputs(self, offset: Tensor) -> Tensor:
        return offset.view(-1, *[1] * (-self.channels - 1))

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        return False  # PEFT converts matrices alone

    def along_path(
        self,
        x: Tensor,
        linear: Callable[[Tensor], Tensor],
        core: Core,
        adapter: str,
        *,
        bias: Tensor | None,
        dense: bool,
    ) -> Tensor:
        how = self.configs[adapter].rounding
        if core.basis.vt is None:
            y = kernels.one_sided(x, lambda h: linear(h).movedim(self.channels, -1), core, bias=bias, how=how)
            return y.movedim(-1, self.channels)
        dtype = run_dtype(x)
        if not dense:
            delta = kernels.weight_delta(core, self.matrix(), dtype=core.basis.dtype)
            return rounding.add(linear(x), self.product(x, delta.to(x.dtype), None), how=how)
        traced = torch.compiler.is_compiling() or is_transformed()
        keeps = self.has_room and not (traced or torch.is_grad_enabled())
        weight = (self.adapted_weight if keeps else self.sum_of)(core, adapter, dtype)
        return self.product(x.to(dtype), weight, None if bias is None else bias.to(dtype))
