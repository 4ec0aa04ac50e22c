"""y = W0 x + b + Σ (U M Vᵀ x + Δb): a linear layer with adapters in its own singular basis."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from peft.tuners._buffer_dict import BufferDict
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from peft.utils.quantization_utils import quantization_extra_repr, resolve_quantization_backend
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from . import kernels, svd
from .basis import Basis, truncate
from .kernels import Core
from .options import BasisDtype, resolve_dtype


def quantization_of(base: nn.Module, quantization: dict[str, Any]) -> Any:
    """PEFT's backend for a quantised base layer; None for an ordinary one."""
    return resolve_quantization_backend(base, **quantization)


def matrix_of(base: nn.Module, backend: Any = None) -> Tensor:
    """The weight of `base` as (out, in), dequantised where it has to be."""
    weight: Tensor = backend.get_base_weight(base) if backend is not None else base.weight.data  # type: ignore[assignment]
    return weight.T if isinstance(base, Conv1D) else weight


class SingularLayer(nn.Module, BaseTunerLayer):  # type: ignore[misc]
    """What SVFT and VectorFit share. A subclass says what an adapter adds, in `core` and `bias_offset`."""

    # What PEFT's untyped half provides.
    base_layer: nn.Module
    quantization_backend: Any
    active_adapters: list[str]
    disable_adapters: bool
    adapter_layer_names: tuple[str, ...]
    other_param_names: tuple[str, ...]
    set_adapter: Callable[..., None]
    merged: bool
    get_base_layer: Callable[[], Any]
    get_base_weight: Callable[[], Tensor]
    set_base_weight: Callable[[Tensor], None]
    _get_available_adapters: Callable[[], set[str]]
    _get_base_layer_device_and_dtype: Callable[[nn.Module], tuple[torch.device, torch.dtype]]

    def __init__(self, base_layer: nn.Module, *, quantization: dict[str, Any]) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.quantization_backend = quantization_of(self.get_base_layer(), quantization)
        # Shared by the adapters and outside every per-adapter container, which PEFT would cast and upcast.
        self.singular_bases = nn.ModuleDict()
        self.basis_names: dict[str, str] = {}
        self._disable_adapters = False
        self.merged_adapters: list[str] = []
        # The base's weight parameter, weight values and bias values while adapters are merged into them.
        self._kept: tuple[nn.Parameter, Tensor, Tensor | None] | None = None

    def core(self, adapter: str) -> Core | None:
        """The adapter's trained core, None where it has none on this layer."""
        raise NotImplementedError

    def bias_offset(self, adapter: str) -> Tensor | None:
        """What the adapter adds to the bias, None where it adds nothing."""
        return None

    def matrix(self) -> Tensor:
        """The base weight as (out, in)."""
        return matrix_of(self.get_base_layer(), self.quantization_backend)

    # The basis

    def basis(self, adapter: str) -> Basis:
        return cast(Basis, self.singular_bases[self.basis_names[adapter]])

    def add_basis(
        self,
        adapter: str,
        *,
        dtype: BasisDtype,
        precision: svd.Precision,
        rank: int | None = None,
        fill_seed: int | None = None,
    ) -> Basis:
        """Give `adapter` a basis of the base weight, the one of another adapter where that is equal."""
        weight = self.matrix()
        rank = None if rank is None or rank >= min(weight.shape) else rank
        run_dtype = resolve_dtype(dtype, self._get_base_layer_device_and_dtype(self.get_base_layer())[1])
        name = f"{run_dtype}_{precision}_rank{rank}_fill{fill_seed if rank else None}".removeprefix("torch.")
        if name not in self.singular_bases:
            full = self._factors(weight, precision)
            factors = full if rank is None else truncate(full, rank=rank, fill_seed=fill_seed)
            self.singular_bases[name] = Basis(factors, dtype=run_dtype)
        self.basis_names[adapter] = name
        return self.basis(adapter)

    @staticmethod
    def _factors(weight: Tensor, precision: svd.Precision) -> svd.Factors:
        if weight.is_meta:
            return svd.on_meta(weight)
        return svd.decompose(weight, precision=precision, cache=svd.cache_folder())

    def install_basis(self, adapter: str, factors: svd.Factors) -> None:
        """Replace the computed basis of `adapter` by the one it was saved with."""
        own = f"saved_{adapter}"
        self.singular_bases[own] = Basis(factors, dtype=self.basis(adapter).u.dtype)
        self.basis_names[adapter] = own
        self._drop_unused_bases()

    def delete_adapter(self, adapter_name: str) -> None:
        super().delete_adapter(adapter_name)
        self._drop_unused_bases()

    def _drop_unused_bases(self) -> None:
        for name in set(self.singular_bases) - set(self.basis_names.values()):
            del self.singular_bases[name]

    def _move_adapter_to_device_of_base_layer(self, adapter_name: str, device: torch.device | None = None) -> None:
        """Move without PEFT's cast: trained entries keep their precision whatever the base has."""
        device = device or self._get_base_layer_device_and_dtype(self.get_base_layer())[0]
        for name in (*self.adapter_layer_names, *self.other_param_names):
            container: Any = getattr(self, name)
            held = isinstance(container, (nn.ParameterDict, BufferDict)) and adapter_name in container
            if held and not container[adapter_name].is_meta:
                container[adapter_name] = container[adapter_name].to(device)

    # What the adapters add

    def get_delta_weight(self, adapter: str) -> Tensor:
        """What merging `adapter` adds to the base weight, in that weight's own orientation, at least in float32."""
        core = self.core(adapter)
        if core is None:
            return torch.zeros_like(self.get_base_weight(), dtype=torch.float32)
        return self.oriented(kernels.weight_delta(core._replace(m=core.m.to(_at_least_float32(core.m)))))

    def oriented(self, weight: Tensor) -> Tensor:
        """An (out, in) matrix as the base layer stores it."""
        return weight.T if isinstance(self.get_base_layer(), Conv1D) else weight

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        return self.bias_offset(adapter_name) is None

    def adapt(self, x: Tensor, y: Tensor, adapter: str) -> Tensor:
        """y plus what `adapter` adds for the input x; y itself while the adapter adds nothing."""
        core, offset = self.core(adapter), self.bias_offset(adapter)
        if core is not None:
            y = y + kernels.token_delta(x, core).to(y.dtype)
        return y if offset is None else y + offset.to(y.dtype)

    def forward(self, x: Tensor, *args: Any, adapter_names: list[str] | None = None, **kwargs: Any) -> Tensor:
        if adapter_names is not None:
            self._check_mixed_batch(x, adapter_names)
        if self.disable_adapters and self.merged:
            self.unmerge()
        y: Tensor = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters or self.merged:
            return y
        if adapter_names is not None:
            return self._adapt_rows(x, y, adapter_names)
        for adapter in self.active_adapters:
            y = self.adapt(x, y, adapter)
        return y

    def _check_mixed_batch(self, x: Tensor, adapter_names: list[str]) -> None:
        if len(x) != len(adapter_names):
            raise ValueError(f"adapter_names has {len(adapter_names)} entries for a batch of {len(x)} rows.")
        if self.merged:
            raise ValueError(f"adapter_names cannot be used while {', '.join(self.merged_adapters)} is merged.")

    def _adapt_rows(self, x: Tensor, y: Tensor, adapter_names: list[str]) -> Tensor:
        y = y.clone()
        for adapter in dict.fromkeys(adapter_names):
            rows = [row for row, name in enumerate(adapter_names) if name == adapter]
            y[rows] = self.adapt(x[rows], y[rows], adapter)
        return y

    # Merging

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Fold adapters into the base weight and bias; the originals are kept aside until `unmerge`.

        Raises a ValueError, leaving the base as it was, where `safe_merge` finds a result that is not finite.
        """
        available = self._get_available_adapters()
        names = [name for name in check_adapters_to_merge(self, adapter_names) if name in available]
        if not names:
            return
        base = self.get_base_layer()
        bias = getattr(base, "bias", None)
        kept = self._kept or (base.weight, self.get_base_weight(), None if bias is None else bias.data)
        merged = [*self.merged_adapters, *names]
        weight, new_bias = self._merged(merged, kept[1], kept[2])
        if safe_merge and not all(bool(torch.isfinite(part).all()) for part in (weight, new_bias) if part is not None):
            raise ValueError(f"Merging {', '.join(names)} gives a weight that is not finite; nothing was merged.")
        self._kept, self.merged_adapters = kept, merged
        self.set_base_weight(weight)
        if bias is not None:
            bias.data = new_bias

    def _merged(self, names: list[str], weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        with torch.no_grad():
            if any(self.core(name) is not None for name in names):
                total = sum((self.get_delta_weight(name) for name in names), weight.to(_at_least_float32(weight)))
                weight = total.to(weight.dtype)
            for offset in (self.bias_offset(name) for name in names):
                bias = bias if offset is None or bias is None else bias + offset.to(bias.dtype)
        return weight, bias

    def unmerge(self) -> None:
        """Put the base weight and bias back, bit for bit."""
        if self._kept is None:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        base = self.get_base_layer()
        parameter, weight, bias = self._kept
        if self.quantization_backend is None:
            base.weight.data = weight.to(base.weight)
        else:
            base.weight = parameter
        if bias is not None:
            base.bias.data = bias.to(base.bias)
        self._kept, self.merged_adapters = None, []

    def extra_repr(self) -> str:
        text: str = quantization_extra_repr(self)
        return text


def _at_least_float32(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
