"""The numbers that a model's file states, counted in a model: its blocks, their matrices and its parameters.

`check_numbers(model, spec)`
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any

from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from torch import nn

from svft_bench.config.spec import Kind, ModelSpec
from svft_bench.models.architectures import published
from svft_bench.tuners.quantised import entries

Shapes = dict[str, Counter[tuple[int, int]]]  # how many matrices of each letter have which [in, out]


@dataclass(frozen=True)
class Numbers:
    """Blocks, [in, out] of each of their matrices, and parameters outside the head.

    Where blocks differ, `matrices` are the widest of each letter, and `stages` has all of a letter and a shape as one.
    """

    layers: int
    parameters: int
    matrices: dict[str, tuple[int, int]]
    stages: tuple[dict[str, Any], ...] = ()


def numbers(model: nn.Module, spec: ModelSpec) -> Numbers:
    """What this model has of the modules that its file names.

    Raises:
        ValueError: a matrix is missing, or has several shapes and its file no stages.
    """
    shapes: Shapes = {letter: _shapes(model, spec.targets[letter]) for letter in spec.matrices}
    for letter, found in shapes.items():
        if not found or (len(found) > 1 and not spec.stages):
            told = ", ".join(f"{inputs} x {outputs}" for inputs, outputs in sorted(found)) or "none"
            raise ValueError(
                f"model={spec.name}: matrix {letter} is to have one shape in all blocks, here it has {told}"
            )
    body = [p for name, p in model.named_parameters() if name.split(".")[0] not in spec.head_modules]
    return _numbers(shapes, parameters=sum(map(entries, body)), staged=bool(spec.stages))


def _numbers(shapes: Shapes, *, parameters: int, staged: bool) -> Numbers:
    """A block of a staged model has one matrix of the letters that are there least often, and may have more of others.

    So a UNet's, in which an attention to itself and one to the text have queries of the same name.
    """
    counts = [found.total() for found in shapes.values()]
    widest = {letter: max(found, key=lambda shape: (shape[0] * shape[1], shape)) for letter, found in shapes.items()}
    if not staged:
        return Numbers(max(counts, default=0), parameters, widest)
    ordered = ((copies, letter, shape) for letter, found in shapes.items() for shape, copies in sorted(found.items()))
    stages = tuple({"layers": copies, "matrices": {letter: shape}} for copies, letter, shape in ordered)
    return Numbers(min(counts), parameters, widest, stages)


def stated(spec: ModelSpec) -> Numbers:
    """What its file says of a model, in the same form."""
    shapes: Shapes = {letter: Counter() for letter in spec.matrices}
    for form in spec.forms:
        for letter, shape in form.matrices.items():
            shapes[letter][shape] += form.layers
    found = _numbers(shapes, parameters=spec.parameters, staged=bool(spec.stages))
    return replace(found, layers=spec.layers, matrices=dict(spec.matrices))


def check_numbers(model: nn.Module, spec: ModelSpec, *, kind: Kind) -> None:
    """Refuse a model that has other numbers than its file states.

    The parameters of a published model of images are stated at another size than its checkpoint's positions may have;
    there `architectures.SHAPES` tells them apart. A head for another than its first kind may stand in a pooler's place.

    Raises:
        ValueError: it has; names the first.
    """
    own = asdict(stated(spec))
    differing = {key: (value, own[key]) for key, value in asdict(numbers(model, spec)).items()}
    if kind != spec.kinds[0] or (spec.image is not None and published(spec.name) is not None):
        del differing["parameters"]
    for key, (found, expected) in differing.items():
        if found != expected:
            raise ValueError(
                f"model={spec.name}: the checkpoint {spec.path} has {key}={_told(found)}, its file states "
                f"{_told(expected)}: another model takes a name and numbers of its own"
            )


def _shapes(model: nn.Module, target: str | tuple[str, ...]) -> Counter[tuple[int, int]]:
    config = LoraConfig(target_modules=target if isinstance(target, str) else list(target))
    found: list[Any] = [module for name, module in model.named_modules() if check_target_module_exists(config, name)]
    return Counter((module.in_features, module.out_features) for module in found)


def _told(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
