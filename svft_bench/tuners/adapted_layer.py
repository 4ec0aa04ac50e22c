"""A layer that keeps the weight and the bias which its adapter makes of the base's, and settles on them."""

from __future__ import annotations

import math
from collections.abc import Hashable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from . import chooser, kernels, rounding
from .adapted import AdaptedWeight, can_compare, key_of
from .answers import answer
from .basis_layer import BasisLayer
from .kernels import Core
from .offloading import is_hooked
from .settled import Settled
from .unchanging import Scope, current


class AdaptedLayer(BasisLayer):
    """What a subclass adds is said by its `core` and `bias_offset`."""

    # The kinds of base layer that are nothing but a weight and a bias.
    plain_kinds: tuple[type[nn.Module], ...] = (nn.Linear, Conv1D)

    def __init__(self, base_layer: nn.Module, *, key: str, quantization: dict[str, Any]) -> None:
        super().__init__(base_layer, key=key, quantization=quantization)
        # Whether the memory budget leaves room for an adapted weight.
        self.has_room = True
        self._adapted = AdaptedWeight()
        self._adapted_bias = AdaptedWeight()
        self._disable_adapters = False

    def core(self, adapter: str) -> Core | None:
        """The adapter's trained core, None where it has none on this layer."""
        raise NotImplementedError

    def delete_adapter(self, adapter_name: str) -> None:
        super().delete_adapter(adapter_name)
        self._drop()

    def _drop(self) -> None:
        self._adapted.drop()
        self._adapted_bias.drop()

    def _is_plain(self) -> bool:
        """Whether the base layer is nothing but a frozen weight and a bias, so that it need not be called itself."""
        base = self.base_layer
        if type(base) not in self.plain_kinds or base.weight.requires_grad:
            return False
        return not (base._forward_hooks or base._forward_pre_hooks or is_hooked(base) or "forward" in base.__dict__)

    def _keeps(self, core: Core, *, trains: bool) -> bool:
        """Whether an adapted weight outlives one forward."""
        macs = float(core.basis.size) * self.shape[0] * self.shape[1]
        return can_compare(self.get_base_layer().weight, macs=macs, trains=trains)

    def sum_of(self, core: Core, adapter: str, dtype: torch.dtype) -> Tensor:
        """W0 + U M Vᵀ, differentiable in M."""
        matrix = self.matrix()
        delta = kernels.weight_delta(core, matrix, dtype=core.basis.dtype)
        return rounding.add(matrix.to(dtype), delta, how=self.configs[adapter].rounding)

    def adapted_weight(self, core: Core, adapter: str, dtype: torch.dtype) -> Tensor:
        """W0 + U M Vᵀ without a gradient, kept for as long as it is right."""
        base = self.get_base_layer().weight

        def build() -> Tensor:
            with torch.no_grad():
                return self.sum_of(core, adapter, dtype)

        return self._adapted.get(
            build,
            base=base,
            entries=core.m,
            made_of=[*self.trained(adapter), *core.tensors],
            dtype=dtype,
            compare=self._keeps(core, trains=torch.is_grad_enabled()),
            again=not (torch.is_grad_enabled() and self._adapted.alone),
            scaling=self.scaling[adapter],
        )

    def _kept_bias(self, bias: Tensor, offset: Tensor, adapter: str) -> Tensor:
        """The bias with the adapter's offset, without gradients, kept as the weight is."""
        return self._adapted_bias.get(
            partial(rounding.add, bias, offset, how=self.configs[adapter].rounding),
            base=bias,
            entries=offset,
            made_of=self.trained(adapter),  # and not the offset, whose place in memory a scaled one shares
            dtype=bias.dtype,
            compare=bias.device.type == "cpu",
            scaling=self.scaling[adapter],
        )

    # For the rest of one forward

    def _settle(self, weight: Tensor, bias: Tensor | None, core: Core, adapter: str, *, tokens: int) -> None:
        """In the rest of this forward nothing need be asked again before such inputs are multiplied."""
        scope, trains, offset = current(), torch.is_grad_enabled(), self.bias_offset(adapter)
        if scope is None or self.training is not trains or not _are_leaves(core.m, offset, trains=trains):
            return
        # With fewer tokens another path may be shorter; with one factor, a weight is made for few of them only.
        both = core.basis.u is not None and core.basis.vt is not None
        least, most = (tokens if trains else 0), (math.inf if both else chooser.DECODING)
        base, scaling = self.get_base_layer(), self.scaling[adapter]
        self._adapted.settled = Settled(
            weight,
            bias,
            kind=weight.device.type,
            least=least * self.in_features,
            most=most * self.in_features,
            trains=trains,
            adapter=adapter,
            active=self._active_adapter,
            scaling=scaling,
            options=self._options(adapter),
            accumulation=self._adapted.accumulation,
            keeps=self._keeps(core, trains=trains),
            how=self.configs[adapter].rounding,
            core=core,
            offset=offset,
            base=base.weight,
            base_bias=base.bias,
            scope=scope,
        )
        scope.layers.append(self)

    def _options(self, adapter: str) -> tuple[object, ...]:
        config = self.configs[adapter]
        return config.path, config.rounding, self.has_room, self.training

    # For the next one

    def settled_again(self) -> Settled | None:
        """What it has settled on, where it would come to the same choice, of the same tensors, whatever they hold."""
        settled = self._adapted.settled
        return settled if settled is not None and self._would_settle_again(settled) else None

    def _would_settle_again(self, settled: Settled) -> bool:
        if settled.trains is not torch.is_grad_enabled() or self._disable_adapters:
            return False
        adapter = settled.adapter
        if self._active_adapter is not settled.active or adapter not in self.configs or self.merged_adapters:
            return False
        if self.scaling[adapter] != settled.scaling or self._options(adapter) != settled.options:
            return False
        core, offset, base = self.core(adapter), self.bias_offset(adapter), self.base_layer
        if core is None or core.m is not settled.core.m or core.basis is not settled.core.basis:
            return False
        if offset is not settled.offset or not self._is_plain():
            return False
        if base.weight is not settled.base or base.bias is not settled.base_bias:
            return False
        if settled.trains:
            self._adapted.begin_step()
            if self._adapted.accumulation != settled.accumulation or not _are_leaves(core.m, offset, trains=True):
                return False
        settled.core = core
        return True

    def compared(self, settled: Settled) -> list[tuple[Tensor, Tensor]] | None:
        """What there is now and what there was, to be compared bit by bit.

        None where that is not kept, or was written to for all that is known.
        """
        weight = self._adapted.made_of(self._key(settled)) if settled.keeps else None
        if weight is None:
            return None
        entries, its_answer = weight
        pairs = [(settled.core.m.detach(), entries), (answer(settled.base), its_answer)]
        if settled.offset is not None:
            assert settled.base_bias is not None
            if (bias := self._adapted_bias.made_of(self._key_of_bias(settled))) is None:
                return None
            pairs += [(settled.offset.detach(), bias[0]), (settled.base_bias.detach(), bias[1])]
        return pairs

    def kind(self, settled: Settled) -> Hashable:
        """What layers have in common whose weights can be added up as one stack."""
        tensors = (settled.base, settled.core.m, settled.core.basis.s, settled.offset, settled.base_bias)
        places = tuple(None if tensor is None else (tensor.device, tensor.dtype) for tensor in tensors)
        dtypes = (settled.weight.dtype, settled.core.basis.dtype)
        return self.shape, settled.core.basis.size, len(settled.core.m), settled.how, dtypes, places

    def forget_weight(self) -> None:
        """Let go of the weight and the bias before new ones are made."""
        self._adapted.forget()
        self._adapted_bias.forget()

    def keep(self, settled: Settled, weight: Tensor, entries: Tensor, bias: tuple[Tensor, Tensor] | None) -> None:
        """Keep a weight that was made for a training forward of these entries, and a bias that was of this offset."""
        again = settled.keeps and not self._adapted.alone
        self._adapted.put(weight, key=self._key(settled), seen=(entries, answer(settled.base)) if again else None)
        if bias is not None:
            assert settled.base_bias is not None
            seen = (bias[1], settled.base_bias.clone()) if again else None
            self._adapted_bias.put(bias[0], key=self._key_of_bias(settled), seen=seen)

    def renew(self, settled: Settled, scope: Scope) -> None:
        """Go on in another forward with what it has settled on."""
        settled.scope = scope
        self._adapted.see()
        if settled.offset is None and settled.base_bias is not None:
            settled.bias = settled.base_bias.to(settled.weight.dtype)
        elif settled.offset is not None:
            self._adapted_bias.see()

    def _key(self, settled: Settled) -> Hashable:
        made_of = [settled.base, *settled.trained, *settled.core.tensors]
        return key_of(made_of, dtype=settled.weight.dtype, scaling=settled.scaling)

    def _key_of_bias(self, settled: Settled) -> Hashable:
        assert settled.base_bias is not None
        made_of = [settled.base_bias, *settled.trained]
        return key_of(made_of, dtype=settled.base_bias.dtype, scaling=settled.scaling)


def _are_leaves(m: Tensor, offset: Tensor | None, *, trains: bool) -> bool:
    """Whether a gradient of the weight and of the bias goes to parameters themselves, if it goes anywhere."""
    if not trains:
        return True
    return m.is_leaf and m.requires_grad and (offset is None or (offset.is_leaf and offset.requires_grad))
