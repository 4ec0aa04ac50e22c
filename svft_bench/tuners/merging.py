"""Folding adapters into the base weight and bias, and putting the originals back bit for bit."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn

from . import rounding


class Original(NamedTuple):
    """The (dequantised) weight and the bias before a merge, the parameters, and what bitsandbytes keeps beside them."""

    weight: Tensor
    bias: Tensor | None
    parameters: dict[str, nn.Parameter]
    state: Any


class MergingLayer(nn.Module, BaseTunerLayer):  # type: ignore[misc]
    """A tuner layer whose adapters can be written as a change of its weight and bias."""

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

    # The parameter of the base that adapters change.
    weight_name = "weight"

    def __init__(self) -> None:
        super().__init__()
        self.configs: dict[str, Any] = {}
        self.merged_adapters: list[str] = []
        # What the trained entries of an adapter are multiplied by.
        self.scaling: dict[str, float] = {}
        # The base as it was, while adapters are merged into it.
        self._kept: Original | None = None

    def get_delta_weight(self, adapter: str) -> Tensor:
        """What `adapter` adds to the base weight, as the base layer stores it and at least in float32."""
        raise NotImplementedError

    def bias_offset(self, adapter: str) -> Tensor | None:
        """What `adapter` adds to the bias, None where it adds nothing."""
        return None

    def set_scale(self, adapter: str, scale: float) -> None:
        """Multiply what `adapter` adds by `scale`, whatever it was before; other layers' adapters are passed over."""
        if adapter in self.scaling:
            self.scaling[adapter] = scale

    def scale_layer(self, scale: float) -> None:
        """Multiply what the active adapters add, and what they were multiplied by before, by `scale`."""
        for adapter in self.active_adapters:
            if adapter in self.scaling:
                self.scaling[adapter] *= scale

    def unscale_layer(self, scale: float | None = None) -> None:
        """Take a `scale_layer` of the active adapters back; without a scale, all of them."""
        for adapter in self.active_adapters:
            if adapter in self.scaling:
                self.scaling[adapter] = 1.0 if scale is None else self.scaling[adapter] / scale

    def scaled(self, adapter: str, entries: Tensor) -> Tensor:
        """The trained entries of `adapter` as they count."""
        scale = self.scaling[adapter]
        return entries if isinstance(scale, float) and scale == 1 else entries * scale

    @torch.inference_mode(False)  # what is merged goes on as an ordinary weight, which may train
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Fold adapters into the base weight and bias; the originals are kept aside until `unmerge`.

        Raises a ValueError, leaving the base as it was, where `safe_merge` finds a result that is not finite.
        """
        available = self._get_available_adapters()
        names = [name for name in check_adapters_to_merge(self, adapter_names) if name in available]
        if not names:
            return
        base = self.get_base_layer()
        if self.quantization_backend is None and self.weight_name not in base._parameters:
            raise ValueError(
                f"The {self.weight_name} of a {type(base).__name__} is made anew in every forward, by a "
                "parametrization, a pruning or a norm, so nothing can be merged into it before that is taken off."
            )
        kept = self._kept or self._original()
        merged = [*self.merged_adapters, *names]
        weight, new_bias = self._merged(merged, kept)
        if safe_merge and not all(bool(torch.isfinite(part).all()) for part in (weight, new_bias) if part is not None):
            broken = ", ".join(names)
            raise ValueError(f"NaNs detected in the merged weights. The adapter {broken} seems to be broken")
        self._kept, self.merged_adapters = kept, merged
        if self.quantization_backend is None:
            self._replace("weight", weight)
        else:
            self.set_base_weight(weight)
        if new_bias is not None:
            self._replace("bias", new_bias)

    def _original(self) -> Original:
        base = self.get_base_layer()
        bias = None if base.bias is None else base.bias.data
        parameters = dict(base.named_parameters(recurse=False))
        return Original(self.get_base_weight(), bias, parameters, copy.copy(getattr(base, "state", None)))

    def _replace(self, name: str, value: Tensor) -> None:
        """Give the base a parameter of its own: another layer that is tied to the present one goes on without it."""
        base = self.get_base_layer()
        setattr(base, name, nn.Parameter(value, requires_grad=getattr(base, name).requires_grad))

    def _merged(self, names: list[str], original: Original) -> tuple[Tensor, Tensor | None]:
        weight, bias = original.weight, original.bias
        with torch.no_grad():
            for name in names:
                how, offset = self.configs[name].rounding, self.bias_offset(name)
                weight = self.add_to(weight, self.get_delta_weight(name), how=how)
                bias = bias if offset is None or bias is None else rounding.add(bias, offset, how=how)
        return weight, bias

    def add_to(self, weight: Tensor, delta: Tensor, *, how: rounding.Rounding) -> Tensor:
        """The sum of the base weight and of what an adapter adds to it."""
        return rounding.add(weight, delta, how=how)

    @torch.inference_mode(False)
    def unmerge(self) -> None:
        """Put the base weight and bias back, bit for bit (a backend without a weight parameter quantises anew)."""
        if self._kept is None:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        base, kept = self.get_base_layer(), self._kept
        if self.weight_name not in kept.parameters:
            self.set_base_weight(kept.weight)
        for name, parameter in kept.parameters.items():
            if self.quantization_backend is None or name == "bias":
                parameter.data = parameter.data.to(getattr(base, name))
            setattr(base, name, parameter)
        if kept.state is not None:
            base.state = kept.state
        self._kept, self.merged_adapters = None, []
