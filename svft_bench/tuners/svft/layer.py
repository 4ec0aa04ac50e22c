"""The SVFT layer: a sparse trained core M on a fixed pattern, optionally gated."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, cast

import torch
from peft.tuners._buffer_dict import BufferDict
from torch import Tensor, nn

from ..bands import banded
from ..conv import ConvLayer
from ..cores import Diagonal, Full, Pattern, Scattered
from ..kernels import Core, without_autocast
from ..layer import SingularLayer
from ..stacked import Sliced
from ..svd import Factors
from . import patterns
from .cells import Cells
from .config import SVFTConfig
from .tied import TiedCore


class SVFTLayer(SingularLayer):
    """y = W0 x + b + U M Vᵀ x, with M trained on the entries of a pattern."""

    adapter_layer_names = ("svft_m", "svft_gate", "svft_tied")
    other_param_names = ("svft_index", "svft_fingerprint", "basis_names", "basis_origins", "configs", "scaling")

    def __init__(
        self, base_layer: nn.Module, adapter_name: str, *, config: SVFTConfig, key: str, quantization: dict[str, Any]
    ) -> None:
        super().__init__(base_layer, key=key, quantization=quantization)
        self.svft_m = nn.ParameterDict()
        self.svft_gate = nn.ParameterDict()
        self.svft_tied = nn.ModuleDict()
        # A drawn pattern is saved: the draw depends on the release of torch, top_k on the last bits of the basis.
        self.svft_index = Cells()
        self.svft_fingerprint = BufferDict(persistent=True)
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config=config)

    def update_layer(self, adapter_name: str, *, config: SVFTConfig) -> None:
        """Give the layer one more adapter."""
        config = config.of_layer(self.key, self.shape)
        self.configs[adapter_name], self.scaling[adapter_name] = config, 1.0
        seed = zlib.crc32(f"{config.pattern_seed} {self.shape if config.tied else self.key}".encode())
        fill_seed = seed if config.fill_orthonormal else None
        factors = self.add_basis(adapter_name, rank=config.rank, fill_seed=fill_seed)
        basis = self.basis(adapter_name)
        k = patterns.count(basis.size, pattern=config.pattern, off_diag=config.off_diag, entries=config.entries)
        m = torch.zeros(k, dtype=basis.s.dtype, device="cpu")
        if (config.init == "kaiming" or not config.init_weights) and not basis.s.is_meta:
            nn.init.kaiming_normal_(m.view(1, -1))  # on the CPU, so that the start is the same on every device
        m = m.to(basis.device)
        if config.tied:
            self.svft_tied[adapter_name] = TiedCore(m)
        else:
            self.svft_m[adapter_name] = nn.Parameter(m)
        if config.gate:
            self.svft_gate[adapter_name] = nn.Parameter(m.new_zeros(1))
        place = self.place(adapter_name)
        if config.pattern in ("random", "top_k"):
            cells = torch.empty(k, device="meta") if place.type == "meta" else _drawn(factors, config, seed=seed)
            self.svft_index[adapter_name] = cells.to(device=place, dtype=torch.int32)
        fingerprint = self.fingerprint(adapter_name)
        self.svft_fingerprint[adapter_name] = fingerprint if fingerprint.is_meta else fingerprint.to(place)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def fingerprints(self) -> BufferDict:
        return self.svft_fingerprint

    def begin(self, adapter: str, factors: Factors) -> None:
        super().begin(adapter, factors)
        if (config := self.configs[adapter]).pattern == "top_k":  # no draw knows the weight
            cells = _drawn(factors, config, seed=0)
            self.svft_index[adapter] = cells.to(device=self.place(adapter), dtype=torch.int32)

    def core(self, adapter: str) -> Core | None:
        if adapter in self.svft_m:
            m = self.svft_m[adapter]
        elif adapter in self.svft_tied:
            m = cast(TiedCore, self.svft_tied[adapter]).m
        else:
            return None
        if adapter in self.svft_gate:
            m = m * torch.sigmoid(self.svft_gate[adapter])
        basis = self.checked_basis(adapter)
        return Core(basis, self.scaled(adapter, m), self._pattern(adapter, basis.size, m.device))

    def trained(self, adapter: str) -> list[Tensor]:
        return [part.m if isinstance(part, TiedCore) else part for part in super().trained(adapter)]

    def _pattern(self, adapter: str, n: int, device: torch.device) -> Pattern:
        config = self.configs[adapter]
        if config.pattern == "plain":
            return Diagonal(n)
        if config.pattern == "dense":
            return Full(n)
        if config.pattern == "banded":
            return banded(n, config.off_diag, device)
        return Scattered(n, self.svft_index[adapter])

    def adapt(self, x: Tensor, linear: Callable[[Tensor], Tensor], adapter: str, *, alone: bool = True) -> Tensor:
        if self.configs[adapter].variant == "ours":
            return super().adapt(x, linear, adapter, alone=alone)
        return self.product(x, self._released_weight(adapter).to(x.dtype), self.base_bias())

    def get_delta_weight(self, adapter: str) -> Tensor:
        if self.configs[adapter].variant == "ours":
            return super().get_delta_weight(adapter)
        matrix = self.matrix()
        with without_autocast(matrix.device):
            return self.oriented(self._released_weight(adapter) - matrix)

    def _released_weight(self, adapter: str) -> Tensor:
        """U (Σ + M) Vᵀ, rebuilt from the factors as the authors' layer does in every forward."""
        core = self.core(adapter)
        assert core is not None
        u, s, vt = core.basis.u, core.basis.s, core.basis.vt
        assert u is not None and vt is not None
        m = torch.diag(s) + core.pattern.dense(core.m)
        return u.to(m.dtype) @ (m @ vt.to(m.dtype))

    def set_adapter(self, adapter_names: str | list[str], inference_mode: bool = False) -> None:
        names = [adapter_names] if isinstance(adapter_names, str) else adapter_names
        released = [name for name in names if name in self.configs and self.configs[name].variant == "released"]
        if released and len(names) > 1:
            raise ValueError(
                f"Adapter {released[0]!r} replaces the weight (variant='released') and can only be active alone."
            )
        super().set_adapter(adapter_names, inference_mode=inference_mode)


class SVFTLinear(SVFTLayer):
    """SVFT on an `nn.Linear`, a `Conv1D` or a quantised linear layer."""


class SVFTConv(SVFTLayer, ConvLayer):
    """SVFT on an `nn.Conv1d`, `nn.Conv2d` or `nn.Conv3d`."""


class SVFTSlice(Sliced, SVFTLayer):
    """SVFT on one matrix of a stack."""


def _drawn(factors: Factors, config: SVFTConfig, *, seed: int) -> Tensor:
    """The flat cells of a random or top_k pattern."""
    n = factors.s.shape[0]
    k = patterns.count(n, pattern=config.pattern, off_diag=config.off_diag, entries=config.entries)
    if config.pattern == "random":
        return patterns.random(n, entries=k, seed=seed, replacement=config.replacement)
    return patterns.top_k(factors.u.float(), factors.vt.float(), entries=k, rule=config.top_k_rule)
