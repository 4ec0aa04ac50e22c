"""y = W0 x + b + Σ (U M Vᵀ x + Δb): the forward of a linear layer with adapters in its own singular basis."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import onload_layer
from peft.utils.quantization_utils import quantization_extra_repr
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

from . import chooser, kernels, rounding
from .adapted import AdaptedWeight, can_compare
from .basis_layer import BasisLayer
from .cores import is_transformed
from .kernels import Core
from .offloading import is_hooked, reclaim

logger = logging.getLogger(__name__)


class SingularLayer(BasisLayer):
    """What SVFT and VectorFit share. A subclass says what an adapter adds, in `core` and `bias_offset`."""

    # The kinds of base layer that are nothing but a weight and a bias.
    plain_kinds: tuple[type[nn.Module], ...] = (nn.Linear, Conv1D)

    def __init__(self, base_layer: nn.Module, *, key: str, quantization: dict[str, Any]) -> None:
        super().__init__(base_layer, key=key, quantization=quantization)
        self.path_taken: chooser.Path | None = None
        # Whether the memory budget leaves room for an adapted weight.
        self.has_room = True
        # Whether a forward was ever called, which is not so where a model reads the weight instead.
        self.called = False
        # Switched off, an input is used as it comes and the factors are cast to it.
        self.cast_input_dtype_enabled = True
        self._adapted = AdaptedWeight()
        self._adapted_bias = AdaptedWeight()
        self._disable_adapters = False

    def train(self, mode: bool = True) -> SingularLayer:
        """PyTorch's own; the adapted weight goes, since averaged entries swapped in to evaluate may leave no trace."""
        if mode != self.training:
            self._drop()
        super().train(mode)
        return self

    def core(self, adapter: str) -> Core | None:
        """The adapter's trained core, None where it has none on this layer."""
        raise NotImplementedError

    def forward(self, x: Tensor, *args: Any, adapter_names: list[str] | None = None, **kwargs: Any) -> Tensor:
        if not torch.compiler.is_compiling() and self._adapted.settled is not None:
            # Decoding, the questions that a layer asks itself would take longer than its product.
            settled, asked = self._adapted.settled, args or kwargs or adapter_names is not None
            if not (asked or self._disable_adapters or self.merged_adapters) and settled.is_for(
                x, active=self._active_adapter, scaling=self.scaling
            ):
                return F.linear(x, settled.weight, settled.bias)
        if not torch.compiler.is_exporting():
            self.called = True
        if is_hooked(self.base_layer):
            for container in self.children():
                if container is not self.base_layer:
                    reclaim(container, device=x.device)
        if adapter_names is not None:
            self._check_mixed_batch(x, adapter_names)
        if self.disable_adapters and self.merged:
            with onload_layer(self):
                self.unmerge()
        linear: Callable[[Tensor], Tensor] = partial(self.base_layer, *args, **kwargs)
        if self.disable_adapters or self.merged:
            return linear(x)
        if adapter_names is not None:
            return self._mixed_batch(x, linear, adapter_names)
        adapters = [name for name in self.active_adapters if name in self.configs]
        if len(adapters) == 1:
            return self.adapt(x, linear, adapters[0])
        return self._adapt_together(x, linear, adapters)

    def adapt(self, x: Tensor, linear: Callable[[Tensor], Tensor], adapter: str, *, alone: bool = True) -> Tensor:
        """The output of the layer with one adapter, along the path that was chosen for it.

        `alone` says that the whole batch has this adapter, so that a weight adapted to it will be wanted again.
        """
        core, plain = self.core(adapter), self._is_plain()
        bias, linear = self._with_bias(linear, adapter, plain=plain)
        if core is None:
            return linear(x)
        if not self.cast_input_dtype_enabled and x.dtype != core.basis.dtype:
            core = core._replace(basis=core.basis.cast(x.dtype))
        return self.along_path(x, linear, core, adapter, bias=bias, dense=alone and plain)

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
        """`linear` with the adapter's core; `dense` says that its weight may be replaced by an adapted one."""
        config = self.configs[adapter]
        # A truncated basis does not hold the whole weight, which the rotated path would take from it.
        whole = getattr(config, "rank", None) is None
        option: chooser.PathOption = config.path if whole or config.path != "rotated" else "token"
        path = self._path(x, core, option, dense=dense)
        if path == "one_sided":
            return kernels.one_sided(x, linear, core, bias=bias, how=config.rounding)
        if path == "token":
            return kernels.token(x, linear, core, how=config.rounding)
        if path == "rotated":
            return kernels.rotated(x, core, bias=bias)
        dtype = run_dtype(x)
        weight, bias = self.adapted_weight(core, adapter, dtype), None if bias is None else bias.to(dtype)
        if not (self.training or torch.is_grad_enabled()):
            most = math.inf if core.basis.u is not None and core.basis.vt is not None else chooser.DECODING
            scaling = self.scaling[adapter]
            self._adapted.settle(weight, bias, active=self._active_adapter, adapter=adapter, scaling=scaling, most=most)
        return kernels.weight(x.to(dtype), weight, core, bias=bias)

    def _with_bias(
        self, linear: Callable[[Tensor], Tensor], adapter: str, *, plain: bool
    ) -> tuple[Tensor | None, Callable[[Tensor], Tensor]]:
        """The bias with the adapter's offset, and the base layer with that bias."""
        bias, offset, how = self.base_bias(), self.bias_offset(adapter), self.configs[adapter].rounding
        if offset is None or bias is None:
            return bias, linear
        if plain:
            add = partial(rounding.add, bias, offset, how=how)
            if torch.is_grad_enabled() or torch.compiler.is_compiling() or is_transformed():
                bias = add()
            else:  # decoding few tokens, a GPU takes longer over the sum than over the layer
                compare = bias.device.type == "cpu"
                bias = self._adapted_bias.get(
                    add,
                    base=bias,
                    entries=offset,
                    made_of=self.trained(adapter),  # and not the offset, whose place in memory a scaled one shares
                    dtype=bias.dtype,
                    compare=compare,
                    scaling=self.scaling[adapter],
                )
            return bias, partial(self.product, weight=self.matrix(), bias=bias)
        original, along = linear, self.along_outputs(offset)
        return bias + offset.to(bias.dtype), lambda h: rounding.add(original(h), along, how=how)

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """What the base layer would make of x with the (out, in) matrix `weight` for its own."""
        return F.linear(x, weight, bias)

    def along_outputs(self, offset: Tensor) -> Tensor:
        """A number for each output, in the shape in which it is added to the layer's output."""
        return offset

    def _is_plain(self) -> bool:
        """Whether the base layer is nothing but a frozen weight and a bias, so that it need not be called itself."""
        base = self.base_layer
        if type(base) not in self.plain_kinds or base.weight.requires_grad:
            return False
        return not (base._forward_hooks or base._forward_pre_hooks or is_hooked(base))

    def _path(self, x: Tensor, core: Core, option: chooser.PathOption, *, dense: bool) -> chooser.Path:
        basis, tokens = core.basis, max(1, x.numel() // x.shape[-1])  # an expert of a mixture may get none
        # In training mode, a forward without gradients is one that checkpointing will repeat with them.
        trains = self.training or (torch.is_grad_enabled() and (x.requires_grad or core.m.requires_grad))
        compiling = torch.compiler.is_compiling()
        dense = dense and self.has_room and not compiling and not is_transformed()
        if basis.u is None or basis.vt is None:
            path = chooser.choose_one_sided(tokens=tokens, trains=trains, dense=dense, option=option)
            if trains:
                self._adapted.drop()
        else:
            if trains and not compiling:  # the count of steps would be a constant of the compiled graph
                self._adapted.count_forward()
            path = chooser.choose(
                self.shape,
                size=basis.size,
                tokens=tokens,
                accumulation=self._adapted.accumulation if self._keeps(core, trains=trains) else 1,
                core_macs=core.pattern.macs,
                trains=trains,
                dense=dense,
                option=option,
            )
        if not compiling and path != self.path_taken:  # in this order: what a compiler reads, it guards
            logger.info("%s %s takes the %s path for %d tokens", self.key, self.shape, path, tokens)
            self.path_taken = path
        return path

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

    def _keeps(self, core: Core, *, trains: bool) -> bool:
        """Whether an adapted weight outlives one forward."""
        macs = float(core.basis.size) * self.shape[0] * self.shape[1]
        return can_compare(self.get_base_layer().weight, macs=macs, trains=trains)

    def _adapt_together(self, x: Tensor, linear: Callable[[Tensor], Tensor], adapters: list[str]) -> Tensor:
        """Several active adapters at once: rare, so their updates are simply added up as one dense matrix."""
        y = linear(x)
        # Loops, since a compiler does not follow what closes over `self`.
        deltas = []
        for name in adapters:
            if (core := self.core(name)) is not None:
                deltas.append(kernels.weight_delta(core, self.matrix(), dtype=core.m.dtype))
        if deltas:
            y = y + self.product(x, cast(Tensor, sum(deltas)).to(x.dtype), None).to(y.dtype)
        for name in adapters:
            offset = self.bias_offset(name)
            y = y if offset is None else y + self.along_outputs(offset).to(y.dtype)
        return y

    def _check_mixed_batch(self, x: Tensor, adapter_names: list[str]) -> None:
        if len(x) != len(adapter_names):
            raise ValueError(
                "Length of `adapter_names` should be the same as the number of inputs, but got "
                f"{len(adapter_names)} and {len(x)} respectively."
            )
        if self.merged:
            raise ValueError(
                "Cannot pass `adapter_names` when there are merged adapters, please call `unmerge_adapter` first."
            )

    def _mixed_batch(self, x: Tensor, linear: Callable[[Tensor], Tensor], adapter_names: list[str]) -> Tensor:
        y = linear(x)
        for adapter in dict.fromkeys(adapter_names):
            if adapter in self.configs:
                rows = [row for row, name in enumerate(adapter_names) if name == adapter]
                y[rows] = self.adapt(x[rows], linear, adapter, alone=False).to(y.dtype)
        return y

    def delete_adapter(self, adapter_name: str) -> None:
        super().delete_adapter(adapter_name)
        self._drop()

    def _drop(self) -> None:
        self._adapted.drop()
        self._adapted_bias.drop()

    def get_delta_weight(self, adapter: str) -> Tensor:
        core = self.core(adapter)
        if core is None:
            return torch.zeros_like(self.get_base_weight(), dtype=torch.float32)
        return self.oriented(kernels.weight_delta(core, self.matrix(), dtype=core.m.dtype))

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        return self.bias_offset(adapter_name) is None

    def extra_repr(self) -> str:
        return str(quantization_extra_repr(self))


# PEFT's helper rescales whatever counts as a LoraLayer, by its `scaling`.
LoraLayer.register(SingularLayer)


def run_dtype(x: Tensor) -> torch.dtype:
    """The dtype that a linear layer computes in for the input x."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype
