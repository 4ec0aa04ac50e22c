"""The head of a model, which trains anew: `draw_head(model, spec=spec, head=("classifier",), found=..., seed=0)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from svft_bench.config.spec import ModelSpec


def draw_head(
    model: PreTrainedModel, *, spec: ModelSpec, head: tuple[str, ...], found: Mapping[str, Any], seed: int
) -> None:
    """Fill what the checkpoint lacks, which may only be of the head, from a generator that nothing else draws from.

    What gives the classes is drawn whatever there is: a checkpoint that was tuned for some has a head for those.
    `found` is what transformers tells of loading.

    Raises:
        ValueError: the checkpoint lacks more than the head, or has something else in another shape.
    """
    other = {name: (there, here) for name, there, here in found["mismatched_keys"]}
    foreign = sorted(name for name in {*found["missing_keys"], *other} if name.split(".")[0] not in head)
    if lacking := [name for name in foreign if name not in other]:
        raise ValueError(f"model={spec.name}: the checkpoint {spec.path} lacks {', '.join(lacking[:3])}")
    if foreign:
        there, here = ([*shape] for shape in other[foreign[0]])
        raise ValueError(f"model={spec.name}: the checkpoint {spec.path} has {foreign[0]} as {there}, not as {here}")
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        of_classes = name.split(".")[0] in head and parameter.shape[:1] == (model.config.num_labels,)
        if name in found["missing_keys"] or of_classes or name in other:
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                spread = model.config.initializer_range
                drawn = torch.empty(parameter.shape).normal_(std=spread, generator=generator)
                parameter.data.copy_(drawn)
