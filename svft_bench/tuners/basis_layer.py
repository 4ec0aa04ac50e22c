"""A linear layer that keeps the singular bases of its weight, each shared by the adapters that want the same one."""

from __future__ import annotations

import logging
from typing import Any, cast

import torch
from peft.tuners._buffer_dict import BufferDict
from peft.utils.quantization_utils import resolve_quantization_backend
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from . import chooser, svd
from .basis import Basis, Side, check_fingerprint, truncate
from .budget import Holding
from .merging import MergingLayer
from .offloading import onloaded
from .options import resolve_dtype

logger = logging.getLogger(__name__)


def quantization_of(base: nn.Module, quantization: dict[str, Any]) -> Any:
    """PEFT's backend for a quantised base layer; None for an ordinary one."""
    return resolve_quantization_backend(base, **quantization)


def matrix_of(base: nn.Module, backend: Any = None) -> Tensor:
    """The weight of `base` as (out, in), dequantised or loaded where it has to be."""
    with onloaded(base):
        weight: Tensor = backend.get_base_weight(base) if backend is not None else base.weight.data  # type: ignore[assignment]
    return weight.T if isinstance(base, Conv1D) else weight


def side_of(shape: tuple[int, int], *, conditioning: float, dtype: torch.dtype, config: Any) -> Side:
    """Which factors a layer keeps in `dtype`."""
    if config.save_basis or getattr(config, "variant", None) == "released":
        return "both"
    if not chooser.one_sided_fits(shape, conditioning=conditioning, dtype=dtype, option=config.path):
        return "both"
    return "left" if shape[0] < shape[1] else "right"


class BasisLayer(MergingLayer):
    """A base layer, and for each adapter its config and the basis that it trains in."""

    def __init__(self, base_layer: nn.Module, *, key: str, quantization: dict[str, Any]) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.key = key
        self.quantization_backend = quantization_of(self.get_base_layer(), quantization)
        weight = self.matrix()
        self.shape = (weight.shape[0], weight.shape[-1])
        # Shared by the adapters and outside every per-adapter container, which PEFT would cast and upcast.
        self.singular_bases = nn.ModuleDict()
        self.basis_names: dict[str, str] = {}
        # The fingerprints that were compared with the basis, by adapter: which tensor, and how often it was written.
        self._compared: dict[str, tuple[int, int]] = {}

    def matrix(self) -> Tensor:
        """The base weight as (out, in), without what is merged into it."""
        base = self.get_base_layer()
        if self._kept is not None:
            return self.oriented(self._kept.weight.to(self._get_base_layer_device_and_dtype(base)[0]))
        return matrix_of(base, self.quantization_backend)

    def base_bias(self) -> Tensor | None:
        """The bias of the base layer, if it has one."""
        base = self.get_base_layer()
        with onloaded(base):
            bias: Tensor | None = getattr(base, "bias", None)
        return bias

    def oriented(self, weight: Tensor) -> Tensor:
        """An (out, in) matrix as the base layer stores it."""
        return weight.T if isinstance(self.get_base_layer(), Conv1D) else weight

    def basis(self, adapter: str) -> Basis:
        """The basis of an adapter."""
        return cast(Basis, self.singular_bases[self.basis_names[adapter]])

    def add_basis(self, adapter: str, *, rank: int | None = None, fill_seed: int | None = None) -> svd.Factors:
        """Give `adapter` a basis of the base weight, that of another adapter where it is the same; all its factors."""
        config, weight = self.configs[adapter], self.matrix()
        factors = self._factors(weight, config.svd_precision)
        if rank is not None and rank < min(weight.shape):
            factors = truncate(factors, rank=rank, fill_seed=fill_seed)
        dtype = resolve_dtype(config.basis_dtype, self._get_base_layer_device_and_dtype(self.get_base_layer())[1])
        side = self._side(factors, dtype, config)
        name = f"{dtype}_{config.svd_precision}_{side}_{rank}_{fill_seed}".replace(".", "_")
        if name not in self.singular_bases:
            self.singular_bases[name] = Basis(factors, dtype=dtype, side=side)
        self.basis_names[adapter] = name
        return factors

    def fingerprints(self) -> BufferDict:
        """The saved fingerprint of each adapter's basis."""
        raise NotImplementedError

    def checked_basis(self, adapter: str) -> Basis:
        """The basis of an adapter, compared with a fingerprint that was loaded since the last time, by whatever way."""
        basis, fingerprints = self.basis(adapter), self.fingerprints()
        if not torch.compiler.is_compiling() and adapter in fingerprints:
            saved = fingerprints[adapter]
            mark = (id(saved), 0 if saved.is_inference() else saved._version)
            if self._compared.get(adapter) != mark:
                check_fingerprint(saved, basis, module=self.key)
                self._compared[adapter] = mark
        return basis

    @staticmethod
    def _factors(weight: Tensor, precision: svd.Precision) -> svd.Factors:
        if weight.is_meta:
            return svd.on_meta(weight)
        return svd.decompose(weight, precision=precision, cache=svd.cache_folder())

    def _side(self, factors: svd.Factors, dtype: torch.dtype, config: Any) -> Side:
        conditioning = chooser.conditioning(factors.s)
        side = side_of(self.shape, conditioning=conditioning, dtype=dtype, config=config)
        held = "both factors" if side == "both" else "one factor"
        logger.info("%s %s keeps %s (conditioning %.3g)", self.key, self.shape, held, conditioning)
        return side

    def holding(self) -> Holding:
        """What the layer holds, apart from an adapted weight."""
        bases = [cast(Basis, basis) for basis in self.singular_bases.values()]
        both = any(basis.u is not None and basis.vt is not None for basis in bases)
        return Holding(self.matrix().nbytes, sum(basis.nbytes for basis in bases), both)

    def checked_factors(self, factors: svd.Factors, *, module: str) -> svd.Factors:
        """Factors that were saved, moved to the weight; a ValueError where whole ones are not those of the weight."""
        weight = self.matrix()
        if weight.is_meta:
            return factors
        factors = svd.Factors(*(part.to(weight.device, torch.float32) for part in factors))
        if factors.s.shape[0] == min(weight.shape) and not svd.is_sound(factors, weight.float(), tolerance=0.02):
            raise ValueError(f"The singular basis saved with the adapter does not belong to the weight of {module!r}.")
        return factors

    def install_basis(self, adapter: str, factors: svd.Factors) -> None:
        """Replace the computed basis of `adapter` by the one it was saved with."""
        own = f"saved_{adapter}"
        dtype = resolve_dtype(self.configs[adapter].basis_dtype, self.matrix().dtype)
        self.singular_bases[own] = Basis(factors, dtype=dtype)
        self.basis_names[adapter] = own
        self._drop_unused_bases()

    def delete_adapter(self, adapter_name: str) -> None:
        super().delete_adapter(adapter_name)
        self._compared.pop(adapter_name, None)
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
            if held and not container[adapter_name].is_meta and device.type != "meta":
                container[adapter_name] = container[adapter_name].to(device)
