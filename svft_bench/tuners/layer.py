"""y = W0 x + b + Σ (U M Vᵀ x + Δb): the forward of a linear layer with adapters in its own singular basis."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import onload_layer
from peft.utils.quantization_utils import quantization_extra_repr
from torch import Tensor, is_autocast_enabled, is_grad_enabled, nn
from torch._C import _are_functorch_transforms_active
from torch.autograd import forward_ad
from torch.nn import functional as F

from . import attached, chooser, kernels, rounding
from .adapted_layer import AdaptedLayer
from .cores import is_transformed
from .kernels import Core
from .offloading import is_hooked, reclaim
from .plain import is_more
from .unchanging import current

logger = logging.getLogger(__name__)


class SingularLayer(AdaptedLayer):
    """What SVFT and VectorFit share. A subclass says what an adapter adds, in `core` and `bias_offset`."""

    def __init__(self, base_layer: nn.Module, *, key: str, quantization: dict[str, Any]) -> None:
        super().__init__(base_layer, key=key, quantization=quantization)
        self.path_taken: chooser.Path | None = None
        # Whether a forward was ever called, which is not so where a model reads the weight instead.
        self.called = False
        # Switched off, an input is used as it comes and the factors are cast to it.
        self.cast_input_dtype_enabled = True

    def train(self, mode: bool = True) -> SingularLayer:
        """PyTorch's own; the adapted weight goes, since averaged entries swapped in to evaluate may leave no trace."""
        if mode != self.training:
            self._drop()
        super().train(mode)
        return self

    def forward(self, x: Tensor, *args: Any, adapter_names: list[str] | None = None, **kwargs: Any) -> Tensor:
        # What it has settled on holds for this forward and input. Asked in one function, of few names: after a large
        # product the processor's caches hold none of them, and a small layer would wait for each.
        settled = self._adapted.settled
        if (
            settled is not None
            and not torch.compiler.is_compiling()
            and settled.scope is current()
            and settled.trains is is_grad_enabled()
            and settled.active is self._active_adapter
            and settled.least <= x.numel() <= settled.most
            and (settled.is_cast_from(x) if is_autocast_enabled(settled.kind) else settled.weight.dtype is x.dtype)
            and settled.scaling == self.scaling.get(settled.adapter)
            and not (args or kwargs or adapter_names is not None or self._disable_adapters or self.merged_adapters)
            and not (_are_functorch_transforms_active() or forward_ad._current_level >= 0)
        ):
            self._adapted.forwards += settled.trains
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
        if not plain and self._has_new_hooks(core):
            delta = kernels.weight_delta(core, self.matrix(), dtype=core.basis.dtype)
            update = self.product(x, delta.to(x.dtype), None)
            return rounding.add(linear(x), update, how=self.configs[adapter].rounding)
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
        option: chooser.PathOption = config.path
        # A truncated basis does not hold the whole weight, which the rotated path would take from it.
        if option == "rotated" and (
            getattr(config, "rank", None) is not None or is_more(self.base_layer, self.quantization_backend)
        ):
            option = "token"
        path = self._path(x, core, option, dense=dense)
        if path == "one_sided":
            return kernels.one_sided(x, linear, core, bias=bias, how=config.rounding)
        if path == "token":
            return kernels.token(x, linear, core, how=config.rounding)
        if path == "rotated":
            return kernels.rotated(x, core, bias=bias)
        dtype = run_dtype(x)
        weight, bias = self.adapted_weight(core, adapter, dtype), None if bias is None else bias.to(dtype)
        if torch.is_grad_enabled():
            (weight,) = attached.weights([weight], [core])
        self._settle(weight, bias, core, adapter, tokens=x.numel() // x.shape[-1])
        return F.linear(x.to(dtype), weight, bias)

    def _has_new_hooks(self, core: Core) -> bool:
        """Whether the base has got hooks since one factor was taken for enough: its output may no longer be W x + b."""
        base = self.base_layer
        hooked = (core.basis.u is None or core.basis.vt is None) and (base._forward_hooks or base._forward_pre_hooks)
        # Those of fully_shard change nothing, and bring the weight for its own forward alone.
        return bool(hooked) and not hasattr(self.get_base_layer().weight, "full_tensor")

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
                bias = self._kept_bias(bias, offset, adapter)
            return bias, partial(self.product, weight=self.matrix(), bias=bias)
        original, along = linear, self.along_outputs(offset)
        return bias + offset.to(bias.dtype), lambda h: rounding.add(original(h), along, how=how)

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """What the base layer would make of x with the (out, in) matrix `weight` for its own."""
        return F.linear(x, weight, bias)

    def along_outputs(self, offset: Tensor) -> Tensor:
        """A number for each output, in the shape in which it is added to the layer's output."""
        return offset

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


def layers_of(model: nn.Module, adapter: str) -> Iterator[tuple[str, SingularLayer]]:
    """The layers on which `adapter` has a basis, by name."""
    for name, module in model.named_modules():
        if isinstance(module, SingularLayer) and adapter in module.basis_names:
            yield name, module


def trained_by(model: nn.Module, adapter: str) -> int:
    """How many numbers the adapter itself trains in a model; those that layers share count once."""
    layers = [module for module in model.modules() if isinstance(module, SingularLayer)]
    return sum(part.numel() for part in {part for layer in layers for part in layer.trained(adapter)})


def run_dtype(x: Tensor) -> torch.dtype:
    """The dtype that a linear layer computes in for the input x."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype
