"""A linear layer that keeps the singular bases of its weight, each shared by the adapters that want the same one."""

from __future__ import annotations

import logging
from typing import Any, cast

import torch
from peft.tuners._buffer_dict import BufferDict
from peft.utils.quantization_utils import resolve_quantization_backend
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from . import chooser, quantised, rounding, svd, transfer
from .basis import PROBES, Basis, Side, fingerprints_of
from .budget import Holding
from .cores import is_stand_in, is_transformed, mark_of
from .merging import MergingLayer
from .offloading import onloaded
from .options import resolve_dtype
from .plain import as_matrix, is_more, matrix_of

logger = logging.getLogger(__name__)


def quantization_of(base: nn.Module, quantization: dict[str, Any]) -> Any:
    """PEFT's backend for a quantised base layer; None for an ordinary one."""
    return quantised.unpacking(resolve_quantization_backend(base, **quantization))


class BasisLayer(MergingLayer):
    """A base layer, and for each adapter its config and the basis that it trains in."""

    def __init__(self, base_layer: nn.Module, *, key: str, quantization: dict[str, Any]) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.key = key
        self.quantization_backend = quantization_of(self.get_base_layer(), quantization)
        weight = self.matrix()
        self.shape = (weight.shape[0], weight.shape[-1])
        self.out_features, self.in_features = self.shape
        # Shared by the adapters and outside every per-adapter container, which PEFT would cast and upcast.
        self.singular_bases = nn.ModuleDict()
        self.basis_names: dict[str, str] = {}
        self.basis_origins: dict[str, transfer.Origin] = {}
        # The fingerprints that were compared with the basis, by adapter: which tensor, and how often it was written.
        self._compared: dict[str, tuple[int, int]] = {}
        self.register_load_state_dict_post_hook(_look_again)  # type: ignore[no-untyped-call]

    def matrix(self) -> Tensor:
        """The base weight as (out, in), without what is merged into it."""
        base = self.get_base_layer()
        if self._kept is not None:
            return as_matrix(base, self._kept.weight.to(self._get_base_layer_device_and_dtype(base)[0]))
        return matrix_of(base, self.quantization_backend)

    def base_bias(self) -> Tensor | None:
        """The bias of the base layer, if it has one."""
        base = self.get_base_layer()
        with onloaded(base):
            bias: Tensor | None = getattr(base, "bias", None)
        return bias

    def oriented(self, weight: Tensor) -> Tensor:
        """An (out, in) matrix as the base layer stores it."""
        return weight.T.contiguous() if isinstance(self.get_base_layer(), Conv1D) else weight

    def add_to(self, weight: Tensor, delta: Tensor, *, how: rounding.Rounding) -> Tensor:
        """The sum of two weights as they are stored, rounded as it is in a forward: by columns of the matrix."""
        base = self.get_base_layer()
        total = rounding.add(as_matrix(base, weight), as_matrix(base, delta), how=how)
        return self.oriented(total)

    def basis(self, adapter: str) -> Basis:
        """The basis of an adapter."""
        return cast(Basis, self.singular_bases[self.basis_names[adapter]])

    def add_basis(self, adapter: str, *, rank: int | None = None, fill_seed: int | None = None) -> svd.Factors:
        """Give `adapter` a basis of the base weight, that of another adapter where it is the same; all its factors."""
        config, weight = self.configs[adapter], self.matrix()
        factors = self._factors(weight, config, exact=fill_seed is not None)
        kind = quantised.kind_of(self.get_base_layer(), self.quantization_backend, weight)
        close = transfer.close_pairs(factors.s, rank=rank)
        self.basis_origins[adapter] = transfer.Origin(kind, rank, fill_seed, close)
        factors = transfer.cut(factors, self.basis_origins[adapter])
        dtype = self._basis_dtype(config)
        side = self._side(factors, dtype, config)
        name = f"{dtype}_{config.svd_precision}_{side}_{rank}_{fill_seed}".replace(".", "_")
        while name in self.singular_bases and not cast(Basis, self.singular_bases[name]).is_for(weight):
            name += "_"
        if name not in self.singular_bases:
            fingerprints = None if weight.is_meta else fingerprints_of(factors, weight=weight)
            self.singular_bases[name] = Basis(factors, dtype=dtype, side=side, fingerprints=fingerprints, weight=weight)
        self.basis_names[adapter] = name
        return factors

    def has_diagonal_core(self, adapter: str) -> bool:
        """Whether the adapter trains the diagonal only, so that a joint flip of u_i and v_i leaves it as it is."""
        return getattr(self.configs[adapter], "pattern", "plain") == "plain"

    def fingerprint(self, adapter: str) -> Tensor:
        """That of the adapter's basis, which its checkpoint keeps; without values on the meta device."""
        known = self.basis(adapter).fingerprints
        if known is None:
            return torch.empty(3, PROBES, dtype=torch.int32, device="meta")
        return known.of(diagonal=self.has_diagonal_core(adapter)).to(self.basis(adapter).device, copy=True)

    def fingerprints(self) -> BufferDict:
        """The saved fingerprint of each adapter's basis."""
        raise NotImplementedError

    def checked_basis(self, adapter: str) -> Basis:
        """The basis of an adapter, compared with a fingerprint that was loaded since the last time, by whatever way."""
        basis, fingerprints = self.basis(adapter), self.fingerprints()
        if not torch.compiler.is_compiling() and adapter in fingerprints:
            saved = fingerprints[adapter]
            if self._compared.get(adapter) != mark_of(saved) and not is_stand_in(saved):
                if self.place(adapter).type == "meta" and not basis.s.is_meta:
                    raise ValueError(
                        f"Adapter {adapter!r} has no entries for {self.key!r} yet: it was added with "
                        "low_cpu_mem_usage=True and waits for its checkpoint; load one with set_peft_model_state_dict."
                    )
                self.renew_untrained(adapter)
                basis, saved = self.awaited_basis(adapter), fingerprints[adapter]
                diagonal = self.has_diagonal_core(adapter)
                if not basis.has(saved, diagonal=diagonal) and self.has_left(adapter):
                    basis = self._made_anew(adapter)
                if not basis.has(saved, diagonal=diagonal):
                    other_core = basis.has(saved, diagonal=not diagonal)
                    raise ValueError(transfer.refusal(self.key, by_hand=True, other_core=other_core))
                self._compared[adapter] = mark_of(saved)
        return basis

    def renew_untrained(self, adapter: str) -> None:
        """Begin in a basis of the present weight where it came after the adapter, and before anything was trained."""
        basis, saved, entries = self.basis(adapter), self.fingerprints()[adapter], self.trained(adapter)
        if basis.s.is_meta or is_transformed() or any(is_stand_in(part) or part.is_meta for part in (saved, *entries)):
            return
        # In this order: FSDP leaves a process no more than its shards, of which none can be asked.
        if not self.has_left(adapter) or any(bool(part.any()) for part in entries):
            return
        if basis.has(saved, diagonal=self.has_diagonal_core(adapter)):  # and not that of a state that was loaded
            self._made_anew(adapter, begins=True)

    def begin(self, adapter: str, factors: svd.Factors) -> None:
        """Take what an untrained adapter has of another basis from that of these factors."""
        self.fingerprints()[adapter] = self.fingerprint(adapter).to(self.place(adapter))

    def has_left(self, adapter: str) -> bool:
        """Whether the weight has become another; a packed one is not written to, nor one that is offloaded."""
        known = self.quantization_backend is None and not self.get_base_layer().weight.is_meta
        return known and not self.basis(adapter).is_for(self.matrix())

    def awaited_basis(self, adapter: str) -> Basis:
        """The basis of an adapter; made now where the weight has left the meta device since the adapter was added."""
        basis = self.basis(adapter)
        if not basis.s.is_meta:
            return basis
        weight = self.matrix()
        is_whole = weight.shape == self.shape and not hasattr(weight, "full_tensor")
        return self._made_anew(adapter) if is_whole and not weight.is_meta else basis

    @torch.inference_mode(False)
    def _made_anew(self, adapter: str, *, begins: bool = False) -> Basis:
        """The adapter's basis of the weight that is there now."""
        weight, config, origin = self.matrix(), self.configs[adapter], self.basis_origins[adapter]
        factors = self._factors(weight, config, exact=origin.fill_seed is not None)
        self.basis_origins[adapter] = origin._replace(close=transfer.close_pairs(factors.s, rank=origin.rank))
        factors = transfer.cut(factors, origin)
        found = transfer.Found(factors, origin.kind, fingerprints=fingerprints_of(factors, weight=weight))
        self.install_basis(adapter, found, fingerprint=None)
        if begins:
            self.begin(adapter, factors)
        return self.basis(adapter)

    def _factors(self, weight: Tensor, config: Any, *, exact: bool) -> svd.Factors:
        if weight.is_meta:
            return svd.on_meta(weight)
        # What is made of the factors, and not only computed with them, needs them exact.
        exact = exact or getattr(config, "pattern", None) == "top_k"
        dtype = None if exact else self._basis_dtype(config)
        return svd.decompose(weight, precision=config.svd_precision, dtype=dtype, cache=svd.cache_folder())

    def _basis_dtype(self, config: Any) -> torch.dtype:
        return resolve_dtype(config.basis_dtype, self._get_base_layer_device_and_dtype(self.get_base_layer())[1])

    def _side(self, factors: svd.Factors, dtype: torch.dtype, config: Any) -> Side:
        bias = self.base_bias() if self.shape[0] < self.shape[1] else None
        conditioning = chooser.conditioning(factors.s, dtype=dtype, bias=bias)
        side: Side = "both"
        if not is_more(self.base_layer, self.quantization_backend):
            side = chooser.side_of(self.shape, conditioning=conditioning, dtype=dtype, config=config)
        held = "both factors" if side == "both" else "one factor"
        logger.info("%s %s keeps %s (conditioning %.3g)", self.key, self.shape, held, conditioning)
        return side

    def holding(self) -> Holding:
        """What the layer holds, apart from an adapted weight."""
        bases = [cast(Basis, basis) for basis in self.singular_bases.values()]
        both = any(basis.u is not None and basis.vt is not None for basis in bases)
        return Holding(self.matrix().nbytes, sum(basis.nbytes for basis in bases), both)

    # What PEFT decides about precision and memory

    def trained(self, adapter: str) -> list[Tensor]:
        """The adapter's trained tensors on this layer."""
        containers = [getattr(self, name) for name in self.adapter_layer_names]
        return [container[adapter] for container in containers if adapter in container]

    def lower(self, adapter: str) -> None:
        """Keep the trained entries of `adapter` in the dtype of the base, if that is one that can train."""
        dtype = self._get_base_layer_device_and_dtype(self.get_base_layer())[1]
        for name in self.adapter_layer_names if dtype is not None and dtype.is_floating_point else ():
            container = getattr(self, name)
            if adapter in container:
                container[adapter] = container[adapter].to(dtype)

    def place(self, adapter: str) -> torch.device:
        """Where the adapter's tensors are: on the meta device while a checkpoint is about to fill them."""
        held = self.trained(adapter)
        return held[0].device if held else self._get_base_layer_device_and_dtype(self.get_base_layer())[0]

    # The basis in a checkpoint

    @property
    def parts(self) -> list[str]:
        """The containers of what an adapter trains, and of the cells that say where."""
        return [*self.adapter_layer_names, *(name for name in self.other_param_names if name.endswith("index"))]

    def describe_basis(self, adapter: str) -> dict[str, Tensor]:
        """What lets another machine find the adapter's basis again, by field of `transfer.Saved`."""
        basis, origin = self.basis(adapter), self.basis_origins[adapter]
        return transfer.describe(basis, origin, self.matrix, diagonal=self.has_diagonal_core(adapter))

    def find_basis(self, adapter: str, saved: transfer.Saved, *, module: str) -> transfer.Found | None:
        """The basis that a checkpoint describes; None where the adapter has it. A ValueError where it is another."""
        basis, origin, weight = self.basis(adapter), self.basis_origins[adapter], self.matrix()
        origin, diagonal = transfer.origin_of(saved, origin), self.has_diagonal_core(adapter)
        if weight.is_meta or transfer.is_at_hand(saved, basis, weight, origin, diagonal=diagonal):
            return None

        def decompose(weight: Tensor) -> svd.Factors:
            exact = origin.fill_seed is not None
            return transfer.cut(self._factors(weight, self.configs[adapter], exact=exact), origin)

        found = transfer.find(saved, weight, origin, decompose=decompose, diagonal=diagonal, module=module)
        self.basis_origins[adapter] = origin
        return found

    def install_basis(self, adapter: str, found: transfer.Found, *, fingerprint: Tensor | None) -> None:
        """Replace the computed basis of `adapter` by the one it was trained in."""
        own, config = self._free_name(f"saved_{adapter}", adapter), self.configs[adapter]
        dtype = self._basis_dtype(config)
        # The one-sided path takes the other side from the weight, which has to be the one that the basis is of.
        own_weight = found.kind == self.basis_origins[adapter].kind and not config.save_basis
        side: Side = self._side(found.factors, dtype, config) if own_weight else "both"
        self.singular_bases[own] = basis = Basis(
            found.factors, dtype=dtype, side=side, fingerprints=found.fingerprints, weight=self.matrix()
        )
        if found.change and fingerprint is not None:
            basis.accepted = fingerprint.cpu()
        else:
            self.basis_origins[adapter] = self.basis_origins[adapter]._replace(kind=found.kind)
        self.basis_names[adapter] = own
        self.drop_unused_bases()

    def _free_name(self, name: str, adapter: str) -> str:
        """A name for a basis that no other adapter goes by; a weighted one may still be in what another had."""
        while name in {own for other, own in self.basis_names.items() if other != adapter}:
            name += "_"
        return name

    def delete_adapter(self, adapter_name: str) -> None:
        super().delete_adapter(adapter_name)
        self._compared.pop(adapter_name, None)
        self.drop_unused_bases()

    def drop_unused_bases(self) -> None:
        """Let go of the bases that no adapter is in."""
        for name in set(self.singular_bases) - set(self.basis_names.values()):
            del self.singular_bases[name]

    def _move_adapter_to_device_of_base_layer(self, adapter_name: str, device: torch.device | None = None) -> None:
        """Move without PEFT's cast: trained entries keep their precision whatever the base has."""
        device = device or self._get_base_layer_device_and_dtype(self.get_base_layer())[0]
        for name in (*self.adapter_layer_names, *self.other_param_names):
            container: Any = getattr(self, name)
            held = isinstance(container, (nn.ParameterDict, nn.ModuleDict, BufferDict)) and adapter_name in container
            if held and not container[adapter_name].is_meta and device.type != "meta":
                container[adapter_name] = container[adapter_name].to(device)


def _look_again(layer: nn.Module, incompatible_keys: Any) -> None:
    """A state that was loaded may have brought another weight, or another fingerprint."""
    assert isinstance(layer, BasisLayer)
    layer._compared.clear()
    for adapter in layer.basis_names:
        layer.renew_untrained(adapter)
