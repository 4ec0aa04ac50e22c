"""The fields of an adapter's config against its own annotations, and the adapter against the shapes of one block."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import InitVar
from typing import Any, get_type_hints

import torch
from peft import PeftConfig, inject_adapter_in_model
from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError
from torch import nn

from svft_bench.config.spec import LARGEST, ModelSpec

ARBITRARY = ConfigDict(arbitrary_types_allowed=True)
# With these a single block is no stand-in for a model.
SELECTING = ("layers_to_transform", "layers_pattern", "exclude_modules", "target_parameters", "layer_replication")

# A pattern's fields where they have another name than it.
PATTERNS = {"rank": ("r",), "alpha": ("lora_alpha",), "lambda": ("delora_lambda",)}

OF_ACTIVATIONS = ("eva", "corda")  # beginnings of LoRA that PEFT leaves to a call of its own before the training


def check_types(config_class: type[PeftConfig], values: Mapping[str, Any]) -> None:
    """Refuse a value that is not of its field's type: a dataclass takes anything, and text is true.

    Raises:
        ValueError: names the field, the value and the type.
    """
    for name, value in values.items():
        _check_type(config_class, name, value, told=f"method.{name}={value!r}")
        if (own := _of_pattern(config_class, name)) is not None and isinstance(value, dict):
            for layer, item in value.items():
                _check_type(config_class, own, item, told=f"method.{name} has {layer!r}: {item!r}")


def _check_type(config_class: type[PeftConfig], name: str, value: Any, *, told: str) -> None:
    try:
        _validator(config_class, name).validate_python(value, strict=True)
    except ValidationError:
        hint = _hint(config_class, name)
        kind = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
        raise ValueError(f"{told}: {config_class.__name__} takes {kind}") from None
    if (wrong := _beside_sense(config_class, name, value)) is not None:
        raise ValueError(f"{told}{wrong}")


def _of_pattern(config_class: type[PeftConfig], name: str) -> str | None:
    """The field of which this one has other values for some layers, as `rank_pattern` has of `r`."""
    if not name.endswith("_pattern"):
        return None
    word = name.removesuffix("_pattern")
    known = get_type_hints(config_class)
    return next((field for field in (word, *PATTERNS.get(word, ())) if field in known), None)


def _beside_sense(config_class: type[PeftConfig], name: str, value: Any) -> str | None:
    """What is wrong with a value of the right type that every tuner would fall over later, or train nothing with."""
    if name.endswith("dropout") and not 0 <= value < 1:
        return " is no probability: 0 is none, and 1 would leave nothing"
    if isinstance(value, float) and not math.isfinite(value):
        return " is no finite number"
    if isinstance(value, int) and value > LARGEST and not name.endswith(("seed", "key")):
        return f": at most {LARGEST} of anything"
    kinds = ("none", "all", f"{config_class.__name__.removesuffix('Config').lower()}_only")
    if name == "init_lora_weights" and value in OF_ACTIVATIONS:
        return " begins from activations of the data, which no run collects: PEFT would begin from a random draw"
    if name == "bias" and config_class.__module__.startswith("peft.") and value not in kinds:
        return f" is none of {', '.join(kinds)}"
    return None


def _hint(config_class: type[PeftConfig], name: str) -> Any:
    """The type of a field, or of what `__init__` alone takes, as it does a field's older name."""
    hint = get_type_hints(config_class)[name]
    return hint.type if isinstance(hint, InitVar) else hint


def _validator(config_class: type[PeftConfig], name: str) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(_hint(config_class, name), config=ARBITRARY)
    except (NameError, PydanticSchemaGenerationError):  # of types that pydantic or this process does not know
        return TypeAdapter(Any)


def check_values(config: PeftConfig, model: ModelSpec, *, method: str) -> None:
    """Refuse values that PEFT refuses only when it meets a layer: one block of the model's shapes, without memory.

    A tuner of the singular basis decomposes weights, which the stand-in has not; `counts.check_shapes` knows its
    limits.

    Raises:
        ValueError: PEFT's own sentence.
    """
    targets = config.target_modules if hasattr(config, "target_modules") else None
    selects = any(getattr(config, name, None) is not None for name in SELECTING)
    if config.peft_type in ("SVFT", "VECTORFIT") or isinstance(targets, str) or not targets or selects:
        return
    block = nn.Module()
    for name, layer in _named_layers(model):
        if any(f".{name}".endswith(f".{target}") for target in targets):
            _place(block, name.split("."), layer)
    if not any(True for _ in block.children()):
        return
    try:
        with torch.device("meta"):
            inject_adapter_in_model(config, block)
    except (ValueError, ZeroDivisionError) as error:
        if "does not support" not in str(error):  # a tuner that needs a whole model
            raise ValueError(f"method={method}: {error}") from None
    except Exception:  # what only weights, a library or a whole model can tell is told when they are there
        return


def _named_layers(model: ModelSpec) -> Iterator[tuple[str, nn.Module]]:
    """A layer of each shape by its name."""
    for number, form in enumerate(model.forms):
        for letter, (inputs, outputs) in form.matrices.items():
            for name in _ends(model, letter):
                yield f"{number}.{name}", nn.Linear(inputs, outputs, bias=model.has_bias(letter), device="meta")
    for letter, (inputs, outputs) in model.stem.items():
        side = model.patch or 1
        for name in _ends(model, letter):
            yield f"stem.{name}", nn.Conv2d(inputs // side**2, outputs, side, stride=side, device="meta")


def _ends(model: ModelSpec, letter: str) -> Iterable[str]:
    """The names of a letter's modules; of one that is an expression, what it ends in."""
    names = model.targets.get(letter, ())
    return [names.rpartition("\\.")[2]] if isinstance(names, str) else names


def _place(parent: nn.Module, path: list[str], layer: nn.Module) -> None:
    for name in path[:-1]:
        if not hasattr(parent, name):
            parent.add_module(name, nn.Module())
        parent = getattr(parent, name)
    parent.add_module(path[-1], layer)
