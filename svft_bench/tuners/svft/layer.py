"""The SVFT layer: a sparse trained core M on a fixed pattern, optionally gated."""

from __future__ import annotations

import zlib
from typing import Any

import torch
from peft.tuners._buffer_dict import BufferDict
from torch import Tensor, nn
from torch.nn import functional as F

from ..basis import Basis
from ..kernels import Core, dense_core
from ..layer import SingularLayer
from . import patterns
from .config import SVFTConfig


class SVFTLayer(SingularLayer):
    """y = W0 x + b + U M Vᵀ x, with M trained on the entries of a pattern."""

    adapter_layer_names = ("svft_m", "svft_gate")
    other_param_names = ("svft_index", "svft_band", "svft_fingerprint", "basis_names", "configs")

    def __init__(
        self, base_layer: nn.Module, adapter_name: str, *, config: SVFTConfig, key: str, quantization: dict[str, Any]
    ) -> None:
        super().__init__(base_layer, quantization=quantization)
        self.key = key
        self.svft_m = nn.ParameterDict()
        self.svft_gate = nn.ParameterDict()
        # A drawn pattern is saved: the draw depends on the release of torch, top_k on the last bits of the basis.
        self.svft_index = BufferDict(persistent=True)
        self.svft_band = BufferDict(persistent=False)
        self.svft_fingerprint = BufferDict(persistent=True)
        self.configs: dict[str, SVFTConfig] = {}
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config=config)

    def update_layer(self, adapter_name: str, *, config: SVFTConfig) -> None:
        """Give the layer one more adapter."""
        seed = zlib.crc32(f"{config.pattern_seed} {self.key}".encode())
        basis = self.add_basis(
            adapter_name,
            dtype=config.basis_dtype,
            precision=config.svd_precision,
            rank=config.rank,
            fill_seed=seed if config.fill_orthonormal else None,
        )
        self.configs[adapter_name] = config
        index = _index(basis, config, seed=seed)
        if index is not None:
            container = self.svft_band if config.pattern == "banded" else self.svft_index
            container[adapter_name] = index.to(device=basis.u.device, dtype=torch.int32)
        if basis.fingerprint is not None:
            self.svft_fingerprint[adapter_name] = basis.fingerprint.to(basis.u.device)
        k = basis.size if index is None else index.numel()
        m = torch.zeros(k, device=basis.u.device, dtype=basis.s.dtype)
        if config.init == "kaiming" and not m.is_meta:
            nn.init.kaiming_normal_(m.view(1, -1))
        self.svft_m[adapter_name] = nn.Parameter(m)
        if config.gate:
            self.svft_gate[adapter_name] = nn.Parameter(m.new_zeros(1))
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def core(self, adapter: str) -> Core | None:
        if adapter not in self.svft_m:
            return None
        m = self.svft_m[adapter]
        if adapter in self.svft_gate:
            m = m * torch.sigmoid(self.svft_gate[adapter])
        indices = [container[adapter] for container in (self.svft_index, self.svft_band) if adapter in container]
        return Core(self.basis(adapter), m, indices[0] if indices else None)

    def adapt(self, x: Tensor, y: Tensor, adapter: str) -> Tensor:
        if adapter not in self.svft_m or self.configs[adapter].variant == "ours":
            return super().adapt(x, y, adapter)
        bias = self.get_base_layer().bias
        weight = self._released_weight(adapter)
        return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype)).to(y.dtype)

    def get_delta_weight(self, adapter: str) -> Tensor:
        if adapter not in self.svft_m or self.configs[adapter].variant == "ours":
            return super().get_delta_weight(adapter)
        return self.oriented(self._released_weight(adapter) - self.matrix())

    def _released_weight(self, adapter: str) -> Tensor:
        """U (Σ + M) Vᵀ, rebuilt from the factors as the authors' layer does in every forward."""
        core = self.core(adapter)
        assert core is not None
        u, s, vt = (part.to(core.m.dtype) for part in core.basis.factors)
        return u @ ((torch.diag(s) + dense_core(core)) @ vt)

    def set_adapter(self, adapter_names: str | list[str], inference_mode: bool = False) -> None:
        names = [adapter_names] if isinstance(adapter_names, str) else adapter_names
        released = [name for name in names if name in self.configs and self.configs[name].variant == "released"]
        if released and len(names) > 1:
            raise ValueError(
                f"Adapter {released[0]!r} replaces the weight (variant='released') and can only be active alone."
            )
        super().set_adapter(adapter_names, inference_mode=inference_mode)


def _index(basis: Basis, config: SVFTConfig, *, seed: int) -> Tensor | None:
    """The flat cells of the core that train; None for the whole diagonal."""
    n = basis.size
    if config.pattern == "plain":
        return None
    if config.pattern == "banded":
        return patterns.banded(n, off_diag=config.off_diag)
    k = patterns.count(n, pattern=config.pattern, off_diag=config.off_diag, entries=config.entries)
    if basis.u.is_meta:
        return torch.empty(k, device="meta")
    if config.pattern == "random":
        return patterns.random(n, entries=k, seed=seed, replacement=config.replacement)
    return patterns.top_k(basis.u.float(), basis.vt.float(), entries=k, rule=config.top_k_rule)
