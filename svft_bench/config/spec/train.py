"""The optimisation of a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt

from svft_bench.config.spec.base import Count, Spec, Text

Selection = Literal["last", "best_validation", "best_reported"]


Decay = Annotated[StrictFloat, Field(ge=0, lt=1)]


class TrainSpec(Spec):
    """The optimisation: AdamW, in groups: the head, biases where they have a rate of their own, everything else.

    `loss_average` says what an optimizer step's loss is the mean of: `tokens`, all targets of its micro-batches alike
    (transformers since 4.46), or `micro_batches`, the means of each (before, and in the released scripts). `sampling`
    says how rows meet in a batch: at random, or after their length, so that less of a batch is padding. With
    `label_smoothing` that share of each target's weight is spread over the whole vocabulary.
    """

    describes = frozenset({"source"})
    younger = frozenset({"loss_average", "sampling", "lr_bias", "label_smoothing"})

    lr: StrictFloat = Field(gt=0)
    lr_head: StrictFloat | None = Field(default=None, gt=0)
    lr_bias: StrictFloat | None = Field(default=None, gt=0)
    epochs: Count
    max_steps: StrictInt | None = Field(default=None, ge=0, le=10**9)
    batch_size: Count
    gradient_accumulation: Count = 1
    loss_average: Literal["tokens", "micro_batches"] = "tokens"
    sampling: Literal["random", "group_by_length"] = "random"
    label_smoothing: StrictFloat = Field(default=0.0, ge=0, lt=1)
    weight_decay: StrictFloat = Field(ge=0, le=1)
    betas: tuple[Decay, Decay]
    eps: StrictFloat = Field(gt=0, lt=1)
    schedule: Literal["linear", "cosine", "constant"]
    warmup_ratio: StrictFloat = Field(ge=0, lt=1)
    warmup_steps: StrictInt | None = Field(default=None, ge=0)
    max_grad_norm: StrictFloat = Field(gt=0)
    precision: Literal["float32", "bfloat16"]
    gradient_checkpointing: StrictBool
    selection: Selection
    source: Text
