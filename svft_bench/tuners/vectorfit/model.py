"""`VectorFitModel`: trained singular values and biases with adaptive vector freezing, as a PEFT tuner."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..model import SingularModel
from ..plain import CONVOLUTIONS
from . import freezing
from .config import VectorFitConfig
from .layer import VECTORS, VectorFitConv, VectorFitLayer, VectorFitLayerNorm, VectorFitLinear, VectorFitSlice


class VectorFitModel(SingularModel):
    """A model adapted with VectorFit: `get_peft_model(model, VectorFitConfig(target_modules=[...]))`."""

    prefix = "vectorfit_"
    tuner_layer_cls = VectorFitLayer
    slice_class = VectorFitSlice
    supported = (*SingularModel.supported, nn.LayerNorm)
    # Vectors rest in a step's forward, and a penalty is where its gradients start.
    allocates_before_step = True

    def check_trained(self, config: VectorFitConfig, bases: list[nn.Module]) -> None:
        norms = sum(isinstance(base, nn.LayerNorm) for base in bases)
        has_bias = config.train_bias and any(getattr(base, "bias", None) is not None for base in bases)
        if bases and not has_bias and not (config.train_sigma and len(bases) > norms):
            raise ValueError(
                f"train_sigma={config.train_sigma} and train_bias={config.train_bias} train nothing: of the "
                f"{len(bases)} target modules {norms} are LayerNorms, without singular values, and none has a bias "
                "that trains."
            )

    def layer_class(self, base: nn.Module) -> type[VectorFitLayer]:
        if isinstance(base, CONVOLUTIONS):
            return VectorFitConv
        return VectorFitLayerNorm if isinstance(base, nn.LayerNorm) else VectorFitLinear

    def update_and_allocate(self, step: int) -> None:
        """Freeze, thaw and penalise; call it just before the forward of every optimizer step `step` (0-based).

        Gradients must have been zeroed already: an L1 penalty is where the step's gradients start from.
        """
        for adapter in self.active_adapters:
            config: VectorFitConfig = self.peft_config[adapter]
            layers = [module for module in self.model.modules() if isinstance(module, VectorFitLayer)]
            for layer in layers:
                layer.follows = True
            if config.freezing != "none":
                _update_freezing(layers, adapter, config, step)
            if config.l1:
                _start_from_penalty(layers, adapter, config.l1)


def _update_freezing(layers: list[VectorFitLayer], adapter: str, config: VectorFitConfig, step: int) -> None:
    if config.total_step is None:
        raise ValueError(f"freezing={config.freezing!r} needs total_step, the optimizer steps of the whole training.")
    plan = freezing.schedule(
        total_step=config.total_step,
        start=config.freezing_start,
        interval=config.freezing_interval,
        rounds=config.freezing_rounds,
        thaw_at_end=config.thaw_at_end,
    )
    number = plan.round_at(step)
    if number is not None:
        _rest(layers, adapter, _frozen_in_round(layers, adapter, config, number))
    elif plan.thaws_at(step) or step < plan.start:  # another training of the same model begins thawed
        _rest(layers, adapter, None)
    else:
        for layer in layers:
            if adapter in layer.vectorfit_frozen:
                layer.rest(adapter, layer.resting(adapter))


def _frozen_in_round(layers: list[VectorFitLayer], adapter: str, config: VectorFitConfig, number: int) -> Tensor:
    """Update the strengths and say which vectors rest until the next round, one element for each in layer order."""
    vectors = [vector.detach() for layer in layers for vector in layer.vectors(adapter).values()]
    movement = torch.stack([_whole(vector.abs().mean()).float().cpu() for vector in vectors])
    count = round(config.freezing_fraction * len(movement))
    if config.freezing == "random":
        return freezing.drawn(len(movement), count=count, seed=config.freezing_seed, number=number)
    places = [(layer, VECTORS.index(name)) for layer in layers for name in layer.vectors(adapter)]
    before = torch.stack([layer.vectorfit_strength[adapter][place].float().cpu() for layer, place in places])
    strength = freezing.smoothed(before, movement, beta=config.strength_smoothing, first=number == 0)
    for (layer, place), value in zip(places, strength, strict=True):
        layer.vectorfit_strength[adapter][place] = value
    return freezing.strongest(strength, count=count)


def _whole(value: Tensor) -> Tensor:
    """The value over all processes, where FSDP has left each of them a shard."""
    whole: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
    return whole


def _rest(layers: list[VectorFitLayer], adapter: str, mask: Tensor | None) -> None:
    flags: Any = iter([] if mask is None else mask.tolist())
    for layer in layers:
        if adapter not in layer.vectorfit_frozen:
            continue
        layer.rest(adapter, tuple(name for name in layer.vectors(adapter) if mask is not None and next(flags)))


def _start_from_penalty(layers: list[VectorFitLayer], adapter: str, l1: float) -> None:
    """Let the step's gradients start at the subgradient of l1 Σ|δ| instead of at zero.

    So it counts once for a step, however many micro-batches follow, and clipping sees it.
    """
    for layer in layers:
        for name, vector in layer.vectors(adapter).items():
            if vector.requires_grad and name not in layer.at_rest.get(adapter, ()):
                penalty = l1 * vector.detach().sign()
                vector.grad = penalty if vector.grad is None else vector.grad + penalty
