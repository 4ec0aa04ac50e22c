"""A method applied to a model: which parameters train, and how many of each kind there are."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, TaskType, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.tuners_utils import BaseTuner
from safetensors.torch import load_file, save_file
from torch import nn

import svft_bench.methods.boft  # makes BOFT run the factors that it says
import svft_bench.tuners  # noqa: F401  registers SVFT and VECTORFIT with PEFT
from svft_bench.config.spec import LARGEST, Kind, MethodSpec
from svft_bench.config.wording import nearest
from svft_bench.methods.fields import check_types
from svft_bench.methods.importing import import_tuner
from svft_bench.methods.scheduled import all_ranks, freeze_ranks, takes_ranks_away
from svft_bench.methods.targets import check_targets
from svft_bench.records.durable import replacing
from svft_bench.tuners.quantised import entries

TASK_TYPES: dict[Kind, TaskType | None] = {
    "causal_lm": TaskType.CAUSAL_LM,
    "seq2seq_lm": TaskType.SEQ_2_SEQ_LM,
    "sequence_classification": TaskType.SEQ_CLS,
    "question_answering": TaskType.QUESTION_ANS,
    "image_classification": None,
    "text_to_image": None,
}


PHASES = ("tinit", "tfinal")  # steps of a schedule, as PEFT calls them
LONG = LARGEST  # the steps of a training whose length is not known yet, or plays no part


@dataclass(frozen=True)
class Counts:
    """Numbers of parameters after a method was applied, and the bytes that it keeps frozen beside the base."""

    total: int
    trainable: int
    trainable_head: int
    frozen_extra_bytes: int


def peft_config(
    method: MethodSpec, *, kind: Kind, head_modules: tuple[str, ...], total_steps: int, seed: int
) -> PeftConfig | None:
    """The adapter's own config, from the fields of the method's file; None for a method that adds nothing.

    A schedule's length and the seed of a random draw belong to the run, so it fills them unless the file does; a
    phase of a schedule that the file gives as a share is that share of the run's steps. The head trains whatever other
    modules do.

    Raises:
        ValueError: an unknown `peft_type`, a field that its config lacks, a value that its config refuses.
    """
    if method.trains != "adapter":
        return None
    import_tuner(method)
    if method.peft_type not in PEFT_TYPE_TO_CONFIG_MAPPING:
        known = sorted(str(getattr(name, "value", name)) for name in PEFT_TYPE_TO_CONFIG_MAPPING)
        raise ValueError(f"method.peft_type={method.peft_type} is unknown; {nearest(str(method.peft_type), known)}")
    config_class = PEFT_TYPE_TO_CONFIG_MAPPING[method.peft_type]
    known_fields = set(signature(config_class).parameters)  # older names of fields among them
    unknown = sorted(set(method.adapter) - known_fields)
    if unknown:
        near = nearest(unknown[0], sorted(known_fields))
        raise ValueError(f"method.{unknown[0]} is not a field of {config_class.__name__}; {near}")
    adapter = {name: _in_steps(name, value, total=total_steps) for name, value in method.adapter.items()}
    check_types(config_class, adapter)
    seeds = ("pattern_seed", "freezing_seed", "projection_prng_key", "projection_seed", "random_seed")
    of_the_run = {"total_step": total_steps} | dict.fromkeys(seeds, seed)
    values: dict[str, Any] = {name: value for name, value in of_the_run.items() if name in known_fields}
    beside = [*head_modules, *(name for name in adapter.get("modules_to_save") or () if name not in head_modules)]
    try:
        return config_class(**values | {"task_type": TASK_TYPES[kind]} | adapter | {"modules_to_save": beside or None})
    except (TypeError, ValueError, ImportError) as error:
        raise ValueError(f"method={method.name}: {error}") from None


def _in_steps(name: str, value: Any, *, total: int) -> Any:
    return round(value * total) if name in PHASES and isinstance(value, float) and 0 <= value < 1 else value


def apply_method(
    model: nn.Module, method: MethodSpec, config: PeftConfig | None, *, head_modules: tuple[str, ...]
) -> nn.Module:
    """Freeze what the method freezes and add what it adds; `config` is `peft_config`'s.

    Raises:
        ValueError: the method's modules match nothing in this model, or it trains nothing of them.
    """
    if config is not None:
        check_targets(model, config, adapter=method.adapter, method=method.name)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*already found.*")
            adapted: nn.Module = get_peft_model(model, config)
        freeze_ranks(adapted)
        if all(_in_head(name, head_modules) for name in trainable_names(adapted)):
            raise ValueError(f"method={method.name} trains no parameter of this model but its head; see its settings")
        tuner: Any = type(adapted.base_model)
        if type(adapted) is PeftModel and tuner.forward is not BaseTuner.forward:
            adapted.__class__ = ThroughTuner
        return adapted
    trains_head_only = method.trains == "head"
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not trains_head_only or _in_head(name, head_modules))
    return model


class ThroughTuner(PeftModel):  # type: ignore[misc]
    """A model whose tuner has a forward of its own, such as AdaLoRA's, which adds a penalty to the loss.

    PEFT's class for a model of no task it knows, an image classifier, goes round the tuner to the base.
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with self._enable_peft_forward_hooks(*args, **kwargs):
            own = {name: value for name, value in kwargs.items() if name not in self.special_peft_forward_args}
            return self.base_model(*args, **own)


def count(model: nn.Module, *, head_modules: tuple[str, ...], base_bytes: int) -> Counts:
    """Count unique parameters, head apart, and the bytes of everything frozen that the base model did not hold.

    `base_bytes` is `stored_bytes` of the model before the method was applied.
    """
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    added = stored_bytes(model) - base_bytes - sum(parameter.nbytes for _, parameter in trained)
    return Counts(
        total=sum(entries(parameter) for parameter in model.parameters()),
        trainable=sum(parameter.numel() for _, parameter in trained),
        trainable_head=sum(parameter.numel() for name, parameter in trained if _in_head(name, head_modules)),
        frozen_extra_bytes=added if isinstance(model, PeftModel) else 0,
    )


def stored_bytes(model: nn.Module) -> int:
    """Bytes of all distinct parameters and buffers."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return sum(tensor.nbytes for tensor in tensors.values())


def trained_state(model: nn.Module, names: frozenset[str]) -> dict[str, torch.Tensor]:
    """Copies of the named parameters on the CPU."""
    return {name: p.detach().cpu().clone() for name, p in model.named_parameters() if name in names}


def load_trained_state(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Put the parameters of `trained_state` back, in place."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in state.items():
            parameters[name].copy_(value)


def save_trained(model: nn.Module, names: frozenset[str], *, parameters: Path, adapter: Path) -> None:
    """Write the named parameters to one file, and an adapter's own state, in which there may be more, to another."""
    with replacing(parameters) as partial:
        save_file(trained_state(model, names), partial)
    if isinstance(model, PeftModel):
        with replacing(adapter) as partial, all_ranks(model):
            state = get_peft_model_state_dict(model, save_embedding_layers=False)  # no method trains them
            save_file({name: value.cpu() for name, value in state.items()}, partial)


def load_trained(model: nn.Module, *, parameters: Path, adapter: Path) -> None:
    """Put back what `save_trained` wrote.

    Raises:
        ValueError: the adapter was trained in another singular basis, so the base's weights are no longer the same.
    """
    if isinstance(model, PeftModel) and not takes_ranks_away(model):  # what is shipped then lacks some
        # The pattern and the fingerprint of an adapter are no trained parameters.
        set_peft_model_state_dict(model, load_file(adapter))
    load_trained_state(model, load_file(parameters))


def bad_weight(model: nn.Module) -> str:
    """The end of a sentence on a number that is not finite: where the frozen weights have one, and else nothing."""
    frozen = ((name, part) for name, part in model.named_parameters() if not part.requires_grad)
    bad = next((name for name, part in frozen if not bool(part.isfinite().all())), None)
    return f": the base's own weight {bad} is not" if bad else ""


def trainable_names(model: nn.Module) -> frozenset[str]:
    """Names of the parameters that the method trains; taken before a schedule freezes any of them."""
    return frozenset(name for name, parameter in model.named_parameters() if parameter.requires_grad)


def _in_head(name: str, head_modules: tuple[str, ...]) -> bool:
    return bool(set(name.split(".")) & set(head_modules))
