"""The numbers that a model's file states, counted in a model: its blocks, their matrices and its parameters.

`check_numbers(model, spec)`
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from torch import nn

from svft_bench.config.spec import ModelSpec
from svft_bench.models.architectures import published
from svft_bench.tuners.quantised import entries


@dataclass(frozen=True)
class Numbers:
    """Blocks, [in, out] of each of their matrices, and parameters outside the head."""

    layers: int
    parameters: int
    matrices: dict[str, tuple[int, int]]


def numbers(model: nn.Module, spec: ModelSpec) -> Numbers:
    """What this model has of the modules that its file names.

    Raises:
        ValueError: a matrix is missing, or has several shapes.
    """
    matrices, layers = {}, set()
    for letter in spec.matrices:
        found = _found(model, spec.targets[letter])
        shapes = {(module.in_features, module.out_features) for module in found}
        if len(shapes) != 1:
            told = ", ".join(f"{inputs} x {outputs}" for inputs, outputs in sorted(shapes)) or "none"
            raise ValueError(
                f"model={spec.name}: matrix {letter} is to have one shape in all blocks, here it has {told}"
            )
        matrices[letter] = shapes.pop()
        layers.add(len(found))
    body = [p for name, p in model.named_parameters() if name.split(".")[0] not in spec.head_modules]
    return Numbers(max(layers, default=0), sum(map(entries, body)), matrices)


def check_numbers(model: nn.Module, spec: ModelSpec) -> None:
    """Refuse a model that has other numbers than its file states.

    The parameters of a published model of images are stated at another size than its checkpoint's positions may have;
    there `checkpoint.SHAPES` tells models apart.

    Raises:
        ValueError: it has; names the first.
    """
    stated = Numbers(spec.layers, spec.parameters, spec.matrices)
    differing = {key: (value, asdict(stated)[key]) for key, value in asdict(numbers(model, spec)).items()}
    if spec.image is not None and published(spec.name) is not None:
        del differing["parameters"]
    for key, (found, expected) in differing.items():
        if found != expected:
            raise ValueError(
                f"model={spec.name}: the checkpoint {spec.path} has {key}={_told(found)}, its file states "
                f"{_told(expected)}: another model takes a name and numbers of its own"
            )


def _found(model: nn.Module, target: str | tuple[str, ...]) -> list[Any]:
    config = LoraConfig(target_modules=target if isinstance(target, str) else list(target))
    return [module for name, module in model.named_modules() if check_target_module_exists(config, name)]


def _told(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
