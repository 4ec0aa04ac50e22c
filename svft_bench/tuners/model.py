"""What the SVFT and VectorFit models share: checks before injection, mixed batches, and the basis in a checkpoint."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from peft.tuners.tuners_utils import (
    BaseTuner,
    BaseTunerLayer,
    _maybe_include_all_linear_layers,
    check_target_module_exists,
)
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING, AuxiliaryTrainingWrapper
from peft.utils.quantization_utils import get_quantization_kwargs
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from . import budget, card, tying, weighted
from .called import keep_off_the_fast_path, refuse_as_for_lora, warn_of_uncalled
from .checkpoint import PEFT_PREFIX, changed, check_parts, left, needed, saved
from .experts import warn_of_left_out
from .layer import SingularLayer, layers_of, trained_by
from .offloading import onloaded
from .plain import CONVOLUTIONS
from .renewal import Memory
from .stacked import ParamWrapper, check_same_parameters, checked_stack
from .svd import Factors
from .targets import candidates, check_named, check_values, checked_weight, expected_holding, targeted_parameters
from .transfer import Found
from .unchanging import unchanging

logger = logging.getLogger(__name__)


class SingularModel(BaseTuner):  # type: ignore[misc]
    """A model whose linear layers and convolutions carry adapters in their singular basis."""

    tuner_layer_cls: Any = SingularLayer
    # The class of the layer that adapts one matrix of a stack.
    slice_class: Any
    supported: tuple[type[nn.Module], ...] = (nn.Linear, Conv1D, *CONVOLUTIONS)
    target_module_mapping = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

    def check_shapes(self, config: Any, shapes: dict[str, tuple[int, int]]) -> None:
        """Raise a ValueError where the method cannot adapt one of these modules with an (out, in) weight."""

    def check_trained(self, config: Any, bases: list[nn.Module]) -> None:
        """Raise a ValueError where nothing of these modules would train."""

    def layer_class(self, base: nn.Module) -> Any:
        """The class of the layer that adapts `base`.

        PEFT takes an adapted layer for a linear one, which "all-linear" adapts again, by "Linear" in the class's name.
        """
        raise NotImplementedError

    def _prepare_model(self, peft_config: Any, model: nn.Module) -> None:
        """Refuse a target that cannot be adapted before the first one is replaced."""
        warn_of_left_out(model, getattr(peft_config, "target_parameters", None), asked=peft_config.target_modules)
        config = _maybe_include_all_linear_layers(peft_config, model)
        quantization = get_quantization_kwargs(model)
        weights, bases = {}, []
        for name, module in candidates(model):
            if check_target_module_exists(config, name):
                refuse_as_for_lora(model, name)
                base = module.get_base_layer() if isinstance(module, BaseTunerLayer) else module
                bases.append(base)
                weights[name] = checked_weight(name, base, quantization, self.supported).to("meta")
        check_named(model, config.target_parameters)
        for name, module, parameter in targeted_parameters(model, config.target_parameters):
            for index, matrix in enumerate(checked_stack(name, module, parameter)):
                check_values(f"{name}.{index}", matrix)
                weights[f"{name}.{index}"] = matrix.to("meta")
                bases.append(nn.Linear(1, 1, bias=False, device="meta"))  # singular values to train, and no bias
        self.check_trained(config, bases)
        self.check_shapes(config, {name: (weight.shape[0], weight.shape[-1]) for name, weight in weights.items()})
        if config.memory_budget is not None:
            holdings = {name: expected_holding(name, weight, config) for name, weight in weights.items()}
            budget.check(holdings, budget=config.memory_budget)

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        """PEFT's own, and then the room for adapted weights within the strictest budget of all adapters."""
        self._memory = Memory()
        super().inject_adapter(model, adapter_name, *args, **kwargs)
        keep_off_the_fast_path(model)
        for root in (self, model):  # PEFT calls either
            warn_of_uncalled(root)
        budgets = [config.memory_budget for config in self.peft_config.values() if config.memory_budget is not None]
        if not budgets:
            return
        layers = {name: module for name, module in model.named_modules() if isinstance(module, SingularLayer)}
        holdings = {name: layer.holding() for name, layer in layers.items() if layer.singular_bases}
        kept = budget.allot(holdings, budget=min(budgets))
        logger.info("%d of %d layers have room for an adapted weight", len(kept), len(layers))
        for name, layer in layers.items():
            layer.has_room = name in kept

    def _cast_adapter_dtype(self, adapter_name: str, autocast_adapter_dtype: bool = True) -> None:
        """PEFT's own, which raises 16 bits to 32; switched off, trained entries are kept in the dtype of the base."""
        super()._cast_adapter_dtype(adapter_name, autocast_adapter_dtype=autocast_adapter_dtype)
        for module in () if autocast_adapter_dtype else self.model.modules():
            if isinstance(module, SingularLayer):
                module.lower(adapter_name)

    def add_weighted_adapter(
        self, adapters: list[str], weights: list[float], adapter_name: str, combination_type: str = "linear", **of: Any
    ) -> None:
        """A new adapter whose update is the weighted sum of the updates of others, exactly.

        Raises:
            ValueError: another combination than "linear", options of one, or adapters that train other entries.
        """
        if len(adapters) != len(weights):
            raise ValueError(f"{len(adapters)} adapters have {len(weights)} weights; each takes one.")
        weighted.add(self, dict(zip(adapters, weights, strict=True)), adapter_name, kind=combination_type, options=of)

    def _add_modules_to_save_to_tie(self, peft_config: Any, tied_weight_keys: list[str]) -> None:
        tying.save_as_one(self.model, peft_config, tied_weight_keys)

    def _add_targets_to_tie(self, peft_config: Any, tied_weight_keys: list[str]) -> None:
        raise ValueError(
            f"ensure_weight_tying=True with a target that is tied to the embedding ({', '.join(tied_weight_keys)}): an "
            "embedding has no adapter in the singular basis; modules_to_save can train both as one."
        )

    @property
    def _ddp_params_and_buffers_to_ignore(self) -> list[str]:
        """Factors and fingerprints, by their names in a PeftModel: equal on every process, so DDP need not send them.

        A fingerprint that were written in every forward would also be compared in every forward.
        """
        layers = {name: module for name, module in self.model.named_modules() if isinstance(module, SingularLayer)}
        buffers = [
            f"{PEFT_PREFIX}{name}.{buffer}" for name, layer in layers.items() for buffer, _ in layer.named_buffers()
        ]
        return [name for name in buffers if ".singular_bases." in name or f".{self.prefix}fingerprint." in name]

    def _create_and_replace(
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
        **_: Any,
    ) -> None:
        if parameter_name is not None:
            if isinstance(target, ParamWrapper) and target.parameter_name == parameter_name:
                target.update_layer(adapter_name, config=peft_config)
                return
            make, key = self.slice_class, current_key
            wrapper = ParamWrapper(
                target, adapter_name, parameter=parameter_name, key=key, layer=make, config=peft_config
            )
            if adapter_name not in self.active_adapters:
                wrapper.slices.requires_grad_(False)
            setattr(parent, target_name, wrapper)
            return
        if isinstance(target, self.tuner_layer_cls):
            target.update_layer(adapter_name, config=peft_config)
            return
        quantization = get_quantization_kwargs(self.model)
        with onloaded(target):
            layer = self.layer_class(target)(
                target, adapter_name, config=peft_config, key=current_key, quantization=quantization
            )
            if adapter_name not in self.active_adapters:
                layer.requires_grad_(False)
            setattr(parent, target_name, layer)  # where the base is: PEFT's own would move what waits on meta

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        """Put a module back as it is: PEFT's own assigns weights again, and chosen tokens' is no parameter."""
        setattr(parent, child_name, new_module)

    def _prepare_adapter_config(self, peft_config: Any, model_config: dict[str, Any]) -> Any:
        """PEFT's own, but that parameters are targets enough, as they are for LoRA."""
        known = model_config.get("model_type") in self.target_module_mapping
        if peft_config.target_modules is None and peft_config.target_parameters and not known:
            return peft_config
        return super()._prepare_adapter_config(peft_config, model_config)

    def _check_new_adapter_config(self, config: Any) -> None:
        super()._check_new_adapter_config(config)
        check_same_parameters(config, self.peft_config)

    # Mixed batches

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Around one forward or generate: no weight changes in it, and layers get its `adapter_names`."""
        adapter_names = kwargs.get("adapter_names")
        if adapter_names is None:
            memory = None if getattr(self, "_is_replica", False) else self._memory  # a replica's layers are others
            with nullcontext() if torch.compiler.is_compiling() else unchanging(memory):
                yield
            return
        if self.training:
            raise ValueError("Cannot pass `adapter_names` when the model is in training mode.")
        if any(isinstance(module, ParamWrapper) for module in self.model.modules()):
            raise ValueError("adapter_names cannot be used with target_parameters: one stack serves the whole batch.")
        known = {"__base__", *self.peft_config}
        if unknown := sorted(set(adapter_names) - known):
            raise ValueError(
                f"Trying to infer with non-existing adapter(s): {', '.join(unknown)}; there are "
                f"{', '.join(sorted(known))}."
            )
        names = [name for name in adapter_names for _ in range(kwargs.get("num_beams") or 1)]
        encoder = getattr(self.model, "get_encoder", lambda: None)()
        in_encoder = set() if encoder is None or encoder is self.model else set(encoder.modules())
        handles = []
        for module in self.model.modules():
            if isinstance(module, (SingularLayer, AuxiliaryTrainingWrapper)):
                # Beam search repeats the rows of a decoder, but not those of an encoder.
                hook = partial(_pass_names, adapter_names=adapter_names if module in in_encoder else names)
                handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    # The basis in a checkpoint

    @staticmethod
    def leave_out(state_dict: dict[str, Tensor], layers: dict[str, Any], adapter: str) -> None:
        """Take out of a checkpoint what it holds of another of these layers."""

    @staticmethod
    def fill_in(state_dict: dict[str, Tensor], layers: dict[str, Any], adapter: str) -> None:
        """Put back what was left out."""

    @classmethod
    def _get_adapter_state_dict(
        cls, model: nn.Module, config: Any, adapter_name: str, state_dict: dict[str, Tensor], **kwargs: Any
    ) -> dict[str, Tensor]:
        selected: dict[str, Tensor] = super()._get_adapter_state_dict(
            model=model, config=config, adapter_name=adapter_name, state_dict=state_dict, **kwargs
        )
        config.card = card.describe(config, card.base_of(model, config), parameters=trained_by(model, adapter_name))
        kept, replaced = {}, []
        for name, layer in layers_of(model, adapter_name):
            waits = layer.awaited_basis(adapter_name).s.is_meta or layer.place(adapter_name).type == "meta"
            if waits:
                continue  # nothing has been loaded yet
            prefix, fingerprint = f"{name}.{cls.prefix}", layer.fingerprint(adapter_name)
            selected[f"{prefix}fingerprint.{adapter_name}"] = fingerprint
            if layer.has_left(adapter_name):
                replaced.append(name)
            parts = {part: getattr(layer.basis(adapter_name), part) for part in Factors._fields}
            described = layer.describe_basis(adapter_name)
            if config.save_basis:
                described = {"of": described["of"], **parts}
            elif "close" in described:
                kept[name] = described
            for part, tensor in described.items():
                selected[f"{prefix}basis_{part}.{adapter_name}"] = tensor.contiguous()
        for message in ([needed(kept)] if kept else []) + ([left(replaced)] if replaced else []):
            warnings.warn(message, stacklevel=1)
        cls.leave_out(selected, dict(layers_of(model, adapter_name)), adapter_name)
        return selected

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: Any, adapter_name: str, state_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Find the basis that a checkpoint was trained in, or refuse it before anything of it is loaded."""
        cls.fill_in(state_dict := dict(state_dict), dict(layers_of(model, adapter_name)), adapter_name)
        check_parts(state_dict, model, adapter_name)
        found: dict[str, tuple[SingularLayer, Found, Tensor | None]] = {}
        for name, layer in layers_of(model, adapter_name):
            if layer.awaited_basis(adapter_name).s.is_meta:
                raise ValueError(
                    f"Module {name!r} has no singular basis: its weight was on the meta device when the adapter was "
                    "added; use get_peft_model on the dispatched model and then set_peft_model_state_dict."
                )
            described = saved(state_dict, f"{name}.{cls.prefix}")
            basis = layer.find_basis(adapter_name, described, module=name)
            if basis is not None:
                found[name] = (layer, basis, described.fingerprint)
        for layer, basis, fingerprint in found.values():
            layer.install_basis(adapter_name, basis, fingerprint=fingerprint)
        if message := changed({name: basis for name, (_, basis, _) in found.items()}):
            warnings.warn(message, stacklevel=1)
        remapped: dict[str, Tensor] = super()._remap_adapter_state_dict_for_load(
            model=model, config=config, adapter_name=adapter_name, state_dict=state_dict
        )
        return remapped


def _pass_names(module: nn.Module, args: Any, kwargs: dict[str, Any], adapter_names: list[str]) -> Any:
    return args, kwargs | {"adapter_names": adapter_names}
