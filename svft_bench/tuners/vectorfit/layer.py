"""The VectorFit layer: increments of the singular values and of the bias, each of which can rest."""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners._buffer_dict import BufferDict
from torch import Tensor, nn

from ..cores import Diagonal
from ..kernels import Core
from ..layer import SingularLayer
from .config import VectorFitConfig

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
        "basis_names",
        "basis_origins",
        "configs",
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
        # PEFT's own list of weights to keep frozen whenever it switches adapters; per instance, not shared. It lacks an
        # adapter whose loaded state is not in force yet.
        self.frozen_peft_weight_names: dict[str, tuple[str, ...]] = {}
        self.register_load_state_dict_post_hook(_wake)  # type: ignore[no-untyped-call]
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config=config)

    def update_layer(self, adapter_name: str, *, config: VectorFitConfig) -> None:
        """Give the layer one more adapter."""
        self.configs[adapter_name] = config
        weight = self.matrix()
        dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
        if config.train_sigma and weight.dim() == 2:
            self.add_basis(adapter_name)
            basis = self.basis(adapter_name)
            zeros = torch.zeros(basis.size, device=weight.device, dtype=dtype)
            self.vectorfit_sigma[adapter_name] = nn.Parameter(zeros)
            if (fingerprint := self.fingerprint(adapter_name)) is not None:
                self.vectorfit_fingerprint[adapter_name] = fingerprint
        if config.train_bias and self.get_base_layer().bias is not None:
            zeros = torch.zeros(weight.shape[0], device=weight.device, dtype=dtype)
            self.vectorfit_bias[adapter_name] = nn.Parameter(zeros)
        if config.freezing != "none":
            self.vectorfit_strength[adapter_name] = torch.zeros(2, device=weight.device)
            self.vectorfit_frozen[adapter_name] = torch.zeros(2, device=weight.device, dtype=torch.bool)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def fingerprints(self) -> BufferDict:
        return self.vectorfit_fingerprint

    def core(self, adapter: str) -> Core | None:
        if adapter not in self.vectorfit_sigma:
            return None
        basis = self.checked_basis(adapter)
        return Core(basis, self.vectorfit_sigma[adapter], Diagonal(basis.size))

    def bias_offset(self, adapter: str) -> Tensor | None:
        offset: Tensor | None = self.vectorfit_bias.get(adapter)
        return offset

    def vectors(self, adapter: str) -> dict[str, nn.Parameter]:
        """The adapter's trained vectors by the name of their container, in the fixed order of VECTORS."""
        return {name: getattr(self, name)[adapter] for name in VECTORS if adapter in getattr(self, name)}

    def is_stale(self, adapter: str) -> bool:
        """Whether the saved state says what rests, and nothing has put that in force."""
        return adapter in self.vectorfit_frozen and adapter not in self.frozen_peft_weight_names

    def resting(self, adapter: str) -> tuple[str, ...]:
        """The names of the vectors that the saved state says are resting."""
        frozen = self.vectorfit_frozen[adapter].tolist()
        return tuple(name for name, rests in zip(VECTORS, frozen, strict=True) if rests)

    def rest(self, adapter: str, names: tuple[str, ...]) -> None:
        """Let exactly the named vectors of `adapter` rest: no gradient, so no step, decay or optimizer state either."""
        self.frozen_peft_weight_names[adapter] = names
        self.vectorfit_frozen[adapter].copy_(torch.tensor([name in names for name in VECTORS]))
        for name, vector in self.vectors(adapter).items():
            vector.requires_grad_(name not in names)
            if name in names:
                vector.grad = None


class VectorFitLinear(VectorFitLayer):
    """VectorFit on an `nn.Linear`, a `Conv1D` or a quantised linear layer."""


class VectorFitLayerNorm(VectorFitLayer):
    """VectorFit on an `nn.LayerNorm`."""


def _wake(layer: nn.Module, incompatible_keys: Any) -> None:
    """Leave loaded state for the next step to put in force; now is too early, an optimizer skips resting vectors."""
    assert isinstance(layer, VectorFitLayer)
    layer.frozen_peft_weight_names.clear()
