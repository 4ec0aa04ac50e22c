"""The VectorFit layer: increments of the singular values and of the bias, each of which can rest."""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners._buffer_dict import BufferDict
from torch import Tensor, nn

from ..conv import ConvLayer
from ..cores import Diagonal
from ..kernels import Core
from ..layer import SingularLayer
from ..stacked import Sliced
from .config import VectorFitConfig
from .resting import Still, is_averaged, watch

VECTORS = ("vectorfit_sigma", "vectorfit_bias")


class VectorFitLayer(SingularLayer):
    """y = U (Σ + δ) Vᵀ x + (b + Δb); the increments are parameters of their own, so the base stays as it is.

    A LayerNorm has no singular values, and gets an increment of its bias only.
    """

    adapter_layer_names = VECTORS
    other_param_names = (
        "vectorfit_strength",
        "vectorfit_frozen",
        "vectorfit_fingerprint",
        "frozen_peft_weight_names",
        "at_rest",
        "_planned",
        "basis_names",
        "basis_origins",
        "configs",
        "scaling",
    )

    def __init__(
        self,
        base_layer: nn.Module,
        adapter_name: str,
        *,
        config: VectorFitConfig,
        key: str,
        quantization: dict[str, Any],
    ) -> None:
        super().__init__(base_layer, key=key, quantization=quantization)
        self.vectorfit_sigma = nn.ParameterDict()
        self.vectorfit_bias = nn.ParameterDict()
        # The state of the freezing, one element for each of VECTORS, saved so that a resumed training goes on exactly.
        self.vectorfit_strength = BufferDict(persistent=True)
        self.vectorfit_frozen = BufferDict(persistent=True)
        self.vectorfit_fingerprint = BufferDict(persistent=True)
        # What rests in the present step, and what of it PEFT has to keep frozen whenever it switches adapters.
        self.at_rest: dict[str, tuple[str, ...]] = {}
        self.frozen_peft_weight_names: dict[str, tuple[str, ...]] = {}
        # The saved flags once more, since reading them would wait for the device.
        self._planned: dict[str, tuple[str, ...]] = {}
        self.follows = False
        watch(self)
        self.register_load_state_dict_post_hook(_forget_plan)  # type: ignore[no-untyped-call]
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config=config)

    def update_layer(self, adapter_name: str, *, config: VectorFitConfig) -> None:
        """Give the layer one more adapter."""
        self.configs[adapter_name], self.scaling[adapter_name] = config, 1.0
        weight = self.matrix()
        dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
        if config.train_sigma and weight.dim() == 2:
            self.add_basis(adapter_name)
            basis = self.basis(adapter_name)
            self.vectorfit_sigma[adapter_name] = _start(basis.size, config, device=weight.device, dtype=dtype)
            fingerprint, place = self.fingerprint(adapter_name), self.place(adapter_name)
            self.vectorfit_fingerprint[adapter_name] = fingerprint if fingerprint.is_meta else fingerprint.to(place)
        if config.train_bias and self.get_base_layer().bias is not None:
            self.vectorfit_bias[adapter_name] = _start(weight.shape[0], config, device=weight.device, dtype=dtype)
        if config.freezing != "none":
            place = self.place(adapter_name)
            self.vectorfit_strength[adapter_name] = torch.zeros(2, device=place)
            self.vectorfit_frozen[adapter_name] = torch.zeros(2, device=place, dtype=torch.bool)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def fingerprints(self) -> BufferDict:
        return self.vectorfit_fingerprint

    def core(self, adapter: str) -> Core | None:
        if adapter not in self.vectorfit_sigma:
            return None
        basis = self.checked_basis(adapter)
        return Core(basis, self.scaled(adapter, self._entries("vectorfit_sigma", adapter)), Diagonal(basis.size))

    def bias_offset(self, adapter: str) -> Tensor | None:
        if adapter not in self.vectorfit_bias:
            return None
        return self.scaled(adapter, self._entries("vectorfit_bias", adapter))

    def vectors(self, adapter: str) -> dict[str, nn.Parameter]:
        """The adapter's trained vectors by the name of their container, in the fixed order of VECTORS."""
        return {name: getattr(self, name)[adapter] for name in VECTORS if adapter in getattr(self, name)}

    def resting(self, adapter: str) -> tuple[str, ...]:
        """The names of the vectors that rest by the saved state."""
        if adapter not in self._planned:
            frozen = self.vectorfit_frozen[adapter].tolist()
            self._planned[adapter] = tuple(name for name, rests in zip(VECTORS, frozen, strict=True) if rests)
        return self._planned[adapter]

    def rest(self, adapter: str, names: tuple[str, ...]) -> None:
        """Let exactly the named vectors of `adapter` rest until the next optimizer step has been taken.

        They have no gradient then, so no step, decay or optimizer state either.
        """
        self._wake(adapter)
        if names != self.resting(adapter):
            self.vectorfit_frozen[adapter].copy_(torch.tensor([name in names for name in VECTORS], device="cpu"))
            self._planned[adapter] = names
        vectors = self.vectors(adapter)
        self.at_rest[adapter] = tuple(name for name in names if vectors[name].requires_grad)
        alone = tuple(name for name in self.at_rest[adapter] if not is_averaged(vectors[name]))
        self.frozen_peft_weight_names[adapter] = alone
        for name in alone:
            vectors[name].requires_grad_(False)
        self.before_step()

    def before_step(self) -> None:
        """Take the gradients of the vectors at rest from the optimizer."""
        for adapter, names in self.at_rest.items():
            for name in names:
                self.vectors(adapter)[name].grad = None

    def wake(self) -> None:
        """Make every vector trainable again."""
        for adapter in list(self.at_rest):
            self._wake(adapter)

    def _wake(self, adapter: str) -> None:
        names = self.frozen_peft_weight_names.pop(adapter, ())
        self.at_rest.pop(adapter, None)
        if adapter in self.active_adapters and not self.disable_adapters:
            for name in names:
                self.vectors(adapter)[name].requires_grad_(True)

    def scheduled(self) -> list[Tensor]:
        """The active vectors of adapters that have a schedule."""
        adapters = [name for name in self.active_adapters if name in self.configs and has_schedule(self.configs[name])]
        return [vector for adapter in adapters for vector in self.vectors(adapter).values()]

    def _entries(self, container: str, adapter: str) -> Tensor:
        vector: Tensor = getattr(self, container)[adapter]
        rests = container in self.at_rest.get(adapter, ())
        return Still.apply(vector) if rests and vector.requires_grad else vector  # type: ignore[no-untyped-call]

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        watch(self)


class VectorFitLinear(VectorFitLayer):
    """VectorFit on an `nn.Linear`, a `Conv1D` or a quantised linear layer."""


class VectorFitConv(VectorFitLayer, ConvLayer):
    """VectorFit on an `nn.Conv1d`, `nn.Conv2d` or `nn.Conv3d`."""


class VectorFitLayerNorm(VectorFitLayer):
    """VectorFit on an `nn.LayerNorm`."""

    @property
    def eps(self) -> float:
        """That of the base, which torch's encoder layers compare."""
        eps: float = self.get_base_layer().eps
        return eps


def _start(length: int, config: VectorFitConfig, *, device: torch.device, dtype: torch.dtype) -> nn.Parameter:
    """Zeros; or entries drawn on the CPU, so that they are the same on every device."""
    entries = torch.zeros(length, dtype=dtype, device="cpu")
    if not config.init_weights and device.type != "meta":
        nn.init.normal_(entries, std=0.1)
    return nn.Parameter(entries.to(device))


class VectorFitSlice(Sliced, VectorFitLayer):
    """VectorFit on one matrix of a stack: its singular values."""


def has_schedule(config: VectorFitConfig) -> bool:
    """Whether the config asks for something that `update_and_allocate` does."""
    return config.freezing != "none" or config.l1 > 0


def _forget_plan(layer: nn.Module, incompatible_keys: Any) -> None:
    """Let the loaded state say what rests from the next step on; an optimizer may be made before."""
    assert isinstance(layer, VectorFitLayer)
    layer.wake()
    layer._planned.clear()
