"""W_e + U_e M_e V_eᵀ for the experts e of a mixture that are kept as one 3-D parameter: an adapter for each of them.

The stack is adapted where it is: while its module's forward runs, the parameter is the adapted one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from peft.tuners.tuners_utils import onload_layer
from torch import Tensor, nn
from torch.func import functional_call

from . import rounding
from .adapted import AdaptedWeight, can_compare
from .merging import MergingLayer, Original
from .offloading import is_hooked
from .targets import check_whole


class Slice(nn.Module):
    """One matrix of a stack, as (out, in): what stands in for the base of the layer that adapts it."""

    bias = None

    def __init__(self, wrapper: ParamWrapper, index: int) -> None:
        super().__init__()
        self._of = (wrapper, index)  # in a tuple, since it is no child of the slice

    @property
    def weight(self) -> Tensor:
        wrapper, index = self._of
        return wrapper.matrices()[index]


class Sliced:
    """A layer of one matrix of a stack: never called, and merged with all of the stack."""

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None: ...

    def unmerge(self) -> None: ...

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        return False


class ParamWrapper(MergingLayer):
    """A module of whose parameters one is adapted; for another one it is wrapped again.

    It has the name of PEFT's own, by which PEFT tells that parameters are meant.
    """

    def __init__(
        self,
        base_layer: nn.Module,
        adapter_name: str,
        *,
        parameter: str,
        key: str,
        layer: Callable[..., Any],
        config: Any,
    ) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.parameter_name = self.weight_name = parameter
        self.quantization_backend = None
        self._adapted = AdaptedWeight()
        # Where a forward of `base_layer` finds the parameter, below the wrappers of others.
        self._place = "".join("base_layer." for _ in range(_depth(base_layer))) + parameter
        self.slices = nn.ModuleList(
            layer(Slice(self, index), adapter_name, config=config, key=f"{key}.{index}", quantization={})
            for index in range(len(self.matrices()))
        )

    @property
    def layers(self) -> list[Any]:
        """The layers of the matrices, in their order."""
        return list(self.slices) if "slices" in self._modules else []

    @property
    def configs(self) -> dict[str, Any]:
        """Those of every matrix alike."""
        return cast("dict[str, Any]", self.layers[0].configs) if self.layers else {}

    @configs.setter
    def configs(self, _: dict[str, Any]) -> None: ...

    @property
    def active_adapter(self) -> Any:
        return self.layers[0].active_adapter

    @property
    def disable_adapters(self) -> bool:  # type: ignore[override]
        return bool(self.layers[0].disable_adapters)

    @property
    def in_features(self) -> int:
        return self.matrices().shape[2]

    @property
    def out_features(self) -> int:
        return self.matrices().shape[1]

    def set_adapter(self, adapter_names: str | list[str], inference_mode: bool = False) -> None:
        for layer in self.layers:
            layer.set_adapter(adapter_names, inference_mode=inference_mode)

    def enable_adapters(self, enabled: bool) -> None:
        for layer in self.layers:
            layer.enable_adapters(enabled)

    def _get_available_adapters(self) -> set[str]:
        return set(self.configs)

    def update_layer(self, adapter_name: str, *, config: Any) -> None:
        """Give every matrix one more adapter."""
        for layer in self.layers:
            layer.update_layer(adapter_name, config=config)

    def matrices(self) -> Tensor:
        """The base's matrices (experts, out, in), without what is merged into them."""
        base = self.get_base_layer()
        stack = getattr(base, self.parameter_name).detach()
        return self._turned(stack if self._kept is None else self._kept.weight.to(stack.device))

    def _turned(self, stack: Tensor) -> Tensor:
        """Between the form in which the base keeps its stack and (experts, out, in)."""
        stack = stack if stack.dim() == 3 else stack[None]
        return stack.mT if getattr(self.get_base_layer(), "is_transposed", False) else stack

    def get_delta_weight(self, adapter: str) -> Tensor:
        delta = self._turned(torch.stack([layer.get_delta_weight(adapter) for layer in self.layers]))
        return delta.view(getattr(self.get_base_layer(), self.parameter_name).shape)

    def forward(self, *args: Any, adapter_names: list[str] | None = None, **kwargs: Any) -> Any:
        if self.disable_adapters and self.merged:
            with onload_layer(self):
                self.unmerge()
        for layer in self.layers:
            layer.called = True
        adapters = [name for name in self.active_adapters if name in self.configs]
        if self.disable_adapters or self.merged or not adapters:
            return self.base_layer(*args, **kwargs)
        return functional_call(self.base_layer, {self._place: self._stack(adapters)}, args, kwargs)

    def train(self, mode: bool = True) -> ParamWrapper:
        if mode != self.training:
            self._adapted.drop()
        super().train(mode)
        return self

    def _stack(self, adapters: list[str]) -> Tensor:
        base: Tensor = getattr(self.get_base_layer(), self.parameter_name)

        def build() -> Tensor:
            stack = base
            for name in adapters:
                stack = rounding.add(stack, self.get_delta_weight(name), how=self.configs[name].rounding)
            return stack

        has_room = all(layer.has_room for layer in self.layers)
        keeps = not (torch.is_grad_enabled() or torch.compiler.is_compiling()) and has_room
        if not keeps or not can_compare(base, macs=float(base.numel()) * base.shape[-1], trains=False):
            return build()
        cores = [core for name in adapters for layer in self.layers if (core := layer.core(name)) is not None]
        if not cores:
            return base
        entries = torch.cat([core.m.flatten() for core in cores])
        made_of = [tensor for name in adapters for layer in self.layers for tensor in layer.trained(name)]
        made_of += [tensor for core in cores for tensor in core.tensors]
        return self._adapted.get(
            build, base=base.flatten(0, -2), entries=entries, made_of=made_of, dtype=base.dtype, compare=True
        )

    def _original(self) -> Original:
        parameter = getattr(self.get_base_layer(), self.parameter_name)
        return Original(parameter.data, None, {self.parameter_name: parameter}, None)

    def _replace(self, name: str, value: Tensor) -> None:
        super()._replace(self.parameter_name, value)

    def unload_and_optionally_merge_module(
        self, merge: bool, safe_merge: bool, adapter_names: list[str] | None
    ) -> nn.Module:
        """The base, with the adapters of this parameter and of those below merged into it or not."""
        layer: nn.Module = self
        while isinstance(layer, ParamWrapper):
            if merge:
                layer.merge(safe_merge=safe_merge, adapter_names=adapter_names)
            layer = layer.base_layer
        return layer

    def extra_repr(self) -> str:
        return f"parameter_name={self.parameter_name!r}"


def _depth(layer: nn.Module) -> int:
    return 1 + _depth(layer.base_layer) if isinstance(layer, ParamWrapper) else 0


def check_same_parameters(config: Any, configs: dict[str, Any]) -> None:
    """Raise a ValueError where another adapter targets other parameters: a checkpoint tells them by their nesting."""
    for name, other in configs.items():
        both = [set(one.target_parameters or ()) for one in (config, other)]
        if all(both) and both[0] != both[1]:
            raise ValueError(
                f"target_parameters={sorted(both[0])} of the new adapter and {sorted(both[1])} of {name!r} differ; "
                "all adapters of a model that target parameters must target the same ones."
            )


def checked_stack(name: str, module: nn.Module, parameter: str) -> list[Tensor]:
    """The matrices of a targeted parameter, as they are stored; a ValueError that names it where it has none."""
    stack = getattr(module, parameter)
    check_whole(f"Parameter {name!r}", stack)
    if stack.dim() not in (2, 3) or min(stack.shape) < 1 or not stack.is_floating_point():
        raise ValueError(
            f"target_parameters has {name!r}, of shape {tuple(stack.shape)} and {stack.dtype}; only matrices and "
            "stacks of matrices of floating-point numbers can be adapted."
        )
    if is_hooked(module) and stack.is_meta:
        raise ValueError(
            f"Parameter {name!r} is offloaded, and would be loaded over its adapted values at each forward."
        )
    return list(stack.detach() if stack.dim() == 3 else stack.detach()[None])
